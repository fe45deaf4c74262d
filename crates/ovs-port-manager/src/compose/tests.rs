use std::collections::HashMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// What is found in `compose.yaml` and the files beside it, with these variables in the environment.
fn found(files: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    let files: HashMap<_, _> =
        files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let sources = Sources {
        read: &|path| {
            files.get(path).map(|text| (*text).to_owned()).ok_or(io::ErrorKind::NotFound.into())
        },
        environment: &|name| variables.get(name).map(|value| (*value).to_owned()),
        env_files: &[],
        started_in: None,
        current: Path::new("/somewhere/My Project"),
    };
    let merged: Vec<_> = ["compose.yaml", "compose.override.yaml"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|file| files.contains_key(file))
        .collect();
    let report = super::check(&merged, &sources).unwrap();
    let mut text: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    text.push_str(&format!("{} of {}\n", report.labelled, report.services));
    text
}

fn check(compose: &str, expected: &Expect) {
    expected.assert_eq(&found(&[("compose.yaml", compose)], &[]));
}

#[test]
fn labels_are_read_as_a_mapping_and_as_a_list() {
    check(
        "
services:
  mapping:
    labels:
      ovs.ip_address: 10.0.0.1/24
      ovs.vlan: 5000
      ovs.mtu:
      other: [1]
  list:
    labels:
      - ovs.ip_address=10.0.0.2
      - 'ovs.brigde=br0'
      - unrelated
  plain:
    image: nginx
",
        &expect![[r#"
            compose.yaml:6: service mapping: ovs.vlan=5000: not a number between 1 and 4094
            compose.yaml:7: service mapping: ovs.mtu=: not a number between 68 and 65535
            compose.yaml:8: service mapping: labels: other is not a text
            compose.yaml:11: service list: ovs.ip_address=10.0.0.2: no prefix length; write 10.0.0.2/24, say
            compose.yaml:12: service list: ovs.brigde=br0: no such label; did you mean ovs.bridge?
            2 of 3
        "#]],
    );
}

#[test]
fn numbers_without_quotes_are_what_compose_makes_of_them() {
    check(
        "
services:
  web:
    labels:
      ovs.ip_address: 10.0.0.1/24
      ovs.vlan: 010000
      ovs.mtu: '01500'
      ovs.mac_address: 0x1F
      ovs.gateway: 1_0
      ovs.bridge: -0b11
      ovs.interface: 09
",
        &expect![[r#"
            compose.yaml:6: service web: ovs.vlan=4096: not a number between 1 and 4094
            compose.yaml:8: service web: ovs.mac_address=31: not a unicast MAC address, such as 02:00:00:00:00:01
            compose.yaml:9: service web: ovs.gateway=10: not an address, such as 192.168.1.1; without prefix length
            compose.yaml:10: service web: ovs.bridge=-3: a bridge's name has letters, digits and '_.-+@' here, and begins with a letter, a digit or '_'
            1 of 1
        "#]],
    );
}

#[test]
fn a_missing_label_is_told_where_the_others_are() {
    check(
        "services:\n  web:\n    labels:\n      a: b\n      ovs.vlan: 5\n",
        &expect![[r#"
            compose.yaml:5: service web: ovs.ip_address: missing; give an address with prefix length, such as 192.168.1.100/24
            1 of 1
        "#]],
    );
}

#[test]
fn a_service_has_the_labels_of_what_it_extends() {
    let base = "services:\n  base:\n    labels: [ovs.vlan=9999, ovs.ip_address=10.0.0.1/24]\n";
    let compose = "
services:
  same: {extends: template, labels: {ovs.ip_address: 10.0.0.3/24}}
  template: {labels: {ovs.ip_address: 10.0.0.2/24, ovs.mtu: 1}}
  other: {extends: {service: base, file: sub/base.yaml}, labels: {ovs.vlan: 7}}
  wrong: {extends: {service: base, file: sub/base.yaml}}
  gone: {extends: {service: nobody, file: sub/base.yaml}}
  lost: {extends: {service: base, file: nowhere.yaml}}
  round: {extends: robin}
  robin: {extends: round}
";
    let told = found(&[("compose.yaml", compose), ("sub/base.yaml", base)], &[]);
    expect![[r#"
        compose.yaml:4: service same: ovs.mtu=1: not a number between 68 and 65535
        compose.yaml:4: service template: ovs.mtu=1: not a number between 68 and 65535
        compose.yaml:7: service gone: extends: no service nobody in sub/base.yaml
        compose.yaml:8: service lost: extends: cannot read nowhere.yaml: entity not found
        compose.yaml:9: service round: extends: robin extends itself
        sub/base.yaml:3: service wrong: ovs.vlan=9999: not a number between 1 and 4094
        4 of 8
    "#]]
    .assert_eq(&told);
}

#[test]
fn anchors_and_merges_are_followed() {
    check(
        "
x-net: &net
  ovs.ip_address: 10.0.0.1/24
  ovs.vlan: 4095
x-more: &more {ovs.mtu: 9000}
services:
  all: {labels: {<<: [*net, *more], ovs.vlan: 5}}
  bad: {labels: {<<: *net}}
  whole: {labels: *more}
",
        &expect![[r#"
            compose.yaml:4: service bad: ovs.vlan=4095: not a number between 1 and 4094
            compose.yaml:5: service whole: ovs.ip_address: missing; give an address with prefix length, such as 192.168.1.100/24
            3 of 3
        "#]],
    );
}

#[test]
fn variables_come_from_the_environment_then_from_the_file_beside() {
    let compose = "
services:
  web:
    labels:
      ovs.ip_address: ${ADDRESS}/${LENGTH:-24}
      ovs.vlan: $VLAN
      ovs.gateway: ${NOBODY}
  list:
    labels:
      - ovs.ip_address=${ADDRESS:?give one}/24
      - ovs.mtu=${MTU:?give one}
      - ovs.bridge=${A b}
";
    let env = "# addresses\nexport ADDRESS=10.0.0.1 # one\nVLAN='5'\n";
    let told = found(&[("compose.yaml", compose), (".env", env)], &[("VLAN", "4711")]);
    expect![[r#"
        compose.yaml:6: service web: ovs.vlan=4711: not a number between 1 and 4094
        compose.yaml:7: service web: ovs.gateway=: not an address, such as 192.168.1.1; without prefix length (the variable NOBODY is not set)
        compose.yaml:11: service list: the variable MTU must be set: give one
        compose.yaml:12: service list: not a variable after '$'; write ${NAME}, ${NAME:-default}, or $$ for a dollar sign
        2 of 2
    "#]]
    .assert_eq(&told);
}

#[test]
fn later_files_lie_over_earlier_ones() {
    let compose = "services: {a: {labels: {ovs.ip_address: 10.0.0.1/24, ovs.vlan: 0}},
           b: {labels: {ovs.vlan: 0}}, c: {labels: {ovs.vlan: 0}}}";
    let over = "services: {a: {labels: [ovs.vlan=5]}, b: {labels: !reset null},
           c: {labels: !override {ovs.ip_address: 10.0.0.2/24}}}";
    let told = found(&[("compose.yaml", compose), ("compose.override.yaml", over)], &[]);
    expect![[r#"
        2 of 3
    "#]]
    .assert_eq(&told);
}

#[test]
fn included_projects_and_label_files_are_read() {
    let files = [
        ("compose.yaml", "include: [sub/one.yaml, {path: [sub/two.yaml]}, gone.yaml]\n"),
        ("sub/one.yaml", "services: {one: {labels: {ovs.ip_address: '${ONE}'}}}\n"),
        ("sub/two.yaml", "services: {two: {label_file: two.labels, labels: {ovs.mtu: 9000}}}\n"),
        ("sub/two.labels", "ovs.mtu=1\novs.ip_address=10.0.0.1/24\novs.vlan=x\n"),
        ("sub/.env", "ONE=10.0.0.300/24\n"),
    ];
    expect![[r#"
        compose.yaml:1: cannot read gone.yaml: entity not found
        sub/one.yaml:1: service one: ovs.ip_address=10.0.0.300/24: not an address with prefix length, such as 192.168.1.100/24
        sub/two.labels:3: service two: ovs.vlan=x: not a number between 1 and 4094
        2 of 2
    "#]]
    .assert_eq(&found(&files, &[]));
}

#[test]
fn what_the_daemon_would_refuse_is_told() {
    check(
        "
services:
  host: {network_mode: host, labels: {ovs.ip_address: 10.0.0.1/24}}
  beside: {network_mode: 'service:host', labels: {ovs.ip_address: 10.0.0.1/24}}
  other: {network_mode: 'container:x', labels: {ovs.ip_address: 10.0.0.1/24}}
  many: {scale: 3, labels: {ovs.ip_address: 10.0.0.2/24}}
  swarm: {deploy: {replicas: 2}, labels: {ovs.ip_address: auto, ovs.mac_address: '02:00:00:00:00:01'}}
  pooled: {scale: 2, labels: {ovs.ip_address: auto}}
  named: {scale: 2, container_name: x}
  torn: {scale: 2, deploy: {replicas: 3}}
  none: {network_mode: none, labels: {ovs.ip_address: 10.0.0.1/24}}
  both: {network_mode: none, networks: [a], labels: {ovs.ip_address: auto}}
  unlabelled: {network_mode: host}
",
        &expect![[r#"
            compose.yaml:3: service host: it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)
            compose.yaml:4: service beside: it shares the network namespace of container host; set the labels there
            compose.yaml:5: service other: it shares the network namespace of container x; set the labels there
            compose.yaml:6: service many: 3 replicas would all have the address 10.0.0.2 on ovsbr0
            compose.yaml:7: service swarm: 2 replicas would all have the MAC address 02:00:00:00:00:01 on ovsbr0
            compose.yaml:9: service named: several containers cannot all have the name x
            compose.yaml:10: service torn: scale is 2, and deploy.replicas is 3
            compose.yaml:12: service both: network_mode and networks: Docker Compose takes one of them only
            8 of 11
        "#]],
    );
}

#[test]
fn what_one_interface_alone_may_have_is_asked_for_once() {
    check(
        "
services:
  one: {labels: {ovs.ip_address: 10.0.0.1/24, ovs.mac_address: '02:00:00:00:00:01'}}
  same: {labels: [ovs.ip_address=10.0.0.1/16]}
  vlan: {labels: {ovs.ip_address: 10.0.0.1/24, ovs.vlan: 5}}
  bridge: {labels: {ovs.ip_address: 10.0.0.1/24, ovs.bridge: br1, ovs.mac_address: '02:00:00:00:00:01'}}
  mac:
    labels:
      ovs.ip_address: 10.0.0.2/24
      ovs.vlan: 5
      ovs.mac_address: 02:00:00:00:00:01
  six: {labels: {ovs.ip_address: 'fd00::1/64,10.0.0.6/24'}}
  seven: {labels: {ovs.eth5.ip_address: 'fd00:0::1/64'}}
  itself: {labels: {ovs.ip_address: 10.0.0.8/24, ovs.eth2.ip_address: 10.0.0.8/24}}
  debug: {profiles: [debug], labels: {ovs.ip_address: 10.0.0.9/24}}
  prod: {profiles: [prod], labels: {ovs.ip_address: 10.0.0.9/24}}
  number: {labels: {ovs.ip_address: 10.0.0.10/24, ovs.ofport_request: 7}}
  again: {labels: {ovs.ip_address: 10.0.0.11/24, ovs.ofport_request: 7}}
",
        &expect![[r#"
            compose.yaml:4: service same: service one (compose.yaml:3) has the address 10.0.0.1 on ovsbr0 already
            compose.yaml:11: service mac: service one (compose.yaml:3) has the MAC address 02:00:00:00:00:01 on ovsbr0 already
            compose.yaml:13: service seven: service six (compose.yaml:12) has the address fd00::1 on ovsbr0 already
            compose.yaml:14: service itself: another interface of its own has the address 10.0.0.8 on ovsbr0 already
            compose.yaml:16: warning: service prod: service debug (compose.yaml:15) has the address 10.0.0.9 on ovsbr0 already, in another profile
            compose.yaml:18: service again: service number (compose.yaml:17) has the OpenFlow port number 7 on ovsbr0 already
            12 of 12
        "#]],
    );
}

#[test]
fn an_interface_is_none_of_docker_s() {
    check(
        "
services:
  docker: {labels: {ovs.ip_address: 10.0.0.1/24, ovs.interface: eth0}}
  named: {labels: {ovs.eth0.ip_address: 10.0.0.2/24}}
  alone: {network_mode: none, labels: {ovs.ip_address: 10.0.0.3/24, ovs.interface: eth0}}
  second: {networks: [a, b], labels: {ovs.ip_address: 10.0.0.4/24}}
  third: {networks: {a: , b: }, labels: {ovs.ip_address: 10.0.0.5/24, ovs.interface: eth2}}
  renamed: {networks: {a: {interface_name: lan0}}, labels: {ovs.ip_address: 10.0.0.6/24, ovs.interface: eth0}}
  bridge: {network_mode: bridge, labels: {ovs.ip_address: 10.0.0.7/24, ovs.interface: eth0}}
  given: {networks: {a: {interface_name: eth1}}, labels: {ovs.ip_address: 10.0.0.8/24}}
",
        &expect![[r#"
            compose.yaml:3: service docker: eth0 is the interface of one of Docker's own networks; give ovs.interface another name, or the service network_mode: none
            compose.yaml:4: service named: eth0 is the interface of one of Docker's own networks; give ovs.interface another name, or the service network_mode: none
            compose.yaml:6: service second: eth1 is the interface of one of Docker's own networks; give ovs.interface another name, or the service network_mode: none
            compose.yaml:9: service bridge: eth0 is the interface of one of Docker's own networks; give ovs.interface another name, or the service network_mode: none
            compose.yaml:10: service given: eth1 is the interface of one of Docker's own networks; give ovs.interface another name, or the service network_mode: none
            8 of 8
        "#]],
    );
}

#[test]
fn labels_that_reach_no_container_are_told() {
    check(
        "
x-labels: {ovs.vlan: 1}
services:
  web:
    labels: {ovs.ip_address: 10.0.0.1/24}
    deploy:
      labels: [ovs.vlan=5, other=6]
    annotations: {ovs.vlan: 5}
    environment: [ovs.vlan=5, OVS=1]
    build:
      labels: {ovs.vlan: 5}
    ovs.vlan: 5
  label: {label: {ovs.ip_address: 10.0.0.1/24}, x-labels: 1, lables: {}}
networks:
  lan: {labels: {ovs.bridge: br0, other: x}}
volumes:
  data: {labels: [ovs.bridge=br0]}
service: {}
",
        &expect![[r#"
            compose.yaml:7: service web: deploy.labels: ovs.vlan reaches no container; write it below labels of the service
            compose.yaml:8: service web: annotations: ovs.vlan reaches no container; write it below labels of the service
            compose.yaml:9: service web: environment: ovs.vlan reaches no container; write it below labels of the service
            compose.yaml:11: warning: service web: build.labels: ovs.vlan is the image's, which does not count unless the configuration trusts image labels; write it below labels of the service
            compose.yaml:12: service web: ovs.vlan: not below labels, so it is none
            compose.yaml:13: service label: no key label; did you mean labels?
            compose.yaml:13: service label: no key lables; did you mean labels?
            compose.yaml:15: networks.lan.labels: ovs.bridge reaches no container; write it below labels of the service
            compose.yaml:17: volumes.data.labels: ovs.bridge reaches no container; write it below labels of the service
            compose.yaml:18: no key service; did you mean services?
            1 of 2
        "#]],
    );
}

#[test]
fn labels_that_do_less_than_they_seem_are_warned_of() {
    check(
        "
services:
  case: {labels: {OVS.ip_address: 10.0.0.1/24, ovs_vlan: 5, ' ovs.mtu': 1400, ovsomething: x}}
  unset: {labels: {ovs.ip_address: 10.0.0.1/24, 'ovs.bridge': 'br${NUMBER}', other: $NOBODY}}
  none: {scale: 0, labels: {ovs.ip_address: 10.0.0.1/24}}
",
        &expect![[r#"
            compose.yaml:3: warning: service case:  ovs.mtu: does not begin with ovs. and does nothing
            compose.yaml:3: warning: service case: OVS.ip_address: does not begin with ovs. and does nothing
            compose.yaml:3: warning: service case: ovs_vlan: does not begin with ovs. and does nothing
            compose.yaml:4: warning: service unset: ovs.bridge: the variable NUMBER is not set
            2 of 3
        "#]],
    );
}

#[test]
fn a_broken_env_file_of_a_service_is_told() {
    let compose =
        "services: {a: {env_file: [one, {path: gone, required: false}, {path: two, format: raw}]}}";
    let files = [("compose.yaml", compose), ("one", "A=1\nA B=1\n"), ("two", "A B=1\n")];
    expect![[r#"
        one:2: service a: not of the form NAME=VALUE: A B=1
        0 of 1
    "#]]
    .assert_eq(&found(&files, &[]));
}

#[test]
fn what_is_elsewhere_is_not_fetched_and_said() {
    check(
        "
include: [oci://example.com/x, 'https://example.com/x.git', {path: git@example.com:x.git}]
services: {web: {extends: {file: 'https://example.com/x.git', service: x}}}
",
        &expect![[r#"
            compose.yaml:2: warning: include: oci://example.com/x is not here and was not read
            compose.yaml:2: warning: include: https://example.com/x.git is not here and was not read
            compose.yaml:2: warning: include: git@example.com:x.git is not here and was not read
            compose.yaml:3: warning: service web: extends: https://example.com/x.git is not here and was not read
            0 of 1
        "#]],
    );
}

#[test]
fn a_file_without_services_is_told() {
    for text in ["networks: {}\n", "services: {}\n", "services:\n", "x-only: 1\n", "", "# none\n"] {
        let found = found(&[("compose.yaml", text)], &[]);
        assert_eq!(
            found, "compose.yaml:1: no services: nothing that could have labels\n0 of 0\n",
            "{text:?}"
        );
    }
    let found = found(&[("compose.yaml", "---\n")], &[]);
    assert_eq!(found, "compose.yaml:2: an empty document\n0 of 0\n");
}

#[test]
fn nothing_that_grows_by_itself_is_followed_for_long() {
    let began = std::time::Instant::now();
    let aliases = |levels: usize, form: &dyn Fn(usize) -> String| {
        let lines: String = (1..levels).map(|level| form(level) + "\n").collect();
        format!("a0: &a0 [x, x]\n{lines}services: {{web: {{labels: {{a: x}}}}}}\n")
    };
    // A billion laughs; a chain of aliases too long to walk; defaults in defaults; lists of lists.
    let laughs = aliases(40, &|level| format!("a{level}: &a{level} [*a{0}, *a{0}]", level - 1));
    let chain = aliases(3000, &|level| format!("a{level}: &a{level} [*a{}]", level - 1));
    let merges: String = (0..3000).map(|at| format!("m{at}: {{<<: *all}}\n")).collect();
    let maps: String = (0..3000).map(|at| format!("  - &n{at} {{k: {at}}}\n")).collect();
    let merges = format!("all: &all\n{maps}{merges}services: {{web: {{}}}}\n");
    let many: String = (0..3000).map(|at| format!("  s{at}: {{extends: big}}\n")).collect();
    let labels: String = (0..3000).map(|at| format!("l{at}: x, ")).collect();
    let many = format!("services:\n  big: {{labels: {{{labels}}}}}\n{many}");
    let row: String = (1..3000).map(|at| format!("  s{at}: {{extends: s{}}}\n", at - 1)).collect();
    let row = format!("services:\n  s0: {{}}\n{row}");
    let double: String = (1..60).map(|at| format!("A{at}=$A{0}$A{0}\n", at - 1)).collect();
    let nested =
        format!("x: '{}'\nservices: {{a: {{}}}}", "${A:-".repeat(50_000) + &"}".repeat(50_000));
    let braces =
        format!("x: '{}{}'\nservices: {{a: {{}}}}", "${A:-}".repeat(50_000), "y".repeat(300_000));
    for (text, env, told) in [
        (laughs.as_str(), "", "too large"),
        (&chain, "", "nested more than 256 levels deep by aliases"),
        (&merges, "", "too large"),
        (&many, "", "too large"),
        (&row, "", "extends: more than 64 services in a row"),
        ("services: {a: {}}", &format!("A0=xxxxxxxx\n{double}"), "longer than 1048576 bytes"),
        (&nested, "", "variables nested more than 16 levels deep"),
        (&braces, "", "0 of 1"),
        ("include: [{path: [a.yaml, a.yaml]}]", "", "too large"),
        ("include: [compose.yaml]\nservices: {a: {}}", "", "includes itself"),
    ] {
        let again =
            "include: [{path: [b.yaml, a.yaml]}, {path: [b.yaml, a.yaml]}]\nservices: {a: {}}";
        let files =
            [("compose.yaml", text), (".env", env), ("a.yaml", again), ("b.yaml", "services: {}")];
        let found = found(&files, &[]);
        let shown: String = found.chars().take(200).collect();
        assert!(found.contains(told), "{told}: {shown}");
    }
    // A second on a machine with nothing else to do; without bounds, hours.
    assert!(began.elapsed() < std::time::Duration::from_secs(120), "{:?}", began.elapsed());
}

#[test]
fn what_is_no_compose_file_is_told_with_its_line() {
    for (text, told) in [
        ("services: {web: [}", "compose.yaml:1: not YAML: "),
        ("services:\n  a: &x [*x]\n", "compose.yaml:2: an alias of something that is not complete"),
        ("a: 1\nb: 2\na: 3\n", "compose.yaml:3: the key a is given twice"),
        ("just text", "compose.yaml:1: not a compose file: no mapping"),
        ("services: [web]", "compose.yaml:1: services: not a mapping"),
        ("services: {web: {labels: 5}}", "labels: neither a mapping nor a list"),
        ("services: {web: {extends: {file: x}}}", "extends: no service named"),
    ] {
        let found = found(&[("compose.yaml", text)], &[]);
        assert!(found.contains(told), "{text:?}: {found}");
    }
    for deep in ["[", "- ", "{a: ", "? "] {
        let found = found(&[("compose.yaml", &deep.repeat(100_000))], &[]);
        assert!(found.starts_with("compose.yaml:1: ") && found.ends_with("\n0 of 0\n"), "{found}");
    }
    let deep = "- ".repeat(100);
    assert!(found(&[("compose.yaml", &deep)], &[]).contains("nested more than 64 levels deep"));
    let mut laughs = "a0: &a0 {x: 1}\n".to_owned();
    for level in 1..60 {
        let below = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} {{<<: [*a{below}, *a{below}]}}\n"));
    }
    laughs.push_str("services: {web: {labels: *a59}}\n");
    assert_eq!(found(&[("compose.yaml", &laughs)], &[]), "0 of 1\n");
}

#[test]
fn every_form_of_a_variable_means_what_compose_says() {
    let lookup = |name: &str| match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    for (text, expected) in [
        ("$SET", "value"),
        ("${SET}x", "valuex"),
        ("$$SET", "$SET"),
        ("${SET:-other}${SET-other}", "valuevalue"),
        ("${EMPTY:-other}${EMPTY-other}", "other"),
        ("${UNSET:-other}|${UNSET-other}", "other|other"),
        ("${SET:+other}${EMPTY:+other}${EMPTY+other}${UNSET+x}", "otherother"),
        ("${UNSET:-${EMPTY:-${SET}}}", "value"),
        ("${UNSET:-a$$b}", "a$b"),
        ("${SET:?no}${EMPTY?no}", "value"),
        ("${UNSET:-{x}}", "{x}"),
        ("a$UNSET b", "a b"),
        ("a $ b $5 $- $", "a $ b $5 $- $"),
        ("${UNSET:-{}}", "{}"),
        ("${UNSET:-a}}${SET}", "a}value"),
        ("${SET:-${EMPTY:?no}}", "value"),
    ] {
        assert_eq!(interpolate::fill(text, &lookup).unwrap().text, expected, "{text}");
    }
    for text in ["${", "${}", "${SET", "${SET!x}", "${SET:}", "${SET:=x}", "${5}", "${A:-x\ny}"] {
        assert_eq!(interpolate::fill(text, &lookup), Err(interpolate::Problem::Format), "{text}");
    }
    let required = interpolate::fill("${EMPTY:?say $SET}", &lookup).unwrap_err();
    assert_eq!(required.to_string(), "the variable EMPTY must be set: say value");
}

#[test]
fn files_of_variables_are_read_as_compose_reads_them() {
    let text = "A=1\n\n# none\n export B = 2 # two\nC='$A # x'\nD=\"$A\\n\\$A\"\nE=${A}b#c\nF: 6\n\
                G=\"two\nlines\"\nH\nI=\nJ=x\r\n";
    let variables = dotenv::parse(text, &|_| None).unwrap();
    let shown: Vec<_> = variables
        .iter()
        .map(|dotenv::Variable { name, value, line }| format!("{line} {name}={}", value.text))
        .collect();
    let expected = [
        "1 A=1",
        "4 B=2",
        "5 C=$A # x",
        "6 D=1\n$A",
        "7 E=1b#c",
        "8 F=6",
        "9 G=two\nlines",
        "12 I=",
        "13 J=x",
    ];
    assert_eq!(shown, expected);
    assert_eq!(dotenv::parse("a=1\nb c=2", &|_| None).unwrap_err().line, 2);
    assert_eq!(dotenv::parse("a='1", &|_| None).unwrap_err().line, 1);
}

/// Pieces that compose files are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:",
        "\n",
        "  ",
        "    ",
        "web:",
        "labels:",
        "- ",
        "ovs.ip_address",
        "=",
        ": ",
        "10.0.0.1/24",
        "ovs.vlan",
        "${A:-",
        "}",
        "$",
        "{",
        "[",
        "]",
        "*a",
        "&a ",
        "<<: ",
        "extends: ",
        "web",
        "include: ",
        "compose.yaml",
        "'",
        "\"",
        "!reset ",
        "label_file: ",
        "---\n",
        "#",
        "|",
        "\t",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_odd(compose in prop_oneof![pieces(), ".{0,200}"], env in ".{0,80}") {
        found(&[("compose.yaml", &compose), (".env", &env)], &[]);
    }

    #[test]
    fn no_variables_are_too_odd(text in r"(\$|\{|\}|:|-|\+|\?|A|[^a-z]){0,60}") {
        let _ = interpolate::fill(&text, &|name| (name == "A").then(|| "x".to_owned()));
        let _ = dotenv::parse(&text, &|_| None);
    }

    #[test]
    fn a_text_without_dollars_stays_as_it_is(text in "[^$]{0,60}") {
        prop_assert_eq!(interpolate::fill(&text, &|_| None).unwrap().text, text);
    }
}
