//! Which tables to follow: what is asked of the server, and what its schema must have.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::replica::Replica;
use crate::row::Row;
use crate::schema::Schema;
use crate::table::{AnyTable, Table};

/// A database and the rows of it that a client follows.
#[derive(Clone, Debug)]
pub struct Monitor {
    database: String,
    tables: Vec<Wanted>,
}

/// A table and the columns wanted of it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    table: &'static str,
    columns: &'static [&'static str],
    empty: fn() -> Box<dyn AnyTable>,
}

/// The server's schema lacks something that a row type needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaMismatch {
    /// A table.
    #[error("database {database} (schema version {version}) has no table {table}")]
    MissingTable {
        /// The database.
        database: String,
        /// The version of its schema.
        version: String,
        /// The table that is missing.
        table: &'static str,
    },
    /// A column.
    #[error(
        "database {database} (schema version {version}) has no column {column} in table {table}"
    )]
    MissingColumn {
        /// The database.
        database: String,
        /// The version of its schema.
        version: String,
        /// The table.
        table: &'static str,
        /// The column that is missing in it.
        column: &'static str,
    },
}

impl Monitor {
    /// Follows no table yet. A client without tables can still [`transact`](crate::Client::transact).
    pub fn new(database: impl Into<String>) -> Self {
        Self { database: database.into(), tables: Vec::new() }
    }

    /// Follows the rows `R` as well.
    #[must_use]
    pub fn table<R: Row>(mut self) -> Self {
        if self.tables.iter().all(|wanted| wanted.table != R::TABLE) {
            let empty = || Box::new(Table::<R>::new()) as Box<dyn AnyTable>;
            self.tables.push(Wanted { table: R::TABLE, columns: R::COLUMNS, empty });
        }
        self
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A replica of these tables, without rows.
    pub(crate) fn empty_replica(&self) -> Replica {
        Replica::new(self.tables.iter().map(|wanted| (wanted.table, (wanted.empty)())))
    }

    /// Whether the schema has all that is wanted.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), SchemaMismatch> {
        for &Wanted { table, columns, .. } in &self.tables {
            let database = || schema.name.clone();
            let version = || schema.version.clone();
            let Some(found) = schema.tables.get(table) else {
                return Err(SchemaMismatch::MissingTable {
                    database: database(),
                    version: version(),
                    table,
                });
            };
            if let Some(column) =
                columns.iter().find(|column| !found.columns.contains_key(**column))
            {
                return Err(SchemaMismatch::MissingColumn {
                    database: database(),
                    version: version(),
                    table,
                    column,
                });
            }
        }
        Ok(())
    }
}

/// The `<monitor-requests>` of RFC 7047 section 4.1.5, and of `monitor_cond`.
impl Serialize for Monitor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Request {
            columns: &'static [&'static str],
        }

        let mut map = serializer.serialize_map(Some(self.tables.len()))?;
        for Wanted { table, columns, .. } in &self.tables {
            map.serialize_entry(table, &[Request { columns }])?;
        }
        map.end()
    }
}
