//! The operations of a transaction as plain data (RFC 7047 section 5.2).
//!
//! Knows the notation; [`transaction`](crate::transaction) is the typed way to write one.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::condition::Clause;
use crate::mutation::Mutate;
use crate::value::{NamedUuid, Value};

/// One operation.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Operation {
    /// Section 5.2.1.
    Insert {
        table: &'static str,
        row: Columns,
        #[serde(rename = "uuid-name")]
        name: NamedUuid,
    },
    /// Section 5.2.2.
    Select {
        table: &'static str,
        #[serde(rename = "where")]
        conditions: Vec<Clause>,
        columns: Vec<&'static str>,
    },
    /// Section 5.2.3.
    Update {
        table: &'static str,
        #[serde(rename = "where")]
        conditions: Vec<Clause>,
        row: Columns,
    },
    /// Section 5.2.4.
    Mutate {
        table: &'static str,
        #[serde(rename = "where")]
        conditions: Vec<Clause>,
        mutations: Vec<Mutate>,
    },
    /// Section 5.2.5.
    Delete {
        table: &'static str,
        #[serde(rename = "where")]
        conditions: Vec<Clause>,
    },
    /// Section 5.2.6. In a box, since it is twice as large as any other.
    Wait(Box<Waiting>),
    /// Section 5.2.7.
    Commit { durable: bool },
    /// Section 5.2.8.
    Abort,
    /// Section 5.2.9.
    Comment { comment: String },
    /// Section 5.2.10.
    Assert { lock: String },
}

/// What a `wait` is for.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Waiting {
    /// In milliseconds; without one the server waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u64>,
    pub(crate) table: &'static str,
    #[serde(rename = "where")]
    pub(crate) conditions: Vec<Clause>,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) until: &'static str,
    pub(crate) rows: Vec<Columns>,
}

/// Prints the operation's name and table, which is what errors name it by.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { table, .. } => write!(f, "insert {table}"),
            Self::Select { table, .. } => write!(f, "select {table}"),
            Self::Update { table, .. } => write!(f, "update {table}"),
            Self::Mutate { table, .. } => write!(f, "mutate {table}"),
            Self::Delete { table, .. } => write!(f, "delete {table}"),
            Self::Wait(wait) => write!(f, "wait {}", wait.table),
            Self::Commit { .. } => f.write_str("commit"),
            Self::Abort => f.write_str("abort"),
            Self::Comment { .. } => f.write_str("comment"),
            Self::Assert { .. } => f.write_str("assert"),
        }
    }
}

/// Columns and their contents, a `<row>` to be sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns(Vec<(&'static str, Value)>);

impl Columns {
    /// Sets a column, which then occurs once however often it is set.
    pub(crate) fn set(&mut self, column: &'static str, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == column) {
            Some((_, old)) => *old = value,
            None => {
                // Most rows have one column or two, and transactions have many rows.
                if self.0.is_empty() {
                    self.0.reserve_exact(2);
                }
                self.0.push((column, value));
            }
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, value) in &self.0 {
            map.serialize_entry(column, value)?;
        }
        map.end()
    }
}
