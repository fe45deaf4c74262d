//! Each label's value, read and judged.
//!
//! A function here takes one value over into [`Wanted`] and returns its problems; none means that it is
//! good. What can only be judged together is in `judge`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::mistake::Shown;
use super::wanted::{Addressing, Wanted};
use crate::link_name::LinkName;
use crate::route::Route;

/// Addresses or routes that one interface may have; more is a slip or an attack.
const MAX_ENTRIES: usize = 64;
/// The smallest MTU (RFC 791: every link carries 68 bytes) and the largest that a veth takes.
const MTU: std::ops::RangeInclusive<u16> = 68..=65535;
/// OpenFlow port numbers that a port may ask for (ovs-vswitchd.conf.db(5), Interface column `ofport_request`).
const OFPORT: std::ops::RangeInclusive<u16> = 1..=65279;

pub(super) fn addresses(value: &str, wanted: &mut Wanted) -> Vec<String> {
    let word = match value {
        "auto" => Some(Addressing::Auto),
        "none" => Some(Addressing::None),
        _ => None,
    };
    if let Some(word) = word {
        wanted.addressing = word;
        return Vec::new();
    }
    let mut addresses: Vec<IpNet> = Vec::new();
    let problems = each(value, MAX_ENTRIES, |entry| {
        let address = address(entry)?;
        if addresses.iter().any(|other| other.addr() == address.addr()) {
            return Err("given twice".to_owned());
        }
        addresses.push(address);
        Ok(())
    });
    wanted.addressing = Addressing::Given(addresses);
    problems
}

pub(super) fn bridge(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.bridge, bridge_name(value))
}

/// The name of a bridge, which is also that of a link of the host's, and may stand in commands that somebody copies.
fn bridge_name(name: &str) -> Result<LinkName, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-+@".contains(&byte);
    let first = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let parsed: LinkName = name.parse().map_err(in_words)?;
    match name {
        "lo" => Err("'lo' is the host's loopback; choose another name".to_owned()),
        _ if name.bytes().all(plain) && name.as_bytes().first().is_some_and(first) => Ok(parsed),
        _ => Err("a bridge's name has letters, digits and '_.-+@' here, and begins with a letter, a digit or '_'"
            .to_owned()),
    }
}

pub(super) fn interface(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.interface, interface_name(value))
}

/// The name of an interface inside a container.
pub(super) fn interface_name(name: &str) -> Result<LinkName, String> {
    let name: LinkName = name.parse().map_err(in_words)?;
    match name.as_str() {
        "lo" => Err("every container has a 'lo' already; choose another name".to_owned()),
        // Labels name interfaces between dots.
        dotted if dotted.contains('.') => {
            Err("an interface's name cannot have a dot here".to_owned())
        }
        _ => Ok(name),
    }
}

pub(super) fn gateways(value: &str, wanted: &mut Wanted) -> Vec<String> {
    each(value, MAX_ENTRIES, |entry| {
        let gateway = router(entry)?;
        if wanted.gateways.iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
            return Err("a second gateway of the same family; give one".to_owned());
        }
        wanted.gateways.push(gateway);
        Ok(())
    })
}

pub(super) fn routes(value: &str, wanted: &mut Wanted) -> Vec<String> {
    each(value, MAX_ENTRIES, |entry| {
        let route = route(entry)?;
        if wanted.routes.iter().any(|other| other.collides(&route)) {
            return Err("given twice".to_owned());
        }
        wanted.routes.push(route);
        Ok(())
    })
}

pub(super) fn metric(value: &str, wanted: &mut Wanted) -> Vec<String> {
    let metric = match value.parse() {
        Ok(metric) if metric > 0 => Ok(Some(metric)),
        _ => Err(format!("not a number between 1 and {}", u32::MAX)),
    };
    set(&mut wanted.metric, metric)
}

pub(super) fn mtu(value: &str, wanted: &mut Wanted) -> Vec<String> {
    let mtu = match value.parse() {
        Ok(mtu) if MTU.contains(&mtu) => Ok(Some(mtu)),
        _ => Err(format!("not a number between {} and {}", MTU.start(), MTU.end())),
    };
    set(&mut wanted.mtu, mtu)
}

pub(super) fn mac(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.mac, value.parse().map(Some).map_err(in_words))
}

pub(super) fn vlan(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.vlan, value.parse().map(Some).map_err(in_words))
}

pub(super) fn trunks(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.trunks, value.parse().map_err(in_words))
}

pub(super) fn vlan_mode(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.vlan_mode, value.parse().map(Some).map_err(in_words))
}

pub(super) fn ingress_rate(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.ingress_rate, value.parse().map(Some).map_err(in_words))
}

pub(super) fn ingress_burst(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.ingress_burst, value.parse().map(Some).map_err(in_words))
}

pub(super) fn egress_rate(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.egress_rate, value.parse().map(Some).map_err(in_words))
}

pub(super) fn mirror(value: &str, wanted: &mut Wanted) -> Vec<String> {
    set(&mut wanted.mirror, value.parse().map(Some).map_err(in_words))
}

pub(super) fn ofport_request(value: &str, wanted: &mut Wanted) -> Vec<String> {
    let number = match value.parse() {
        Ok(number) if OFPORT.contains(&number) => Ok(Some(number)),
        _ => Err(format!("not a number between {} and {}", OFPORT.start(), OFPORT.end())),
    };
    set(&mut wanted.ofport_request, number)
}

fn address(entry: &str) -> Result<IpNet, String> {
    let Ok(net) = entry.parse::<IpNet>() else {
        return Err(match entry.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => format!("no prefix length; write {v4}/24, say"),
            Ok(IpAddr::V6(v6)) => format!("no prefix length; write {v6}/64, say"),
            Err(_) => "not an address with prefix length, such as 192.168.1.100/24".to_owned(),
        });
    };
    usable(net.addr())?;
    if net.prefix_len() == 0 {
        return Err("a prefix length of 0 would put the whole world on this link".to_owned());
    }
    // RFC 3021 and RFC 6164: prefixes of two addresses have neither a network nor a broadcast address.
    let has_reserved = net.max_prefix_len() - net.prefix_len() > 1;
    if has_reserved && net.addr() == net.network() {
        return Err("the prefix's own (network) address; choose a host's".to_owned());
    }
    if has_reserved && net.addr().is_ipv4() && net.addr() == net.broadcast() {
        return Err("the prefix's broadcast address; choose a host's".to_owned());
    }
    Ok(net)
}

/// A route, as `PREFIX via ADDRESS` or `PREFIX dev`.
fn route(entry: &str) -> Result<Route, String> {
    let words: Vec<_> = entry.split_ascii_whitespace().collect();
    let (destination, via) = match words.as_slice() {
        [destination, "via", router] => (*destination, Some(*router)),
        [destination, "dev"] => (*destination, None),
        _ => return Err("not 'PREFIX via ADDRESS' or 'PREFIX dev'".to_owned()),
    };
    if destination == "default" {
        return Err("a default route is asked for by gateway".to_owned());
    }
    let destination: IpNet = destination
        .parse()
        .map_err(|_| "its destination is no prefix, such as 10.0.0.0/8".to_owned())?;
    if destination.prefix_len() == 0 {
        return Err("a default route is asked for by gateway".to_owned());
    }
    if destination.trunc() != destination {
        return Err(format!(
            "bits are set beyond the prefix's length; write {}",
            destination.trunc()
        ));
    }
    let via = via.map(router).transpose()?;
    if via.is_some_and(|via| via.is_ipv4() != destination.addr().is_ipv4()) {
        return Err("destination and router are of different families".to_owned());
    }
    Ok(Route::new(destination, via))
}

fn router(text: &str) -> Result<IpAddr, String> {
    let router = text
        .parse()
        .map_err(|_| "not an address, such as 192.168.1.1; without prefix length".to_owned())?;
    usable(router)?;
    Ok(router)
}

/// An address that one host can have.
fn usable(address: IpAddr) -> Result<(), String> {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if special || address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err("not an address that one host can have".to_owned());
    }
    Ok(())
}

/// Reads a list separated by commas; a problem names its entry where there are several.
fn each(value: &str, most: usize, mut read: impl FnMut(&str) -> Result<(), String>) -> Vec<String> {
    let entries: Vec<&str> = value.split(',').map(str::trim).collect();
    if entries.len() > most {
        return vec![format!("{} entries; {most} is the most", entries.len())];
    }
    let name = |entry: &str, problem: String| match entries.len() {
        1 => problem,
        _ => format!("'{}': {problem}", Shown(entry)),
    };
    entries
        .iter()
        .filter_map(|entry| read(entry).err().map(|problem| name(entry, problem)))
        .collect()
}

fn set<T>(field: &mut T, value: Result<T, String>) -> Vec<String> {
    match value {
        Ok(value) => {
            *field = value;
            Vec::new()
        }
        Err(problem) => vec![problem],
    }
}

fn in_words(error: impl std::error::Error) -> String {
    error.to_string()
}
