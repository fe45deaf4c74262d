//! What other hosts of a bridge, and containers that may change their own namespaces, cannot bring about.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, ensure};
use lab::{Lab, Signal, wait_for};

use crate::frames;
use crate::stage::{self, PATIENCE, interface, reach, wait_ready};

/// Docker switches IPv6 off in namespaces without a network of its own.
const WITH_IPV6: [&str; 2] = ["--network=none", "--sysctl=net.ipv6.conf.default.disable_ipv6=0"];

/// A router advertisement for `fd99::/64` and a default route, to all nodes (RFC 4861, section 4.2), in hexadecimal.
fn router_advertisement() -> String {
    let (from, to) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99), "ff02::1".parse());
    let to: Ipv6Addr = to.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let prefix = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 0);
    // Type 134, hop limit 64, router lifetime 1800 s; a prefix option, on the link and for autoconfiguration.
    let message = |checksum: u16| {
        let [high, low] = checksum.to_be_bytes();
        let mut message = vec![134, 0, high, low, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([3, 4, 64, 0xc0, 0, 0, 7, 8, 0, 0, 7, 8, 0, 0, 0, 0]);
        message.extend(prefix.octets());
        message
    };
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        bytes.chunks(2).map(word).sum()
    };
    let blank = message(0);
    let sum = words(&from.octets()) + words(&to.octets()) + words(&blank) + blank.len() as u32 + 58;
    let folded = (sum & 0xffff) + (sum >> 16);
    let message = message(!(((folded & 0xffff) + (folded >> 16)) as u16));
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend([0, message.len() as u8, 58, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What advertisements have given an interface: routes and addresses, as `ip` shows them.
fn advertised(lab: &Lab, container: &str) -> Result<Vec<String>> {
    let routes = lab.container_ip_json(container, &["-6", "route", "show", "proto", "ra"])?;
    let routes = routes.as_array().context("no array of routes")?.clone();
    let eth1 = interface(lab, container, "eth1")?;
    let addresses = eth1.get("addr_info").and_then(|found| found.as_array().cloned());
    let addresses = addresses.context("no array of addresses")?;
    let local = |address: &serde_json::Value| Some(address.get("local")?.as_str()?.to_owned());
    let addresses = addresses.iter().filter_map(local).filter(|text| text.starts_with("fd99:"));
    Ok(routes.iter().map(ToString::to_string).chain(addresses).collect())
}

#[test]
fn router_advertisements_give_nothing_to_interfaces_with_addresses_of_ours() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let mut ours = Vec::new();
    for (name, address) in [
        ("four", "10.0.0.4/24"),
        ("six", "fd00::6/64"),
        ("both", "10.0.0.5/24,fd00::5/64"),
        ("own", "none"),
    ] {
        let id = lab.run_container_with(name, &[("ovs.ip_address", address)], &WITH_IPV6, &[])?;
        wait_ready(&lab, &id)?;
        ours.push(name);
    }
    ours.retain(|name| *name != "own");
    let advertise = || {
        let packet = router_advertisement();
        lab.run("ovs-ofctl", &["packet-out", "ovsbr0", "LOCAL", "normal", &packet])
    };
    // The one that sees to itself shows that advertisements work.
    wait_for("an advertisement to be heeded", PATIENCE, || {
        advertise()?;
        Ok((advertised(&lab, "own")?.len() >= 2).then_some(()))
    })?;
    for name in &ours {
        let given = advertised(&lab, name)?;
        ensure!(given.is_empty(), "{name}: {given:?}");
    }
    // Somebody has one heed them; a look puts that right.
    let setting = "/proc/sys/net/ipv6/conf/eth1/accept_ra";
    let write = format!("echo 2 >{setting}");
    lab.run_in_netns_of("four", "sh", &["-c", &write])?;
    daemon.signal(Signal::HUP)?;
    wait_for("accept_ra to be put right", PATIENCE, || {
        let value = lab.run_in_netns_of("four", "cat", &[setting])?;
        Ok((value.trim() == "0").then_some(()))
    })?;
    daemon.wait_log("peer=eth1 accept_ra=0 autoconf=0", PATIENCE)
}

/// Whether an interface has an address.
fn has_address(lab: &Lab, container: &str, address: &str) -> Result<bool> {
    let eth1 = interface(lab, container, "eth1")?;
    let addresses = eth1.get("addr_info").and_then(|found| found.as_array().cloned());
    let addresses = addresses.context("no array of addresses")?;
    Ok(addresses.iter().any(|found| found.get("local").is_some_and(|local| local == address)))
}

/// Starts a container that gives itself an address, of which nothing but its own answer tells.
fn squatter(lab: &Lab, name: &str, address: &str) -> Result<String> {
    let id = lab.run_container(name, &[("ovs.ip_address", "none")])?;
    wait_ready(lab, &id)?;
    lab.run_in_netns_of(name, "ip", &["address", "add", address, "dev", "eth1"])?;
    let mac = interface(lab, name, "eth1")?;
    let mac = mac.get("address").and_then(serde_json::Value::as_str);
    mac.map(str::to_owned).context("no MAC address")
}

#[test]
fn an_ipv4_address_that_another_host_has_is_left_to_it_until_it_is_free() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let mac = squatter(&lab, "other", "10.0.0.5/24")?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.9/24")])?;
    wait_ready(&lab, &peer)?;
    reach(&lab, "peer", "10.0.0.5")?;
    let pings = stage::pings(&lab, "peer", "10.0.0.5")?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.5/24,10.0.0.6/24")])?;
    let told = format!("eth1: another host on ovsbr0 has 10.0.0.5/24 (MAC address {mac}) already");
    daemon.wait_log(&told, PATIENCE)?;
    let ready = format!("port is ready container=\"{}\"", &id[..12]);
    // Looked at again, it is asked again first.
    daemon.signal(Signal::HUP)?;
    ensure!(pings.wait_exit(PATIENCE)?.success());
    ensure!(pings.log().contains(" 0% packet loss"), "{}", pings.log());
    ensure!(!has_address(&lab, "web", "10.0.0.5")?, "it is not used");
    // With the first address of a network, the kernel takes away its others, too.
    wait_for("the address that nobody else has", PATIENCE, || {
        Ok(has_address(&lab, "web", "10.0.0.6")?.then_some(()))
    })?;
    ensure!(!daemon.log().contains(&ready), "it does not count as ready");
    let neighbours = lab.run_in_netns_of("peer", "ip", &["neigh", "show", "10.0.0.5"])?;
    ensure!(neighbours.contains(&mac), "{neighbours}");

    // Another start of the daemon knows no more, and asks first, too.
    daemon.kill9()?;
    let daemon = stage::start_daemon(&lab)?;
    daemon.wait_log(&told, PATIENCE)?;
    ensure!(!has_address(&lab, "web", "10.0.0.5")?, "it is not used");

    lab.run_in_netns_of("other", "ip", &["address", "delete", "10.0.0.5/24", "dev", "eth1"])?;
    wait_for("the address to be taken", PATIENCE, || {
        Ok(has_address(&lab, "web", "10.0.0.5")?.then_some(()))
    })?;
    // Announced: the peer sends to the new place at once.
    wait_for("the peer to hear of it", PATIENCE, || {
        let found = lab.run_in_netns_of("peer", "ip", &["neigh", "show", "10.0.0.5"])?;
        Ok((!found.contains(&mac)).then_some(()))
    })?;
    reach(&lab, "peer", "10.0.0.5")?;
    ensure!(stage::ports_of(&lab, &id)?.len() == 1, "it has kept its port");
    Ok(())
}

#[test]
fn an_address_that_its_container_has_lost_is_asked_for_before_it_comes_back() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.5/24")])?;
    wait_ready(&lab, &id)?;
    daemon.wait_log("port is ready", PATIENCE)?;
    // It goes where its loss is not seen to at once.
    daemon.kill9()?;
    let delete = ["address", "delete", "10.0.0.5/24", "dev", "eth1"];
    lab.run_in_netns_of("web", "ip", &delete)?;
    let daemon = stage::start_daemon(&lab)?;
    wait_for("the address to come back", PATIENCE, || {
        Ok(has_address(&lab, "web", "10.0.0.5")?.then_some(()))
    })?;
    daemon.kill9()?;
    lab.run_in_netns_of("web", "ip", &delete)?;
    let other = lab.run_container("other", &[])?;
    ensure!(stage::ports_of(&lab, &other)?.is_empty(), "no labels, no port");
    foreign_port(&lab, "other", "10.0.0.5/24")?;
    let daemon = stage::start_daemon(&lab)?;
    daemon.wait_log("another host on ovsbr0 has 10.0.0.5/24 (MAC address", PATIENCE)?;
    ensure!(!has_address(&lab, "web", "10.0.0.5")?, "it is not used");
    Ok(())
}

/// Puts a container on the bridge by hand, as `ip` and `ovs-vsctl` do it.
fn foreign_port(lab: &Lab, container: &str, address: &str) -> Result<()> {
    let pid = lab.container_pid(container)?.to_string();
    let peer = ["peer", "name", "eth7", "netns", &pid];
    lab.run("ip", &[["link", "add", "foreign", "type", "veth"].as_slice(), &peer].concat())?;
    lab.run("ip", &["link", "set", "foreign", "up"])?;
    lab.run_in_netns_of(container, "ip", &["address", "add", address, "dev", "eth7"])?;
    lab.run_in_netns_of(container, "ip", &["link", "set", "eth7", "up"])?;
    lab.vsctl(&["add-port", "ovsbr0", "foreign"]).map(drop)
}

#[test]
fn of_many_that_are_all_known_nobody_is_asked_and_everybody_where_one_is_not() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let start = |name: &str, address: &str| {
        let id = lab.run_container(name, &[("ovs.ip_address", address)])?;
        wait_ready(&lab, &id)
    };
    start("peer", "10.0.0.1/24")?;
    for number in 100..115 {
        start(&format!("other{number}"), &format!("10.0.0.{number}/24"))?;
    }
    let heard = frames::listen(&lab, "peer", "arp")?;
    start("known", "10.0.0.2/24")?;
    reach(&lab, "known", "10.0.0.1")?;
    heard.wait_log("who-has 10.0.0.2", PATIENCE)?;
    ensure!(!heard.log().contains("who-has 10.0.0.2 tell 0.0.0.0"), "{}", heard.log());
    let internal = ["--", "set", "interface", "vm0", "type=internal"];
    lab.vsctl(&[&["add-port", "ovsbr0", "vm0"], internal.as_slice()].concat())?;
    start("beside", "10.0.0.3/24")?;
    heard.wait_log("who-has 10.0.0.3 tell 0.0.0.0", PATIENCE)
}
