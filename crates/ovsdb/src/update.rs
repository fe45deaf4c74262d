//! Table updates on the wire, of `monitor` (RFC 7047 section 4.1.6) and of `monitor_cond`
//! (ovsdb-server(7), section 4.1.14): parsed, and not yet judged by any table.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use uuid::Uuid;

use crate::row::{Fold, Row};
use crate::value::{Atom, TypeError, UuidText, Value};

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

/// The updates of all tables in one message.
#[derive(Debug)]
pub(crate) struct TableUpdates<'a>(pub(crate) Vec<(Cow<'a, str>, RowUpdates<'a>)>);

/// The updates of one table.
pub(crate) type RowUpdates<'a> = Vec<(Uuid, RowUpdate<'a>)>;

/// What happened to one row.
#[derive(Debug, PartialEq)]
pub(crate) enum RowUpdate<'a> {
    /// This is all of the row; columns that are left out have their defaults.
    Whole(RawColumns<'a>),
    /// These columns changed, by these differences.
    Modify(RawColumns<'a>),
    /// The row is gone.
    Delete,
}

/// Columns as they came, by name.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RawColumns<'a>(Vec<(Cow<'a, str>, Value)>);

impl RawColumns<'_> {
    /// Takes the column `_uuid` out.
    pub(crate) fn take_uuid(&mut self) -> Result<Uuid, FoldError> {
        let index = self.0.iter().position(|(column, _)| column == "_uuid");
        match index.map(|index| self.0.swap_remove(index)) {
            Some((_, Value::Atom(Atom::Uuid(uuid)))) => Ok(uuid),
            _ => Err(FoldError::Json(de::Error::missing_field("_uuid"))),
        }
    }
}

/// Folds the whole contents of columns into a row.
pub(crate) fn fold_columns<R: Row>(row: &mut R, columns: RawColumns<'_>) -> Result<(), FoldError> {
    fold_as(row, columns, Fold::Replace)
}

/// Folds differences of columns into a row.
pub(crate) fn fold_diffs<R: Row>(row: &mut R, columns: RawColumns<'_>) -> Result<(), FoldError> {
    fold_as(row, columns, Fold::Diff)
}

fn fold_as<R: Row>(row: &mut R, columns: RawColumns<'_>, how: Fold) -> Result<(), FoldError> {
    for (column, value) in columns.0 {
        row.fold(&column, value, how).map_err(|source| FoldError::Column {
            table: R::TABLE,
            column: column.into_owned(),
            source,
        })?;
    }
    Ok(())
}

/// A JSON object in its own order, without a look at the keys.
struct Pairs<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<K, V> {
            type Value = Pairs<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// A name of a table or column, borrowed from the message.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for RawColumns<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pairs(pairs) = Pairs::<Name<'a>, Value>::deserialize(deserializer)?;
        Ok(Self(pairs.into_iter().map(|(Name(name), value)| (name, value)).collect()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TableUpdates<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Rows<'a> = Pairs<UuidText, RowUpdate<'a>>;
        let Pairs(tables) = Pairs::<Name<'a>, Rows<'a>>::deserialize(deserializer)?;
        let tables = tables.into_iter().map(|(Name(table), Pairs(rows))| {
            (table, rows.into_iter().map(|(UuidText(uuid), update)| (uuid, update)).collect())
        });
        Ok(Self(tables.collect()))
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

impl<'de: 'a, 'a> Deserialize<'de> for RowUpdate<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UpdateVisitor;

        impl<'de> Visitor<'de> for UpdateVisitor {
            type Value = RowUpdate<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row update")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut update = None;
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Initial | Member::Insert | Member::New => {
                            update = Some(RowUpdate::Whole(map.next_value()?));
                        }
                        Member::Modify => update = Some(RowUpdate::Modify(map.next_value()?)),
                        Member::Delete | Member::Old => {
                            map.next_value::<IgnoredAny>()?;
                            // "old" next to "new" is no deletion (RFC 7047 section 4.1.6).
                            update.get_or_insert(RowUpdate::Delete);
                        }
                    }
                }
                update.ok_or_else(|| de::Error::invalid_length(0, &self))
            }
        }

        deserializer.deserialize_map(UpdateVisitor)
    }
}

#[cfg(test)]
mod tests;
