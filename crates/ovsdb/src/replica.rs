//! A live copy of tables, made by folding table updates into typed rows.
//!
//! Pure: what the updates are, and when they come, is for [`Client`](crate::Client) to know.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use crate::row::Row;
use crate::table::{AnyTable, Table, not_monitored};
use crate::update::{FoldError, TableUpdates};

/// The monitored tables, as the server last told. Every state of it is one that the database had.
///
/// ```no_run
/// # fn example(client: &ovsdb::Client) {
/// use ovsdb::tables::{Bridge, Port};
///
/// // All within one closure is of one state.
/// let tags: Vec<Option<i64>> = client.read(|replica| {
///     let bridge = replica.table::<Bridge>().by_name("ovsbr0");
///     let ports = bridge.into_iter().flat_map(|bridge| &bridge.ports);
///     ports
///         .filter_map(|port| replica.table::<Port>().get(*port))
///         .map(|port| port.tag)
///         .collect()
/// });
/// # }
/// ```
pub struct Replica {
    tables: HashMap<&'static str, Box<dyn AnyTable>>,
}

impl Replica {
    pub(crate) fn new(tables: impl IntoIterator<Item = (&'static str, Box<dyn AnyTable>)>) -> Self {
        Self { tables: tables.into_iter().collect() }
    }

    /// The rows of the table of `R`.
    ///
    /// # Panics
    ///
    /// If the table is not monitored: an empty table would be a lie, and which tables are
    /// monitored is a matter of the program, not of its input.
    pub fn table<R: Row>(&self) -> &Table<R> {
        self.try_table().unwrap_or_else(|| not_monitored::<R>())
    }

    /// The rows of the table of `R`, or `None` if it is not monitored.
    pub fn try_table<R: Row>(&self) -> Option<&Table<R>> {
        let table: &dyn Any = self.tables.get(R::TABLE)?.as_ref();
        table.downcast_ref()
    }

    pub(crate) fn table_mut<R: Row>(&mut self) -> &mut Table<R> {
        let table = self.tables.get_mut(R::TABLE).and_then(|table| {
            let table: &mut dyn Any = table.as_mut();
            table.downcast_mut()
        });
        table.unwrap_or_else(|| not_monitored::<R>())
    }

    /// Folds the changes of one message: all of them or, on an error, none.
    pub(crate) fn fold(&mut self, updates: TableUpdates<'_>) -> Result<(), FoldError> {
        let staged = self.stage(updates);
        self.finish(staged)
    }

    /// Takes a snapshot as the new contents of all tables; one that it does not name is empty.
    ///
    /// On an error nothing changes.
    pub(crate) fn replace(&mut self, snapshot: TableUpdates<'_>) -> Result<(), FoldError> {
        let staged = self.stage_snapshot(snapshot);
        self.finish(staged)
    }

    fn stage(&mut self, updates: TableUpdates<'_>) -> Result<(), FoldError> {
        for (name, rows) in updates.0 {
            match self.tables.get_mut(name.as_ref()) {
                Some(table) => table.stage(rows)?,
                None => {
                    return Err(FoldError::UnknownTable { table: name.into_owned() });
                }
            }
        }
        Ok(())
    }

    fn stage_snapshot(&mut self, snapshot: TableUpdates<'_>) -> Result<(), FoldError> {
        let mut rows: HashMap<_, _> = snapshot.0.into_iter().collect();
        for (name, table) in &mut self.tables {
            table.stage_snapshot(rows.remove(*name).unwrap_or_default())?;
        }
        match rows.into_keys().next() {
            Some(table) => Err(FoldError::UnknownTable { table: table.into_owned() }),
            None => Ok(()),
        }
    }

    fn finish(&mut self, staged: Result<(), FoldError>) -> Result<(), FoldError> {
        for table in self.tables.values_mut() {
            match staged {
                Ok(()) => table.commit(),
                Err(_) => table.discard(),
            }
        }
        staged
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tables.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
