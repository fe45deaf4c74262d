//! The kernel's answer to what is asked here, judged by `ip -j` and `ethtool`.
//!
//! Each test has a pair of network namespaces of its own: one plays the host, one the container.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use port_plan::{LinkRepair, LinkSpec, ObservedInterface, PortKey};
use serde_json::Value;

use super::*;
use crate::netns;

/// A network namespace, kept alive by a process that waits for its standard input to end.
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Self {
        // The line says that the namespace is there.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is part of util-linux");
        let mut line = [0; 6];
        let output = holder.stdout.as_mut().unwrap();
        output.read_exact(&mut line).expect("these tests need root");
        Self { holder }
    }

    fn open(&self) -> OwnedFd {
        File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap().into()
    }

    /// Runs something on a thread of its own inside the namespace.
    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let netns = self.open();
        let thread = std::thread::spawn(move || {
            netns::enter(netns.as_fd()).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// Runs a program inside the namespace; returns what it printed.
    fn run(&self, command: &str) -> String {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        self.inside(move || {
            let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words:?}: {told}");
            String::from_utf8(output.stdout).unwrap()
        })
    }

    fn ip(&self, command: &str) -> Value {
        serde_json::from_str(&self.run(&format!("ip -j {command}"))).unwrap()
    }

    /// The names of all its links but lo.
    fn links(&self) -> Vec<String> {
        let links = self.ip("link show");
        let names = links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap());
        names.filter(|name| *name != "lo").map(str::to_owned).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn spec(addresses: &[&str], gateways: &[&str]) -> LinkSpec {
    LinkSpec {
        name: "3f2a9c1babcde_l".parse().unwrap(),
        key: PortKey {
            container: "3f2a9c1b".repeat(8).parse().unwrap(),
            interface: "eth1".parse().unwrap(),
        },
        by_hand: false,
        held: false,
        replaces: None,
        start: "2026-01-02T03:04:05.678901234Z".into(),
        mac: "02:00:00:00:00:aa".parse().unwrap(),
        mtu: Some(1400),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        detect_duplicates: false,
        routes: gateways
            .iter()
            .map(|gateway| port_plan::Route::default_via(gateway.parse().unwrap()))
            .collect(),
        tx_checksum_offload: false,
    }
}

fn create_in(host: &Namespace, container: &Namespace, spec: LinkSpec) -> Result<Created, Error> {
    let netns = container.open();
    host.inside(move || create(&mut Connection::open()?, &spec, &netns, || {}))
}

#[test]
fn a_link_is_born_in_the_container_with_all_that_was_asked() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["192.168.1.100/24", "fd00::100/64"], &["192.168.1.1", "fd00::1"]);
    create_in(&host, &container, spec).unwrap();

    let eth1 = &container.ip("addr show dev eth1")[0];
    assert_eq!(eth1["address"], "02:00:00:00:00:aa");
    assert_eq!(eth1["mtu"], 1400);
    assert_eq!(eth1["operstate"], "UP");
    let addresses: Vec<_> = eth1["addr_info"].as_array().unwrap().iter().collect();
    let shows = |local: &str| addresses.iter().find(|info| info["local"] == local).copied();
    let v4 = shows("192.168.1.100").unwrap();
    assert_eq!((&v4["prefixlen"], &v4["broadcast"]), (&24.into(), &"192.168.1.255".into()));
    let v6 = shows("fd00::100").unwrap();
    assert_eq!((&v6["prefixlen"], &v6["nodad"]), (&64.into(), &true.into()));
    assert_ne!(v6["tentative"], true, "usable at once");
    assert_eq!(container.ip("-4 route show default")[0]["gateway"], "192.168.1.1");
    assert_eq!(container.ip("-6 route show default")[0]["gateway"], "fd00::1");
    assert!(container.run("ethtool -k eth1").contains("tx-checksumming: off"));

    let end = &host.ip("link show dev 3f2a9c1babcde_l")[0];
    assert_eq!((&end["operstate"], &end["mtu"]), (&"UP".into(), &1400.into()));
    assert!(end["ifalias"].as_str().unwrap().starts_with("ovs-port-manager container=3f2a9c1b"));
    assert_eq!(host.links().len(), 1);
}

#[test]
fn the_host_has_no_address_in_the_containers_network() {
    let (host, container) = (Namespace::new(), Namespace::new());
    create_in(&host, &container, spec(&["192.168.1.100/24"], &[])).unwrap();
    let end = &host.ip("-d link show dev 3f2a9c1babcde_l")[0];
    assert_eq!(end["inet6_addr_gen_mode"], "none");
    let eth1 = &container.ip("-d link show dev eth1")[0];
    assert_eq!(eth1["inet6_addr_gen_mode"], "eui64", "that is the container's own affair");
}

#[test]
fn a_link_may_be_too_narrow_for_ipv6() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let narrow = LinkSpec { mtu: Some(1279), ..spec(&["192.168.1.100/24"], &[]) };
    create_in(&host, &container, narrow).unwrap();
    let end = &host.ip("link show dev 3f2a9c1babcde_l")[0];
    assert_eq!((&end["operstate"], &end["mtu"]), (&"UP".into(), &1279.into()));
    assert!(end["ifalias"].is_string());
}

#[test]
fn offloads_stay_on_where_nobody_asks_otherwise() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = LinkSpec { tx_checksum_offload: true, mtu: None, ..spec(&["10.0.0.1/24"], &[]) };
    create_in(&host, &container, spec).unwrap();
    assert!(container.run("ethtool -k eth1").contains("tx-checksumming: on"));
    assert_eq!(container.ip("link show dev eth1")[0]["mtu"], 1500);
}

#[test]
fn an_interface_that_was_never_configured_is_put_right_as_a_new_one_is() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let made = LinkSpec { tx_checksum_offload: true, ..spec(&[], &[]) };
    create_in(&host, &container, made).unwrap();
    container.run("ip link set eth1 down");
    let spec = spec(&["10.0.0.1/24"], &["10.0.0.254"]);
    let whole = LinkRepair {
        name: spec.name,
        key: spec.key,
        bridge: "ovsbr0".parse().unwrap(),
        own_mac: spec.mac,
        mac: None,
        mtu: None,
        ignore_advertisements: true,
        addresses: spec.addresses,
        detect_duplicates: false,
        routes: spec.routes,
        up: true,
        tx_checksum_off: true,
    };
    let netns = container.open();
    host.inside(move || repair(&whole, &netns)).unwrap();
    assert!(container.run("ethtool -k eth1").contains("tx-checksumming: off"));
    let end = &container.ip("addr show dev eth1")[0];
    assert_eq!(
        (&end["operstate"], &end["addr_info"][0]["local"]),
        (&"UP".into(), &"10.0.0.1".into())
    );
    assert_eq!(container.ip("route show default")[0]["gateway"], "10.0.0.254");
}

#[test]
fn ipv6_is_switched_on_for_the_interface_alone() {
    let (host, container) = (Namespace::new(), Namespace::new());
    for name in ["all", "default"] {
        container.inside(move || {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        });
    }
    create_in(&host, &container, spec(&["fd00::1/64"], &[])).unwrap();
    let setting =
        |name: &str| container.run(&format!("cat /proc/sys/net/ipv6/conf/{name}/disable_ipv6"));
    assert_eq!(setting("eth1"), "0\n");
    assert_eq!(setting("default"), "1\n");
    assert!(container.run("ip -6 addr show dev eth1").contains("fd00::1"));
}

#[test]
fn an_existing_default_route_is_replaced_and_reported() {
    let (host, container) = (Namespace::new(), Namespace::new());
    container.run("ip link add eth0 type veth peer name eth9");
    container.run("ip addr add 172.17.0.2/16 dev eth0");
    container.run("ip link set eth9 up");
    container.run("ip link set eth0 up");
    container.run("ip route add default via 172.17.0.1");
    let created = create_in(&host, &container, spec(&["10.0.0.2/24"], &["10.0.0.1"])).unwrap();
    assert_eq!(created.replaced_routes, ["default via 172.17.0.1"]);
    let routes = container.ip("route show default");
    assert_eq!(routes.as_array().unwrap().len(), 1);
    assert_eq!((&routes[0]["gateway"], &routes[0]["dev"]), (&"10.0.0.1".into(), &"eth1".into()));
}

#[test]
fn an_interface_that_exists_is_refused_and_left_as_it_is() {
    let (host, container) = (Namespace::new(), Namespace::new());
    container.run("ip link add eth1 type veth peer name eth9");
    let before = container.run("ip addr show");
    let error = create_in(&host, &container, spec(&["10.0.0.1/24"], &[])).unwrap_err();
    assert!(
        matches!(error, Error::InterfaceExists(ref name) if name.as_str() == "eth1"),
        "{error}"
    );
    assert_eq!(container.run("ip addr show"), before);
    assert_eq!(host.links(), [""; 0]);
}

#[test]
fn what_the_kernel_refuses_is_told_in_its_words_and_nothing_is_left() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let error = create_in(&host, &container, spec(&["10.0.0.1/24"], &["10.9.9.9"])).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("cannot add route default via 10.9.9.9 on eth1: "), "{told}");
    assert!(told.contains("(Nexthop has invalid gateway)"), "{told}");
    assert_eq!(host.links(), [""; 0]);
    assert_eq!(container.links(), [""; 0]);
}

#[test]
fn only_links_with_our_mark_or_a_name_of_ours_are_listed() {
    let (host, container) = (Namespace::new(), Namespace::new());
    host.run("ip link add theirs type veth peer name theirs2");
    host.run("ip link set theirs alias ovs-port-manager");
    host.run("ip link add theirs3 type veth peer name theirs4");
    let spec = spec(&["10.0.0.1/24"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    let listed = host.inside(|| list(&mut Connection::open()?)).unwrap();
    assert_eq!(listed, [(spec.name.clone(), Some((spec.key, spec.start)))]);
    host.run(&format!("ip link set {} alias theirs", spec.name));
    let listed = host.inside(|| list(&mut Connection::open()?)).unwrap();
    assert_eq!(listed, [(spec.name, None)], "known by its name");
}

/// A pair of links that somebody else makes, as `ovs-docker` does.
fn theirs(host: &Namespace, name: &str, container: &Namespace, interface: &str) {
    host.run(&format!("ip link add {name} type veth peer name {name}c"));
    host.run(&format!("ip link set {name}c netns {} name {interface}", container.holder.id()));
    host.run(&format!("ip link set {name} up"));
    container.run(&format!("ip link set {interface} up"));
}

#[test]
fn the_kernel_says_which_container_a_link_leads_to() {
    let (host, container, other) = (Namespace::new(), Namespace::new(), Namespace::new());
    theirs(&host, "one", &container, "eth1");
    theirs(&host, "two", &container, "eth2");
    // In a fresh namespace the first links have the same indexes.
    theirs(&host, "other", &other, "eth1");
    host.run("ip link add lower type veth peer name lower2");
    let asked = [
        ("one", "eth1"),
        ("two", "eth1"),
        ("two", "eth2"),
        ("other", "eth1"),
        ("lower", "eth1"),
        ("gone", "eth1"),
        ("one", "eth9"),
    ];
    let asked: Vec<_> =
        asked.map(|(link, inside)| (link.parse().unwrap(), inside.parse().unwrap())).into();
    let netns = container.open();
    let found = host.inside(move || ends(&mut Connection::open()?, asked, &netns)).unwrap();
    let found: Vec<_> =
        found.iter().map(|(link, inside)| (link.as_str(), inside.as_str())).collect();
    assert_eq!(found, [("one", "eth1"), ("two", "eth2")]);
}

#[test]
fn a_link_that_is_taken_over_is_marked_and_stays_up() {
    let (host, container) = (Namespace::new(), Namespace::new());
    theirs(&host, "one", &container, "eth1");
    host.run("ip link set one alias theirs");
    let index = |namespace: &Namespace, name: &str| {
        namespace.ip(&format!("link show dev {name}"))[0]["ifindex"].clone()
    };
    let before = (index(&host, "one"), index(&container, "eth1"));
    let LinkSpec { key, start, .. } = spec(&[], &[]);
    let name = "one".parse().unwrap();
    let (mtu, tx_checksum_offload) = (Some(9000), false);
    let adoption = Adoption { name, key, start, mtu, tx_checksum_offload };
    let netns = container.open();
    host.inside(move || adopt(&mut Connection::open()?, &adoption, &netns)).unwrap();
    assert_eq!((index(&host, "one"), index(&container, "eth1")), before, "the same links");
    let end = &host.ip("link show dev one")[0];
    assert_eq!((&end["operstate"], &end["mtu"]), (&"UP".into(), &9000.into()));
    assert_eq!(host.inside(|| list(&mut Connection::open()?)).unwrap().len(), 1, "it is ours");
    assert_eq!(container.ip("link show dev eth1")[0]["operstate"], "UP");
    assert!(container.run("ethtool -k eth1").contains("tx-checksumming: off"));
}

#[test]
fn deleting_takes_both_ends_and_may_be_repeated() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    for _ in 0..2 {
        let name = spec.name.clone();
        host.inside(move || delete(&name)).unwrap();
        assert_eq!(host.links(), [""; 0]);
        assert_eq!(container.links(), [""; 0]);
    }
}

#[test]
fn announcements_reach_the_other_end() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "fd00::1/64"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    // The host end learns the neighbour from a gratuitous ARP only if it is told to accept it.
    host.run("ip addr add 10.0.0.2/24 dev 3f2a9c1babcde_l");
    host.inside(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/3f2a9c1babcde_l/arp_accept", "1").unwrap();
    });
    let (name, addresses) = (spec.key.interface.clone(), spec.addresses.clone());
    container.inside(move || announce::announce(&name, spec.mac, &addresses)).unwrap();
    let neighbours = host.run("ip neigh show");
    assert!(
        neighbours.contains("10.0.0.1 dev 3f2a9c1babcde_l lladdr 02:00:00:00:00:aa"),
        "{neighbours}"
    );
}

/// The setting of an interface for IPv6, as the kernel has it.
fn ipv6_setting(namespace: &Namespace, setting: &str) -> String {
    namespace.run(&format!("cat /proc/sys/net/ipv6/conf/eth1/{setting}")).trim().to_owned()
}

/// What is seen of eth1.
fn look_at(container: &Namespace, spec: &LinkSpec) -> Result<ObservedInterface, Error> {
    let netns = container.open();
    let wanted = Wanted {
        name: spec.key.interface.clone(),
        addresses: spec.addresses.clone(),
        routes: spec.routes.clone(),
        all: false,
    };
    let seen = container.inside(move || observe(&[wanted], &netns))?;
    Ok(seen.into_values().next().unwrap())
}

#[test]
fn router_advertisements_are_ignored_where_an_address_is_ours_and_only_there() {
    for (addresses, expected) in
        [(["10.0.0.1/24"].as_slice(), "0"), (["fd00::1/64"].as_slice(), "0"), ([].as_slice(), "1")]
    {
        let (host, container) = (Namespace::new(), Namespace::new());
        create_in(&host, &container, spec(addresses, &[])).unwrap();
        assert_eq!(ipv6_setting(&container, "accept_ra"), expected, "{addresses:?}");
        assert_eq!(ipv6_setting(&container, "autoconf"), expected, "{addresses:?}");
        assert_eq!(container.run("cat /proc/sys/net/ipv6/conf/default/accept_ra"), "1\n");
    }
}

#[test]
fn an_interface_that_somebody_has_heed_router_advertisements_is_seen_and_put_right() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    for setting in ["accept_ra", "autoconf"] {
        let heeds = |expected: bool| {
            let seen = look_at(&container, &spec).unwrap();
            let ObservedInterface::Present { heeds_advertisements, .. } = seen else {
                panic!("{seen:?}");
            };
            assert_eq!(heeds_advertisements, expected, "{setting}");
        };
        heeds(false);
        container.inside(move || {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/eth1/{setting}"), "1").unwrap();
        });
        heeds(true);
        let netns = container.open();
        let LinkSpec { name, key, .. } = spec.clone();
        let order = LinkRepair {
            name,
            key,
            bridge: "ovsbr0".parse().unwrap(),
            own_mac: spec.mac,
            mac: None,
            mtu: None,
            ignore_advertisements: true,
            addresses: Vec::new(),
            detect_duplicates: false,
            routes: Vec::new(),
            up: false,
            tx_checksum_off: true,
        };
        host.inside(move || repair(&order, &netns)).unwrap();
        assert_eq!(ipv6_setting(&container, setting), "0");
        heeds(false);
    }
}

/// Has `ip` do many things in a namespace.
fn ip_batch(namespace: &Namespace, lines: String) {
    namespace.inside(move || {
        let mut ip =
            Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        io::Write::write_all(&mut ip.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
    });
}

#[test]
fn a_namespace_that_is_full_of_routes_is_read_only_as_far_as_it_takes() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.254", "fd00::fe"]);
    create_in(&host, &container, spec.clone()).unwrap();
    let routes = (0..connection::MOST + 500).map(|number| {
        let (high, low) = (11 + number / 65536, format!("{}.{}", number / 256 % 256, number % 256));
        format!("route add {high}.{low}.0/24 dev eth1\n")
    });
    ip_batch(&container, routes.collect());
    let ObservedInterface::Present { addresses, routes, .. } = look_at(&container, &spec).unwrap()
    else {
        panic!("it is there");
    };
    assert!(spec.addresses.iter().all(|address| addresses.contains(address)), "{addresses:?}");
    assert!(spec.routes.iter().all(|route| routes.iter().any(|found| route.is(found))));
    assert!(routes.len() < 2_000, "{} were read", routes.len());

    // What is not among the first ones is not looked for for ever.
    container.run("ip route del default");
    let error = look_at(&container, &spec).unwrap_err().to_string();
    assert!(error.contains("cannot list the routes inside the container"), "{error}");
    // On a slow machine the time is over before the number is reached.
    assert!(error.contains("more than"), "{error}");
    // A new link into it is made all the same.
    container.run("ip link set eth1 name eth9");
    let again = LinkSpec { name: "3f2a9c1bother_l".parse().unwrap(), ..spec };
    let again =
        LinkSpec { addresses: vec!["10.1.0.1/24".parse().unwrap()], routes: Vec::new(), ..again };
    create_in(&host, &container, again).unwrap();
}

#[test]
fn an_interface_that_is_full_of_addresses_is_read_only_as_far_as_it_takes() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "fd00::1/64"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    let addresses = (0..connection::MOST + 500).map(|number| {
        let (high, low) = (number / 256, number % 256);
        format!("address add 11.0.{high}.{low}/32 dev eth1\n")
    });
    let six = (0..500).map(|number| format!("address add fd01::{number:x}/64 dev eth1 nodad\n"));
    ip_batch(&container, addresses.chain(six).collect());
    let ObservedInterface::Present { addresses, .. } = look_at(&container, &spec).unwrap() else {
        panic!("it is there");
    };
    assert!(spec.addresses.iter().all(|address| addresses.contains(address)));
    assert!(addresses.len() < 2_000, "{} were read", addresses.len());
    container.run("ip address del 10.0.0.1/24 dev eth1");
    let error = look_at(&container, &spec).unwrap_err().to_string();
    assert!(error.contains("cannot list the addresses inside the container"), "{error}");
}

#[test]
fn an_address_that_is_another_interfaces_is_not_taken_for_its_own() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "fd00::1/64"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    container.run("ip link add eth2 type veth peer name eth3");
    for address in ["10.0.0.1/24", "fd00::1/64"] {
        container.run(&format!("ip address del {address} dev eth1"));
        container.run(&format!("ip address add {address} dev eth2"));
    }
    let ObservedInterface::Present { addresses, .. } = look_at(&container, &spec).unwrap() else {
        panic!("it is there");
    };
    assert_eq!(addresses, []);
}

/// Asks which of the addresses the other end of the link has, and how long that takes.
fn ask(container: &Namespace, spec: &LinkSpec) -> (Result<Vec<Taken>, Error>, Duration) {
    let LinkSpec { key, mac, addresses, .. } = spec.clone();
    let netns = container.open();
    let question = Question { interface: key.interface, mac, addresses, siblings: Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begun = Instant::now();
    let answer = runtime.block_on(Detector::new().ask(move || Ok(netns), question));
    (answer, begun.elapsed())
}

#[test]
fn a_host_that_has_an_ipv4_address_is_heard_with_its_mac_address() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "10.0.0.3/24"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    host.run("ip link set 3f2a9c1babcde_l address 02:00:00:00:00:0b");
    let (answer, took) = ask(&container, &spec);
    assert_eq!(answer.unwrap(), []);
    // Much less than RFC 5227 takes, also on a busy machine.
    assert!(took < Duration::from_secs(4), "{took:?}");
    host.run("ip addr add 10.0.0.3/24 dev 3f2a9c1babcde_l");
    let (answer, _) = ask(&container, &spec);
    let taken = answer.unwrap();
    let told: Vec<_> = taken.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["10.0.0.3/24 (MAC address 02:00:00:00:00:0b)"]);
    // Nobody has learnt the address from being asked.
    let neighbours = host.run("ip neigh show");
    assert!(!neighbours.contains("02:00:00:00:00:aa"), "{neighbours}");

    let netns = container.open();
    let addresses: Vec<_> = taken.into_iter().map(|taken| taken.address).collect();
    let interface = spec.key.interface.clone();
    container.inside(move || withdraw(&interface, &addresses, &netns)).unwrap();
    let eth1 = &container.ip("-4 addr show dev eth1")[0]["addr_info"];
    assert_eq!(eth1.as_array().unwrap().len(), 1, "{eth1}");
    assert_eq!(eth1[0]["local"], "10.0.0.1");
}

#[test]
fn an_interface_that_cannot_ask_knows_nothing() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    container.run("ip link set eth1 down");
    let error = ask(&container, &spec).0.unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error}");
    container.run("ip link set eth1 name eth9");
    let error = ask(&container, &spec).0.unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error}");
}

#[test]
fn many_are_asked_for_at_the_same_time_by_one_thread() {
    let (host, container) = (Namespace::new(), Namespace::new());
    let spec = spec(&["10.0.0.1/24", "fd00::1/64"], &[]);
    create_in(&host, &container, spec.clone()).unwrap();
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names =
            tasks.map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        names.filter(|name| name.trim() == "detector").count()
    };
    let detector = Detector::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begun = Instant::now();
    let answers = runtime.block_on(async {
        let questions = (0..300).map(|_| {
            let LinkSpec { key, mac, .. } = spec.clone();
            let netns = container.open();
            let addresses = vec!["10.0.0.1/24".parse().unwrap()];
            let question =
                Question { interface: key.interface, mac, addresses, siblings: Vec::new() };
            detector.ask(move || Ok(netns), question)
        });
        futures_util::future::join_all(questions).await
    });
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(Vec::is_empty)), "{answers:?}");
    println!("300 took {:?}", begun.elapsed());
    // Other tests may have one of their own.
    assert!(threads() < 10, "{} threads", threads());
}
