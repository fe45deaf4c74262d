//! How the type of a column becomes a Rust type and a line of documentation.

use anyhow::{Result, ensure};
use ovsdb::schema::{AtomicType, BaseType, ColumnSchema, TableSchema};

use super::name;
use super::selection::Selected;

/// A column, ready to be written.
pub(super) struct Column {
    pub(super) name: String,
    /// The name of the struct's field.
    pub(super) field: String,
    /// The Rust type it is read into.
    pub(super) read: String,
    /// The Rust type it is written from. It differs for references.
    pub(super) write: String,
    /// Type, range and choices in words.
    pub(super) description: String,
    /// The strings allowed, if not all are.
    pub(super) choices: Option<Choices>,
    /// The least and the greatest integer allowed.
    pub(super) range: Option<(i64, i64)>,
    /// The row types that it refers to.
    pub(super) refers_to: Vec<String>,
    /// Whether no two rows have the same contents.
    pub(super) unique: bool,
}

/// The strings that a column may hold.
pub(super) struct Choices {
    /// The name of the enum made of them.
    pub(super) name: String,
    pub(super) strings: Vec<String>,
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
        name: &str,
        schema: &ColumnSchema,
        table: &TableSchema,
        selection: &[Selected],
    ) -> Result<Self> {
        ensure!(name != "uuid", "the name is taken by the row's own");
        let kind = &schema.kind;
        let shape = match (&kind.value, kind.min, kind.max) {
            (None, 1, Some(1)) => Shape::One,
            (None, 0, Some(1)) => Shape::AtMostOne,
            (None, ..) => Shape::Set,
            (Some(_), ..) => Shape::Map,
        };
        let ordered = !matches!(shape, Shape::Set | Shape::Map);
        ensure!(ordered || kind.key.atomic != AtomicType::Real, "no rule for a set of reals");
        let choices = choices(name, &kind.key);
        let read = match &choices {
            Some(choices) => choices.name.clone(),
            None => rust_type(kind.key.atomic).to_owned(),
        };
        let key_row = row_of(&kind.key, selection);
        let write = reference(&read, key_row);
        let value = kind.value.as_ref();
        let value_row = value.and_then(|value| row_of(value, selection));
        let value = value.map(|value| rust_type(value.atomic));
        let written_value = value.map(|value| reference(value, value_row));
        let unique = table.indexes.iter().any(|index| index.as_slice() == [name]);
        let mut description = describe(&shape, schema);
        if unique {
            description.push_str("; unique");
        }
        if !schema.mutable {
            description.push_str("; never changes");
        }
        Ok(Self {
            name: name.to_owned(),
            field: name::identifier(name),
            read: wrap(&shape, &read, value),
            write: wrap(&shape, &write, written_value.as_deref()),
            description,
            choices,
            range: kind.key.min_integer.zip(kind.key.max_integer),
            refers_to: key_row.into_iter().chain(value_row).map(str::to_owned).collect(),
            unique,
        })
    }

    /// Gives the enum of this column another name.
    pub(super) fn rename_enum(&mut self, new: String) {
        if let Some(choices) = &mut self.choices {
            for text in [&mut self.read, &mut self.write] {
                *text = text.replacen(&choices.name, &new, 1);
            }
            choices.name = new;
        }
    }
}

/// A reference to a row, or else the type as it is.
fn reference(plain: &str, row: Option<&str>) -> String {
    row.map_or_else(|| plain.to_owned(), |row| format!("Ref<{row}>"))
}

fn wrap(shape: &Shape, key: &str, value: Option<&str>) -> String {
    match (shape, value) {
        (Shape::One, _) => key.to_owned(),
        (Shape::AtMostOne, _) => format!("Option<{key}>"),
        (Shape::Set, _) => format!("BTreeSet<{key}>"),
        (Shape::Map, value) => format!("BTreeMap<{key}, {}>", value.unwrap_or("String")),
    }
}

/// The row type of the table that is referred to, if it is selected.
fn row_of<'a>(base: &BaseType, selection: &'a [Selected]) -> Option<&'a str> {
    let table = base.ref_table.as_deref()?;
    let selected = selection.iter().find(|selected| selected.table == table)?;
    Some(&selected.row)
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

/// The strings allowed. Numbers stay numbers, however few are allowed.
fn choices(column: &str, base: &BaseType) -> Option<Choices> {
    let choices = base.choices.as_ref()?.iter();
    let strings = choices.map(|choice| choice.as_str().map(str::to_owned));
    Some(Choices { name: name::camel_case(column), strings: strings.collect::<Option<_>>()? })
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
    let choices: Vec<String> = choices
        .iter()
        .map(|choice| match choice.as_str() {
            Some(text) => format!("`{text}`"),
            None => format!("`{choice}`"),
        })
        .collect();
    format!("{range}, one of {}", choices.join(", "))
}
