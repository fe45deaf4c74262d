//! Routes through an interface.

use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::{LinkName, Route};

use super::Error;
use super::connection::{Connection, Request};

/// A route that is there.
pub(super) struct Found {
    pub(super) route: Route,
    /// The index of the link that it leads through.
    pub(super) link: Option<u32>,
}

/// The request for a route, which takes the place of one of the same destination and metric.
pub(super) fn add(name: &LinkName, index: u32, route: &Route) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.is_ipv4());
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    // What lies on the link itself is nearer than what is behind a router (ip-route(8), SCOPE_VAL).
    let on_link = route.via.is_none() && route.is_ipv4();
    message.header.scope = if on_link { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = RouteType::Unicast;
    if route.destination.prefix_len() > 0 {
        let destination = RouteAddress::from(route.destination.addr());
        message.attributes.push(RouteAttribute::Destination(destination));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(via)));
    }
    if route.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    if let Some(metric) = route.metric {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what: format!("add route {route} on {name}"),
    }
}

/// Shows the unicast routes of a family in the main table, those through one link only if it is given, until enough is
/// known.
pub(super) fn each(
    connection: &mut Connection,
    ipv4: bool,
    link: Option<u32>,
    mut show: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(ipv4);
    request.header.table = RouteHeader::RT_TABLE_MAIN;
    request.header.kind = RouteType::Unicast;
    request.attributes.extend(link.map(RouteAttribute::Oif));
    let request = RouteNetlinkMessage::GetRoute(request);
    let shown = connection.read(request, "list the routes", |answer| {
        let RouteNetlinkMessage::NewRoute(route) = answer else { return ControlFlow::Continue(()) };
        let header = &route.header;
        let wanted = header.table == RouteHeader::RT_TABLE_MAIN
            && header.kind == RouteType::Unicast
            && header.address_family == family(ipv4);
        let found = wanted.then(|| read(&route, ipv4)).flatten();
        let found = found.filter(|found| link.is_none() || found.link == link);
        found.map_or(ControlFlow::Continue(()), &mut show)
    });
    match shown {
        // In a namespace that never had a route, the kernel has no such table yet.
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        shown => shown,
    }
}

fn read(message: &RouteMessage, ipv4: bool) -> Option<Found> {
    let (mut destination, mut via, mut link, mut metric) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(number) => metric = Some(*number),
            _ => {}
        }
    }
    let unspecified = if ipv4 { [0; 4].into() } else { [0; 16].into() };
    let destination = destination.unwrap_or(unspecified);
    let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    Some(Found { route: Route::new(destination, via).with_metric(metric), link })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn family(ipv4: bool) -> AddressFamily {
    if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
