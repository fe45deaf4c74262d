//! How the type of a column becomes a Rust type and a line of documentation.

use anyhow::{Context as _, Result, bail, ensure};
use ovsdb::schema::{AtomicType, BaseType, ColumnSchema, TableSchema};

use super::selection::SELECTION;

/// A column, ready to be written.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The name of the struct's field.
    pub(super) field: String,
    /// The Rust type it is read into.
    pub(super) read: String,
    /// The Rust type it is written from. It differs for references.
    pub(super) write: String,
    /// Type, range and choices in words.
    pub(super) description: String,
    /// The strings allowed, if not all are.
    pub(super) choices: Option<Vec<String>>,
    /// The row type that it refers to.
    pub(super) refers_to: Option<&'static str>,
    /// Whether no two rows have the same contents.
    pub(super) unique: bool,
}

/// How many elements a column has.
enum Shape {
    One,
    AtMostOne,
    Set,
    Map,
}

impl Column {
    pub(super) fn new(
        name: &'static str,
        schema: &ColumnSchema,
        table: &TableSchema,
    ) -> Result<Self> {
        let kind = &schema.kind;
        let shape = match (&kind.value, kind.min, kind.max) {
            (None, 1, Some(1)) => Shape::One,
            (None, 0, Some(1)) => Shape::AtMostOne,
            (None, ..) => Shape::Set,
            (Some(_), _, Some(1)) => bail!("no rule for a map of at most one pair"),
            (Some(_), ..) => Shape::Map,
        };
        let ordered = !matches!(shape, Shape::Set | Shape::Map);
        ensure!(ordered || kind.key.atomic != AtomicType::Real, "no rule for a set of reals");
        let choices = choices(&kind.key)?;
        let refers_to = kind.key.ref_table.as_deref().and_then(row_of);
        let read = match &choices {
            Some(_) => camel_case(name),
            None => rust_type(kind.key.atomic).to_owned(),
        };
        let write = refers_to.map_or_else(|| read.clone(), |row| format!("Ref<{row}>"));
        let value = kind.value.as_ref().map(|value| rust_type(value.atomic));
        let unique = table.indexes.iter().any(|index| index.as_slice() == [name]);
        let mut description = describe(&shape, schema);
        if unique {
            description.push_str("; unique");
        }
        if !schema.mutable {
            description.push_str("; never changes");
        }
        Ok(Self {
            name,
            field: if name == "type" { "r#type".to_owned() } else { name.to_owned() },
            read: wrap(&shape, &read, value),
            write: wrap(&shape, &write, value),
            description,
            choices,
            refers_to,
            unique,
        })
    }
}

fn wrap(shape: &Shape, key: &str, value: Option<&str>) -> String {
    match (shape, value) {
        (Shape::One, _) => key.to_owned(),
        (Shape::AtMostOne, _) => format!("Option<{key}>"),
        (Shape::Set, _) => format!("BTreeSet<{key}>"),
        (Shape::Map, value) => format!("BTreeMap<{key}, {}>", value.unwrap_or("String")),
    }
}

/// The row type of a table, if it is selected.
fn row_of(table: &str) -> Option<&'static str> {
    SELECTION.iter().find(|selected| selected.table == table).map(|selected| selected.row)
}

fn rust_type(atomic: AtomicType) -> &'static str {
    match atomic {
        AtomicType::Integer => "i64",
        AtomicType::Real => "f64",
        AtomicType::Boolean => "bool",
        AtomicType::String => "String",
        AtomicType::Uuid => "Uuid",
    }
}

fn choices(base: &BaseType) -> Result<Option<Vec<String>>> {
    let Some(choices) = &base.choices else {
        return Ok(None);
    };
    ensure!(base.atomic == AtomicType::String, "no rule for an enum of anything but strings");
    let strings = choices
        .iter()
        .map(|choice| choice.as_str().map(str::to_owned).context("a choice that is no string"));
    strings.collect::<Result<_>>().map(Some)
}

/// The type in words, as in "optional integer, 0 to 4095".
fn describe(shape: &Shape, schema: &ColumnSchema) -> String {
    let kind = &schema.kind;
    let (key, range) = (noun(&kind.key), describe_range(&kind.key));
    match shape {
        Shape::One => format!("{key}{range}"),
        Shape::AtMostOne => format!("optional {key}{range}"),
        Shape::Map => {
            let value = kind.value.as_ref();
            let value = value.map(|value| noun(value) + &describe_range(value));
            let value = value.unwrap_or_default();
            format!("map from {key}{range} to {value}{}", describe_size(kind.min, kind.max))
        }
        Shape::Set => {
            let keys = key.replacen(' ', "s ", 1);
            let plural = if keys == key { "s" } else { "" };
            format!("set of {keys}{plural}{range}{}", describe_size(kind.min, kind.max))
        }
    }
}

fn describe_size(min: u64, max: Option<u64>) -> String {
    let min = (min > 0).then(|| format!("; at least {min} of them"));
    let max = max.map(|max| format!("; at most {max} of them"));
    min.unwrap_or_default() + &max.unwrap_or_default()
}

fn noun(base: &BaseType) -> String {
    match (base.atomic, &base.ref_table) {
        (AtomicType::Uuid, Some(table)) => format!("reference to `{table}`"),
        (AtomicType::Uuid, None) => "uuid".to_owned(),
        (AtomicType::Integer, _) => "integer".to_owned(),
        (AtomicType::Real, _) => "real".to_owned(),
        (AtomicType::Boolean, _) => "boolean".to_owned(),
        (AtomicType::String, _) => "string".to_owned(),
    }
}

fn describe_range(base: &BaseType) -> String {
    let range = match (base.min_integer, base.max_integer) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, Some(max)) => format!(", at most {max}"),
        (None, None) => String::new(),
    };
    let Some(choices) = &base.choices else {
        return range;
    };
    let choices: Vec<String> =
        choices.iter().filter_map(|choice| Some(format!("`{}`", choice.as_str()?))).collect();
    format!("{range}, one of {}", choices.join(", "))
}

/// `native-untagged` and `vlan_mode` as `NativeUntagged` and `VlanMode`.
pub(super) fn camel_case(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(['-', '_']) {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
