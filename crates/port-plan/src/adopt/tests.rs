use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{
    Container, Datapath, Defaults, Network, ObservedLink, Plan, PortConfig, PortKey, Rules, Start,
    State, Step, plan,
};

const ADDRESS: (&str, &str) = ("ovs.ip_address", "192.168.1.100/24");
const PORT: &str = "3f2a9c1b3f2a_l";

fn container(labels: &[(&str, &str)]) -> Container {
    Container {
        id: "3f2a9c1b".repeat(8).parse().unwrap(),
        name: "web".into(),
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        image: "busybox".to_owned(),
        image_labels: crate::ImageLabels::default(),
        state: State::Running { pid: 4711, start: start() },
        network: Network::Own,
    }
}

fn start() -> Start {
    "2026-01-02T03:04:05Z".into()
}

fn rules(adopt: bool) -> Rules {
    let defaults = Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: Datapath::Netdev,
    };
    Rules { adopt, ..Rules::new(defaults) }
}

/// The port that `ovs-docker` or the Go version has made, and its interface.
fn theirs(bridge: &str, interface: &str, addresses: &[&str]) -> Observed {
    let key = PortKey { container: container(&[]).id, interface: interface.parse().unwrap() };
    let port = ObservedPort {
        name: PORT.parse().unwrap(),
        bridge: bridge.parse().unwrap(),
        key,
        start: None,
        marked: None,
        owner: Owner::Other,
        config: PortConfig::default(),
        strays: Vec::new(),
    };
    let inside = ObservedInterface::Present {
        up: true,
        mac: "02:aa:bb:cc:dd:ee".parse().ok(),
        mtu: 1500,
        tx_checksum_offload: false,
        heeds_advertisements: false,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        routes: Vec::new(),
    };
    Observed {
        bridges: [("ovsbr0".parse().unwrap(), Datapath::Netdev)].into(),
        ports: vec![port],
        interfaces: [(interface.parse().unwrap(), inside)].into(),
        foreign_ends: [(PORT.parse().unwrap(), interface.parse().unwrap())].into(),
        ..Observed::default()
    }
}

/// The plan, as a look comes to it.
fn planned(
    container: &Container,
    observed: &Observed,
    adopt: bool,
    registry: &mut Registry,
) -> (Desired, Plan) {
    let mut desired = Desired::of(container, &rules(adopt), registry);
    desired.keep_macs(observed, registry);
    let plan = plan(&desired, observed, 0);
    (desired, plan)
}

fn check(labels: &[(&str, &str)], observed: &Observed, adopt: bool, expected: &Expect) {
    let (_, plan) = planned(&container(labels), observed, adopt, &mut Registry::default());
    expected.assert_eq(&plan.to_string());
}

#[test]
fn a_port_that_is_what_the_labels_ask_for_is_taken_over_as_it_is() {
    let observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24", "fe80::1/64"]);
    check(
        &[ADDRESS],
        &observed,
        true,
        &expect![[r#"
        adopt-port ovsbr0 3f2a9c1b3f2a_l peer=eth1 tx-checksum=off
    "#]],
    );
}

#[test]
fn what_is_not_as_the_labels_ask_is_put_right_in_the_port_that_is_taken_over() {
    let labels = [
        ADDRESS,
        ("ovs.vlan", "10"),
        ("ovs.mtu", "1400"),
        ("ovs.gateway", "192.168.1.1"),
        ("ovs.mac_address", "02:00:00:00:00:aa"),
    ];
    let observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    check(
        &labels,
        &observed,
        true,
        &expect![[r#"
        adopt-port ovsbr0 3f2a9c1b3f2a_l peer=eth1 tag=10 tx-checksum=off
        set-link 3f2a9c1b3f2a_l peer=eth1 mac=02:00:00:00:00:aa mtu=1400 gateway=192.168.1.1
    "#]],
    );
}

#[test]
fn a_port_that_may_not_be_taken_over_is_refused_with_what_to_do() {
    let observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    check(
        &[ADDRESS],
        &observed,
        false,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for the same interface by somebody else; set adopt: true to take it over as it is, or remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
}

#[test]
fn what_differs_is_said() {
    let elsewhere = theirs("br9", "eth1", &["192.168.1.100/24"]);
    check(
        &[ADDRESS],
        &elsewhere,
        true,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for this container by somebody else and cannot be taken over: it is on bridge br9, and the labels are for ovsbr0 (ovs.bridge, default_bridge); remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
    let other = theirs("ovsbr0", "eth1", &["192.168.1.7/24"]);
    check(
        &[ADDRESS],
        &other,
        true,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for this container by somebody else and cannot be taken over: eth1 has 192.168.1.7/24, and the labels ask for 192.168.1.100/24; remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
    let narrow = theirs("ovsbr0", "eth1", &[]);
    check(
        &[ADDRESS],
        &narrow,
        true,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for this container by somebody else and cannot be taken over: eth1 has no addresses, and the labels ask for 192.168.1.100/24; remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
    let named = theirs("ovsbr0", "bond0", &["192.168.1.100/24"]);
    check(
        &[ADDRESS],
        &named,
        true,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for this container by somebody else and cannot be taken over: its interface is bond0, and the labels are for eth1 (ovs.interface, default_interface); remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
    let unlinked = Observed {
        foreign_ends: BTreeMap::new(),
        ..theirs("ovsbr0", "eth1", &["192.168.1.100/24"])
    };
    check(
        &[ADDRESS],
        &unlinked,
        true,
        &expect![[r#"
        refused eth1: port 3f2a9c1b3f2a_l was made for this container by somebody else and cannot be taken over: its link does not lead to eth1 of this container; remove it (ovs-vsctl del-port 3f2a9c1b3f2a_l; ip link delete 3f2a9c1b3f2a_l) or the labels
    "#]],
    );
    let mut by_command = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    by_command.ports.iter_mut().for_each(|port| port.owner = Owner::Command);
    check(
        &[ADDRESS],
        &by_command,
        true,
        &expect![[r#"
            refused eth1: port 3f2a9c1b3f2a_l was made for the same interface by the command add-port; remove it (ovs-port-manager del-port) or the labels
        "#]],
    );
}

#[test]
fn another_interface_of_somebody_elses_beside_ours_is_no_obstacle() {
    let observed = theirs("br9", "eth7", &["10.9.9.9/24"]);
    check(
        &[ADDRESS],
        &observed,
        true,
        &expect![[r#"
        add-link 3f2a9c1bu64ij_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
        add-port ovsbr0 3f2a9c1bu64ij_l
    "#]],
    );
}

#[test]
fn the_mac_address_is_kept_in_this_start_and_the_next_gets_the_derived_one() {
    let mut registry = Registry::default();
    let observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    let web = container(&[ADDRESS]);
    let (desired, _) = planned(&web, &observed, true, &mut registry);
    let kept = "02:aa:bb:cc:dd:ee".parse().unwrap();
    assert_eq!(desired.specs()[0].mac, kept);
    // The row says it to whoever comes after this instance.
    let mut port = observed.ports[0].clone();
    port.owner = Owner::Us;
    port.start = Some(start());
    port.config = desired.specs()[0].config.clone();
    let mut other = Registry::default();
    other.learn(&port, "web");
    for registry in [&mut registry, &mut other] {
        let again = Desired::of(&web, &rules(false), registry);
        assert_eq!(again.specs()[0].mac, kept);
        let next = State::Running { pid: 1, start: "2026-01-02T04:00:00Z".into() };
        let next = Desired::of(&Container { state: next, ..web.clone() }, &rules(true), registry);
        assert_ne!(next.specs()[0].mac, kept);
        assert_eq!(next.specs()[0].config.kept_mac, None);
    }
}

#[test]
fn a_port_whose_link_alone_has_been_marked_keeps_its_mac_address() {
    let mut observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    let port = &mut observed.ports[0];
    (port.owner, port.start) = (Owner::Us, Some(start()));
    let (name, interface) = (port.name.clone(), "eth1".parse().unwrap());
    observed.links.push(ObservedLink { name, interface, start: start(), state: None });
    observed.foreign_ends.clear();
    check(
        &[ADDRESS],
        &observed,
        true,
        &expect![[r#"
        set-port 3f2a9c1b3f2a_l external_ids:ip_address=192.168.1.100/24 external_ids:mac_address=02:aa:bb:cc:dd:ee external_ids:adopted_mac=02:aa:bb:cc:dd:ee external_ids:container_name=web external_ids:container_name=web
    "#]],
    );
    // Somebody has wiped the marks of one that this program made.
    observed.ports[0].name = "3f2a9c1babcde_l".parse().unwrap();
    observed.links[0].name = "3f2a9c1babcde_l".parse().unwrap();
    let (desired, _) = planned(&container(&[ADDRESS]), &observed, true, &mut Registry::default());
    assert_eq!(desired.specs()[0].config.kept_mac, None);
}

#[test]
fn a_mac_address_that_another_container_holds_is_not_kept() {
    let mut registry = Registry::default();
    let other = Container {
        id: "0a1b2c3d".repeat(8).parse().unwrap(),
        name: "other".into(),
        ..container(&[("ovs.ip_address", "10.0.0.9/24"), ("ovs.mac_address", "02:aa:bb:cc:dd:ee")])
    };
    Desired::of(&other, &rules(true), &mut registry);
    let observed = theirs("ovsbr0", "eth1", &["192.168.1.100/24"]);
    let (_, plan) = planned(&container(&[ADDRESS]), &observed, true, &mut registry);
    expect![[r#"
        refused eth1: MAC address 02:aa:bb:cc:dd:ee on ovsbr0 is held by eth1 of container other (0a1b2c3d0a1b); it is granted once that one has stopped, or is removed if the address is from a pool
    "#]].assert_eq(&plan.to_string());
}

proptest! {
    /// Whatever the program dies after, the port stays and the next look ends the work.
    #[test]
    fn a_port_is_never_deleted_while_it_is_taken_over(
        marked in any::<bool>(),
        survived in 0..3_usize,
        adopt in any::<bool>(),
        bridge in prop::sample::select(vec!["ovsbr0", "br9"]),
        vlan in prop::option::of(prop::sample::select(vec!["7", "8"])),
        address in prop::sample::select(vec!["192.168.1.100/24", "192.168.1.7/24"]),
    ) {
        let mut observed = theirs(bridge, "eth1", &[address]);
        if marked {
            // The link alone was marked before the program died.
            let interface = "eth1".parse().unwrap();
            observed.links.push(ObservedLink { name: PORT.parse().unwrap(), interface, start: start(), state: None });
        }
        let mut labels = vec![ADDRESS];
        labels.extend(vlan.map(|vlan| ("ovs.vlan", vlan)));
        let matches = bridge == "ovsbr0" && address == ADDRESS.1;
        let mut registry = Registry::default();
        let (desired, plan) = planned(&container(&labels), &observed, adopt, &mut registry);
        let steps: Vec<_> = plan.ports.iter().flat_map(|port| port.steps.clone()).collect();
        let harmless = |step: &Step| matches!(step, Step::AdoptPort { .. } | Step::SetLink(_));
        prop_assert!(steps.iter().all(harmless), "{plan}");
        prop_assert_eq!(!steps.is_empty(), adopt && matches);
        prop_assert_eq!(plan.ports[0].refusal().is_none(), adopt && matches);
        if survived > 0 && let Some(Step::AdoptPort { changes, key, start, .. }) = steps.first() {
            let port = &mut observed.ports[0];
            port.owner = Owner::Us;
            port.key = key.clone();
            port.start = Some(start.clone());
            port.marked = Some("web".into());
            port.config = desired.specs()[0].config.clone();
            prop_assert!(!changes.is_empty(), "at least the marks change");
            let interface = "eth1".parse().unwrap();
            observed.links = vec![ObservedLink { name: PORT.parse().unwrap(), interface, start: start.clone(), state: None }];
            observed.foreign_ends.clear();
            let (_, after) = planned(&container(&labels), &observed, adopt, &mut registry);
            prop_assert_eq!(after.to_string(), "");
        }
    }
}
