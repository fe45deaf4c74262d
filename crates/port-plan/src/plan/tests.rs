use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{
    Container, ContainerId, Defaults, FlowRules, Limit, MacAddress, Network, ObservedLink,
    PortColumn, PortConfig, PortKey, Start, State,
};
use crate::{Registry, Rules};

fn id() -> ContainerId {
    "3f2a9c1b".repeat(8).parse().unwrap()
}

fn start(number: u32) -> Start {
    Start::from(format!("2026-01-02T03:04:0{number}Z").as_str())
}

fn container(labels: &[(&str, &str)]) -> Container {
    Container {
        id: id(),
        name: "web".into(),
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        image: "busybox".to_owned(),
        image_labels: crate::ImageLabels::default(),
        state: State::Running { pid: 4711, start: start(1) },
        network: Network::Own,
    }
}

fn defaults() -> Defaults {
    Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: Datapath::Netdev,
    }
}

fn rules() -> Rules {
    Rules::new(defaults())
}

fn port(name: &str, bridge: &str, began: u32, vlan: Option<&str>, owner: Owner) -> ObservedPort {
    ObservedPort {
        name: name.parse().unwrap(),
        bridge: bridge.parse().unwrap(),
        key: PortKey { container: id(), interface: "eth1".parse().unwrap() },
        start: (owner == Owner::Us).then(|| start(began)),
        owner,
        marked: (owner == Owner::Us).then(|| "web".into()),
        config: config(vlan),
        strays: Vec::new(),
    }
}

fn config(vlan: Option<&str>) -> PortConfig {
    let vlan: Option<crate::Vlan> = vlan.map(|vlan| vlan.parse().unwrap());
    let mac = MacAddress::derive(&"ovsbr0".parse().unwrap(), vlan, &"192.168.1.100");
    let addresses = vec!["192.168.1.100/24".parse().unwrap()];
    let container_name = "web".into();
    PortConfig { tag: vlan, addresses, mac: Some(mac), container_name, ..PortConfig::default() }
}

fn link(name: &str, began: u32) -> ObservedLink {
    let interface = "eth1".parse().unwrap();
    ObservedLink { name: name.parse().unwrap(), interface, start: start(began), state: None }
}

fn check(container: &Container, observed: &Observed, expected: &Expect) {
    let desired = Desired::of(container, &rules(), &mut Registry::default());
    expected.assert_eq(&plan(&desired, observed, 0).to_string());
}

fn bridge() -> Observed {
    bridges(&[("ovsbr0", Datapath::Netdev)])
}

fn bridges(there: &[(&str, Datapath)]) -> Observed {
    let bridges = there.iter().map(|(name, datapath)| (name.parse().unwrap(), *datapath));
    Observed { bridges: bridges.collect(), ..Observed::default() }
}

const ADDRESS: (&str, &str) = ("ovs.ip_address", "192.168.1.100/24");

#[test]
fn a_missing_bridge_is_created_with_the_port() {
    check(
        &container(&[ADDRESS]),
        &Observed::default(),
        &expect![[r#"
            add-br ovsbr0 datapath_type=netdev
            add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
            add-port ovsbr0 3f2a9c1bbty2c_l
        "#]],
    );
}

#[test]
fn everything_asked_for_is_in_the_plan() {
    let labels = [
        ("ovs.ip_address", "192.168.1.100/24,fd00::100/64"),
        ("ovs.gateway", "192.168.1.1,fd00::1"),
        ("ovs.mtu", "1400"),
        ("ovs.mac_address", "02:00:00:00:00:aa"),
        ("ovs.vlan", "100"),
        ("ovs.bridge", "br1"),
        ("ovs.interface", "net0"),
    ];
    let observed = bridges(&[("br1", Datapath::System)]);
    check(
        &container(&labels),
        &observed,
        &expect![[r#"
        add-link 3f2a9c1bybco0_l peer=net0 mac=02:00:00:00:00:aa mtu=1400 address=192.168.1.100/24 address=fd00::100/64 gateway=192.168.1.1 gateway=fd00::1
        add-port br1 3f2a9c1bybco0_l tag=100
    "#]],
    );
}

#[test]
fn a_port_that_is_right_is_left_alone() {
    let observed = Observed {
        ports: vec![port("3f2a9c1babcde_l", "ovsbr0", 1, None, Owner::Us)],
        links: vec![link("3f2a9c1babcde_l", 1)],
        ..bridge()
    };
    check(&container(&[ADDRESS]), &observed, &expect![[""]]);
}

#[test]
fn changing_vlan_rewrites_only_the_port_row() {
    let observed = Observed {
        ports: vec![port("3f2a9c1babcde_l", "ovsbr0", 1, Some("7"), Owner::Us)],
        links: vec![link("3f2a9c1babcde_l", 1)],
        ..bridge()
    };
    check(
        &container(&[ADDRESS, ("ovs.vlan", "8")]),
        &observed,
        &expect![[r#"
            set-port 3f2a9c1babcde_l tag=8 external_ids:mac_address=fa:cc:67:5b:83:62
        "#]],
    );
    check(
        &container(&[ADDRESS]),
        &observed,
        &expect![[r#"
            set-port 3f2a9c1babcde_l tag=[] external_ids:mac_address=4e:1c:ef:db:f2:32
        "#]],
    );
}

/// The interface as `ovs.ip_address=192.168.1.100/24` wants it.
fn interface() -> ObservedInterface {
    let desired = Desired::of(&container(&[ADDRESS]), &rules(), &mut Registry::default());
    let spec = &desired.specs()[0];
    ObservedInterface::Present {
        up: true,
        mac: Some(spec.mac),
        mtu: 1500,
        heeds_advertisements: false,
        tx_checksum_offload: false,
        addresses: spec.addresses.clone(),
        routes: Vec::new(),
    }
}

fn attached(interface: ObservedInterface) -> Observed {
    Observed {
        ports: vec![port("3f2a9c1babcde_l", "ovsbr0", 1, None, Owner::Us)],
        links: vec![link("3f2a9c1babcde_l", 1)],
        interfaces: BTreeMap::from([("eth1".parse().unwrap(), interface)]),
        ..bridge()
    }
}

#[test]
fn what_changed_inside_the_container_is_put_right_and_nothing_else() {
    let labels = [ADDRESS, ("ovs.mtu", "1400"), ("ovs.gateway", "192.168.1.1")];
    let seen = |up, addresses: &[&str], gateways: &[&str]| ObservedInterface::Present {
        up,
        mac: "02:00:00:00:00:01".parse().ok(),
        mtu: 1500,
        heeds_advertisements: false,
        tx_checksum_offload: !up,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        routes: gateways
            .iter()
            .map(|gateway| Route::default_via(gateway.parse().unwrap()))
            .collect(),
    };
    check(&container(&[ADDRESS]), &attached(interface()), &expect![[""]]);
    let other = seen(true, &["192.168.1.100/24", "10.9.9.9/8"], &["192.168.1.1"]);
    check(
        &container(&labels),
        &attached(other),
        &expect![[r#"
        set-link 3f2a9c1babcde_l peer=eth1 mac=4e:1c:ef:db:f2:32 mtu=1400
    "#]],
    );
    let down = seen(false, &[], &["192.168.1.1"]);
    check(
        &container(&labels),
        &attached(down),
        &expect![[r#"
            set-link 3f2a9c1babcde_l peer=eth1 mac=4e:1c:ef:db:f2:32 mtu=1400 address=192.168.1.100/24 gateway=192.168.1.1 tx-checksum=off up
        "#]],
    );
}

#[test]
fn an_interface_that_was_never_configured_gets_all_that_it_is_to_have() {
    let new = ObservedInterface::Present {
        up: false,
        mac: "4e:1c:ef:db:f2:32".parse().ok(),
        mtu: 1500,
        heeds_advertisements: false,
        tx_checksum_offload: true,
        addresses: Vec::new(),
        routes: Vec::new(),
    };
    let labels = [ADDRESS, ("ovs.gateway", "192.168.1.1")];
    check(
        &container(&labels),
        &attached(new.clone()),
        &expect![[r#"
        set-link 3f2a9c1babcde_l peer=eth1 address=192.168.1.100/24 gateway=192.168.1.1 tx-checksum=off up
    "#]],
    );
    let kernel = BTreeMap::from([("ovsbr0".parse().unwrap(), Datapath::System)]);
    let observed = Observed { bridges: kernel, ..attached(new) };
    check(
        &container(&labels),
        &observed,
        &expect![[r#"
        set-link 3f2a9c1babcde_l peer=eth1 address=192.168.1.100/24 gateway=192.168.1.1 up
    "#]],
    );
}

#[test]
fn an_interface_that_heeds_router_advertisements_is_told_not_to() {
    let heeding = |addresses: &[&str]| ObservedInterface::Present {
        up: true,
        mac: "4e:1c:ef:db:f2:32".parse().ok(),
        mtu: 1500,
        tx_checksum_offload: false,
        heeds_advertisements: true,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        routes: Vec::new(),
    };
    check(
        &container(&[ADDRESS]),
        &attached(heeding(&["192.168.1.100/24"])),
        &expect![[r#"
            set-link 3f2a9c1babcde_l peer=eth1 accept_ra=0 autoconf=0
        "#]],
    );
    // One without addresses of ours is its container's own affair.
    let none = container(&[("ovs.ip_address", "none")]);
    let Desired::Ports(ports) = Desired::of(&none, &rules(), &mut Registry::default()) else {
        panic!("nothing wanted");
    };
    assert!(!ports.specs[0].ignores_advertisements());
}

#[test]
fn an_interface_that_is_gone_gets_a_new_link() {
    check(
        &container(&[ADDRESS]),
        &attached(ObservedInterface::Missing),
        &expect![[r#"
        del-port ovsbr0 3f2a9c1babcde_l
        del-link 3f2a9c1babcde_l
        add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
        add-port ovsbr0 3f2a9c1bbty2c_l
    "#]],
    );
}

#[test]
fn a_restart_gets_a_new_port_and_loses_the_old_one() {
    let observed = Observed {
        ports: vec![port("3f2a9c1bolder_l", "ovsbr0", 0, None, Owner::Us)],
        links: vec![link("3f2a9c1bolder_l", 0)],
        ..bridge()
    };
    check(
        &container(&[ADDRESS]),
        &observed,
        &expect![[r#"
        del-port ovsbr0 3f2a9c1bolder_l
        add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
        add-port ovsbr0 3f2a9c1bbty2c_l
        del-link 3f2a9c1bolder_l
    "#]],
    );
}

#[test]
fn a_link_without_a_row_is_made_anew() {
    let observed = Observed { links: vec![link("3f2a9c1babcde_l", 1)], ..bridge() };
    check(
        &container(&[ADDRESS]),
        &observed,
        &expect![[r#"
        del-link 3f2a9c1babcde_l
        add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
        add-port ovsbr0 3f2a9c1bbty2c_l
    "#]],
    );
}

#[test]
fn a_row_without_a_link_is_replaced_under_another_name() {
    let desired = Desired::of(&container(&[ADDRESS]), &rules(), &mut Registry::default());
    let first = unused_name(&desired.specs()[0], &Observed::default(), 0);
    let stale = port(first.as_str(), "ovsbr0", 1, None, Owner::Us);
    let observed = Observed { ports: vec![stale], ..bridge() };
    let steps = steps(&plan(&desired, &observed, 0));
    assert!(matches!(&steps[0], Step::DelPort { port, .. } if *port == first));
    assert!(matches!(&steps[1], Step::AddLink(link) if link.name != first));
}

#[test]
fn a_port_on_another_bridge_is_taken_off_it() {
    let observed = Observed {
        ports: vec![port("3f2a9c1babcde_l", "br9", 1, None, Owner::Us)],
        links: vec![link("3f2a9c1babcde_l", 1)],
        ..bridge()
    };
    check(
        &container(&[ADDRESS]),
        &observed,
        &expect![[r#"
        del-port br9 3f2a9c1babcde_l
        del-link 3f2a9c1babcde_l
        add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
        add-port ovsbr0 3f2a9c1bbty2c_l
    "#]],
    );
}

#[test]
fn a_stopped_container_loses_its_port_and_link() {
    let stopped = Container { state: State::Stopped, ..container(&[ADDRESS]) };
    let observed = Observed {
        ports: vec![port("3f2a9c1babcde_l", "ovsbr0", 1, None, Owner::Us)],
        links: vec![link("3f2a9c1babcde_l", 1)],
        ..bridge()
    };
    check(
        &stopped,
        &observed,
        &expect![[r#"
        del-port ovsbr0 3f2a9c1babcde_l
        del-link 3f2a9c1babcde_l
    "#]],
    );
}

#[test]
fn a_mistake_in_any_label_attaches_nothing() {
    check(&container(&[ADDRESS, ("ovs.vlan", "0")]), &bridge(), &expect![[""]]);
}

#[test]
fn a_shared_namespace_is_refused() {
    for network in [Network::Host, Network::Container("db".to_owned())] {
        let shared = Container { network, ..container(&[ADDRESS]) };
        let desired = Desired::of(&shared, &rules(), &mut Registry::default());
        assert!(matches!(desired, Desired::Refused(_)), "{desired:?}");
        assert_eq!(plan(&desired, &bridge(), 0), Plan::default());
    }
}

#[test]
fn a_port_of_somebody_else_for_the_same_interface_is_reported_and_kept() {
    let observed = Observed {
        ports: vec![port("0a1b2c3d4e5f6_l", "ovsbr0", 1, None, Owner::Other)],
        ..bridge()
    };
    check(
        &container(&[ADDRESS]),
        &observed,
        &expect![[r#"
            refused eth1: port 0a1b2c3d4e5f6_l was made for this container by somebody else and cannot be taken over: its link does not lead to eth1 of this container; remove it (ovs-vsctl del-port 0a1b2c3d4e5f6_l; ip link delete 0a1b2c3d4e5f6_l) or the labels
        "#]],
    );
    let stopped = Container { state: State::Stopped, ..container(&[ADDRESS]) };
    check(&stopped, &observed, &expect![[""]]);
}

#[test]
fn each_interface_has_a_port_of_its_own_and_a_refused_one_holds_up_no_other() {
    let labels = [
        ADDRESS,
        ("ovs.eth2.ip_address", "10.0.0.1/24"),
        ("ovs.eth2.bridge", "br2"),
        ("ovs.eth3.ip_address", "10.0.3.1/24"),
    ];
    let mut foreign = port("theirs", "ovsbr0", 1, None, Owner::Other);
    foreign.key.interface = "eth3".parse().unwrap();
    let mut unwanted = port("3f2a9c1bolder_l", "ovsbr0", 1, None, Owner::Us);
    unwanted.key.interface = "eth4".parse().unwrap();
    check(
        &container(&labels),
        &Observed { ports: vec![foreign, unwanted], ..bridge() },
        &expect![[r#"
            add-link 3f2a9c1bbty2c_l peer=eth1 mac=4e:1c:ef:db:f2:32 address=192.168.1.100/24 tx-checksum=off
            add-port ovsbr0 3f2a9c1bbty2c_l
            add-br br2 datapath_type=netdev
            add-link 3f2a9c1bhesks_l peer=eth2 mac=a2:d8:70:b6:d0:ac address=10.0.0.1/24 tx-checksum=off
            add-port br2 3f2a9c1bhesks_l
            refused eth3: port theirs was made for this container by somebody else and cannot be taken over: its link does not lead to eth3 of this container; remove it (ovs-vsctl del-port theirs; ip link delete theirs) or the labels
            del-port ovsbr0 3f2a9c1bolder_l
        "#]],
    );
}

#[test]
fn the_mac_depends_on_bridge_vlan_and_address_alone() {
    let derive = |bridge: &str, vlan: Option<&str>, address: &str| {
        let vlan = vlan.map(|vlan| vlan.parse().unwrap());
        MacAddress::derive(&bridge.parse().unwrap(), vlan, &address)
    };
    let one = derive("ovsbr0", Some("10"), "10.0.0.1");
    assert_eq!(one, derive("ovsbr0", Some("10"), "10.0.0.1"));
    assert_ne!(one, derive("ovsbr0", Some("11"), "10.0.0.1"));
    assert_ne!(one, derive("ovsbr1", Some("10"), "10.0.0.1"));
    assert_ne!(one, derive("ovsbr0", Some("10"), "10.0.0.2"));
    assert_eq!(one.octets()[0] & 0b11, 0b10, "locally administered, unicast");
}

#[test]
fn what_changed_of_the_host_end_is_put_right_and_nothing_else() {
    let observed = |state| {
        let mut observed = attached(interface());
        observed.links[0].state = Some(state);
        observed
    };
    check(&container(&[ADDRESS]), &observed(host_end()), &expect![[""]]);
    let theirs = HostEnd { mtu: 9000, ..host_end() };
    check(&container(&[ADDRESS]), &observed(theirs), &expect![[""]]);
    let lost =
        HostEnd { up: false, mtu: 9000, marked: false, enslaved: true, makes_addresses: true };
    check(
        &container(&[ADDRESS, ("ovs.mtu", "1500")]),
        &observed(lost),
        &expect![[r#"
            set-link 3f2a9c1babcde_l alias mtu=1500 nomaster addrgenmode=none up
        "#]],
    );
    let kernel = BTreeMap::from([("ovsbr0".parse().unwrap(), Datapath::System)]);
    let in_datapath = HostEnd { enslaved: true, ..host_end() };
    let observed = Observed { bridges: kernel, ..observed(in_datapath) };
    check(&container(&[ADDRESS]), &observed, &expect![[""]]);
}

#[test]
fn a_link_that_is_down_comes_up_with_its_flow_rules_and_not_before() {
    let mut observed = attached(interface());
    observed.links[0].state = Some(HostEnd { up: false, ..host_end() });
    let limited = container(&[ADDRESS, ("ovs.ingress_rate", "20M")]);
    check(
        &limited,
        &observed,
        &expect![[r#"
        set-port 3f2a9c1babcde_l ingress_policing_rate=20000
        set-flows ovsbr0 3f2a9c1babcde_l meter=20000,burst=8000
    "#]],
    );
}

#[test]
fn what_nobody_asked_for_is_put_right_where_it_keeps_a_port_from_what_was() {
    let mut row = port("3f2a9c1babcde_l", "ovsbr0", 1, None, Owner::Us);
    row.strays = vec![Stray::Type, Stray::Interfaces, Stray::MtuRequest];
    let observed = |address| {
        let labels = container(&[ADDRESS]);
        let desired = Desired::of(&labels, &rules(), &mut Registry::default());
        let [spec] = desired.specs() else { panic!("{desired:?}") };
        let holder = crate::Holder { key: spec.key.clone(), container_name: "web".into() };
        let lease = crate::Lease { bridge: spec.bridge.clone(), vlan: None, address, holder };
        let links = vec![link("3f2a9c1babcde_l", 1)];
        Observed { ports: vec![row.clone()], links, unkept: vec![lease], ..bridge() }
    };
    check(
        &container(&[ADDRESS]),
        &observed("192.168.1.100".parse().unwrap()),
        &expect![[r#"
        set-port 3f2a9c1babcde_l type="" interfaces=its own kept=192.168.1.100
    "#]],
    );
    let wide = container(&[ADDRESS, ("ovs.mtu", "1500")]);
    check(
        &wide,
        &observed("192.168.1.100".parse().unwrap()),
        &expect![[r#"
        set-port 3f2a9c1babcde_l type="" interfaces=its own mtu_request=[] kept=192.168.1.100
    "#]],
    );
}

#[test]
fn what_a_lost_link_has_left_in_its_container_may_be_replaced() {
    let replaced = |ports: Vec<ObservedPort>| {
        let desired = Desired::of(&container(&[ADDRESS]), &rules(), &mut Registry::default());
        let steps = steps(&plan(&desired, &Observed { ports, ..bridge() }, 0));
        let replaces = steps.iter().find_map(|step| match step {
            Step::AddLink(link) => Some(link.replaces),
            _ => None,
        });
        replaces.expect("a link is made")
    };
    let row = |began| port("3f2a9c1babcde_l", "ovsbr0", began, None, Owner::Us);
    let ours = row(1);
    assert_eq!(replaced(vec![ours.clone()]), ours.config.mac);
    assert_eq!(replaced(vec![row(2)]), None, "another start lies in another namespace");
    assert_eq!(replaced(Vec::new()), None, "nobody knows whose it is");
}

/// A world that steps are carried out on, as strict as the real one.
#[derive(Debug, Clone)]
struct World {
    observed: Observed,
    /// Interfaces inside the container, by the link that is their other end.
    inside: BTreeMap<LinkName, LinkName>,
    start: Start,
}

fn change(config: &mut PortConfig, changes: &[PortColumn]) {
    for change in changes {
        match change.clone() {
            // Of the row, not of its settings.
            PortColumn::Identity { .. } | PortColumn::AsMade(_) | PortColumn::Leases(_) => {}
            PortColumn::Tag(tag) => config.tag = tag,
            PortColumn::Trunks(trunks) => config.trunks = trunks,
            PortColumn::VlanMode(mode) => config.vlan_mode = mode,
            PortColumn::IngressRate(rate) => config.ingress_rate = rate,
            PortColumn::IngressBurst(burst) => config.ingress_burst = burst,
            PortColumn::EgressRate(rate) => config.egress_rate = rate,
            PortColumn::Addresses(addresses) => config.addresses = addresses,
            PortColumn::Mac(mac) => config.mac = mac,
            PortColumn::KeptMac(mac) => config.kept_mac = mac,
            PortColumn::OwnLabels(labels) => config.own_labels = labels,
            PortColumn::ContainerName(name) => config.container_name = name,
            PortColumn::Mirror(output) => config.mirror = output,
            PortColumn::OfportRequest(port) => config.ofport_request = port,
        }
    }
}

fn change_row(row: &mut ObservedPort, changes: &[PortColumn]) {
    row.strays.retain(|stray| !changes.contains(&PortColumn::AsMade(*stray)));
    change(&mut row.config, changes);
}

impl World {
    fn apply(&mut self, step: &Step) {
        let Observed {
            bridges,
            ports,
            links,
            leftovers,
            interfaces,
            foreign_ends,
            flows,
            unkept: _,
        } = &mut self.observed;
        match step {
            Step::AddBridge { bridge, datapath } => {
                // Two interfaces may want the same bridge; the second finds it there.
                bridges.entry(bridge.clone()).or_insert(*datapath);
            }
            Step::AddLink(link) => {
                assert!(links.iter().all(|other| other.name != link.name), "the link exists");
                let taken = self.inside.values().any(|name| *name == link.key.interface);
                assert!(!taken, "the interface exists inside the container");
                assert_eq!(link.start, self.start);
                self.inside.insert(link.name.clone(), link.key.interface.clone());
                links.push(ObservedLink {
                    name: link.name.clone(),
                    interface: link.key.interface.clone(),
                    start: link.start.clone(),
                    state: Some(host_end()),
                });
                let present = ObservedInterface::Present {
                    up: true,
                    mac: Some(link.mac),
                    mtu: link.mtu.map_or(1500, u32::from),
                    heeds_advertisements: !link.ignores_advertisements(),
                    tx_checksum_offload: link.tx_checksum_offload,
                    addresses: link.addresses.clone(),
                    routes: link.routes.clone(),
                };
                interfaces.insert(link.key.interface.clone(), present);
            }
            Step::SetLink(repair) => {
                assert!(links.iter().any(|other| other.name == repair.name), "no such link");
                let Some(ObservedInterface::Present {
                    up,
                    mac,
                    mtu,
                    heeds_advertisements,
                    tx_checksum_offload,
                    addresses,
                    routes,
                }) = interfaces.get_mut(&repair.key.interface)
                else {
                    panic!("no such interface");
                };
                *tx_checksum_offload &= !repair.tx_checksum_off;
                *mac = repair.mac.or(*mac);
                *mtu = repair.mtu.map_or(*mtu, u32::from);
                *heeds_advertisements &= !repair.ignore_advertisements;
                addresses.extend(&repair.addresses);
                *up |= repair.up;
                routes.extend(&repair.routes);
            }
            Step::SetHostLink(repair) => {
                let link = links.iter_mut().find(|link| link.name == repair.name);
                let link = link.expect("no such link");
                assert_eq!(link.start, repair.start);
                let state = link.state.as_mut().expect("nobody has looked");
                state.up |= repair.up;
                state.marked |= repair.mark;
                state.enslaved &= !repair.free;
                state.makes_addresses &= !repair.no_addresses;
                state.mtu = repair.mtu.map_or(state.mtu, u32::from);
            }
            Step::DelLink { link } => {
                assert!(links.iter().any(|other| other.name == *link), "the link is not ours");
                links.retain(|other| other.name != *link);
                self.inside.remove(link);
            }
            Step::AddPort {
                bridge: on,
                port,
                config,
                key,
                container_name: _,
                start,
                leases: _,
            } => {
                assert!(bridges.contains_key(on), "no bridge");
                assert!(ports.iter().all(|other| other.name != *port), "the port exists");
                assert!(links.iter().any(|other| other.name == *port), "no link yet");
                ports.push(ObservedPort {
                    name: port.clone(),
                    bridge: on.clone(),
                    key: key.clone(),
                    start: Some(start.clone()),
                    owner: Owner::Us,
                    marked: Some("web".into()),
                    config: config.clone(),
                    strays: Vec::new(),
                });
            }
            Step::AdoptPort {
                bridge: on,
                port,
                key,
                container_name: _,
                start,
                changes,
                leases: _,
                mtu: _,
                tx_checksum_offload: _,
            } => {
                let row = ports.iter_mut().find(|other| other.name == *port).expect("no such port");
                assert_eq!((row.owner, &row.bridge), (Owner::Other, on));
                assert_eq!(foreign_ends.remove(port).as_ref(), Some(&key.interface));
                links.retain(|other| other.name != *port);
                links.push(ObservedLink {
                    name: port.clone(),
                    interface: key.interface.clone(),
                    start: start.clone(),
                    state: Some(host_end()),
                });
                row.key = key.clone();
                row.owner = Owner::Us;
                row.marked = Some("web".into());
                row.start = Some(start.clone());
                change_row(row, changes);
            }
            Step::Destroy(leftover) => {
                assert!(leftovers.contains(leftover), "no such row");
                leftovers.retain(|other| other != leftover);
            }
            Step::SetPort { bridge: _, port, key: _, changes } => {
                let row = ports.iter_mut().find(|other| other.name == *port).expect("no such port");
                assert_eq!(row.owner, Owner::Us);
                let identity = changes.iter().find_map(|change| match change {
                    PortColumn::Identity { container_name, start } => Some((container_name, start)),
                    _ => None,
                });
                if let Some((container_name, start)) = identity {
                    assert_eq!(row.start.as_ref(), Some(start));
                    row.marked = Some(container_name.clone());
                }
                change_row(row, changes);
            }
            Step::SetFlows { bridge: _, port, rules } => {
                assert!(ports.iter().any(|other| other.name == *port), "no such port");
                // The link's end in the host comes up with them.
                let link = links.iter_mut().find(|link| link.name == *port);
                if let Some(state) = link.and_then(|link| link.state.as_mut()) {
                    state.up = true;
                }
                match rules.is_empty() {
                    true => flows.remove(port),
                    false => flows.insert(port.clone(), PortFlows::InForce(rules.clone())),
                };
                let link = links.iter_mut().find(|link| link.name == *port);
                if let Some(state) = link.and_then(|link| link.state.as_mut()) {
                    state.up = true;
                }
            }
            Step::DelPort { bridge: _, port } => {
                flows.remove(port);
                let row = ports.iter().find(|other| other.name == *port).expect("no such port");
                assert_eq!(row.owner, Owner::Us);
                ports.retain(|other| other.name != *port);
            }
        }
    }

    fn foreign(&self) -> Vec<ObservedPort> {
        let other = |port: &&ObservedPort| port.owner == Owner::Other;
        self.observed.ports.iter().filter(other).cloned().collect()
    }
}

/// The host end of a link as it is made.
fn host_end() -> HostEnd {
    HostEnd { up: true, mtu: 1500, marked: true, enslaved: false, makes_addresses: false }
}

/// All steps of a plan, in order.
fn steps(plan: &Plan) -> Vec<Step> {
    plan.ports.iter().flat_map(|port| port.steps.clone()).collect()
}

/// In the generated worlds, a name's number says which of the two interfaces it is for.
fn interface_of(number: u32) -> LinkName {
    format!("eth{}", 1 + number % 2).parse().unwrap()
}

fn leftover(number: u32) -> Leftover {
    let uuid = format!("{number}");
    Leftover { interface: interface_of(number), row: crate::LeftoverRow::Qos, uuid }
}

fn any_port() -> impl Strategy<Value = ObservedPort> {
    let owner = prop_oneof![4 => Just(Owner::Us), 1 => Just(Owner::Other)];
    let vlan = prop::option::of(prop::sample::select(vec!["7", "8"]));
    (0..6_u32, prop::sample::select(vec!["ovsbr0", "br9"]), 0..3_u32, vlan, owner).prop_map(
        |(number, bridge, began, vlan, owner)| {
            let mut port = port(&format!("3f2a9c1bname{number}_l"), bridge, began, vlan, owner);
            port.key.interface = interface_of(number);
            // Every other one has lost its marks and is recognised by its link.
            port.marked = port.marked.filter(|_| number % 2 == 0);
            port.strays =
                [Stray::Type, Stray::Interfaces].into_iter().take(began as usize).collect();
            port
        },
    )
}

/// Flow rules of another time, or unknown ones.
fn any_flows() -> impl Strategy<Value = PortFlows> {
    let limit = Some(Limit { rate: 1, burst: 1 });
    let old = PortFlows::InForce(FlowRules { limit, ..FlowRules::default() });
    prop_oneof![Just(PortFlows::Unknown), Just(old)]
}

fn any_host_end() -> impl Strategy<Value = HostEnd> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(up, marked, enslaved, makes_addresses)| HostEnd {
            up,
            mtu: 1500,
            marked,
            enslaved,
            makes_addresses,
        },
    )
}

fn any_world() -> impl Strategy<Value = World> {
    let ports = prop::collection::vec(any_port(), 0..5);
    let links = prop::collection::btree_map(0..6_u32, (0..3_u32, any_host_end()), 0..5);
    let bridge = prop::option::of(Just(Datapath::Netdev));
    let interface = prop_oneof![
        Just(None),
        Just(Some(interface())),
        Just(Some(ObservedInterface::Missing)),
        Just(Some(ObservedInterface::Present {
            up: false,
            mac: None,
            mtu: 68,
            heeds_advertisements: true,
            tx_checksum_offload: true,
            addresses: Vec::new(),
            routes: Vec::new(),
        })),
    ];
    let leftovers = prop::collection::btree_set(0..4_u32, 0..3)
        .prop_map(|numbers| numbers.into_iter().map(leftover).collect());
    let flows = prop::collection::btree_map(0..6_u32, any_flows(), 0..3);
    (bridge, ports, links, interface, leftovers, flows).prop_map(
        |(bridge, mut ports, links, interface, leftovers, flows)| {
            let flows = flows
                .into_iter()
                .map(|(number, flows)| (format!("3f2a9c1bname{number}_l").parse().unwrap(), flows));
            let flows = flows.collect();
            ports.sort_by_key(|port| port.name.clone());
            ports.dedup_by_key(|port| port.name.clone());
            // Those of others bear no mark of ours, unless they are about to be taken over.
            let foreign: Vec<_> = ports
                .iter()
                .filter(|port| port.owner == Owner::Other)
                .map(|port| &port.name)
                .collect();
            let links: Vec<_> = links
                .iter()
                .map(|(number, (began, state))| ObservedLink {
                    interface: interface_of(*number),
                    state: Some(*state),
                    ..link(&format!("3f2a9c1bname{number}_l"), *began)
                })
                .filter(|link| !foreign.contains(&&link.name))
                .collect();
            let now = start(1);
            // A name belongs to one interface: of all links of this start, one is its other end.
            let ends: BTreeMap<_, _> = links
                .iter()
                .filter(|link| link.start == now)
                .map(|link| (link.interface.clone(), link.name.clone()))
                .collect();
            let inside = ends.into_iter().map(|(interface, link)| (link, interface)).collect();
            let bridges = bridge.map(|datapath| ("ovsbr0".parse().unwrap(), datapath));
            let bridges = bridges.into_iter().collect();
            let eth1 = "eth1".parse().unwrap();
            let interfaces = interface.map(|interface| (eth1, interface)).into_iter().collect();
            World {
                observed: Observed {
                    bridges,
                    ports,
                    links,
                    leftovers,
                    interfaces,
                    flows,
                    ..Observed::default()
                },
                inside,
                start: now,
            }
        },
    )
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let vlan = prop::option::of(prop::sample::select(vec!["7", "8"]));
    (any::<bool>(), any::<bool>(), vlan).prop_map(|(running, second, vlan)| {
        // One of them has flow rules: the userspace datapath limits rates by them.
        let mut labels = vec![ADDRESS, ("ovs.ingress_rate", "20M")];
        labels.extend(vlan.map(|vlan| ("ovs.vlan", vlan)));
        if second {
            labels.push(("ovs.eth2.ip_address", "10.0.0.1/24"));
        }
        let mut container = container(&labels);
        if !running {
            container.state = State::Stopped;
        }
        Desired::of(&container, &rules(), &mut Registry::default())
    })
}

proptest! {
    /// This is the crash test: whatever step the program dies after, planning again gets there.
    #[test]
    fn stopping_anywhere_and_planning_again_reaches_the_desired_state(
        world in any_world(),
        desired in any_desired(),
        survived in 0..6_usize,
    ) {
        let mut world = world;
        let foreign = world.foreign();
        for step in steps(&plan(&desired, &world.observed, 0)).iter().take(survived) {
            world.apply(step);
        }
        let second = plan(&desired, &world.observed, 0);
        for step in &steps(&second) {
            world.apply(step);
        }
        let third = plan(&desired, &world.observed, 0);
        prop_assert_eq!(steps(&third), &[], "nothing is left to do");
        prop_assert_eq!(world.foreign(), foreign, "what others made is untouched");

        prop_assert_eq!(&world.observed.leftovers, &[]);
        let placed: Vec<_> = third.ports.iter().filter_map(PortPlan::placed).collect();
        prop_assert_eq!(placed.len(), ours(&world.observed).count());
        prop_assert_eq!(placed.len(), world.observed.links.len());
        for spec in desired.specs() {
            let of_spec = |port: &&PortPlan| port.interface == spec.key.interface;
            let now = third.ports.iter().find(of_spec).expect("each interface has its plan");
            let before = second.ports.iter().find(of_spec).expect("each interface has its plan");
            prop_assert_eq!(now.refusal(), before.refusal());
            let Some(placed) = now.placed() else {
                prop_assert!(now.refusal().is_some());
                continue;
            };
            let port = ours(&world.observed).find(|port| port.name == placed.port).expect("its port");
            prop_assert!(world.observed.links.iter().any(|link| link.name == port.name));
            prop_assert_eq!(&port.config, &spec.config);
            prop_assert_eq!(&port.bridge, &spec.bridge);
            prop_assert_eq!(&port.strays, &[]);
            let rules = spec.flow_rules(datapath(spec, &world.observed));
            let wanted = (!rules.is_empty()).then_some(PortFlows::InForce(rules));
            prop_assert_eq!(world.observed.flows.get(&port.name), wanted.as_ref());
        }
    }
}
