//! Addresses of an interface.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::LinkName;

use super::Error;
use super::connection::{Connection, Request};

/// The request for an address more.
pub(super) fn add(name: &LinkName, index: u32, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
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

/// The addresses that an interface has.
pub(super) fn list(connection: &mut Connection, index: u32) -> Result<Vec<IpNet>, Error> {
    let mut found = Vec::new();
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    connection.dump(request, "list the addresses", |answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return };
        if message.header.index == index {
            found.extend(read(&message));
        }
    })?;
    Ok(found)
}

fn read(message: &AddressMessage) -> Option<IpNet> {
    // IPv4 tells the interface's own address as Local, IPv6 as Address (linux/if_addr.h).
    let own = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    };
    let other = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    };
    let attributes = &message.attributes;
    let address = attributes.iter().find_map(own).or_else(|| attributes.iter().find_map(other))?;
    IpNet::new(address, message.header.prefix_len).ok()
}
