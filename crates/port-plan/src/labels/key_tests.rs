//! Each key of the label table: good values and the plan that they lead to, bad ones and the exact message.

use crate::{
    Container, Datapath, Defaults, Desired, Network, Observed, Registry, Rules, State, plan,
};
use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{parse, print};

/// Keys and values of the interface `eth1`, separated by semicolons; an address where none is given.
fn container(labels: &str) -> Container {
    let mut pairs: Vec<_> =
        labels.split(';').filter_map(|pair| pair.trim().split_once('=')).collect();
    if !pairs.iter().any(|(key, _)| *key == "ip_address") {
        pairs.push(("ip_address", "10.0.0.1/24"));
    }
    Container {
        id: "3f2a9c1b".repeat(8).parse().unwrap(),
        name: "web".into(),
        labels: pairs
            .iter()
            .map(|(key, value)| (format!("ovs.{key}"), (*value).to_owned()))
            .collect(),
        image: "busybox".to_owned(),
        image_labels: crate::ImageLabels::default(),
        state: State::Running { pid: 4711, start: "2026-01-02T03:04:05Z".into() },
        network: Network::Own,
    }
}

/// What each of the label sets leads to: the steps, or the mistakes.
fn told(cases: &[&str]) -> String {
    let defaults = Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: Datapath::System,
    };
    let mirror_ports = ["tap0".parse().unwrap()].into();
    let rules = Rules { mirror_ports, ..Rules::new(defaults) };
    let bridges = [("ovsbr0".parse().unwrap(), Datapath::System)];
    let observed = Observed { bridges: bridges.into(), ..Observed::default() };
    let mut told = String::new();
    for case in cases {
        told += &format!("{case}\n");
        let lines = match Desired::of(&container(case), &rules, &mut Registry::default()) {
            Desired::Mistaken(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            desired => {
                let steps = plan(&desired, &observed, 0).to_string();
                // The name is a hash, and not what these tests are about.
                let plain = |line: &str| line.replace("3f2a9c1bu64ij_l", "PORT");
                steps.lines().map(plain).collect::<Vec<_>>()
            }
        };
        told.extend(lines.iter().map(|line| format!("    {line}\n")));
    }
    told
}

#[test]
fn addresses() {
    check(
        &[
            "ip_address=10.0.0.1/24,fd00::1/64",
            "ip_address=none",
            "ip_address=none; mac_address=02:00:00:00:00:01; vlan=7",
        ],
        &expect![[r#"
            ip_address=10.0.0.1/24,fd00::1/64
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24 address=fd00::1/64
                add-port ovsbr0 PORT
            ip_address=none
                add-link PORT peer=eth1 mac=76:a5:b2:50:f5:2b
                add-port ovsbr0 PORT
            ip_address=none; mac_address=02:00:00:00:00:01; vlan=7
                add-link PORT peer=eth1 mac=02:00:00:00:00:01
                add-port ovsbr0 PORT tag=7
        "#]],
    );
    check(
        &["ip_address=None", "ip_address=none,10.0.0.1/24", "ip_address=none; gateway=10.0.0.1"],
        &expect![[r#"
            ip_address=None
                ovs.ip_address=None: not an address with prefix length, such as 192.168.1.100/24
            ip_address=none,10.0.0.1/24
                ovs.ip_address=none,10.0.0.1/24: 'none': not an address with prefix length, such as 192.168.1.100/24
            ip_address=none; gateway=10.0.0.1
                ovs.gateway=10.0.0.1: 10.0.0.1 cannot be reached without an address
        "#]],
    );
}

#[test]
fn gateways_and_routes() {
    check(
        &[
            "gateway=10.0.0.254",
            "gateway=10.0.0.254; metric=5",
            "ip_address=10.0.0.1/32,fd00::1/128; gateway=10.9.9.9,fd01::1",
            "ip_address=fd00::1/64; gateway=fe80::1; metric=1024",
            "routes=10.0.0.0/8 via 10.0.0.254, 172.16.0.0/12 dev",
            "ip_address=fd00::1/64; routes=fd01::/64  via fd00::2; metric=7",
            "ip_address=10.0.0.1/32; routes=10.1.0.0/16 via 10.9.9.9",
            "gateway=10.0.0.254; eth2.ip_address=10.0.2.1/24; eth2.gateway=10.0.2.254; eth2.metric=9",
        ],
        &expect![[r#"
            gateway=10.0.0.254
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24 gateway=10.0.0.254
                add-port ovsbr0 PORT
            gateway=10.0.0.254; metric=5
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24 route=[default via 10.0.0.254 metric 5]
                add-port ovsbr0 PORT
            ip_address=10.0.0.1/32,fd00::1/128; gateway=10.9.9.9,fd01::1
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/32 address=fd00::1/128 route=[default via 10.9.9.9 onlink] route=[default via fd01::1 onlink]
                add-port ovsbr0 PORT
            ip_address=fd00::1/64; gateway=fe80::1; metric=1024
                add-link PORT peer=eth1 mac=5a:27:d9:0c:af:a1 address=fd00::1/64 gateway=fe80::1
                add-port ovsbr0 PORT
            routes=10.0.0.0/8 via 10.0.0.254, 172.16.0.0/12 dev
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24 route=[10.0.0.0/8 via 10.0.0.254] route=[172.16.0.0/12 dev]
                add-port ovsbr0 PORT
            ip_address=fd00::1/64; routes=fd01::/64  via fd00::2; metric=7
                add-link PORT peer=eth1 mac=5a:27:d9:0c:af:a1 address=fd00::1/64 route=[fd01::/64 via fd00::2 metric 7]
                add-port ovsbr0 PORT
            ip_address=10.0.0.1/32; routes=10.1.0.0/16 via 10.9.9.9
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/32 route=[10.1.0.0/16 via 10.9.9.9 onlink]
                add-port ovsbr0 PORT
            gateway=10.0.0.254; eth2.ip_address=10.0.2.1/24; eth2.gateway=10.0.2.254; eth2.metric=9
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24 gateway=10.0.0.254
                add-port ovsbr0 PORT
                add-link 3f2a9c1b3zg9y_l peer=eth2 mac=96:be:1d:46:67:0f address=10.0.2.1/24 route=[default via 10.0.2.254 metric 9]
                add-port ovsbr0 3f2a9c1b3zg9y_l
        "#]],
    );
    check(
        &[
            "gateway=10.0.1.254",
            "ip_address=10.0.0.1/32,10.0.1.1/24; gateway=10.9.9.9",
            "gateway=fd00::1",
            "metric=0",
            "metric=-1; gateway=10.0.0.254",
            "metric=5",
            "routes=",
            "routes=10.0.0.0/8",
            "routes=10.0.0.0/8 via",
            "routes=default via 10.0.0.254",
            "routes=0.0.0.0/0 via 10.0.0.254",
            "routes=10.0.0.1/8 via 10.0.0.254",
            "routes=10.0.0.0/8 via fd00::1",
            "routes=10.0.0.0/8 via 10.0.1.254",
            "routes=10.0.0.0/8 via 10.0.0.1",
            "routes=10.0.0.0/8 dev eth1",
            "routes=10.0.0.0/8 dev, 10.0.0.0/8 via 10.0.0.254",
            "routes=fd01::/64 dev",
            "ip_address=none; routes=10.0.0.0/8 dev",
            "gateway=10.0.0.254; eth2.ip_address=10.0.2.1/24; eth2.gateway=10.0.2.254",
            "routes=10.1.0.0/16 dev; eth2.ip_address=10.0.2.1/24; eth2.routes=10.1.0.0/16 dev",
        ],
        &expect![[r#"
            gateway=10.0.1.254
                ovs.gateway=10.0.1.254: 10.0.1.254 lies outside 10.0.0.0/24
            ip_address=10.0.0.1/32,10.0.1.1/24; gateway=10.9.9.9
                ovs.gateway=10.9.9.9: 10.9.9.9 lies outside 10.0.0.1/32 and 10.0.1.0/24
            gateway=fd00::1
                ovs.gateway=fd00::1: fd00::1 lies outside 10.0.0.0/24
            metric=0
                ovs.metric=0: not a number between 1 and 4294967295
            metric=-1; gateway=10.0.0.254
                ovs.metric=-1: not a number between 1 and 4294967295
            metric=5
                ovs.metric=5: there is no gateway and no route to have it
            routes=
                ovs.routes=: not 'PREFIX via ADDRESS' or 'PREFIX dev'
            routes=10.0.0.0/8
                ovs.routes=10.0.0.0/8: not 'PREFIX via ADDRESS' or 'PREFIX dev'
            routes=10.0.0.0/8 via
                ovs.routes=10.0.0.0/8 via: not 'PREFIX via ADDRESS' or 'PREFIX dev'
            routes=default via 10.0.0.254
                ovs.routes=default via 10.0.0.254: a default route is asked for by gateway
            routes=0.0.0.0/0 via 10.0.0.254
                ovs.routes=0.0.0.0/0 via 10.0.0.254: a default route is asked for by gateway
            routes=10.0.0.1/8 via 10.0.0.254
                ovs.routes=10.0.0.1/8 via 10.0.0.254: bits are set beyond the prefix's length; write 10.0.0.0/8
            routes=10.0.0.0/8 via fd00::1
                ovs.routes=10.0.0.0/8 via fd00::1: destination and router are of different families
            routes=10.0.0.0/8 via 10.0.1.254
                ovs.routes=10.0.0.0/8 via 10.0.1.254: 10.0.1.254 lies outside 10.0.0.0/24
            routes=10.0.0.0/8 via 10.0.0.1
                ovs.routes=10.0.0.0/8 via 10.0.0.1: 10.0.0.1/24 is the container's own address
            routes=10.0.0.0/8 dev eth1
                ovs.routes=10.0.0.0/8 dev eth1: not 'PREFIX via ADDRESS' or 'PREFIX dev'
            routes=10.0.0.0/8 dev, 10.0.0.0/8 via 10.0.0.254
                ovs.routes=10.0.0.0/8 dev, 10.0.0.0/8 via 10.0.0.254: '10.0.0.0/8 via 10.0.0.254': given twice
            routes=fd01::/64 dev
                ovs.routes=fd01::/64 dev: fd01::/64 needs an address of its family
            ip_address=none; routes=10.0.0.0/8 dev
                ovs.routes=10.0.0.0/8 dev: 10.0.0.0/8 needs an address of its family
            gateway=10.0.0.254; eth2.ip_address=10.0.2.1/24; eth2.gateway=10.0.2.254
                ovs.eth2.gateway=10.0.2.254: eth1 has a route to 0.0.0.0/0 of the same metric; give one of them another metric
            routes=10.1.0.0/16 dev; eth2.ip_address=10.0.2.1/24; eth2.routes=10.1.0.0/16 dev
                ovs.eth2.routes=10.1.0.0/16 dev: eth1 has a route to 10.1.0.0/16 of the same metric; give one of them another metric
        "#]],
    );
}

#[test]
fn rates() {
    check(
        &[
            "ingress_rate=20M",
            "ingress_rate=1000000; ingress_burst=16000k",
            "egress_rate=1G",
            "egress_rate=1500k; ingress_rate=34G",
        ],
        &expect![[r#"
            ingress_rate=20M
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT ingress_policing_rate=20000
            ingress_rate=1000000; ingress_burst=16000k
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT ingress_policing_rate=1000 ingress_policing_burst=16000
            egress_rate=1G
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT qos=linux-htb,max-rate=1G
            egress_rate=1500k; ingress_rate=34G
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT ingress_policing_rate=34000000 qos=linux-htb,max-rate=1500k
        "#]],
    );
    check(
        &[
            "ingress_rate=0",
            "ingress_rate=999",
            "ingress_rate=1500",
            "ingress_rate=20m",
            "ingress_rate=20 M",
            "ingress_rate=+20M",
            "egress_rate=35G",
            "egress_rate=99999999999999999999G",
            "egress_rate=M",
            "ingress_burst=16M",
            "ingress_rate=20M; ingress_burst=11k",
            "ingress_rate=20M; ingress_burst=50k; mtu=9000",
        ],
        &expect![[r#"
            ingress_rate=0
                ovs.ingress_rate=0: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_rate=999
                ovs.ingress_rate=999: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_rate=1500
                ovs.ingress_rate=1500: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_rate=20m
                ovs.ingress_rate=20m: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_rate=20 M
                ovs.ingress_rate=20 M: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_rate=+20M
                ovs.ingress_rate=+20M: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            egress_rate=35G
                ovs.egress_rate=35G: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            egress_rate=99999999999999999999G
                ovs.egress_rate=99999999999999999999G: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            egress_rate=M
                ovs.egress_rate=M: not a number of bits between 1k and 34G, in whole k, M or G, such as 20M
            ingress_burst=16M
                ovs.ingress_burst=16M: there is no ingress_rate for it
            ingress_rate=20M; ingress_burst=11k
                ovs.ingress_burst=11k: not even one packet of 1500 bytes would pass
            ingress_rate=20M; ingress_burst=50k; mtu=9000
                ovs.ingress_burst=50k: not even one packet of 9000 bytes would pass
        "#]],
    );
}

#[test]
fn mirrors() {
    check(
        &["mirror=tap0", "mirror=tap1", "mirror=", "eth2.ip_address=10.0.2.1/24; eth2.mirror=eth0"],
        &expect![[r#"
            mirror=tap0
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT mirror=tap0
            mirror=tap1
                refused eth1: the configuration allows no mirror to tap1; its operator may list it in mirror_ports
            mirror=
                ovs.mirror=: not an interface name: 1 to 15 printable ASCII characters without '/', ':', '%' or spaces, and not '.', '..', 'all' or 'default'
            eth2.ip_address=10.0.2.1/24; eth2.mirror=eth0
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT
                refused eth2: the configuration allows no mirror to eth0; its operator may list it in mirror_ports
        "#]],
    );
}

#[test]
fn ofport_request() {
    check(
        &["ofport_request=1", "ofport_request=65279"],
        &expect![[r#"
        ofport_request=1
            add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
            add-port ovsbr0 PORT ofport_request=1
        ofport_request=65279
            add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
            add-port ovsbr0 PORT ofport_request=65279
    "#]],
    );
    check(
        &["ofport_request=0", "ofport_request=65280", "ofport_request=eth1"],
        &expect![[r#"
        ofport_request=0
            ovs.ofport_request=0: not a number between 1 and 65279
        ofport_request=65280
            ovs.ofport_request=65280: not a number between 1 and 65279
        ofport_request=eth1
            ovs.ofport_request=eth1: not a number between 1 and 65279
    "#]],
    );
}

fn check(cases: &[&str], expected: &Expect) {
    expected.assert_eq(&told(cases));
}

#[test]
fn vlans_and_trunks() {
    check(
        &[
            "vlan=10",
            "trunks=10",
            "trunks=0,10,20,100-110,101",
            "vlan=10; vlan_mode=access",
            "trunks=0-4094; vlan_mode=trunk",
            "vlan=10; trunks=20,21; vlan_mode=native-tagged",
            "vlan=10; trunks=20; vlan_mode=native-untagged",
            "vlan=10; vlan_mode=dot1q-tunnel",
        ],
        &expect![[r#"
            vlan=10
                add-link PORT peer=eth1 mac=da:89:35:d1:8a:99 address=10.0.0.1/24
                add-port ovsbr0 PORT tag=10
            trunks=10
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT trunks=10
            trunks=0,10,20,100-110,101
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT trunks=0,10,20,100-110
            vlan=10; vlan_mode=access
                add-link PORT peer=eth1 mac=da:89:35:d1:8a:99 address=10.0.0.1/24
                add-port ovsbr0 PORT tag=10 vlan_mode=access
            trunks=0-4094; vlan_mode=trunk
                add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
                add-port ovsbr0 PORT trunks=0-4094 vlan_mode=trunk
            vlan=10; trunks=20,21; vlan_mode=native-tagged
                add-link PORT peer=eth1 mac=da:89:35:d1:8a:99 address=10.0.0.1/24
                add-port ovsbr0 PORT tag=10 trunks=20-21 vlan_mode=native-tagged
            vlan=10; trunks=20; vlan_mode=native-untagged
                add-link PORT peer=eth1 mac=da:89:35:d1:8a:99 address=10.0.0.1/24
                add-port ovsbr0 PORT tag=10 trunks=20 vlan_mode=native-untagged
            vlan=10; vlan_mode=dot1q-tunnel
                add-link PORT peer=eth1 mac=da:89:35:d1:8a:99 address=10.0.0.1/24
                add-port ovsbr0 PORT tag=10 vlan_mode=dot1q-tunnel
        "#]],
    );
    check(
        &[
            "vlan=0",
            "trunks=",
            "trunks=10,",
            "trunks=20-10",
            "trunks=4095",
            "trunks=-1",
            "vlan_mode=Access",
            "vlan=10; trunks=20",
            "trunks=20; vlan=10; vlan_mode=access",
            "trunks=20; vlan=10; vlan_mode=trunk",
            "vlan_mode=trunk",
            "vlan_mode=access",
            "vlan=10; vlan_mode=native-tagged",
            "trunks=10; vlan_mode=native-untagged",
            "vlan=10; trunks=20; vlan_mode=dot1q-tunnel",
        ],
        &expect![[r#"
            vlan=0
                ovs.vlan=0: not a number between 1 and 4094
            trunks=
                ovs.trunks=: not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110
            trunks=10,
                ovs.trunks=10,: not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110
            trunks=20-10
                ovs.trunks=20-10: not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110
            trunks=4095
                ovs.trunks=4095: not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110
            trunks=-1
                ovs.trunks=-1: not VLANs and ranges of them between 0 (untagged) and 4094, such as 10,20,100-110
            vlan_mode=Access
                ovs.vlan_mode=Access: not one of access, trunk, native-tagged, native-untagged, dot1q-tunnel
            vlan=10; trunks=20
                ovs.trunks=20: with vlan, too, say by vlan_mode whether that is native-tagged or native-untagged
            trunks=20; vlan=10; vlan_mode=access
                ovs.trunks=20: only a trunk or a native mode has trunks
            trunks=20; vlan=10; vlan_mode=trunk
                ovs.vlan=10: a trunk has no VLAN of its own; for one whose untagged frames are in a VLAN choose native-tagged or native-untagged
            vlan_mode=trunk
                ovs.vlan_mode=trunk: needs trunks; 0-4094 are all VLANs
            vlan_mode=access
                ovs.vlan_mode=access: needs vlan
            vlan=10; vlan_mode=native-tagged
                ovs.vlan_mode=native-tagged: needs trunks; 0-4094 are all VLANs
            trunks=10; vlan_mode=native-untagged
                ovs.vlan_mode=native-untagged: needs vlan
            vlan=10; trunks=20; vlan_mode=dot1q-tunnel
                ovs.trunks=20: only a trunk or a native mode has trunks
        "#]],
    );
}

/// A label set of one interface, all of whose values are good by themselves.
fn good_values() -> impl Strategy<Value = BTreeMap<String, String>> {
    fn one(
        key: &'static str,
        values: &[&'static str],
    ) -> BoxedStrategy<(&'static str, Option<&'static str>)> {
        prop::option::of(prop::sample::select(values.to_vec()))
            .prop_map(move |value| (key, value))
            .boxed()
    }
    let keys = vec![
        one(
            "ip_address",
            &["10.0.0.1/24", "10.0.0.1/32,fd00::1/64", "fd00::1/128", "none", "auto"],
        ),
        one("bridge", &["br1", "br-int"]),
        one("gateway", &["10.0.0.254", "fd00::fe", "10.0.0.254,fe80::1"]),
        one("routes", &["10.1.0.0/16 via 10.0.0.254", "fd01::/64 dev, 10.2.0.0/16 dev"]),
        one("metric", &["1", "1024", "4294967295"]),
        one("mtu", &["68", "1280", "9000", "65535"]),
        one("mac_address", &["02-00-00-00-00-aa", "4e:1c:ef:db:f2:32"]),
        one("vlan", &["1", "4094"]),
        one("trunks", &["0", "10,20,100-110", "0-4094"]),
        one("vlan_mode", &["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"]),
        one("ingress_rate", &["1k", "1500k", "20M", "34G", "20000000"]),
        one("ingress_burst", &["12k", "16M"]),
        one("egress_rate", &["1k", "1000k", "1G"]),
        one("mirror", &["tap0", "eth0"]),
        one("ofport_request", &["1", "65279"]),
    ];
    keys.prop_map(|given| {
        let given = given.into_iter().filter_map(|(key, value)| Some((key, value?)));
        given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    })
}

proptest! {
    /// Whatever one interface asks for, the labels printed for it ask for the same.
    #[test]
    fn what_is_printed_reads_back_as_the_same(one in good_values(), two in good_values(), flat: bool) {
        let defaults = Defaults {
            bridge: "ovsbr0".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            datapath: Datapath::Netdev,
        };
        let prefix = if flat { "ovs." } else { "ovs.eth1." };
        let labels = one.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone()));
        let second = two.iter().map(|(key, value)| (format!("ovs.eth2.{key}"), value.clone()));
        if let Ok(wanted) = parse(&labels.chain(second).collect(), &defaults) {
            prop_assert_eq!(parse(&print(&wanted), &defaults), Ok(wanted));
        }
    }
}
