//! What other hosts of a bridge, and containers that may change their own namespaces, cannot bring about.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, ensure};
use lab::{Lab, Signal, wait_for};

use crate::stage::{self, PATIENCE, interface, wait_ready};

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
