//! Addresses of an interface.

use std::net::Ipv6Addr;
use std::ops::ControlFlow;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::LinkName;

use super::Error;
use super::connection::{Connection, Request};

/// The request for an address more. Where duplicates are to be detected, an IPv6 address cannot be used before
/// that is over, which takes up to two seconds.
pub(super) fn add(name: &LinkName, index: u32, address: IpNet, detect_duplicates: bool) -> Request {
    let mut message = message(index, address);
    match address {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) if detect_duplicates => {}
        IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        what: format!("add address {address} to {name}"),
    }
}

/// The request for an address less.
pub(super) fn remove(name: &LinkName, index: u32, address: IpNet) -> Request {
    Request {
        message: RouteNetlinkMessage::DelAddress(message(index, address)),
        flags: 0,
        what: format!("remove address {address} from {name}"),
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message
}

/// An address that an interface has.
pub(super) struct Found {
    pub(super) address: IpNet,
    /// The kernel has yet to find out whether another host has it.
    pub(super) tentative: bool,
    /// Another host has it: it is not used.
    pub(super) duplicate: bool,
}

/// Shows the addresses of a family, or of all, that an interface has, until enough is known.
pub(super) fn each(
    connection: &mut Connection,
    index: u32,
    family: AddressFamily,
    mut show: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut request = AddressMessage::default();
    request.header.family = family;
    request.header.index = index;
    let request = RouteNetlinkMessage::GetAddress(request);
    connection.read(request, "list the addresses", |answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else {
            return ControlFlow::Continue(());
        };
        let found = Some(message).filter(|message| message.header.index == index);
        let found = found.and_then(|message| read(&message));
        found.map_or(ControlFlow::Continue(()), &mut show)
    })
}

/// An IPv6 address of an interface, if it has it. The kernel finds it among however many.
pub(super) fn get_ipv6(
    connection: &mut Connection,
    index: u32,
    address: Ipv6Addr,
) -> Result<Option<Found>, Error> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet6;
    request.header.index = index;
    request.attributes.push(AddressAttribute::Address(address.into()));
    let request = RouteNetlinkMessage::GetAddress(request);
    match connection.get(request, &format!("find address {address}")) {
        // The kernel takes one of another interface where this one has none.
        Ok(RouteNetlinkMessage::NewAddress(found)) if found.header.index == index => {
            Ok(read(&found))
        }
        Ok(_) => Ok(None),
        Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An address that the kernel tells of.
pub(super) fn read(message: &AddressMessage) -> Option<Found> {
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
    let flags = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(AddressFlags::empty());
    let duplicate = flags.contains(AddressFlags::Dadfailed);
    Some(Found {
        address: IpNet::new(address, message.header.prefix_len).ok()?,
        tentative: flags.contains(AddressFlags::Tentative) && !duplicate,
        duplicate,
    })
}
