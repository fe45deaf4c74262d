use std::collections::BTreeMap;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::{Container, Datapath, Defaults, Desired, Network, Pool, Rules, State};

fn rules() -> Rules {
    let pool = |vlan: Option<&str>, range: &str| {
        let vlan = vlan.map(|vlan| vlan.parse().unwrap());
        let (prefix, range) = range.split_once(' ').unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let range = Some((first.parse().unwrap(), last.parse().unwrap()));
        Pool::new("ovsbr0".parse().unwrap(), vlan, prefix.parse().unwrap(), range, None).unwrap()
    };
    Rules {
        pools: vec![
            pool(None, "10.0.0.0/24 10.0.0.11-10.0.0.15"),
            pool(Some("7"), "10.7.0.0/24 10.7.0.1-10.7.0.2"),
            pool(Some("7"), "fd07::/64 fd07::1-fd07::2"),
        ],
        ..Rules::new(Defaults {
            bridge: "ovsbr0".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            datapath: Datapath::Netdev,
        })
    }
}

fn container(number: u32, labels: &[(&str, &str)]) -> Container {
    Container {
        id: format!("{number:064x}").parse().unwrap(),
        name: format!("web{number}").into(),
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        image: "busybox".to_owned(),
        image_labels: crate::ImageLabels::default(),
        state: State::Running { pid: 4711, start: "now".into() },
        network: Network::Own,
    }
}

/// The addresses that a container gets, or why it gets none.
fn ask(registry: &mut Registry, number: u32, labels: &[(&str, &str)]) -> String {
    let container = container(number, labels);
    let desired = Desired::of(&container, &rules(), registry);
    // So ends every look.
    assert_eq!(registry.settle(&container.id, desired.specs()), []);
    if let [(interface, refusal), ..] = desired.refused() {
        return format!("{interface}: {refusal}");
    }
    let addresses = desired.specs().iter().flat_map(|spec| &spec.addresses);
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The container stops; those who waited for what it had.
fn stop(registry: &mut Registry, number: u32) -> Vec<String> {
    let id = container(number, &[]).id;
    let woken = registry.settle(&id, &[]);
    registry.leave(&id);
    named(&woken)
}

/// The container stops and is removed.
fn end(registry: &mut Registry, number: u32) -> Vec<String> {
    let mut woken = stop(registry, number);
    woken.extend(named(&registry.release(&container(number, &[]).id)));
    woken
}

fn named(containers: &[ContainerId]) -> Vec<String> {
    containers.iter().map(|id| id.as_str().trim_start_matches('0').to_owned()).collect()
}

#[test]
fn an_address_from_a_pool_is_kept_for_a_stopped_container_until_it_is_removed() {
    let auto = [("ovs.ip_address", "auto"), ("ovs.vlan", "7")];
    let mut registry = Registry::default();
    let (first, second) = (ask(&mut registry, 1, &auto), ask(&mut registry, 2, &auto));
    assert!(ask(&mut registry, 3, &auto).contains("are taken"), "a pool of two");
    assert_eq!(stop(&mut registry, 1), [""; 0], "it is still there");
    assert!(ask(&mut registry, 3, &auto).contains("are taken"));
    let given = [("ovs.ip_address", first.split(' ').next().unwrap()), ("ovs.vlan", "7")];
    assert!(ask(&mut registry, 4, &given).contains("is held by eth1 of container web1"));
    assert_eq!(ask(&mut registry, 1, &auto), first);
    assert_eq!(end(&mut registry, 2), ["3"]);
    assert_eq!(ask(&mut registry, 3, &auto), second);
}

#[test]
fn what_is_kept_is_learnt_anew() {
    let auto = [("ovs.ip_address", "auto")];
    let mut before = Registry::default();
    let address = ask(&mut before, 1, &auto);
    let mut registry = Registry::default();
    let desired = Desired::of(&container(1, &auto), &rules(), &mut before);
    for lease in desired.specs().iter().flat_map(PortSpec::leases) {
        registry.learn_lease(lease);
    }
    assert!(registry.has_leases(&container(1, &auto).id));
    assert_eq!(ask(&mut registry, 1, &auto), address);
}

#[test]
fn the_first_holder_of_an_address_keeps_it_and_the_second_gets_it_once_that_has_stopped() {
    let mut registry = Registry::default();
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.vlan", "7")];
    assert_eq!(ask(&mut registry, 1, &labels), "10.0.0.1/24");
    let told = ask(&mut registry, 2, &labels);
    expect!["eth1: 10.0.0.1 on ovsbr0, VLAN 7, is held by eth1 of container web1 (000000000000); it is granted once that one has stopped, or is removed if the address is from a pool"].assert_eq(&told);
    assert_eq!(ask(&mut registry, 1, &labels), "10.0.0.1/24", "the holder may ask again");
    assert_eq!(end(&mut registry, 1), ["2"], "the second is woken");
    assert_eq!(ask(&mut registry, 2, &labels), "10.0.0.1/24");
    assert!(ask(&mut registry, 1, &labels).contains("held by eth1 of container web2"));
}

#[test]
fn the_same_address_elsewhere_is_another_one() {
    let mut registry = Registry::default();
    let address = ("ovs.ip_address", "10.0.0.1/24");
    assert_eq!(ask(&mut registry, 1, &[address]), "10.0.0.1/24");
    assert_eq!(ask(&mut registry, 2, &[address, ("ovs.vlan", "7")]), "10.0.0.1/24");
    assert_eq!(ask(&mut registry, 3, &[address, ("ovs.bridge", "br1")]), "10.0.0.1/24");
    // Two interfaces of one container are two holders.
    let twice = [
        address,
        ("ovs.bridge", "br2"),
        ("ovs.eth2.ip_address", "10.0.0.1/16"),
        ("ovs.eth2.bridge", "br2"),
    ];
    assert!(ask(&mut registry, 4, &twice).contains("10.0.0.1 on br2 is held by eth1"));
}

#[test]
fn an_address_is_one_holders_in_every_vlan_that_its_port_reaches() {
    let mut registry = Registry::default();
    let address = ("ovs.ip_address", "10.0.0.1/24");
    let trunk = [address, ("ovs.trunks", "7,10-12")];
    let native =
        [address, ("ovs.vlan", "5"), ("ovs.trunks", "11"), ("ovs.vlan_mode", "native-tagged")];
    let access = |vlan| [address, ("ovs.vlan", vlan)];
    assert_eq!(ask(&mut registry, 1, &access("7")), "10.0.0.1/24");
    let told = ask(&mut registry, 2, &trunk);
    assert!(
        told.contains("10.0.0.1 on ovsbr0, VLAN 7, is held by eth1 of container web1"),
        "{told}"
    );
    assert_eq!(ask(&mut registry, 3, &access("6")), "10.0.0.1/24", "no trunk reaches that");
    assert_eq!(ask(&mut registry, 4, &native), "10.0.0.1/24", "nor that");
    assert_eq!(stop(&mut registry, 1), ["2"]);
    let told = ask(&mut registry, 2, &trunk);
    assert!(told.contains("10.0.0.1 on ovsbr0, VLANs 5,11, is held by eth1 of container web4"));
    assert_eq!(stop(&mut registry, 4), ["2"]);
    assert_eq!(ask(&mut registry, 2, &trunk), "10.0.0.1/24");
    let told = ask(&mut registry, 1, &access("7"));
    assert!(
        told.contains("10.0.0.1 on ovsbr0, VLANs 0,7,10-12, is held by eth1 of container web2"),
        "{told}"
    );
    assert!(ask(&mut registry, 4, &native).contains("web2"));
    assert!(ask(&mut registry, 5, &[address]).contains("web2"), "its own untagged frames");
    assert_eq!(stop(&mut registry, 2), ["1", "4", "5"], "all of them waited for the same");
}

#[test]
fn a_trunk_that_frees_its_address_wakes_those_who_wait_for_any_of_a_pool_that_it_reached() {
    let mut registry = Registry::default();
    let trunk = [("ovs.ip_address", "10.7.0.1/24,fd07::1/64"), ("ovs.trunks", "3,7")];
    let auto = [("ovs.ip_address", "auto"), ("ovs.vlan", "7")];
    assert!(!ask(&mut registry, 1, &trunk).contains("eth1"));
    assert_eq!(ask(&mut registry, 2, &auto), "10.7.0.2/24 fd07::2/64", "what it has is not given");
    assert!(ask(&mut registry, 3, &auto).contains("are taken"));
    assert_eq!(stop(&mut registry, 1), ["3"]);
    assert_eq!(ask(&mut registry, 3, &auto), "10.7.0.1/24 fd07::1/64");
}

#[test]
fn a_mac_address_is_one_holders_on_the_whole_bridge() {
    let mut registry = Registry::default();
    let mac = ("ovs.mac_address", "02:00:00:00:00:01");
    assert_eq!(ask(&mut registry, 1, &[mac, ("ovs.ip_address", "none"), ("ovs.vlan", "7")]), "");
    let told = ask(&mut registry, 2, &[mac, ("ovs.ip_address", "10.0.0.1/24")]);
    expect!["eth1: MAC address 02:00:00:00:00:01 on ovsbr0 is held by eth1 of container web1 (000000000000); it is granted once that one has stopped, or is removed if the address is from a pool"].assert_eq(&told);
}

#[test]
fn what_a_port_holds_already_is_learnt_from_its_row() {
    let (mut before, mut after) = (Registry::default(), Registry::default());
    let labels = [("ovs.ip_address", "auto")];
    let desired = Desired::of(&container(1, &labels), &rules(), &mut before);
    let [spec] = desired.specs() else { panic!("{desired:?}") };
    let row = ObservedPort {
        name: "port".parse().unwrap(),
        bridge: spec.bridge.clone(),
        key: spec.key.clone(),
        start: None,
        marked: None,
        owner: crate::Owner::Us,
        config: spec.config.clone(),
        strays: Vec::new(),
    };
    after.learn(&row, "web1");
    let address = spec.addresses[0].to_string();
    let told = ask(&mut after, 2, &[("ovs.ip_address", &address)]);
    assert!(told.contains("held by eth1 of container web1"), "{told}");
    assert_eq!(ask(&mut after, 1, &labels), address, "and it keeps its address of the pool");
}

#[test]
fn a_pool_gives_everybody_another_address_and_says_when_it_is_exhausted() {
    let mut registry = Registry::default();
    let auto = [("ovs.ip_address", "auto")];
    let mut given: Vec<_> = (1..=5).map(|number| ask(&mut registry, number, &auto)).collect();
    assert_eq!(ask(&mut registry, 3, &auto), given[2], "the same one at every look");
    let told = ask(&mut registry, 6, &auto);
    expect!["eth1: all addresses of the pool 10.0.0.11-10.0.0.15 are taken, or kept for stopped containers; one is granted once a container is removed"].assert_eq(&told);
    let third = given[2].clone();
    given.sort();
    assert_eq!(
        given,
        ["10.0.0.11/24", "10.0.0.12/24", "10.0.0.13/24", "10.0.0.14/24", "10.0.0.15/24"]
    );
    assert_eq!(end(&mut registry, 3), ["6"]);
    assert_eq!(ask(&mut registry, 6, &auto), third);
}

#[test]
fn a_pool_of_each_family_gives_an_address_of_each() {
    let labels = [("ovs.ip_address", "auto"), ("ovs.vlan", "7")];
    let given = ask(&mut Registry::default(), 1, &labels);
    assert!(
        given.contains("10.7.0.") && given.contains("/24 fd07::") && given.ends_with("/64"),
        "{given}"
    );
    let told = ask(&mut Registry::default(), 1, &[("ovs.ip_address", "auto"), ("ovs.vlan", "8")]);
    expect!["eth1: the configuration has no pool for bridge ovsbr0 and VLAN 8"].assert_eq(&told);
    let gateway = [("ovs.ip_address", "auto"), ("ovs.gateway", "10.1.0.1")];
    let told = ask(&mut Registry::default(), 1, &gateway);
    expect!["eth1: gateway: 10.1.0.1 lies outside 10.0.0.0/24"].assert_eq(&told);
}

#[test]
fn a_container_of_the_same_compose_service_and_number_gets_the_same_address_again() {
    let compose = |number| {
        let mut container = container(number, &[("ovs.ip_address", "auto")]);
        let labels = [("project", "shop"), ("service", "db"), ("container-number", "1")];
        container.labels.extend(
            labels.map(|(key, value)| (format!("com.docker.compose.{key}"), value.to_owned())),
        );
        container
    };
    let first = Desired::of(&compose(1), &rules(), &mut Registry::default());
    let second = Desired::of(&compose(2), &rules(), &mut Registry::default());
    assert_eq!(first.specs()[0].addresses, second.specs()[0].addresses);
    assert_eq!(first.specs()[0].mac, second.specs()[0].mac);
}

proptest! {
    /// Whatever comes and goes, nothing is ever held twice, and whoever waits is woken in the end.
    #[test]
    fn no_address_is_ever_two_holders(
        events in prop::collection::vec((1..8_u32, 0..5_usize, any::<bool>()), 1..60)
    ) {
        let labels = ["10.0.0.11/24", "10.0.0.12/24", "auto", "auto", "10.0.0.11/24,10.0.0.15/24"];
        let mut registry = Registry::default();
        let mut running: BTreeMap<u32, (usize, Vec<String>)> = BTreeMap::new();
        let mut waiting: BTreeMap<u32, usize> = BTreeMap::new();
        for (number, choice, starts) in events {
            let mut due = Vec::new();
            if starts && !running.contains_key(&number) && !waiting.contains_key(&number) {
                due.push((number, choice));
            } else if !starts {
                running.remove(&number);
                waiting.remove(&number);
                for woken in end(&mut registry, number) {
                    let woken: u32 = woken.parse().unwrap();
                    due.extend(waiting.remove(&woken).map(|choice| (woken, choice)));
                }
            }
            for (number, choice) in due {
                let told = ask(&mut registry, number, &[("ovs.ip_address", labels[choice])]);
                if told.starts_with("eth1") {
                    waiting.insert(number, choice);
                } else {
                    let addresses = told.split(' ').map(str::to_owned).collect();
                    running.insert(number, (choice, addresses));
                }
            }
            let mut held: Vec<_> = running.values().flat_map(|(_, addresses)| addresses).collect();
            let count = held.len();
            held.sort();
            held.dedup();
            prop_assert_eq!(held.len(), count);
        }
        // All end in turn: everybody who waits gets what is asked for.
        while let Some((number, _)) = running.pop_first() {
            for woken in end(&mut registry, number) {
                let woken: u32 = woken.parse().unwrap();
                let Some(choice) = waiting.remove(&woken) else { continue };
                let told = ask(&mut registry, woken, &[("ovs.ip_address", labels[choice])]);
                if told.starts_with("eth1") {
                    waiting.insert(woken, choice);
                } else {
                    running.insert(woken, (choice, Vec::new()));
                }
            }
        }
        prop_assert!(waiting.is_empty(), "{waiting:?}");
    }
}
