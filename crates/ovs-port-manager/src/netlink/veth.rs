//! veth pairs: made in one request, deleted, listed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::LazyLock;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use port_plan::{
    ContainerId, HostEnd, HostRepair, LinkName, LinkRepair, LinkSpec, MacAddress,
    ObservedInterface, ObservedLink, PortKey, Start, is_made_up,
};

use super::connection::{Connection, Request};
use super::{Error, Wanted, interface, mark};
use crate::failpoint;

/// `IPV6_MIN_MTU` (net/ipv6.h).
const IPV6_MIN_MTU: u16 = 1280;
/// `IN6_ADDR_GEN_MODE_NONE` (`linux/if_link.h`).
const NO_ADDRESSES: u8 = 1;

/// What came of making a link, beyond the link itself.
#[derive(Debug, Default)]
pub(crate) struct Created {
    /// Default routes that ours has taken the place of, in words.
    pub(crate) replaced_routes: Vec<String>,
}

/// Makes a veth pair with its peer born inside the namespace under its final name, and configures it.
///
/// Must be called on a plain thread: it moves that thread into the namespace and leaves it there. `host` is a
/// socket in the host's namespace. `made` is called when the pair is there, marked, and its host end is up, unless it is to be
/// held down.
///
/// # Errors
///
/// What the kernel refused; nothing of the pair is left then.
pub(crate) fn create(
    host: &mut Connection,
    spec: &LinkSpec,
    netns: &OwnedFd,
    made: impl FnOnce(),
) -> Result<Created, Error> {
    let mut index = None;
    let mut added = add_pair(host, spec, netns, &mut index);
    if let (Err(error), Some(mac)) = (&added, spec.replaces)
        && error.errno() == Some(libc::EEXIST)
        && inside(netns, || interface::delete_left(&spec.key.interface, mac)).unwrap_or(false)
    {
        added = add_pair(host, spec, netns, &mut index);
    }
    if let Err(error) = added {
        // The host end's name is new to the kernel: what exists is the interface in the container.
        if error.errno() == Some(libc::EEXIST) {
            return Err(Error::InterfaceExists(spec.key.interface.clone()));
        }
        // If the mark alone was refused, nobody would ever find the link again.
        let _ = host.batch(vec![remove(&spec.name)]);
        return Err(error);
    }
    made();
    failpoint::boundary();
    let configured = inside(netns, || interface::configure(spec, index));
    if configured.is_err() {
        // The first error is the one to tell; the mark lets a later pass find what this leaves.
        let _ = host.batch(vec![remove(&spec.name)]);
    }
    configured.map(|replaced_routes| Created { replaced_routes })
}

/// Makes the pair with its mark; notes the other end's index, where the kernel tells it.
fn add_pair(
    host: &mut Connection,
    spec: &LinkSpec,
    netns: &OwnedFd,
    index: &mut Option<u32>,
) -> Result<(), Error> {
    let mut requests = vec![add(spec, netns.as_raw_fd()), set_mark(spec)];
    requests.extend((!spec.held).then(|| up(&spec.name)));
    host.batch_and_hear(requests, |told| *index = index.or(other_end(&told)))
}

/// The index of the other end, where the kernel tells it of a new veth. Old ones tell nothing.
fn other_end(told: &RouteNetlinkMessage) -> Option<u32> {
    let RouteNetlinkMessage::NewLink(link) = told else { return None };
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })
}

/// How interfaces inside the namespace are now. On a plain thread, as [`create`].
pub(crate) fn observe(
    interfaces: &[Wanted],
    netns: &OwnedFd,
) -> Result<BTreeMap<LinkName, ObservedInterface>, Error> {
    inside(netns, || {
        let mut connection = Connection::open()?;
        let observe = |wanted: &Wanted| {
            Ok((wanted.name.clone(), interface::observe(&mut connection, wanted)?))
        };
        interfaces.iter().map(observe).collect()
    })
}

/// Takes addresses away from an interface inside the namespace. On a plain thread, as [`create`].
pub(crate) fn withdraw(
    interface: &LinkName,
    addresses: &[IpNet],
    netns: &OwnedFd,
) -> Result<(), Error> {
    inside(netns, || interface::withdraw(interface, addresses))
}

/// Announces addresses from an interface inside the namespace. On a plain thread, as [`create`].
pub(crate) fn announce(
    interface: &LinkName,
    mac: MacAddress,
    addresses: &[IpNet],
    netns: &OwnedFd,
) -> Result<(), Error> {
    let what = || format!("announce the addresses of {interface}");
    inside(netns, || {
        super::announce::announce(interface, mac, addresses).map_err(Error::system(what()))
    })
}

/// Puts an interface inside the namespace right. On a plain thread, as [`create`].
pub(crate) fn repair(repair: &LinkRepair, netns: &OwnedFd) -> Result<(), Error> {
    inside(netns, || interface::repair(repair))
}

/// Deletes a veth pair by its host end. One that does not exist is as good as deleted.
pub(crate) fn delete(name: &LinkName) -> Result<(), Error> {
    match Connection::open()?.batch(vec![remove(name)]) {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// Sets the host end of a pair up, which was made without that.
pub(crate) fn set_up(host: &mut Connection, name: &LinkName) -> Result<(), Error> {
    host.batch(vec![up(name)])
}

/// Whether a link of that name exists.
pub(crate) fn exists(connection: &mut Connection, name: &LinkName) -> Result<bool, Error> {
    match interface::get(connection, name) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How the host end of a container's link is; `None` if there is no such link.
pub(crate) fn host_end(
    connection: &mut Connection,
    container: &ContainerId,
    link: &ObservedLink,
) -> Result<Option<HostEnd>, Error> {
    let message = match interface::get(connection, &link.name) {
        Ok(message) => message,
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut end = HostEnd {
        up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        marked: false,
        enslaved: false,
        makes_addresses: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => end.mtu = *mtu,
            LinkAttribute::Controller(index) => end.enslaved = *index != 0,
            LinkAttribute::IfAlias(alias) => end.marked = mark::is(alias, container, link),
            LinkAttribute::AfSpecUnspec(families) => {
                end.makes_addresses =
                    address_mode(families).is_some_and(|mode| mode != NO_ADDRESSES);
            }
            _ => {}
        }
    }
    Ok(Some(end))
}

/// Which link-local IPv6 addresses the kernel gives to a link, where there is IPv6.
pub(super) fn address_mode(families: &[AfSpecUnspec]) -> Option<u8> {
    families.iter().find_map(|family| {
        let AfSpecUnspec::Inet6(settings) = family else { return None };
        settings.iter().find_map(|setting| match setting {
            AfSpecInet6::AddrGenMode(mode) => Some(mode.into()),
            _ => None,
        })
    })
}

/// Puts the host end of a link right.
pub(crate) fn repair_host_end(
    connection: &mut Connection,
    repair: &HostRepair,
) -> Result<(), Error> {
    let HostRepair { name, key, start, mark, mtu, free, no_addresses, up: set_up_too } = repair;
    let settings = [
        mark.then(|| LinkAttribute::IfAlias(mark::write(key, start, false))),
        mtu.map(|mtu| LinkAttribute::Mtu(mtu.into())),
        free.then_some(LinkAttribute::Controller(0)),
        no_addresses.then(no_more_addresses),
    ];
    let mut requests: Vec<_> = settings
        .into_iter()
        .flatten()
        .map(|setting| {
            let mut host = named(name);
            host.attributes.push(setting);
            let what = format!("change the link {name}");
            Request { message: RouteNetlinkMessage::SetLink(host), flags: 0, what }
        })
        .collect();
    if *no_addresses {
        requests.extend(interface::remove_link_local(connection, name)?);
    }
    requests.extend(set_up_too.then(|| up(name)));
    connection.batch(requests)
}

/// A link that may be ours: its name, and what its mark says.
pub(crate) type Candidate = (LinkName, Option<(PortKey, Start)>);

/// All links of this namespace that bear our mark, or that have a name as ours have and no mark that could be read.
pub(crate) fn list(connection: &mut Connection) -> Result<Vec<Candidate>, Error> {
    let mut links = Vec::new();
    each(connection, |link| links.extend(candidate(link)))?;
    Ok(links)
}

/// Shows every veth of this namespace.
pub(super) fn each(
    connection: &mut Connection,
    mut show: impl FnMut(&LinkMessage),
) -> Result<(), Error> {
    let mut request = LinkMessage::default();
    // The kernel then lists veths only, without their statistics.
    request.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let message = RouteNetlinkMessage::GetLink(request);
    connection.dump(message, "list the links", |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            show(&link);
        }
    })
}

fn candidate(link: &LinkMessage) -> Option<Candidate> {
    let name: LinkName = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })?;
    let mark = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfAlias(alias) => mark::read(alias),
        _ => None,
    });
    (mark.is_some() || is_made_up(&name)).then_some((name, mark))
}

/// The request for the pair. Its host end is down yet.
fn add(spec: &LinkSpec, netns: i32) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes.push(LinkAttribute::IfName(spec.key.interface.to_string()));
    peer.attributes.push(LinkAttribute::Address(spec.mac.octets().to_vec()));
    peer.attributes.push(LinkAttribute::NetNsFd(netns));

    let mut host = named(&spec.name);
    for end in [&mut host, &mut peer] {
        // Where nothing is asked, the kernel makes a queue for each processor, waits until nobody can be using
        // them, and takes all but one away again (`veth_init_queues`, drivers/net/veth.c).
        end.attributes.push(LinkAttribute::NumTxQueues(1));
        end.attributes.push(LinkAttribute::NumRxQueues(1));
        end.attributes.extend(spec.mtu.map(|mtu| LinkAttribute::Mtu(mtu.into())));
    }
    host.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Request {
        message: RouteNetlinkMessage::NewLink(host),
        flags: NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO,
        what: format!("make the veth pair {} with {}", spec.name, spec.key.interface),
    }
}

/// The request for the mark, which the kernel does not take with the pair.
///
/// It gives the host end no link-local IPv6 address, either: the host is to have none in the container's network,
/// and the news and packets that come of it cost ovs-vswitchd more than anything else, once there are many ports.
///
/// It goes out in one piece with the request for the pair, which the kernel carries out within the one system
/// call: however the program dies, there is no link of ours without its mark.
fn set_mark(spec: &LinkSpec) -> Request {
    let mut host = named(&spec.name);
    host.attributes.push(LinkAttribute::IfAlias(mark::write(&spec.key, &spec.start, spec.by_hand)));
    host.attributes.extend(has_ipv6(spec).then(no_more_addresses));
    let what = format!("mark the link {}", spec.name);
    Request { message: RouteNetlinkMessage::SetLink(host), flags: 0, what }
}

fn no_more_addresses() -> LinkAttribute {
    let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_address])])
}

/// The request that takes the host end up. Its peer has no carrier until it is up, too.
///
/// Everything that changes later is told to all who listen to links, and ovs-vswitchd then goes through all of
/// them: so it comes after the mark.
fn up(name: &LinkName) -> Request {
    let mut host = named(name);
    host.header.flags = LinkFlags::Up;
    host.header.change_mask = LinkFlags::Up;
    let what = format!("set the link {name} up");
    Request { message: RouteNetlinkMessage::SetLink(host), flags: 0, what }
}

fn named(name: &LinkName) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_string()));
    link
}

/// Whether the kernel gives the link settings for IPv6, which it refuses to change otherwise.
fn has_ipv6(spec: &LinkSpec) -> bool {
    // Asked once: with the namespaces of many containers the kernel takes long to find even that path.
    static IPV6: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/sys/net/ipv6").exists());
    *IPV6 && spec.mtu.is_none_or(|mtu| mtu >= IPV6_MIN_MTU)
}

fn remove(name: &LinkName) -> Request {
    Request {
        message: RouteNetlinkMessage::DelLink(named(name)),
        flags: 0,
        what: format!("delete the link {name}"),
    }
}

/// Runs what follows inside the namespace, for good: the thread ends there.
pub(super) fn inside<T>(
    netns: &OwnedFd,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    crate::netns::enter(netns.as_fd())
        .map_err(Error::system("enter the container's network namespace"))?;
    work()
}
