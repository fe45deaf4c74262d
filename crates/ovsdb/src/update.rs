//! Table updates on the wire, of `monitor` (RFC 7047 section 4.1.6) and of `monitor_cond`
//! (ovsdb-server(7), section 4.1.14), read straight into typed rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::row::{Fold, Row};
use crate::value::{TypeError, UuidText, Value};

/// A table update that can't be folded into the replica.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// It is not in the notation of table updates.
    #[error("malformed table update")]
    Json(#[from] serde_json::Error),
    /// It is about a table that was not asked for.
    #[error("an update of table {table}, which is not monitored")]
    UnknownTable {
        /// The table's name.
        table: String,
    },
    /// It modifies a row that isn't there.
    #[error("a change of row {uuid} of table {table}, which is not there")]
    UnknownRow {
        /// The table's name.
        table: &'static str,
        /// The row.
        uuid: Uuid,
    },
    /// A column has another type than its row expects.
    #[error("table {table}, column {column}")]
    Column {
        /// The table's name.
        table: &'static str,
        /// The column's name.
        column: String,
        /// Which type it should have.
        source: TypeError,
    },
}

/// The updates of all tables in one message, those of each table still as text.
#[derive(Debug)]
pub(crate) struct TableUpdates<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

/// Rows as they are.
pub(crate) type Rows<R> = HashMap<Uuid, Arc<R>>;

/// Rows as they will be, or `None` for those that are gone.
pub(crate) type NewRows<R> = Vec<(Uuid, Option<Arc<R>>)>;

/// Reads the updates of one table, which are about these rows.
pub(crate) fn read_updates<R: Row>(
    updates: &RawValue,
    rows: &Rows<R>,
) -> Result<NewRows<R>, FoldError> {
    let mut error = None;
    let result = read(updates, TableReader { rows, error: &mut error });
    error.map_or_else(|| Ok(result?), Err)
}

/// Reads the whole contents of columns into a row.
pub(crate) fn read_columns<R: Row>(columns: &RawValue, row: R) -> Result<R, FoldError> {
    let mut error = None;
    let result = read(columns, ColumnsReader { row, how: Fold::Replace, error: &mut error });
    error.map_or_else(|| Ok(result?), Err)
}

fn read<'a, T: DeserializeSeed<'a>>(
    text: &'a RawValue,
    reader: T,
) -> Result<T::Value, serde_json::Error> {
    reader.deserialize(&mut serde_json::Deserializer::from_str(text.get()))
}

// What the readers have against a text that is valid JSON they put into their `error`.

/// Reads the updates of a table.
struct TableReader<'a, R> {
    rows: &'a Rows<R>,
    error: &'a mut Option<FoldError>,
}

/// Reads the update of a row.
struct RowReader<'a, R> {
    uuid: Uuid,
    now: Option<&'a Arc<R>>,
    error: &'a mut Option<FoldError>,
}

/// Reads columns into a row.
struct ColumnsReader<'a, R> {
    row: R,
    how: Fold,
    error: &'a mut Option<FoldError>,
}

/// Keeps the reason, and stops the parser.
fn stop<E: de::Error>(error: &mut Option<FoldError>, reason: FoldError) -> E {
    *error = Some(reason);
    E::custom("it does not fit the rows")
}

impl<'de, R: Row> Visitor<'de> for TableReader<'_, R> {
    type Value = NewRows<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the updates of a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NewRows<R>, A::Error> {
        let mut rows = Vec::new();
        while let Some(UuidText(uuid)) = map.next_key()? {
            let now = self.rows.get(&uuid);
            let row = map.next_value_seed(RowReader { uuid, now, error: &mut *self.error })?;
            rows.push((uuid, row));
        }
        Ok(rows)
    }
}

impl<'de, R: Row> Visitor<'de> for RowReader<'_, R> {
    type Value = Option<Arc<R>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row update")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Arc<R>>, A::Error> {
        let Self { uuid, now, error } = self;
        let unknown = FoldError::UnknownRow { table: R::TABLE, uuid };
        let mut update = None;
        while let Some(member) = map.next_key()? {
            let (row, how) = match (member, now) {
                (Member::Initial | Member::Insert | Member::New, _) => {
                    (R::new(uuid), Fold::Replace)
                }
                (Member::Modify, Some(now)) => (R::clone(now), Fold::Diff),
                (Member::Modify, None) => return Err(stop(error, unknown)),
                (Member::Delete | Member::Old, _) => {
                    map.next_value::<IgnoredAny>()?;
                    // "old" next to "new" is no deletion (RFC 7047 section 4.1.6).
                    update.get_or_insert(None);
                    continue;
                }
            };
            let row = map.next_value_seed(ColumnsReader { row, how, error: &mut *error })?;
            update = Some(Some(Arc::new(row)));
        }
        match update {
            Some(None) if now.is_none() => Err(stop(error, unknown)),
            Some(row) => Ok(row),
            None => Err(de::Error::custom("a row update without a member")),
        }
    }
}

impl<'de, R: Row> Visitor<'de> for ColumnsReader<'_, R> {
    type Value = R;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("columns by name")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<R, A::Error> {
        while let Some(Name(column)) = map.next_key()? {
            let value: Value = map.next_value()?;
            if let Err(source) = self.row.fold(&column, value, self.how) {
                let column = column.into_owned();
                return Err(stop(
                    self.error,
                    FoldError::Column { table: R::TABLE, column, source },
                ));
            }
        }
        Ok(self.row)
    }
}

macro_rules! read_an_object {
    ($($reader:ident),*) => {
        $(impl<'de, R: Row> DeserializeSeed<'de> for $reader<'_, R> {
            type Value = <Self as Visitor<'de>>::Value;

            fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<Self::Value, D::Error> {
                object.deserialize_map(self)
            }
        })*
    };
}

read_an_object!(TableReader, RowReader, ColumnsReader);

/// A name of a table or column, borrowed from the message.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for TableUpdates<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TablesVisitor;

        impl<'de> Visitor<'de> for TablesVisitor {
            type Value = TableUpdates<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the updates of tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tables = Vec::new();
                while let Some((Name(table), updates)) = map.next_entry()? {
                    tables.push((table, updates));
                }
                Ok(TableUpdates(tables))
            }
        }

        deserializer.deserialize_map(TablesVisitor)
    }
}

/// The members of a `<row-update>` and of a `<row-update2>`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Member {
    /// `update2`: part of the first snapshot.
    Initial,
    /// `update2`: a new row.
    Insert,
    /// `update2`: differences.
    Modify,
    /// `update2`: the row is gone.
    Delete,
    /// `update`: the row, or the columns that changed, as they were.
    Old,
    /// `update`: all monitored columns as they are.
    New,
}

#[cfg(test)]
mod tests;
