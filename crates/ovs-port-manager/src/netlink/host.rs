//! The host's own addresses, and the news of them.

use std::collections::BTreeMap;
use std::io;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use port_plan::{HostLink, LinkName, MacAddress, Vlan};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::error;

use super::connection::Connection;
use super::{Error, address, interface};

/// Those links of the connection's namespace that have addresses, and those of these names that exist.
pub(crate) fn host_links(
    connection: &mut Connection,
    names: &[LinkName],
) -> Result<Vec<HostLink>, Error> {
    let mut addresses: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    connection.dump(request, "list the host's addresses", |answer| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return };
        if let Some(found) = address::read(&message) {
            addresses.entry(message.header.index).or_default().push(found.address);
        }
    })?;
    let mut found = BTreeMap::new();
    for name in names {
        if let Some(link) = there(interface::get(connection, name))? {
            found.insert(link.header.index, link);
        }
    }
    for index in addresses.keys() {
        if !found.contains_key(index)
            && let Some(link) = there(by_index(connection, *index))?
        {
            found.insert(*index, link);
        }
    }
    let mut links = Vec::with_capacity(found.len());
    for (index, link) in found {
        let parent = match vlan_of(&link) {
            Some((parent, vlan)) => there(by_index(connection, parent))?
                .and_then(|parent| name_of(&parent))
                .map(|parent| (parent, vlan)),
            None => None,
        };
        links.extend(name_of(&link).map(|name| HostLink {
            name,
            mac: mac_of(&link),
            addresses: addresses.remove(&index).unwrap_or_default(),
            vlan_of: parent,
        }));
    }
    Ok(links)
}

/// A link, if it has not gone meanwhile.
fn there(answer: Result<LinkMessage, Error>) -> Result<Option<LinkMessage>, Error> {
    match answer {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn by_index(connection: &mut Connection, index: u32) -> Result<LinkMessage, Error> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match connection.get(RouteNetlinkMessage::GetLink(request), "find a link of the host's")? {
        RouteNetlinkMessage::NewLink(link) => Ok(link),
        other => Err(Error::Malformed(format!("asked for a link, got {other:?}"))),
    }
}

fn name_of(link: &LinkMessage) -> Option<LinkName> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })
}

fn mac_of(link: &LinkMessage) -> Option<MacAddress> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => {
            MacAddress::from_octets(octets.as_slice().try_into().ok()?)
        }
        _ => None,
    })
}

/// The link, by its index, that this one is a VLAN of, and which.
fn vlan_of(link: &LinkMessage) -> Option<(u32, Vlan)> {
    let parent = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })?;
    let id = |info: &LinkInfo| match info {
        LinkInfo::Data(InfoData::Vlan(settings)) => {
            settings.iter().find_map(|setting| match setting {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            })
        }
        _ => None,
    };
    let id = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(id),
        _ => None,
    })?;
    Some((parent, id.to_string().parse().ok()?))
}

/// Hears that addresses of the host's have come or gone. Of those inside containers it hears nothing.
pub(crate) struct HostNews(Option<AsyncFd<Socket>>);

impl HostNews {
    /// Begins to listen, in the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When the socket cannot be had.
    pub(crate) fn listen() -> Result<Self, Error> {
        let opened = || -> io::Result<AsyncFd<Socket>> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            socket.add_membership(libc::RTNLGRP_IPV4_IFADDR)?;
            socket.add_membership(libc::RTNLGRP_IPV6_IFADDR)?;
            // SAFETY: the socket owns its file descriptor, which stays open as long as the `AsyncFd` owns the socket.
            #[allow(unsafe_code)]
            let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
            Ok(socket?)
        };
        let socket = opened().map_err(Error::system("listen to the kernel's news of addresses"))?;
        Ok(Self(Some(socket)))
    }

    /// Returns when there is news. Nothing is lost when this is dropped.
    pub(crate) async fn changed(&mut self) {
        let Some(socket) = &self.0 else { return std::future::pending().await };
        let error = match socket.readable().await {
            Ok(mut ready) => {
                ready.clear_ready();
                match drain(socket.get_ref()) {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        error!(
            "host addresses are no longer followed, only the periodic resync sees them: {error}"
        );
        self.0 = None;
    }
}

/// Reads all that there is: that it came is the news. What there was no room for is news as well.
fn drain(socket: &Socket) -> io::Result<()> {
    loop {
        let mut datagram = Vec::with_capacity(4096);
        match socket.recv(&mut datagram, libc::MSG_TRUNC) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) => return Err(error),
        }
    }
}
