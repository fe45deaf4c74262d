//! The container's end: configured, looked at, put right.
//!
//! Everything here happens in the calling thread's network namespace.

use std::fs;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use port_plan::{LinkName, LinkRepair, LinkSpec, MacAddress, ObservedInterface};

use super::connection::{Connection, Request};
use super::{Error, address, route};
use crate::ethtool;

/// Configures the end of a new pair.
///
/// It comes up after its addresses, so that whoever waits for "up" finds it working. Returns the default
/// routes that its own have taken the place of, in words.
pub(super) fn configure(spec: &LinkSpec) -> Result<Vec<String>, Error> {
    let name = &spec.key.interface;
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    if spec.addresses.iter().any(|address| address.addr().is_ipv6()) {
        enable_ipv6(name)?;
    }
    if !spec.tx_checksum_offload {
        ethtool::set_tx_checksum(name, false)
            .map_err(Error::system(format!("switch transmit checksums off on {name}")))?;
    }
    let replaced = replaced_routes(&mut connection, index, &spec.gateways)?;
    let addresses = spec.addresses.iter().map(|address| address::add(name, index, *address));
    let routes = spec.gateways.iter().map(|gateway| route::add_default(name, index, *gateway));
    connection.batch(addresses.chain([set_up(name, index)]).chain(routes).collect())?;
    Ok(replaced)
}

/// How an interface is now. Of the default routes through it those of families that have one of `gateways`
/// are looked at: listing routes is most of the work.
pub(super) fn observe(name: &LinkName, gateways: &[IpAddr]) -> Result<ObservedInterface, Error> {
    let mut connection = Connection::open()?;
    let link = match get(&mut connection, name) {
        Ok(link) => link,
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(ObservedInterface::Missing),
        Err(error) => return Err(error),
    };
    let index = link.header.index;
    let mut routes = Vec::new();
    for ipv4 in [true, false] {
        if gateways.iter().any(|gateway| gateway.is_ipv4() == ipv4) {
            routes.extend(route::defaults(&mut connection, ipv4)?);
        }
    }
    let through = routes.into_iter().filter(|route| route.link == Some(index));
    Ok(ObservedInterface::Present {
        up: link.header.flags.contains(LinkFlags::Up),
        mac: link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => {
                MacAddress::from_octets(octets.as_slice().try_into().ok()?)
            }
            _ => None,
        }),
        mtu: link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            })
            .unwrap_or_default(),
        addresses: address::list(&mut connection, index)?,
        gateways: through.filter_map(|route| route.gateway).collect(),
    })
}

/// Puts an interface right, in the order in which a new one is configured.
pub(super) fn repair(repair: &LinkRepair) -> Result<(), Error> {
    let LinkRepair { name: _, key, mac, mtu, addresses, gateways, up } = repair;
    let name = &key.interface;
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    if addresses.iter().any(|address| address.addr().is_ipv6()) {
        enable_ipv6(name)?;
    }
    let mac = mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec()));
    let mtu = mtu.map(|mtu| LinkAttribute::Mtu(mtu.into()));
    let settings = mac.into_iter().chain(mtu).map(|setting| set(name, index, setting));
    let addresses = addresses.iter().map(|address| address::add(name, index, *address));
    let up = up.then(|| set_up(name, index));
    let routes = gateways.iter().map(|gateway| route::add_default(name, index, *gateway));
    connection.batch(settings.chain(addresses).chain(up).chain(routes).collect())
}

/// A link of the connection's namespace.
pub(super) fn get(connection: &mut Connection, name: &LinkName) -> Result<LinkMessage, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let what = format!("find {name}");
    match connection.get(RouteNetlinkMessage::GetLink(request), &what)? {
        RouteNetlinkMessage::NewLink(link) => Ok(link),
        other => Err(Error::Malformed(format!("asked for a link, got {other:?}"))),
    }
}

/// Docker switches IPv6 off in the namespaces that it makes; here it is needed.
///
/// `/proc/sys/net` shows the settings of the calling thread's namespace.
fn enable_ipv6(name: &LinkName) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::read(&path) {
        Ok(value) if value.first() == Some(&b'0') => Ok(()),
        Ok(_) => fs::write(&path, "0"),
        // A kernel without IPv6 has no such file: the address itself will be refused.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(Error::system(format!("switch IPv6 on for {name} ({path})")))
}

fn set(name: &LinkName, index: u32, setting: LinkAttribute) -> Request {
    let what = format!("change {name}");
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(setting);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what }
}

fn set_up(name: &LinkName, index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let what = format!("set {name} up");
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what }
}

/// The default routes that the ones through these gateways will take the place of, in words.
fn replaced_routes(
    connection: &mut Connection,
    index: u32,
    gateways: &[IpAddr],
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for gateway in gateways {
        let there = route::defaults(connection, gateway.is_ipv4())?;
        let others = there.into_iter().filter(|route| route.link != Some(index));
        found.extend(others.map(|route| match route.gateway {
            Some(via) => format!("default via {via}"),
            None => "default".to_owned(),
        }));
    }
    Ok(found)
}
