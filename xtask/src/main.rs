//! `cargo xtask codegen` and `cargo xtask docs`: the command line of this crate's library.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use xtask::codegen::{self, File};
use xtask::docs;

const USAGE: &str = "usage: cargo xtask codegen [SCHEMA]
       cargo xtask codegen SCHEMA MODULE [TABLE | TABLE.COLUMN]...
       cargo xtask docs

With at most a schema: writes the typed rows of crates/ovsdb/src/tables anew, from
the vswitch.ovsschema that Open vSwitch installed, or from SCHEMA.

With a module, a path such as src/nb: writes typed rows for another crate that
depends on ovsdb, for the tables and columns named, or for all of them, to
MODULE.rs and the folder MODULE.

docs: writes docs/labels.md anew, from the label table.";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["codegen"] => {
            write(&codegen::target_dir(), codegen::generate(Path::new(codegen::INSTALLED_SCHEMA))?)
        }
        ["codegen", schema] => write(&codegen::target_dir(), codegen::generate(Path::new(schema))?),
        ["codegen", schema, module, wanted @ ..] => {
            let path = Path::new(module);
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.context("the module needs a name")?;
            let wanted: Vec<String> = wanted.iter().map(|&one| one.to_owned()).collect();
            let files = codegen::generate_module(Path::new(schema), name, &wanted)?;
            write(path.parent().unwrap_or(Path::new("")), files)
        }
        ["docs"] => Ok(std::fs::write(docs::labels_page(), docs::labels_text())?),
        _ => bail!("{USAGE}"),
    }
}

fn write(folder: &Path, files: Vec<File>) -> Result<()> {
    for file in files {
        let path: PathBuf = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, file.text)?;
        println!("{}", file.path.display());
    }
    Ok(())
}
