//! Each key of the label table: good values and the plan that they lead to, bad ones and the exact message.

use expect_test::{Expect, expect};
use port_plan::{Container, Datapath, Defaults, Desired, Network, Observed, Start, State, plan};

/// Keys and values of the interface `eth1`, separated by semicolons; an address where none is given.
fn container(labels: &str) -> Container {
    let mut pairs: Vec<_> =
        labels.split(';').filter_map(|pair| pair.trim().split_once('=')).collect();
    if !pairs.iter().any(|(key, _)| *key == "ip_address") {
        pairs.push(("ip_address", "10.0.0.1/24"));
    }
    Container {
        id: "3f2a9c1b".repeat(8).parse().unwrap(),
        name: "web".to_owned(),
        labels: pairs
            .iter()
            .map(|(key, value)| (format!("ovs.{key}"), (*value).to_owned()))
            .collect(),
        state: State::Running { pid: 4711, start: Start("2026-01-02T03:04:05Z".to_owned()) },
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
    let bridges = [("ovsbr0".parse().unwrap(), Datapath::System)];
    let observed = Observed { bridges: bridges.into(), ..Observed::default() };
    let mut told = String::new();
    for case in cases {
        told += &format!("{case}\n");
        let lines = match Desired::of(&container(case), &defaults) {
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
fn ofport_request() {
    check(&["ofport_request=1", "ofport_request=65279"], &expect![[r#"
        ofport_request=1
            add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
            add-port ovsbr0 PORT ofport_request=1
        ofport_request=65279
            add-link PORT peer=eth1 mac=ca:95:c2:2b:54:63 address=10.0.0.1/24
            add-port ovsbr0 PORT ofport_request=65279
    "#]]);
    check(&["ofport_request=0", "ofport_request=65280", "ofport_request=eth1"], &expect![[r#"
        ofport_request=0
            ovs.ofport_request=0: not a number between 1 and 65279
        ofport_request=65280
            ovs.ofport_request=65280: not a number between 1 and 65279
        ofport_request=eth1
            ovs.ofport_request=eth1: not a number between 1 and 65279
    "#]]);
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
