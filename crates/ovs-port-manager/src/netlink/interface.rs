//! The container's end: addresses, offloads, up, default routes.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::{LinkName, LinkSpec};

use super::Error;
use super::connection::{Connection, Request};
use crate::ethtool;

/// Configures the interface that the pair has in the calling thread's namespace.
///
/// It comes up after its addresses, so that whoever waits for "up" finds it working. Returns the default
/// routes that its own have taken the place of, in words.
pub(super) fn configure(spec: &LinkSpec) -> Result<Vec<String>, Error> {
    let name = &spec.key.interface;
    let mut connection = Connection::open()?;
    let index = index(&mut connection, name)?;
    if spec.addresses.iter().any(|address| address.addr().is_ipv6()) {
        enable_ipv6(name)?;
    }
    if !spec.tx_checksum_offload {
        ethtool::set_tx_checksum(name, false)
            .map_err(Error::system(format!("switch transmit checksums off on {name}")))?;
    }
    let replaced_routes = default_routes(&mut connection, &spec.gateways)?;
    let addresses = spec.addresses.iter().map(|address| add_address(name, index, *address));
    let routes = spec.gateways.iter().map(|gateway| add_default_route(name, index, *gateway));
    connection.batch(addresses.chain([set_up(name, index)]).chain(routes).collect())?;
    Ok(replaced_routes)
}

/// The index of a link of the connection's namespace.
pub(super) fn index(connection: &mut Connection, name: &LinkName) -> Result<u32, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    let what = format!("find {name}");
    match connection.get(RouteNetlinkMessage::GetLink(request), &what)? {
        RouteNetlinkMessage::NewLink(link) => Ok(link.header.index),
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

fn add_address(name: &LinkName, index: u32, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    match address {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        // Duplicate address detection would keep the address unusable for a second.
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        what: format!("add address {address} to {name}"),
    }
}

fn set_up(name: &LinkName, index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
        what: format!("set {name} up"),
    }
}

/// Takes the place of a default route that is there already.
fn add_default_route(name: &LinkName, index: u32, gateway: IpAddr) -> Request {
    let mut message = default_route(gateway);
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    message.attributes.push(RouteAttribute::Oif(index));
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what: format!("route through gateway {gateway} on {name}"),
    }
}

/// The default routes that the ones through these gateways take the place of, in words.
fn default_routes(connection: &mut Connection, gateways: &[IpAddr]) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for gateway in gateways {
        let request = RouteNetlinkMessage::GetRoute(default_route(*gateway));
        connection.dump(request, "list the routes", |answer| {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                let header = &route.header;
                let default = header.destination_prefix_length == 0
                    && header.table == RouteHeader::RT_TABLE_MAIN
                    && header.kind == RouteType::Unicast
                    && header.address_family == family(*gateway);
                found.extend(default.then(|| in_words(&route)));
            }
        })?;
    }
    Ok(found)
}

fn in_words(route: &RouteMessage) -> String {
    let via = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    via.map_or_else(|| "default".to_owned(), |via| format!("default via {via}"))
}

fn default_route(gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
