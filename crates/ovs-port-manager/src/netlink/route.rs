//! Default routes.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::LinkName;

use super::Error;
use super::connection::{Connection, Request};

/// A default route that is there.
pub(super) struct DefaultRoute {
    /// Where it leads; a route into a link alone has none.
    pub(super) gateway: Option<IpAddr>,
    /// The index of the link that it leads through.
    pub(super) link: Option<u32>,
}

/// The request for a default route, which takes the place of one of its family.
pub(super) fn add_default(name: &LinkName, index: u32, gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway.is_ipv4());
    message.header.table = RouteHeader::RT_TABLE_MAIN;
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

/// The default routes of a family in the main table.
pub(super) fn defaults(
    connection: &mut Connection,
    ipv4: bool,
) -> Result<Vec<DefaultRoute>, Error> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(ipv4);
    request.header.table = RouteHeader::RT_TABLE_MAIN;
    let mut found = Vec::new();
    connection.dump(RouteNetlinkMessage::GetRoute(request), "list the routes", |answer| {
        let RouteNetlinkMessage::NewRoute(route) = answer else { return };
        let header = &route.header;
        let default = header.destination_prefix_length == 0
            && header.table == RouteHeader::RT_TABLE_MAIN
            && header.kind == RouteType::Unicast
            && header.address_family == family(ipv4);
        found.extend(default.then(|| read(&route)));
    })?;
    Ok(found)
}

fn read(route: &RouteMessage) -> DefaultRoute {
    let mut read = DefaultRoute { gateway: None, link: None };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => read.gateway = Some((*v4).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => read.gateway = Some((*v6).into()),
            RouteAttribute::Oif(index) => read.link = Some(*index),
            _ => {}
        }
    }
    read
}

fn family(ipv4: bool) -> AddressFamily {
    if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
