//! The checked-in rows are what the generator makes of the installed schema.

use std::path::Path;

use xtask::codegen;

#[test]
fn regenerating_the_rows_changes_nothing() {
    let schema = Path::new(codegen::INSTALLED_SCHEMA);
    assert!(
        schema.exists(),
        "this test needs the schema of Open vSwitch at {}: install openvswitch-switch",
        schema.display()
    );
    for file in codegen::generate(schema).unwrap() {
        let path = codegen::target_dir().join(&file.path);
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            present == file.text,
            "{} is not what the generator makes: run `cargo xtask codegen`",
            file.path.display()
        );
    }
}

#[test]
fn a_schema_that_is_not_there_is_named() {
    let error = codegen::generate(Path::new("no/such.ovsschema")).unwrap_err();
    assert!(error.to_string().contains("no/such.ovsschema"), "{error}");
}
