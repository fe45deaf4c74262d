//! Which tables to follow: what is asked of the server, and what its schema must have.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::column::Column;
use crate::filter::{Filter, Term, Terms};
use crate::replica::Replica;
use crate::row::Row;
use crate::schema::Schema;
use crate::table::{AnyTable, Table};

/// A database and the rows of it that a client follows.
///
/// ```
/// use ovsdb::tables::{Bridge, Interface};
/// use ovsdb::{Filter, Monitor};
///
/// # fn example() -> Result<(), ovsdb::Conjunction> {
/// let internal = Filter::any([Interface::TYPE.eq("internal")])?;
/// let monitor = Monitor::new("Open_vSwitch")
///     .table::<Bridge>()
///     .table_where::<Interface>(internal)
///     .index_external_id("container_id");
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    database: String,
    tables: Vec<Wanted>,
    /// Keys of `external_ids` by whose values rows are to be found.
    keys: Vec<&'static str>,
}

/// A table and what is wanted of it.
#[derive(Clone, Debug)]
struct Wanted {
    table: &'static str,
    columns: Vec<&'static str>,
    rows: Terms,
    empty: fn(&[&'static str]) -> Box<dyn AnyTable>,
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
        Self { database: database.into(), tables: Vec::new(), keys: Vec::new() }
    }

    /// Follows the rows `R` as well.
    #[must_use]
    pub fn table<R: Row>(self) -> Self {
        self.table_where::<R>(Filter::all())
    }

    /// Follows those of the rows `R` that a filter lets pass, so that the others cost nothing.
    ///
    /// [`Client::set_filter`](crate::Client::set_filter) changes it. A server older than Open
    /// vSwitch 2.6 does not know filters: all rows are replicated then.
    #[must_use]
    pub fn table_where<R: Row>(mut self, filter: Filter<R>) -> Self {
        if self.tables.iter().all(|wanted| wanted.table != R::TABLE) {
            let empty = |keys: &[_]| Box::new(Table::<R>::new(keys)) as Box<dyn AnyTable>;
            self.tables.push(Wanted {
                table: R::TABLE,
                columns: R::COLUMNS.to_vec(),
                rows: filter.into_terms(),
                empty,
            });
        }
        self
    }

    /// Does without a column, which has its default value in all rows of the replica: what nobody reads costs
    /// nothing. The table must have been named before.
    #[must_use]
    pub fn without<R: Row, T>(mut self, column: Column<R, T>) -> Self {
        for wanted in self.tables.iter_mut().filter(|wanted| wanted.table == R::TABLE) {
            wanted.columns.retain(|name| *name != column.name());
        }
        self
    }

    /// Keeps an index of all tables by the values of this key of `external_ids`.
    ///
    /// [`Table::by_external_id`](crate::Table::by_external_id) finds rows by any key; by others it goes over all rows.
    #[must_use]
    pub fn index_external_id(mut self, key: &'static str) -> Self {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        self
    }

    /// Takes another filter for a table. `false` if the table is not followed.
    pub(crate) fn set_filter<R: Row>(&mut self, filter: Filter<R>) -> bool {
        let wanted = self.tables.iter_mut().find(|wanted| wanted.table == R::TABLE);
        let Some(wanted) = wanted else { return false };
        wanted.rows = filter.into_terms();
        true
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A replica of these tables, without rows.
    pub(crate) fn empty_replica(&self) -> Replica {
        let empty = |wanted: &Wanted| (wanted.table, (wanted.empty)(&self.keys));
        Replica::new(self.tables.iter().map(empty))
    }

    /// Whether the schema has all that is wanted.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), SchemaMismatch> {
        for Wanted { table, columns, .. } in &self.tables {
            let table = *table;
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

/// The `<monitor-requests>` of RFC 7047 section 4.1.5.
pub(crate) struct Requests<'a>(pub(crate) &'a Monitor);

/// The `<monitor-cond-requests>` of ovsdb-server(7), section 4.1.12: with conditions.
pub(crate) struct CondRequests<'a>(pub(crate) &'a Monitor);

/// The requests of `monitor_cond_change` (ovsdb-server(7), section 4.1.13).
pub(crate) struct Conditions<'a>(pub(crate) &'a Monitor);

#[derive(serde::Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<&'a [&'static str]>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    rows: Option<&'a [Term]>,
}

impl Monitor {
    fn requests<'a, S: Serializer>(
        &'a self,
        serializer: S,
        request: impl Fn(&'a Wanted) -> Request<'a>,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tables.len()))?;
        for wanted in &self.tables {
            map.serialize_entry(wanted.table, &[request(wanted)])?;
        }
        map.end()
    }
}

impl Serialize for Requests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.requests(serializer, |wanted| Request { columns: Some(&wanted.columns), rows: None })
    }
}

impl Serialize for CondRequests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.requests(serializer, |wanted| Request {
            columns: Some(&wanted.columns),
            rows: (!wanted.rows.is_empty()).then_some(&wanted.rows),
        })
    }
}

impl Serialize for Conditions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.requests(serializer, |wanted| Request { columns: None, rows: Some(&wanted.rows) })
    }
}
