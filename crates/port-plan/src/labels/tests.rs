use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn defaults() -> Defaults {
    Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: crate::Datapath::Netdev,
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What is read from the labels, or every mistake on a line of its own.
fn read(pairs: &[(&str, &str)]) -> String {
    match parse(&labels(pairs), &defaults()) {
        Ok(wanted) if wanted.is_empty() => "not ours".to_owned(),
        Ok(wanted) => {
            print(&wanted).iter().map(|(name, value)| format!("{name}={value}\n")).collect()
        }
        Err(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
    }
}

fn check(pairs: &[(&str, &str)], expected: &Expect) {
    expected.assert_eq(&read(pairs));
}

#[test]
fn a_container_without_our_labels_is_not_ours() {
    check(&[("com.example", "x"), ("ovsx", "y")], &expect!["not ours"]);
}

#[test]
fn an_address_is_enough() {
    check(
        &[("ovs.ip_address", "192.168.1.100/24")],
        &expect![[r#"
            ovs.eth1.bridge=ovsbr0
            ovs.eth1.ip_address=192.168.1.100/24
        "#]],
    );
}

#[test]
fn every_label_is_read() {
    check(
        &[
            ("ovs.ip_address", " 192.168.1.100/24 , fd00::100/64"),
            ("ovs.bridge", "br-int"),
            ("ovs.gateway", "192.168.1.1,fe80::1"),
            ("ovs.mtu", "9000"),
            ("ovs.mac_address", "02-00-00-00-00-AA"),
            ("ovs.vlan", "100"),
            ("ovs.interface", "net0"),
        ],
        &expect![[r#"
            ovs.net0.bridge=br-int
            ovs.net0.gateway=192.168.1.1,fe80::1
            ovs.net0.ip_address=192.168.1.100/24,fd00::100/64
            ovs.net0.mac_address=02:00:00:00:00:aa
            ovs.net0.mtu=9000
            ovs.net0.vlan=100
        "#]],
    );
}

#[test]
fn a_label_of_the_go_version_is_told_with_what_to_do_instead() {
    check(
        &[
            ("ovs.ip_address", "192.168.1.100/24"),
            ("ovs.external_ip", "169.254.169.254/32"),
            ("ovs.external_gateway", "169.254.1.1"),
            ("ovs.external_interface", "eno1"),
            ("ovs.eth2.external_ip", "169.254.169.254/32"),
        ],
        &expect![[r#"
            ovs.eth2.external_ip=169.254.169.254/32: a label of the Go version, which this program does not have; give the container an interface in that network, ovs.eth2.ip_address, on a bridge that leads there, ovs.eth2.bridge
            ovs.external_gateway=169.254.1.1: a label of the Go version, which this program does not have; give it to the interface that is in that network, as ovs.eth2.gateway beside ovs.eth2.ip_address
            ovs.external_interface=eno1: a label of the Go version, which this program does not have; add that interface to a bridge (ovs-vsctl add-port BRIDGE INTERFACE), and name the bridge: ovs.eth2.bridge beside ovs.eth2.ip_address
            ovs.external_ip=169.254.169.254/32: a label of the Go version, which this program does not have; give the container an interface in that network, ovs.eth2.ip_address, on a bridge that leads there, ovs.eth2.bridge
        "#]],
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    check(
        &[
            ("ovs.bridge", "a bridge with spaces"),
            ("ovs.gatway", "192.168.1.1"),
            ("ovs.gateway", "192.168.1.1/24"),
            ("ovs.mac_address", "01:00:5e:00:00:01"),
            ("ovs.mtu", "abc"),
            ("ovs.vlan", "4095"),
            ("ovs.interface", "eth/1"),
        ],
        &expect![[r#"
            ovs.bridge=a bridge with spaces: not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default'
            ovs.gateway=192.168.1.1/24: not an address, such as 192.168.1.1; without prefix length
            ovs.gatway=192.168.1.1: no such label; did you mean ovs.gateway?
            ovs.interface=eth/1: not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default'
            ovs.mac_address=01:00:5e:00:00:01: not a unicast MAC address, such as 02:00:00:00:00:01
            ovs.mtu=abc: not a number between 68 and 65535
            ovs.vlan=4095: not a number between 1 and 4094
            ovs.ip_address: missing; give an address with prefix length, such as 192.168.1.100/24
        "#]],
    );
}

#[test]
fn a_bad_address_says_what_would_be_right() {
    let cases = [
        "192.168.1.100",
        "fd00::1",
        "192.168.1.100/33",
        "192.168.1.0/24",
        "192.168.1.255/24",
        "0.0.0.0/0",
        "10.0.0.1/0",
        "127.0.0.1/8",
        "224.0.0.1/24",
        "255.255.255.255/32",
        "::ffff:10.0.0.1/120",
        "fd00::/64",
        "",
        "10.0.0.1/24,10.0.0.1/16,",
    ];
    let told: String = cases.iter().map(|case| read(&[("ovs.ip_address", case)])).collect();
    expect![[r#"
        ovs.ip_address=192.168.1.100: no prefix length; write 192.168.1.100/24, say
        ovs.ip_address=fd00::1: no prefix length; write fd00::1/64, say
        ovs.ip_address=192.168.1.100/33: not an address with prefix length, such as 192.168.1.100/24
        ovs.ip_address=192.168.1.0/24: the prefix's own (network) address; choose a host's
        ovs.ip_address=192.168.1.255/24: the prefix's broadcast address; choose a host's
        ovs.ip_address=0.0.0.0/0: not an address that one host can have
        ovs.ip_address=10.0.0.1/0: a prefix length of 0 would put the whole world on this link
        ovs.ip_address=127.0.0.1/8: not an address that one host can have
        ovs.ip_address=224.0.0.1/24: not an address that one host can have
        ovs.ip_address=255.255.255.255/32: not an address that one host can have
        ovs.ip_address=::ffff:10.0.0.1/120: not an address that one host can have
        ovs.ip_address=fd00::/64: the prefix's own (network) address; choose a host's
        ovs.ip_address=: not an address with prefix length, such as 192.168.1.100/24
        ovs.ip_address=10.0.0.1/24,10.0.0.1/16,: '10.0.0.1/16': given twice
        ovs.ip_address=10.0.0.1/24,10.0.0.1/16,: '': not an address with prefix length, such as 192.168.1.100/24
    "#]]
    .assert_eq(&told);
}

#[test]
fn addresses_of_point_to_point_prefixes_are_good() {
    check(
        &[("ovs.ip_address", "10.0.0.0/31,10.0.1.7/32,fd00::/127")],
        &expect![[r#"
            ovs.eth1.bridge=ovsbr0
            ovs.eth1.ip_address=10.0.0.0/31,10.0.1.7/32,fd00::/127
        "#]],
    );
}

#[test]
fn a_gateway_must_be_within_reach() {
    let cases = [
        ("192.168.1.100/24", "192.168.2.1"),
        ("192.168.1.100/24", "192.168.1.100"),
        ("192.168.1.100/24", "192.168.1.255"),
        ("192.168.1.0/31", "192.168.1.1"),
        ("192.168.1.100/24", "fe80::1"),
        ("192.168.1.100/24", "192.168.1.1,192.168.1.2"),
        ("192.168.1.100/24,fd00::1/64", "fd01::1"),
    ];
    let told: String = cases
        .iter()
        .map(|(address, gateway)| read(&[("ovs.ip_address", address), ("ovs.gateway", gateway)]))
        .collect();
    expect![[r#"
        ovs.gateway=192.168.2.1: 192.168.2.1 lies outside 192.168.1.0/24
        ovs.gateway=192.168.1.100: 192.168.1.100/24 is the container's own address
        ovs.gateway=192.168.1.255: 192.168.1.255 is the broadcast address of 192.168.1.0/24
        ovs.eth1.bridge=ovsbr0
        ovs.eth1.gateway=192.168.1.1
        ovs.eth1.ip_address=192.168.1.0/31
        ovs.gateway=fe80::1: fe80::1 lies outside 192.168.1.0/24
        ovs.gateway=192.168.1.1,192.168.1.2: '192.168.1.2': a second gateway of the same family; give one
        ovs.gateway=fd01::1: fd01::1 lies outside 192.168.1.0/24 and fd00::/64
    "#]]
    .assert_eq(&told);
}

#[test]
fn ipv6_needs_its_smallest_mtu() {
    check(
        &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.mtu", "68")],
        &expect![[r#"
            ovs.eth1.bridge=ovsbr0
            ovs.eth1.ip_address=10.0.0.1/24
            ovs.eth1.mtu=68
        "#]],
    );
    check(
        &[("ovs.ip_address", "fd00::1/64"), ("ovs.mtu", "1279")],
        &expect![[r#"
            ovs.mtu=1279: too small for IPv6, which needs at least 1280
        "#]],
    );
}

#[test]
fn an_unknown_label_is_a_mistake_with_a_suggestion_where_there_is_one() {
    check(
        &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.ipaddress", "x"), ("ovs.#", "")],
        &expect![[r#"
            ovs.#=: no such label
            ovs.ipaddress=x: no such label; did you mean ovs.ip_address?
        "#]],
    );
}

#[test]
fn what_a_label_holds_cannot_forge_a_log_line() {
    let long = "9".repeat(100_000);
    let told = read(&[("ovs.mtu", "1\n2026 INFO all is well\u{1b}[2J"), ("ovs.vlan", &long)]);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.len() < 1000);
    assert!(told.contains(r"\n2026 INFO all is well\u{1b}[2J"));
}

#[test]
fn a_list_without_end_is_refused() {
    let many = vec!["10.0.0.1/24"; 10_000].join(",");
    assert!(read(&[("ovs.ip_address", &many)]).ends_with("10000 entries; 64 is the most\n"));
}

#[test]
fn labels_with_an_interfaces_name_are_for_that_interface() {
    check(
        &[
            ("ovs.ip_address", "10.0.0.1/24"),
            ("ovs.mtu", "1400"),
            ("ovs.eth2.ip_address", "10.0.2.1/24"),
            ("ovs.eth2.bridge", "br2"),
            ("ovs.mtu.ip_address", "10.0.3.1/24"),
            ("ovs.mtu.mtu", "9000"),
        ],
        &expect![[r#"
            ovs.eth1.bridge=ovsbr0
            ovs.eth1.ip_address=10.0.0.1/24
            ovs.eth1.mtu=1400
            ovs.eth2.bridge=br2
            ovs.eth2.ip_address=10.0.2.1/24
            ovs.mtu.bridge=ovsbr0
            ovs.mtu.ip_address=10.0.3.1/24
            ovs.mtu.mtu=9000
        "#]],
    );
}

#[test]
fn a_name_that_cannot_be_is_told() {
    check(
        &[
            ("ovs.ip_address", "10.0.0.1/24"),
            ("ovs.eth2", "10.0.2.1/24"),
            ("ovs.eth2.gatway", "10.0.2.2"),
            ("ovs.eth2.interface", "eth3"),
            ("ovs.eth2.vlan", "0"),
            ("ovs.eth2.10.vlan", "7"),
            ("ovs.lo.ip_address", "10.0.0.1/24"),
            ("ovs..mtu", "1500"),
            ("ovs.", "x"),
            ("ovs.interface", "eth1.5"),
        ],
        &expect![[r#"
            ovs.=x: no such label
            ovs..mtu=1500: not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default'
            ovs.eth2=10.0.2.1/24: no such label
            ovs.eth2.10.vlan=7: too many dots; write ovs.KEY or ovs.INTERFACE.KEY
            ovs.eth2.gatway=10.0.2.2: no such label; did you mean ovs.eth2.gateway?
            ovs.eth2.interface=eth3: this label's own name says which interface it is for; leave it out
            ovs.eth2.vlan=0: not a number between 1 and 4094
            ovs.interface=eth1.5: an interface's name cannot have a dot here
            ovs.lo.ip_address=10.0.0.1/24: every container has a 'lo' already; choose another name
            ovs.eth2.ip_address: missing; give an address with prefix length, such as 192.168.1.100/24
        "#]],
    );
}

#[test]
fn both_forms_cannot_name_the_same_interface() {
    check(
        &[
            ("ovs.mtu", "1400"),
            ("ovs.ip_address", "10.0.0.1/24"),
            ("ovs.eth1.ip_address", "10.0.0.2/24"),
        ],
        &expect![[r#"
            ovs.eth1.ip_address=10.0.0.2/24: labels without an interface's name (ovs.ip_address) are for eth1 already; give all in one form
        "#]],
    );
    let many: Vec<_> = (0..40).map(|number| format!("ovs.eth{number}.ip_address")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "10.0.0.1/24")).collect();
    check(
        &many,
        &expect![[r#"
        ovs.eth9.ip_address=10.0.0.1/24: 40 interfaces; 32 is the most
    "#]],
    );
}

#[test]
fn every_example_of_the_table_is_good() {
    for label in LABELS {
        let flat: Vec<_> =
            label.example.iter().map(|(key, value)| (format!("ovs.{key}"), *value)).collect();
        let flat: Vec<_> = flat.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let wanted = parse(&labels(&flat), &defaults()).unwrap_or_else(|told| panic!("{told:?}"));
        assert!(label.example.iter().any(|(key, _)| *key == label.key), "{}", label.key);
        assert_eq!(parse(&print(&wanted), &defaults()), Ok(wanted));
    }
}

#[test]
fn the_table_documents_every_label() {
    let page = markdown();
    for label in LABELS {
        assert!(page.contains(label.key) && !label.meaning.is_empty());
    }
}

proptest! {
    #[test]
    fn no_label_set_makes_it_panic(
        pairs in prop::collection::btree_map(
            prop_oneof![
                prop::sample::select(LABELS.iter().map(|label| format!("ovs.{}", label.key)).collect::<Vec<_>>()),
                prop::sample::select(LABELS.iter().map(|label| format!("ovs.eth2.{}", label.key)).collect::<Vec<_>>()),
                "ovs\\..{0,12}",
                "ovs\\.eth[1-3]\\.(ip_address|mtu|vlan|bridge)",
                ".*",
            ],
            prop_oneof![
                ".*",
                "[0-9./:,]{0,40}",
                "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}/[0-9]{1,2}",
                "[0-9a-f:]{2,20}/[0-9]{1,3}",
            ],
            0..8,
        )
    ) {
        match parse(&pairs, &defaults()) {
            Ok(all) => {
                prop_assert_eq!(all.is_empty(), pairs.keys().all(|name| !name.starts_with(PREFIX)));
                for wanted in &all {
                    prop_assert_ne!(&wanted.addressing, &Addressing::Given(Vec::new()));
                    prop_assert!(wanted.gateways.len() <= 2);
                }
                prop_assert_eq!(parse(&print(&all), &defaults()), Ok(all));
            }
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    let line = mistake.to_string();
                    prop_assert!(!line.contains(char::is_control), "{line:?}");
                }
            }
        }
    }
}

#[test]
fn of_mistakes_without_end_the_first_are_told() {
    let labels = (0..9000).map(|number| (format!("ovs.{number}"), String::new()));
    let defaults = Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: crate::Datapath::Netdev,
    };
    assert_eq!(parse(&labels.collect(), &defaults).unwrap_err().len(), 32);
}
