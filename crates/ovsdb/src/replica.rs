//! A live copy of tables, made by folding table updates into typed rows.
//!
//! Pure: what the updates are, and when they come, is for [`Client`](crate::Client) to know.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use crate::row::Row;
use crate::table::{AnyTable, Staged, Table, not_monitored};
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
        let changes = self.stage(updates)?;
        self.commit(changes);
        Ok(())
    }

    /// Takes a snapshot as the new contents of all tables; one that it does not name is empty.
    ///
    /// On an error nothing changes.
    pub(crate) fn replace(&mut self, snapshot: TableUpdates<'_>) -> Result<(), FoldError> {
        let changes = self.stage_snapshot(snapshot)?;
        self.commit(changes);
        Ok(())
    }

    /// Reads the changes of one message, for [`Self::commit`].
    pub(crate) fn stage(&self, updates: TableUpdates<'_>) -> Result<Changes, FoldError> {
        let tables = updates.0.into_iter().map(|(name, updates)| {
            let Some((name, table)) = self.tables.get_key_value(name.as_ref()) else {
                return Err(FoldError::UnknownTable { table: name.into_owned() });
            };
            Ok((*name, table.stage(updates)?))
        });
        Ok(Changes(tables.collect::<Result<_, _>>()?))
    }

    /// Reads a snapshot, and finds what differs from it, for [`Self::commit`].
    pub(crate) fn stage_snapshot(&self, snapshot: TableUpdates<'_>) -> Result<Changes, FoldError> {
        let mut snapshot: HashMap<_, _> = snapshot.0.into_iter().collect();
        let tables = self.tables.iter().map(|(name, table)| {
            table.stage_snapshot(snapshot.remove(*name)).map(|staged| (*name, staged))
        });
        let changes = Changes(tables.collect::<Result<_, _>>()?);
        match snapshot.into_keys().next() {
            Some(table) => Err(FoldError::UnknownTable { table: table.into_owned() }),
            None => Ok(changes),
        }
    }

    /// Makes changes that were staged since the last ones were made.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for (name, staged) in changes.0 {
            if let Some(table) = self.tables.get_mut(name) {
                table.commit(staged);
            }
        }
    }
}

/// What one message changes, by table.
#[must_use = "nothing has changed yet"]
pub(crate) struct Changes(Vec<(&'static str, Staged)>);

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tables.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
