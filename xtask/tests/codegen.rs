//! The checked-in rows are what the generator makes of the installed schema.

use std::path::Path;
use std::process::Command;

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

/// Schemas with the packages that have them.
const SCHEMAS: [(&str, &str, &str); 3] = [
    ("vswitch", codegen::INSTALLED_SCHEMA, "openvswitch-common"),
    ("nb", "/usr/share/ovn/ovn-nb.ovsschema", "ovn-central"),
    ("sb", "/usr/share/ovn/ovn-sb.ovsschema", "ovn-central"),
];

#[test]
fn the_rows_of_all_tables_of_other_schemas_compile() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src");
    let mut lib = String::from("#![deny(warnings)]\n");
    for (module, schema, package) in SCHEMAS {
        let path = Path::new(schema);
        assert!(path.exists(), "this test needs {schema}: install {package}");
        lib += &format!("pub mod {module};\n");
        for file in codegen::generate_module(path, module, &[]).unwrap() {
            let path = source.join(file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.text).unwrap();
        }
    }
    lib += "
        pub fn uses(row: &nb::LogicalSwitchPort) -> (bool, ovsdb::Where<nb::ACL>) {
            let ingress = nb::ACL::DIRECTION.eq(nb::ACLDirection::FromLport);
            (row.up == Some(true), ingress)
        }
    ";
    std::fs::write(source.join("lib.rs"), lib).unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ovsdb = workspace.join("crates/ovsdb").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"rows\"\nedition = \"2024\"\n\n\
         [dependencies]\novsdb = {{ path = {ovsdb:?} }}\n\
         uuid = {{ version = \"1\", default-features = false }}\n\n[workspace]\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    // The versions that are at hand, so that it works without a network.
    let lock = workspace.join("Cargo.lock");
    std::fs::copy(lock, folder.path().join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--target-dir"])
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn single_tables_and_columns_can_be_asked_for() {
    let schema = Path::new(codegen::INSTALLED_SCHEMA);
    let wanted = ["Port.tag", "Bridge", "Port.name"].map(str::to_owned);
    let files = codegen::generate_module(schema, "rows", &wanted).unwrap();
    let port = &files[1].text;
    assert_eq!(files[1].path, Path::new("rows/port.rs"));
    assert!(port.contains("pub tag: Option<i64>"), "{port}");
    assert!(port.contains("TAG_RANGE: std::ops::RangeInclusive<i64> = 0..=4095"), "{port}");
    assert!(!port.contains("trunks"), "{port}");
    let wanted = ["Port.no_column".to_owned()];
    let error = codegen::generate_module(schema, "rows", &wanted).unwrap_err();
    assert!(error.to_string().contains("no_column"), "{error}");
}
