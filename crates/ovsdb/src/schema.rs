//! Database schemas (RFC 7047 section 3.2), as files and as the reply to `get_schema` hold them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A `<database-schema>`, of a file or of [`Client::get_schema`](crate::Client::get_schema).
///
/// ```no_run
/// use ovsdb::Client;
///
/// async fn knows_column(client: &Client, table: &str, column: &str) -> Result<bool, ovsdb::CallError> {
///     let schema = client.get_schema("Open_vSwitch").await?;
///     Ok(schema.tables.get(table).is_some_and(|table| table.columns.contains_key(column)))
/// }
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct Schema {
    /// The database's name.
    pub name: String,
    /// The schema's version.
    pub version: String,
    /// The tables by name.
    pub tables: BTreeMap<String, TableSchema>,
}

/// A `<table-schema>`.
#[derive(Clone, Debug, Deserialize)]
pub struct TableSchema {
    /// The columns by name, without those that every table has (`_uuid`, `_version`).
    pub columns: BTreeMap<String, ColumnSchema>,
    /// The sets of columns whose contents together are unique to a row.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
}

/// A `<column-schema>`.
#[derive(Clone, Debug, Deserialize)]
pub struct ColumnSchema {
    /// What the column holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether the column may change once the row is there.
    #[serde(default = "yes")]
    pub mutable: bool,
}

fn yes() -> bool {
    true
}

/// A `<type>`: what a column holds, and how many of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "RawType")]
pub struct ColumnType {
    /// The elements, or the keys of a map.
    pub key: BaseType,
    /// The values of a map.
    pub value: Option<BaseType>,
    /// The least number of elements: 0 or 1.
    pub min: u64,
    /// The greatest number of elements, `None` for any.
    pub max: Option<u64>,
}

/// A `<base-type>`: the type of atoms, and which of them are allowed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "RawBase")]
pub struct BaseType {
    /// The type of the atoms.
    pub atomic: AtomicType,
    /// The only atoms allowed, if not all are.
    pub choices: Option<Vec<serde_json::Value>>,
    /// The least integer allowed.
    pub min_integer: Option<i64>,
    /// The greatest integer allowed.
    pub max_integer: Option<i64>,
    /// The table that a UUID refers to.
    pub ref_table: Option<String>,
}

/// An `<atomic-type>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtomicType {
    /// A signed 64-bit integer.
    Integer,
    /// A floating-point number.
    Real,
    /// True or false.
    Boolean,
    /// Text.
    String,
    /// A UUID.
    Uuid,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawType {
    Atomic(AtomicType),
    Full {
        key: BaseType,
        value: Option<BaseType>,
        #[serde(default = "one")]
        min: u64,
        #[serde(default = "at_most_one")]
        max: RawMax,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawMax {
    Number(u64),
    Word(Unlimited),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unlimited {
    Unlimited,
}

fn one() -> u64 {
    1
}

fn at_most_one() -> RawMax {
    RawMax::Number(1)
}

impl From<RawType> for ColumnType {
    fn from(raw: RawType) -> Self {
        match raw {
            RawType::Atomic(atomic) => {
                Self { key: BaseType::plain(atomic), value: None, min: 1, max: Some(1) }
            }
            RawType::Full { key, value, min, max } => {
                let max = match max {
                    RawMax::Number(max) => Some(max),
                    RawMax::Word(Unlimited::Unlimited) => None,
                };
                Self { key, value, min, max }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawBase {
    Atomic(AtomicType),
    #[serde(rename_all = "camelCase")]
    Full {
        #[serde(rename = "type")]
        atomic: AtomicType,
        #[serde(rename = "enum")]
        choices: Option<RawChoices>,
        min_integer: Option<i64>,
        max_integer: Option<i64>,
        ref_table: Option<String>,
    },
}

/// A set of one element may be the bare element (RFC 7047 section 5.1).
#[derive(Deserialize)]
#[serde(untagged)]
enum RawChoices {
    Set(#[allow(dead_code, reason = "the tag")] String, Vec<serde_json::Value>),
    One(serde_json::Value),
}

impl BaseType {
    fn plain(atomic: AtomicType) -> Self {
        Self { atomic, choices: None, min_integer: None, max_integer: None, ref_table: None }
    }
}

impl From<RawBase> for BaseType {
    fn from(raw: RawBase) -> Self {
        match raw {
            RawBase::Atomic(atomic) => Self::plain(atomic),
            RawBase::Full { atomic, choices, min_integer, max_integer, ref_table } => {
                let choices = choices.map(|choices| match choices {
                    RawChoices::Set(_, choices) => choices,
                    RawChoices::One(choice) => vec![choice],
                });
                Self { atomic, choices, min_integer, max_integer, ref_table }
            }
        }
    }
}
