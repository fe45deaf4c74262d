//! `cargo xtask codegen [SCHEMA]` and `cargo xtask docs`: the command line of this crate's library.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use xtask::{codegen, docs};

const USAGE: &str = "usage: cargo xtask codegen [SCHEMA] | docs

codegen   writes the typed rows of crates/ovsdb/src/tables anew, from the
          vswitch.ovsschema that Open vSwitch installed, or from SCHEMA
docs      writes docs/labels.md anew, from the label table";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["codegen"] => write_rows(Path::new(codegen::INSTALLED_SCHEMA)),
        ["codegen", schema] => write_rows(Path::new(schema)),
        ["docs"] => Ok(std::fs::write(docs::labels_page(), docs::labels_text())?),
        _ => bail!("{USAGE}"),
    }
}

fn write_rows(schema: &Path) -> Result<()> {
    for file in codegen::generate(schema)? {
        let path: PathBuf = codegen::target_dir().join(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, file.text)?;
        println!("{}", file.path.display());
    }
    Ok(())
}
