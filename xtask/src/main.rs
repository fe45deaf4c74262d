//! `cargo xtask codegen [SCHEMA]`: the command line of this crate's library.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use xtask::codegen;

const USAGE: &str = "usage: cargo xtask codegen [SCHEMA]

codegen   writes the typed rows of crates/ovsdb/src/tables anew, from the
          vswitch.ovsschema that Open vSwitch installed, or from SCHEMA";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["codegen"] => write_rows(Path::new(codegen::INSTALLED_SCHEMA)),
        ["codegen", schema] => write_rows(Path::new(schema)),
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
