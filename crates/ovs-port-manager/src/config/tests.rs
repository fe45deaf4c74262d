use std::io::Write;

use expect_test::expect;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    pairs.into_iter()
}

fn load(flags: Options, pairs: &[(&str, &str)], yaml: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    Config::layered(flags, variables(pairs), Some(file.path()))
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn the_shipped_file_holds_every_option_with_its_default() {
    let shipped = include_str!("../../../../configs/ovs-port-manager.yaml");
    assert_eq!(load(Options::default(), &[], shipped), load(Options::default(), &[], ""));
    let keys = shipped.lines().filter(|line| line.contains(": ") && !line.starts_with('#')).count();
    let Options {
        docker,
        ovsdb,
        default_bridge,
        default_interface,
        datapath_type,
        mirror_ports,
        port_security,
        image_labels,
        pools,
        policy,
        resync_interval,
        detach_on_exit,
        wait_for_services,
        control_socket,
        control_group,
        http,
        log_level,
        log_format,
    } = read(::config::File::from_str(shipped, FileFormat::Yaml), "shipped").unwrap();
    let given = [
        docker.is_some(),
        ovsdb.is_some(),
        default_bridge.is_some(),
        default_interface.is_some(),
        datapath_type.is_some(),
        mirror_ports.is_some(),
        port_security.is_some(),
        image_labels.is_some(),
        pools.is_some(),
        policy.is_some(),
        resync_interval.is_some(),
        detach_on_exit.is_some(),
        wait_for_services.is_some(),
        control_socket.is_some(),
        http.is_some(),
        log_level.is_some(),
        log_format.is_some(),
    ];
    assert_eq!(given, [true; 17]);
    assert_eq!(keys, given.len());
    // Its default is not to be given.
    assert!(control_group.is_none() && shipped.contains("\n# control_group: "));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let yaml = "default_bridge: file\ndefault_interface: file\nlog_level: warn\n";
    let variables =
        [("OVS_PORT_MANAGER_DEFAULT_BRIDGE", "env"), ("OVS_PORT_MANAGER_DEFAULT_INTERFACE", "env")];
    let flags = Options { default_bridge: "flag".parse().ok(), ..Options::default() };
    let config = load(flags, &variables, yaml).unwrap();
    assert_eq!(config.default_bridge.as_str(), "flag");
    assert_eq!(config.default_interface.as_str(), "env");
    assert_eq!(config.log_level, LogLevel(tracing::Level::WARN));
}

#[test]
fn a_mistake_names_where_it_stands_the_key_and_the_reason() {
    let files = [
        "default_brigde: br0\n",
        "datapath_type: kernel\n",
        "default_interface: [a, b]\n",
        "docker: tcp://localhost:2375\n",
        "ovsdb: /var/run/openvswitch/db.sock\n",
        "resync_interval: -1\n",
        "detach_on_exit: perhaps\n",
        "control_socket: run/it.sock\n",
        "http: 9472\n",
        "docker: [\n",
    ];
    let variables = [("OVS_PORT_MANAGER_LOG_LEVEL", "loud"), ("OVS_PORT_MANAGER_LOGLEVEL", "info")];
    let files = files.iter().map(|file| load(Options::default(), &[], file));
    let variables = variables.iter().map(|pair| load(Options::default(), &[*pair], ""));
    let told: String =
        files.chain(variables).map(|loaded| format!("{}\n", loaded.unwrap_err())).collect();
    expect![[r#"
        FILE: unknown field `default_brigde`, expected one of `docker`, `ovsdb`, `default_bridge`, `default_interface`, `datapath_type`, `mirror_ports`, `port_security`, `image_labels`, `pools`, `policy`, `resync_interval`, `detach_on_exit`, `wait_for_services`, `control_socket`, `control_group`, `http`, `log_level`, `log_format`
        FILE: 'kernel': not one of auto, system, netdev for key `datapath_type`
        FILE: invalid type: sequence, expected a string for key `default_interface`
        FILE: 'tcp://localhost:2375': not of the form unix:///PATH for key `docker`
        FILE: '/var/run/openvswitch/db.sock': "/var/run/openvswitch/db.sock" is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT for key `ovsdb`
        FILE: '-1': not a number of seconds between 0 and 86400 for key `resync_interval`
        FILE: 'perhaps': provided string was not `true` or `false` for key `detach_on_exit`
        FILE: 'run/it.sock': neither an absolute path nor none for key `control_socket`
        FILE: '9472': neither ADDRESS:PORT, such as 127.0.0.1:9472, nor none for key `http`
        FILE: while parsing a node, did not find expected node content at byte 10 line 2 column 1
        environment variables OVS_PORT_MANAGER_…: 'loud': not one of error, warn, info, debug, trace for key `log_level`
        environment variables OVS_PORT_MANAGER_…: unknown field `loglevel`, expected one of `docker`, `ovsdb`, `default_bridge`, `default_interface`, `datapath_type`, `mirror_ports`, `port_security`, `image_labels`, `pools`, `policy`, `resync_interval`, `detach_on_exit`, `wait_for_services`, `control_socket`, `control_group`, `http`, `log_level`, `log_format`
    "#]].assert_eq(&told);
}

#[test]
fn a_file_that_is_named_must_exist() {
    let flags = Options::default();
    let error = Config::layered(flags, variables(&[]), Some(Path::new("/no/such"))).unwrap_err();
    expect!["cannot read the configuration file /no/such: No such file or directory (os error 2)"]
        .assert_eq(&crate::error_chain::chain(&error));
}

#[test]
fn the_variable_that_names_the_file_is_no_option() {
    assert!(load(Options::default(), &[(FILE_VARIABLE, "/somewhere")], "").is_ok());
}
