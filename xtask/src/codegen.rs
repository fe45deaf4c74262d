//! Typed rows for the `ovsdb` crate, from an `.ovsschema` file and a list of columns.
//!
//! Decides what the rows look like; `selection` says which there are, `column` how a column's
//! type becomes a Rust type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use ovsdb::schema::{Schema, TableSchema};

mod column;
mod format;
mod name;
mod selection;

use column::Column;
use format::format_rust;
use selection::Selected;

/// Where the packages of Open vSwitch put the schema.
pub const INSTALLED_SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A generated file.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to where the files belong.
    pub path: PathBuf,
    /// Its text, formatted.
    pub text: String,
}

/// Where the files of [`generate`] belong.
pub fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ovsdb/src")
}

/// Generates the rows that the crate `ovsdb` itself has.
///
/// # Errors
///
/// The schema can't be read, or lacks a selected column, or has one of a type that no rule covers.
pub fn generate(schema: &Path) -> Result<Vec<File>> {
    let schema = read_schema(schema)?;
    let rows = Rows::new(&schema, &selection::in_use(), "crate")?;
    rows.files("tables")
}

/// Generates rows for another crate, as a module of this name: for the tables `TABLE` and the
/// columns `TABLE.COLUMN` that are wanted or, if none are, for all.
///
/// # Errors
///
/// See [`generate`].
pub fn generate_module(schema: &Path, module: &str, wanted: &[String]) -> Result<Vec<File>> {
    let schema = read_schema(schema)?;
    let selection = selection::asked_for(&schema, wanted)?;
    Rows::new(&schema, &selection, "ovsdb")?.files(module)
}

fn read_schema(path: &Path) -> Result<Schema> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read the schema {}: install Open vSwitch, or give the path of a schema",
            path.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is no database schema", path.display()))
}

/// The rows of one database, ready to be written.
struct Rows {
    database: String,
    /// The manual page that explains the columns.
    manual: String,
    /// How the crate `ovsdb` is called where the rows are.
    root: &'static str,
    tables: Vec<(Selected, Vec<Column>)>,
}

impl Rows {
    fn new(schema: &Schema, selection: &[Selected], root: &'static str) -> Result<Self> {
        let mut tables = Vec::new();
        for selected in selection {
            let table = schema.tables.get(&selected.table);
            let table =
                table.with_context(|| format!("the schema has no table {}", selected.table))?;
            tables.push((selected.clone(), columns(selected, table, selection)?));
        }
        name_enums(&mut tables);
        Ok(Self { database: schema.name.clone(), manual: manual(&schema.name), root, tables })
    }

    fn files(&self, module: &str) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for (selected, columns) in &self.tables {
            let name = selected.module.trim_start_matches("r#");
            files.push(File {
                path: Path::new(module).join(format!("{name}.rs")),
                text: format_rust(&self.table(selected, columns)?)?,
            });
        }
        files
            .push(File { path: format!("{module}.rs").into(), text: format_rust(&self.module())? });
        Ok(files)
    }

    /// The module of all tables: their modules, and the types in each.
    fn module(&self) -> String {
        let mut out = String::from(HEADER);
        let _ = writeln!(
            out,
            "//! Typed rows of the `{}` database, for the columns in use.\n//!\n\
             //! What the columns mean is told in {}.\n",
            self.database, self.manual
        );
        for (selected, _) in &self.tables {
            let _ = writeln!(out, "mod {};", selected.module);
        }
        out.push('\n');
        for (selected, columns) in &self.tables {
            let mut types = vec![selected.row.as_str()];
            let choices = columns.iter().filter_map(|column| column.choices.as_ref());
            types.extend(choices.map(|choices| choices.name.as_str()));
            let _ = writeln!(out, "pub use {}::{{{}}};", selected.module, types.join(", "));
        }
        out
    }

    /// The module of one table.
    fn table(&self, selected: &Selected, columns: &[Column]) -> Result<String> {
        let manual = &self.manual;
        let mut out = String::from(HEADER);
        let _ = writeln!(out, "//! Rows of the table `{}`, see {manual}.\n", selected.table);
        imports(&mut out, self.root, selected, columns);
        row_struct(&mut out, manual, selected, columns);
        column_constants(&mut out, selected, columns);
        row_impl(&mut out, selected, columns);
        for column in columns {
            string_enum(&mut out, manual, selected, column)?;
        }
        Ok(out)
    }
}

const HEADER: &str = "// Generated by `cargo xtask codegen`. Do not edit.\n\n";

fn manual(database: &str) -> String {
    match database {
        "Open_vSwitch" => "ovs-vswitchd.conf.db(5)".to_owned(),
        "OVN_Northbound" => "ovn-nb(5)".to_owned(),
        "OVN_Southbound" => "ovn-sb(5)".to_owned(),
        other => format!("the manual of {other}"),
    }
}

/// An enum has the name of its column or, where that is not enough, of its row and its column.
fn name_enums(tables: &mut [(Selected, Vec<Column>)]) {
    const TAKEN: &[&str] = &[
        "Column",
        "Ref",
        "Fold",
        "Row",
        "TypeError",
        "Value",
        "Uuid",
        "Option",
        "String",
        "Vec",
        "BTreeMap",
        "BTreeSet",
        "Result",
        "Self",
        "Default",
    ];
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for taken in TAKEN {
        count.insert((*taken).to_owned(), 1);
    }
    for (selected, columns) in tables.iter() {
        let choices = columns.iter().filter_map(|column| column.choices.as_ref());
        let names = choices.map(|choices| choices.name.clone());
        for name in names.chain([selected.row.clone()]) {
            *count.entry(name).or_default() += 1;
        }
    }
    for (selected, columns) in tables {
        for column in columns {
            let name = column.choices.as_ref().map(|choices| choices.name.clone());
            if let Some(name) = name.filter(|name| count.get(name) != Some(&1)) {
                column.rename_enum(format!("{}{name}", selected.row));
            }
        }
    }
}

fn columns(
    selected: &Selected,
    table: &TableSchema,
    selection: &[Selected],
) -> Result<Vec<Column>> {
    let columns = selected.columns.iter().map(|name| {
        let schema = table.columns.get(name).with_context(|| {
            format!("the schema has no column {name} in table {}", selected.table)
        })?;
        Column::new(name, schema, table, selection)
            .with_context(|| format!("table {}, column {name}", selected.table))
    });
    columns.collect()
}

fn imports(out: &mut String, root: &str, selected: &Selected, columns: &[Column]) {
    let uses = |word: &str| {
        columns.iter().any(|column| column.read.contains(word) || column.write.contains(word))
    };
    let collections: Vec<&str> = ["BTreeMap", "BTreeSet"].into_iter().filter(|c| uses(c)).collect();
    if !collections.is_empty() {
        let _ = writeln!(out, "use std::collections::{{{}}};\n", collections.join(", "));
    }
    let _ = writeln!(out, "use uuid::Uuid;\n");
    let mut names = vec!["Column", "Fold", "Row", "TypeError", "Value"];
    if uses("Ref<") {
        names.push("Ref");
    }
    if columns.iter().any(|column| column.choices.is_some()) {
        names.push("string_enum");
    }
    let mut rows: Vec<&str> = columns
        .iter()
        .flat_map(|column| column.refers_to.iter().map(String::as_str))
        .filter(|row| *row != selected.row)
        .collect();
    rows.sort_unstable();
    rows.dedup();
    if !rows.is_empty() {
        let _ = writeln!(out, "use super::{{{}}};", rows.join(", "));
    }
    let _ = writeln!(out, "use {root}::{{{}}};\n", names.join(", "));
}

fn row_struct(out: &mut String, manual: &str, selected: &Selected, columns: &[Column]) {
    let _ = writeln!(out, "/// A row of the table `{}`, see {manual}.", selected.table);
    out.push_str("#[derive(Clone, Debug, PartialEq)]\n");
    let _ = writeln!(out, "pub struct {} {{", selected.row);
    out.push_str("/// `_uuid`: the row's UUID.\npub uuid: Uuid,\n");
    for column in columns {
        let _ = writeln!(out, "/// `{}`: {}.", column.name, column.description);
        let _ = writeln!(out, "pub {}: {},", column.field, column.read);
    }
    out.push_str("}\n\n");
}

fn column_constants(out: &mut String, selected: &Selected, columns: &[Column]) {
    let _ = writeln!(out, "impl {} {{", selected.row);
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "/// The column `{}`: {}.", column.name, column.description);
        let constant = column.name.to_uppercase();
        let _ = writeln!(
            out,
            "pub const {constant}: Column<Self, {}> = Column::new({:?});",
            column.write, column.name
        );
        if let Some((least, greatest)) = column.range {
            let _ = writeln!(
                out,
                "\n/// What the server accepts in the column `{}`.\n\
                 pub const {constant}_RANGE: std::ops::RangeInclusive<i64> = {least}..={greatest};",
                column.name
            );
        }
    }
    out.push_str("}\n\n");
}

fn row_impl(out: &mut String, selected: &Selected, columns: &[Column]) {
    let _ = writeln!(out, "impl Row for {} {{", selected.row);
    let _ = writeln!(out, "const TABLE: &'static str = {:?};\n", selected.table);
    let _ = writeln!(out, "const COLUMNS: &'static [&'static str] = &{:?};\n", selected.columns);
    out.push_str("fn new(uuid: Uuid) -> Self {\nSelf {\nuuid,\n");
    for column in columns {
        let _ = writeln!(out, "{}: Default::default(),", column.field);
    }
    out.push_str("}\n}\n\nfn uuid(&self) -> Uuid {\nself.uuid\n}\n\n");
    out.push_str(
        "fn fold(&mut self, column: &str, value: Value, how: Fold) -> Result<(), TypeError> {\n\
         match column {\n",
    );
    for column in columns {
        let _ = writeln!(out, "{:?} => how.apply(&mut self.{}, value),", column.name, column.field);
    }
    out.push_str("_ => Ok(()),\n}\n}\n");
    if columns
        .iter()
        .any(|column| column.name == "name" && column.unique && column.read == "String")
    {
        out.push_str("\nfn name(&self) -> Option<&str> {\nSome(&self.name)\n}\n");
    }
    if columns
        .iter()
        .any(|column| column.name == "external_ids" && column.read == "BTreeMap<String, String>")
    {
        out.push_str(
            "\nfn external_ids(&self) -> Option<&BTreeMap<String, String>> {\n\
             Some(&self.external_ids)\n}\n",
        );
    }
    out.push_str("}\n");
}

/// The enum of a column, if its schema lists the strings allowed.
fn string_enum(out: &mut String, manual: &str, selected: &Selected, column: &Column) -> Result<()> {
    let Some(choices) = &column.choices else {
        return Ok(());
    };
    out.push_str("\nstring_enum! {\n");
    let _ = writeln!(
        out,
        "    /// What the column `{}` of the table `{}` holds, see {manual}.",
        column.name, selected.table
    );
    let _ = writeln!(out, "    {} {{", choices.name);
    let mut variants = BTreeSet::from(["Other".to_owned()]);
    for choice in &choices.strings {
        let variant = name::variant(choice);
        ensure!(
            variants.insert(variant.clone()),
            "no variant of its own can be made of {choice:?}"
        );
        let _ = writeln!(out, "        /// `{choice}`.\n        {variant} = {choice:?},");
    }
    out.push_str("    }\n}\n");
    Ok(())
}
