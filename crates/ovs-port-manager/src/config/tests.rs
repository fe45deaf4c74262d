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
        adopt,
        pools,
        policy,
        resync_interval,
        detach_on_exit,
        wait_for_services,
        control_socket,
        control_group,
        http,
        http_hosts,
        log_level,
        log_format,
    } = read(::config::File::from_str(shipped, FileFormat::Yaml), "shipped", |_| None).unwrap();
    let given = [
        docker.is_some(),
        ovsdb.is_some(),
        default_bridge.is_some(),
        default_interface.is_some(),
        datapath_type.is_some(),
        mirror_ports.is_some(),
        port_security.is_some(),
        image_labels.is_some(),
        adopt.is_some(),
        pools.is_some(),
        policy.is_some(),
        resync_interval.is_some(),
        detach_on_exit.is_some(),
        wait_for_services.is_some(),
        control_socket.is_some(),
        http.is_some(),
        http_hosts.is_some(),
        log_level.is_some(),
        log_format.is_some(),
    ];
    assert_eq!(given, [true; 19]);
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
        "http_hosts: [metrics.example, 'metrics.example:9472']\n",
        "docker: [\n",
    ];
    let variables = [("OVS_PORT_MANAGER_LOG_LEVEL", "loud"), ("OVS_PORT_MANAGER_LOGLEVEL", "info")];
    let files = files.iter().map(|file| load(Options::default(), &[], file));
    let variables = variables.iter().map(|pair| load(Options::default(), &[*pair], ""));
    let told: String =
        files.chain(variables).map(|loaded| format!("{}\n", loaded.unwrap_err())).collect();
    expect![[r#"
        FILE: unknown field `default_brigde`, expected one of `docker`, `ovsdb`, `default_bridge`, `default_interface`, `datapath_type`, `mirror_ports`, `port_security`, `image_labels`, `adopt`, `pools`, `policy`, `resync_interval`, `detach_on_exit`, `wait_for_services`, `control_socket`, `control_group`, `http`, `http_hosts`, `log_level`, `log_format`
        FILE: 'kernel': not one of auto, system, netdev for key `datapath_type`
        FILE: invalid type: sequence, expected a string for key `default_interface`
        FILE: 'tcp://localhost:2375': not of the form unix:///PATH (TCP and SSH are not supported: the daemon runs on the engine's own host) for key `docker`
        FILE: '/var/run/openvswitch/db.sock': "/var/run/openvswitch/db.sock" is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT for key `ovsdb`
        FILE: '-1': not a number of seconds between 0 and 86400 for key `resync_interval`
        FILE: 'perhaps': provided string was not `true` or `false` for key `detach_on_exit`
        FILE: 'run/it.sock': neither an absolute path nor none for key `control_socket`
        FILE: '9472': neither ADDRESS:PORT, such as 127.0.0.1:9472, nor none for key `http`
        FILE: 'metrics.example:9472': not a host's name: letters, digits, '-' and '_' in parts separated by '.', without port, http:// or patterns, such as metrics.example.org for key `http_hosts`
        FILE: not YAML: while parsing a node, did not find expected node content at line 2 column 1
        environment variables OVS_PORT_MANAGER_…: 'loud': not one of error, warn, info, debug, trace for key `log_level`
        environment variables OVS_PORT_MANAGER_…: unknown field `loglevel`, expected one of `docker`, `ovsdb`, `default_bridge`, `default_interface`, `datapath_type`, `mirror_ports`, `port_security`, `image_labels`, `adopt`, `pools`, `policy`, `resync_interval`, `detach_on_exit`, `wait_for_services`, `control_socket`, `control_group`, `http`, `http_hosts`, `log_level`, `log_format`
    "#]].assert_eq(&told);
}

#[test]
fn a_file_that_is_named_must_exist() {
    let flags = Options::default();
    let error = Config::layered(flags, variables(&[]), Some(Path::new("/no/such"))).unwrap_err();
    expect!["cannot use the configuration file /no/such: No such file or directory (os error 2)"]
        .assert_eq(&crate::error_chain::chain(&error));
}

#[test]
fn the_variable_that_names_the_file_is_no_option() {
    assert!(load(Options::default(), &[(FILE_VARIABLE, "/somewhere")], "").is_ok());
}

#[test]
fn lists_are_read_as_lists_and_as_texts_with_commas() {
    let lists = "port_security: [br0, br1]\nmirror_ports:\n  - tap0\n  - tap1\n\
                 policy:\n  - {rule: one, vlans: [0, 10, 30-39], bridges: [br0, br1], macs: ['02:00']}\n";
    let texts = "port_security: br0, br1\nmirror_ports: tap0,tap1\n\
                 policy:\n  - {rule: one, vlans: '0,10,30-39', bridges: 'br0,br1', macs: '02:00'}\n";
    let (lists, texts) =
        (load(Options::default(), &[], lists), load(Options::default(), &[], texts));
    assert_eq!(lists, texts);
    let config = lists.unwrap();
    let names: Vec<_> = config.port_security.0.iter().map(LinkName::as_str).collect();
    assert_eq!(names, ["br0", "br1"]);
    let [rule] = config.policy.0.as_slice() else { panic!("{:?}", config.policy) };
    assert_eq!(rule.vlans.as_ref().map(ToString::to_string).as_deref(), Some("0,10,30-39"));
    let variables = [("OVS_PORT_MANAGER_PORT_SECURITY", "br0,br1")];
    let config = load(Options::default(), &variables, "").unwrap();
    assert_eq!(config.port_security.0.len(), 2);
    let config = load(Options::default(), &[], "policy: [{rule: one, vlans: 10}]").unwrap();
    let vlans = config.policy.0.first().and_then(|rule| rule.vlans.as_ref());
    assert_eq!(vlans.map(ToString::to_string).as_deref(), Some("10"));
}

#[test]
fn an_empty_list_of_what_is_allowed_allows_nothing() {
    let config = load(Options::default(), &[], "policy: [{rule: one, vlans: []}]").unwrap();
    let vlans = config.policy.0.first().and_then(|rule| rule.vlans.clone());
    assert_eq!(vlans, Some(port_plan::Trunks::default()));
}

#[test]
fn a_mistake_in_a_list_is_told_with_the_entry() {
    let files = [
        "port_security: [br0, 'a b']\n",
        "port_security: {br0: true}\n",
        "mirror_ports: [[tap0]]\n",
        "mirror_ports: [tap0, '']\n",
        "policy: [{rule: one, vlans: [4095]}]\n",
        "policy: [{rule: one, vlans: true}]\n",
        "policy: [{rule: one, addresses: [10.0.0.0]}]\n",
    ];
    let told: String = files
        .iter()
        .map(|file| format!("{}\n", load(Options::default(), &[], file).unwrap_err()))
        .collect();
    expect![[r#"
        FILE: 'a b': not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default' for key `port_security`
        FILE: invalid type: map, expected a list, or a text with commas for key `port_security`
        FILE: invalid type: sequence, expected a string for key `mirror_ports[0]`
        FILE: '': not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default' for key `mirror_ports`
        FILE: '4095': not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110 for key `policy[0]vlans`
        FILE: invalid type: boolean `true`, expected a list, or a text with commas for key `policy[0]vlans`
        policy: rule 'one': addresses: '10.0.0.0': neither a prefix, such as 10.0.0.0/24, nor none
    "#]].assert_eq(&told);
}

#[test]
fn what_is_of_the_go_version_is_said_to_be() {
    let files = [
        "ovs:\n  default_bridge: ovs_bond0\nlogging:\n  level: info\n",
        "docker:\n  socket_path: /var/run/docker.sock\n",
        "default_bridge: br0\nServer:\n  enable_metrics: true\n",
        "docker: unix:///var/run/docker.sock\nnetwork: none\n",
    ];
    let variables = [
        ("OVS_PORT_MANAGER_OVS_DEFAULT_BRIDGE", "ovs_bond0"),
        ("OVS_PORT_MANAGER_LOGGING_LEVEL", "info"),
        ("OVS_PORT_MANAGER_NETWORK_ENABLE_EXTERNAL_ROUTING", "true"),
    ];
    let files = files.iter().map(|file| load(Options::default(), &[], file));
    let variables = variables.iter().map(|pair| load(Options::default(), &[*pair], ""));
    let told: String =
        files.chain(variables).map(|loaded| format!("{}\n", loaded.unwrap_err())).collect();
    expect![[r#"
        FILE: a file of the Go version of this program, by its keys (ovs, logging), which are others here; for what each has become, see docs/migrating.md, or /usr/share/doc/ovs-port-manager/migrating.md
        FILE: a file of the Go version of this program, by its keys (docker), which are others here; for what each has become, see docs/migrating.md, or /usr/share/doc/ovs-port-manager/migrating.md
        FILE: a file of the Go version of this program, by its keys (server), which are others here; for what each has become, see docs/migrating.md, or /usr/share/doc/ovs-port-manager/migrating.md
        FILE: unknown field `network`, expected one of `docker`, `ovsdb`, `default_bridge`, `default_interface`, `datapath_type`, `mirror_ports`, `port_security`, `image_labels`, `adopt`, `pools`, `policy`, `resync_interval`, `detach_on_exit`, `wait_for_services`, `control_socket`, `control_group`, `http`, `http_hosts`, `log_level`, `log_format`
        environment variables OVS_PORT_MANAGER_…: 'ovs_default_bridge' is of the Go version of this program; here it is default_bridge
        environment variables OVS_PORT_MANAGER_…: 'logging_level' is of the Go version of this program; here it is log_level
        environment variables OVS_PORT_MANAGER_…: 'network_enable_external_routing' is of the Go version of this program; for what to do without it, see docs/migrating.md, or /usr/share/doc/ovs-port-manager/migrating.md
    "#]].assert_eq(&told);
}

#[test]
fn a_variable_that_only_the_go_version_reads_is_named_with_its_successor() {
    let set = |name: &str| name == "OVS_DEFAULT_BRIDGE" || name == "LOG_LEVEL";
    expect!["OVS_DEFAULT_BRIDGE is a variable of the Go version and has no effect here; set OVS_PORT_MANAGER_DEFAULT_BRIDGE"].assert_eq(&ignored_variables(set).join("\n"));
    let both = |name: &str| set(name) || name == "OVS_PORT_MANAGER_DEFAULT_BRIDGE";
    assert!(ignored_variables(both).is_empty());
}
