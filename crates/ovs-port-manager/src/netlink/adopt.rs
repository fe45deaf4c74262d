//! Links that others made: where their other ends are, and the mark that makes them ours.

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use port_plan::{LinkName, PortKey, Start};

use super::connection::{Connection, Request};
use super::{Error, interface, mark, veth};

/// What becomes of a link that is taken over.
#[derive(Debug, Clone)]
pub(crate) struct Adoption {
    /// Its name, that of its end in the host.
    pub(crate) name: LinkName,
    /// Whose it becomes.
    pub(crate) key: PortKey,
    /// The start of the container that it serves.
    pub(crate) start: Start,
    /// The MTU of its end in the host, if it is to have one.
    pub(crate) mtu: Option<u16>,
    /// Whether its end in the container may leave transmit checksums to the host's.
    pub(crate) tx_checksum_offload: bool,
}

/// Where the other end of a veth is: unique on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherEnd {
    /// Its index in its namespace.
    index: u32,
    /// That namespace's number.
    nsid: i32,
}

/// Those of the links, each with the interface that its port is for, whose other end is in the namespace, with that
/// end's name being the interface's. On a plain thread, as [`veth::create`]; `host` is a socket in the host's namespace.
pub(crate) fn ends(
    host: &mut Connection,
    links: Vec<(LinkName, LinkName)>,
    netns: &OwnedFd,
) -> Result<Vec<(LinkName, LinkName)>, Error> {
    let mut others = Vec::new();
    for (link, interface) in links {
        match interface::get(host, &link) {
            Ok(message) => others.extend(other_end(&message).map(|end| (link, interface, end))),
            Err(error) if error.errno() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    if others.is_empty() {
        return Ok(Vec::new());
    }
    // The kernel has numbered the namespace when it told of a link that leads there.
    let Some(number) = number_of(host, netns)? else { return Ok(Vec::new()) };
    others.retain(|(.., end)| end.nsid == number);
    veth::inside(netns, || {
        let mut connection = Connection::open()?;
        let mut ends = Vec::new();
        for (link, interface, end) in others {
            match interface::get(&mut connection, &interface) {
                Ok(message) if message.header.index == end.index => ends.push((link, interface)),
                Ok(_) => {}
                Err(error) if error.errno() == Some(libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ends)
    })
}

fn other_end(link: &LinkMessage) -> Option<OtherEnd> {
    let (mut index, mut nsid, mut is_veth) = (None, None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Link(peer) => index = Some(*peer),
            LinkAttribute::LinkNetNsId(number) => nsid = Some(*number),
            LinkAttribute::LinkInfo(info) => {
                is_veth = info.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    let end = OtherEnd { index: index?, nsid: nsid? };
    is_veth.then_some(end)
}

/// The number that the host's namespace has for another one, if it has one.
fn number_of(host: &mut Connection, netns: &OwnedFd) -> Result<Option<i32>, Error> {
    let mut request = NsidMessage::default();
    let file = netns.as_raw_fd().cast_unsigned();
    request.attributes.push(NsidAttribute::Fd(file));
    let what = "find the number of the container's network namespace";
    match host.get(RouteNetlinkMessage::GetNsId(request), what)? {
        RouteNetlinkMessage::NewNsId(answer) => {
            Ok(answer.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) => Some(*number).filter(|number| *number >= 0),
                _ => None,
            }))
        }
        other => Err(Error::Malformed(format!("asked for a namespace's number, got {other:?}"))),
    }
}

/// Makes a link ours. Nothing that passes through it is lost: neither end goes down.
///
/// On a plain thread, as [`veth::create`].
pub(crate) fn adopt(
    host: &mut Connection,
    adoption: &Adoption,
    netns: &OwnedFd,
) -> Result<(), Error> {
    let Adoption { name, key, start, mtu, tx_checksum_offload } = adoption;
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes.push(LinkAttribute::IfName(name.to_string()));
    link.attributes.push(LinkAttribute::IfAlias(mark::write(key, start, false)));
    link.attributes.extend(mtu.map(|mtu| LinkAttribute::Mtu(mtu.into())));
    let what = format!("mark the link {name}");
    let message = RouteNetlinkMessage::SetLink(link);
    host.batch(vec![Request { message, flags: 0, what }])?;
    if *tx_checksum_offload {
        return Ok(());
    }
    veth::inside(netns, || interface::switch_tx_checksum_off(&Connection::open()?, &key.interface))
}
