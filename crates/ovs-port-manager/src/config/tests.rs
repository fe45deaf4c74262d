use std::collections::HashMap;
use std::io::Write;

use expect_test::{Expect, expect};

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables: HashMap<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    Environment::with_prefix(ENVIRONMENT)
        .prefix_separator("_")
        .source(Some(variables))
}

fn load(flags: Options, variables: &[(&str, &str)], yaml: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    Config::layered(flags, environment(variables), Some(file.path())).map_err(|error| {
        error
            .to_string()
            .replace(&file.path().display().to_string(), "FILE")
    })
}

fn check_error(variables: &[(&str, &str)], yaml: &str, expected: Expect) {
    expected.assert_eq(&load(Options::default(), variables, yaml).unwrap_err());
}

#[test]
fn the_shipped_file_holds_every_option_with_its_default() {
    let shipped = include_str!("../../../../configs/ovs-port-manager.yaml");
    assert_eq!(
        load(Options::default(), &[], shipped),
        load(Options::default(), &[], "")
    );
    let keys = shipped
        .lines()
        .filter(|line| line.contains(": ") && !line.starts_with('#'))
        .count();
    let Options {
        docker,
        ovsdb,
        default_bridge,
        default_interface,
        datapath_type,
        log_level,
        log_format,
    } = read(
        ::config::File::from_str(shipped, FileFormat::Yaml),
        "shipped",
    )
    .unwrap();
    let given = [
        docker.is_some(),
        ovsdb.is_some(),
        default_bridge.is_some(),
        default_interface.is_some(),
        datapath_type.is_some(),
        log_level.is_some(),
        log_format.is_some(),
    ];
    assert_eq!(given, [true; 7]);
    assert_eq!(keys, given.len());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let yaml = "default_bridge: file\ndefault_interface: file\nlog_level: warn\n";
    let variables = [
        ("OVS_PORT_MANAGER_DEFAULT_BRIDGE", "env"),
        ("OVS_PORT_MANAGER_DEFAULT_INTERFACE", "env"),
    ];
    let flags = Options {
        default_bridge: "flag".parse().ok(),
        ..Options::default()
    };
    let config = load(flags, &variables, yaml).unwrap();
    assert_eq!(config.default_bridge.as_str(), "flag");
    assert_eq!(config.default_interface.as_str(), "env");
    assert_eq!(config.log_level, LogLevel(tracing::Level::WARN));
}

#[test]
fn a_mistake_names_where_it_stands_the_key_and_the_reason() {
    check_error(&[], "default_brigde: br0\n", expect![[r#""#]]);
    check_error(&[], "datapath_type: kernel\n", expect![[r#""#]]);
    check_error(&[], "default_interface: [a, b]\n", expect![[r#""#]]);
    check_error(&[], "docker: tcp://localhost:2375\n", expect![[r#""#]]);
    check_error(
        &[],
        "ovsdb: /var/run/openvswitch/db.sock\n",
        expect![[r#""#]],
    );
    check_error(&[], "docker: [\n", expect![[r#""#]]);
    check_error(
        &[("OVS_PORT_MANAGER_LOG_LEVEL", "loud")],
        "",
        expect![[r#""#]],
    );
    check_error(
        &[("OVS_PORT_MANAGER_LOGLEVEL", "info")],
        "",
        expect![[r#""#]],
    );
}

#[test]
fn a_file_that_is_named_must_exist() {
    let error = Config::layered(
        Options::default(),
        environment(&[]),
        Some(Path::new("/no/such")),
    );
    expect!["/no/such: no such configuration file"].assert_eq(&error.unwrap_err().to_string());
}
