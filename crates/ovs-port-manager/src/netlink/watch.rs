//! What happens to our links and to the interfaces at their other ends, as the kernel tells it.
//!
//! One socket in the host's namespace hears the namespaces of all containers that have a link of ours,
//! because the kernel numbers (nsid) every namespace that a link leads to. Nothing keeps them alive.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use port_plan::{ContainerId, PortKey, PortSpec};
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, socket_recv_buffer_size,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, error, warn};

use super::connection::Connection;
use super::{Error, filter, mark, veth};

/// The messages that can tell of a loss, or of a new link of ours. A route that takes another's place is a loss, too, which
/// the filter lets pass.
const KINDS: [u16; 4] =
    [libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_DELADDR, libc::RTM_DELROUTE];
/// Room for what the kernel tells while this thread does not run. A burst of containers is a burst of news.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The time between looks for news, which come in swarms: each link that is made or goes is told of several times,
/// and who wakes each time takes the processor from who makes it.
const PAUSE: Duration = Duration::from_millis(5);
/// `NETLINK_LISTEN_ALL_NSID` (linux/netlink.h).
const LISTEN_ALL_NSID: i32 = 8;
/// `IFLA_EVENT_FEATURES` (`linux/if_link.h`).
const EVENT_FEATURES: u32 = 2;
/// `IFLA_INET6_ADDR_GEN_MODE` (`linux/if_link.h`).
const INET6_ADDR_GEN_MODE: u16 = 8;
/// Room for one datagram.
const DATAGRAM: usize = 32 * 1024;
/// `struct cmsghdr` and an `int`, with their padding.
const CONTROL: usize = 64;

/// What the kernel told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Something that a port of this container needs has gone or gone down.
    Lost(ContainerId),
    /// News were lost: anything may have happened.
    Overrun,
}

/// Starts to listen to what happens to links; what is heard goes to the receiver of `news`, until that is dropped.
///
/// # Errors
///
/// When the socket cannot be had.
pub(crate) fn watch(news: UnboundedSender<News>) -> Result<Ears, Error> {
    let opened = || -> io::Result<Socket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        widen(&socket)?;
        filter::attach(&socket, &KINDS)?;
        socket.add_membership(libc::RTNLGRP_LINK)?;
        socket.set_listen_all_namespaces(true)?;
        Ok(socket)
    };
    let socket = Arc::new(opened().map_err(Error::system("listen to the kernel's news of links"))?);
    let ears = Ears { socket: Arc::clone(&socket), heard: Mutex::default() };
    let mut listener = Listener { socket, hosts: HashMap::new(), ends: HashMap::new() };
    veth::each(&mut Connection::open()?, |link| {
        listener.learn(&Link::of(link), true);
    })?;
    thread::Builder::new()
        .name("netlink-watch".to_owned())
        .spawn(move || listener.listen(&news))
        .map_err(Error::system("start a thread"))?;
    Ok(ears)
}

/// Gives the socket its room. Only `SO_RCVBUFFORCE` goes beyond `net.core.rmem_max`, which is 208 KiB on most machines;
/// it takes `CAP_NET_ADMIN` in the first user namespace.
fn widen(socket: &Socket) -> io::Result<()> {
    let forced = set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER);
    if forced.is_err() {
        set_socket_recv_buffer_size(socket, RECEIVE_BUFFER)?;
    }
    // The kernel doubles what is asked, for its own bookkeeping (socket(7)).
    let got = socket_recv_buffer_size(socket)?;
    debug!(bytes = got, forced = forced.is_ok(), "room for the kernel's news of links");
    if got < RECEIVE_BUFFER {
        warn!(
            "only {got} bytes of room for the kernel's news of links: when many come at once, some are lost and \
             everything is looked at instead; raise net.core.rmem_max to {RECEIVE_BUFFER}"
        );
    }
    Ok(())
}

/// Whether this kernel tells this process what happens in other namespaces.
pub(crate) fn hears_other_namespaces() -> Result<(), Error> {
    Socket::new(NETLINK_ROUTE)
        .and_then(|socket| socket.set_listen_all_namespaces(true))
        .map_err(Error::system("listen to other network namespaces"))
}

/// Which groups of news (linux/rtnetlink.h) the listener hears besides that of links: those that a port needs.
///
/// For each message of a group that somebody hears from other namespaces, the kernel goes through the numbers of all of
/// them, and a new interface comes with a dozen messages of addresses and routes.
pub(crate) struct Ears {
    socket: Arc<Socket>,
    heard: Mutex<Vec<u32>>,
}

impl Ears {
    /// From now on hears of all that this port may lose.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it.
    pub(crate) fn hear(&self, port: &PortSpec) -> Result<(), Error> {
        // Held until it is heard: whoever looks next relies on it.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for group in groups_of(port) {
            if !heard.contains(&group) {
                let joined = self.socket.add_membership(group);
                joined.map_err(Error::system(
                    "listen to the kernel's news of addresses and routes",
                ))?;
                heard.push(group);
            }
        }
        Ok(())
    }
}

fn groups_of(port: &PortSpec) -> impl Iterator<Item = u32> {
    let addresses = port.addresses.iter().map(|net| match net {
        IpNet::V4(_) => libc::RTNLGRP_IPV4_IFADDR,
        IpNet::V6(_) => libc::RTNLGRP_IPV6_IFADDR,
    });
    let routes = port.routes.iter().map(|route| match route.is_ipv4() {
        true => libc::RTNLGRP_IPV4_ROUTE,
        false => libc::RTNLGRP_IPV6_ROUTE,
    });
    addresses.chain(routes)
}

struct Listener {
    socket: Arc<Socket>,
    /// The host ends of our links, by their indices.
    hosts: HashMap<u32, HostEnd>,
    /// The ends of our links in the namespaces of these numbers.
    ends: HashMap<i32, Vec<End>>,
}

/// The host's end of a link, as it was last told of.
struct HostEnd {
    container: ContainerId,
    seen: Seen,
    /// A hash of its name and alias, which a look compares with what they have to be.
    names: u64,
}

/// What is set of an end, or may be taken from it by somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    mtu: u32,
    mac: [u8; 6],
    master: u32,
    address_mode: u8,
}

/// The container's end of a link.
struct End {
    key: PortKey,
    /// Its index inside the container.
    index: Option<u32>,
    /// Whether it has been up: before, it cannot have gone down.
    was_up: bool,
    /// How it was then.
    seen: Option<Seen>,
}

/// One datagram of the kernel's.
enum Heard {
    /// From the namespace of this number; from the host's if none.
    Datagram { nsid: Option<i32> },
    /// There was no room for it.
    Overrun,
}

impl Listener {
    fn listen(mut self, news: &UnboundedSender<News>) {
        let mut datagram = vec![0; DATAGRAM];
        // For the first news the thread waits, then it reads what else there is.
        let mut flags = 0;
        while !news.is_closed() {
            let told = match receive(&self.socket, &mut datagram, flags) {
                Ok((Heard::Datagram { nsid }, length)) => {
                    self.read(nsid, datagram.get(..length).unwrap_or_default())
                }
                Ok((Heard::Overrun, _)) => vec![News::Overrun],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(PAUSE);
                    flags = 0;
                    continue;
                }
                Err(error) => {
                    error!("no longer hear of links: {error}; only the resync sees their loss");
                    return;
                }
            };
            flags = libc::MSG_DONTWAIT;
            // Nobody listens any more at the end of the program.
            told.into_iter().for_each(|item| drop(news.send(item)));
        }
    }

    fn read(&mut self, nsid: Option<i32>, mut bytes: &[u8]) -> Vec<News> {
        let mut told = Vec::new();
        while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
            let length = message.length() as usize;
            told.extend(
                self.judge(nsid, message.message_type(), message.payload()).map(News::Lost),
            );
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        told
    }

    /// The container that has lost something by this message, if one has.
    fn judge(&mut self, nsid: Option<i32>, kind: u16, payload: &[u8]) -> Option<ContainerId> {
        match (nsid, kind) {
            (None, libc::RTM_NEWLINK) => {
                let link = Link::read(payload)?;
                self.learn(&link, false);
                self.hosts.get_mut(&link.index)?.lost_by(&link)
            }
            (None, libc::RTM_DELLINK) => {
                let link = Link::read(payload)?;
                // A link that leaves a Linux bridge is told of in the same way, by another family.
                let whole = link.family == libc::AF_UNSPEC.cast_unsigned() as u8;
                whole.then(|| self.hosts.remove(&link.index)).flatten().map(|end| end.container)
            }
            (Some(nsid), libc::RTM_NEWLINK) => {
                let link = Link::read(payload)?;
                let end = self.ends.get_mut(&nsid)?.iter_mut().find(|end| end.is(&link))?;
                end.lost_by(&link).then(|| end.key.container.clone())
            }
            // Of new routes, only those that have taken another's place are heard.
            (
                Some(nsid),
                libc::RTM_DELLINK | libc::RTM_DELADDR | libc::RTM_DELROUTE | libc::RTM_NEWROUTE,
            ) => Some(self.ends.get(&nsid)?.last()?.key.container.clone()),
            _ => None,
        }
    }

    /// Notes a link of ours and the namespace at its other end, if it bears its mark.
    fn learn(&mut self, link: &Link<'_>, was_up: bool) {
        let Some((key, _)) = link.alias.and_then(mark::read) else { return };
        let host =
            HostEnd { container: key.container.clone(), seen: link.seen, names: link.names() };
        self.hosts.entry(link.index).or_insert(host);
        let index = link.peer;
        // One that was taken over has been up before it was ours; a veth has a carrier while its other end is up.
        let was_up = was_up || link.carrier;
        if let Some(nsid) = link.nsid {
            let ends = self.ends.entry(nsid).or_insert_with(|| Vec::with_capacity(1));
            // The number may be an ended namespace's, given to another container's.
            ends.retain(|end| end.key.container == key.container);
            if !ends.iter().any(|end| end.key == key && end.index == index) {
                ends.retain(|end| end.key != key);
                ends.push(End { key, index, was_up, seen: None });
            }
        }
    }
}

/// What matters here of a link that the kernel tells of.
///
/// Every link that anybody makes on this host is told of several times, with all its attributes: only these
/// are read.
#[derive(Default)]
struct Link<'a> {
    family: u8,
    index: u32,
    up: bool,
    /// It is up, and so is its other end.
    carrier: bool,
    seen: Seen,
    /// Offload settings have changed.
    features: bool,
    name: Option<&'a str>,
    alias: Option<&'a str>,
    /// The index of its other end.
    peer: Option<u32>,
    /// The number of the namespace that its other end is in.
    nsid: Option<i32>,
}

impl<'a> Link<'a> {
    /// Reads a `struct ifinfomsg` and the attributes behind it (linux/rtnetlink.h).
    fn read(payload: &'a [u8]) -> Option<Self> {
        let word = |at: usize| payload.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let flags = word(8)?;
        let mut link = Self {
            family: *payload.first()?,
            index: word(4)?,
            up: flags & libc::IFF_UP.cast_unsigned() != 0,
            carrier: flags & libc::IFF_LOWER_UP.cast_unsigned() != 0,
            ..Self::default()
        };
        let mut in_datapath = false;
        for attribute in NlasIterator::new(payload.get(16..)?).map_while(Result::ok) {
            let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
            // `value()` would not outlive this turn; `struct nlattr` has four bytes.
            let value = attribute.into_inner().get(4..length)?;
            let number = || value.try_into().ok().map(u32::from_ne_bytes);
            match kind {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_IFALIAS => link.alias = text(value),
                libc::IFLA_LINK => link.peer = number(),
                libc::IFLA_MTU => link.seen.mtu = number().unwrap_or_default(),
                libc::IFLA_MASTER => link.seen.master = number().unwrap_or_default(),
                libc::IFLA_ADDRESS => link.seen.mac = value.try_into().unwrap_or_default(),
                libc::IFLA_AF_SPEC => link.seen.address_mode = address_mode(value),
                libc::IFLA_LINKINFO => in_datapath = slave_kind(value) == Some(b"openvswitch\0"),
                libc::IFLA_EVENT => link.features = number() == Some(EVENT_FEATURES),
                libc::IFLA_LINK_NETNSID => link.nsid = number().map(u32::cast_signed),
                _ => {}
            }
        }
        if in_datapath {
            // The kernel's datapath takes each of its ports in this way.
            link.seen.master = 0;
        }
        Some(link)
    }

    /// The same of a link that was asked for.
    fn of(message: &'a LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            ..Self::default()
        };
        let mut in_datapath = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = Some(name),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Link(peer) => link.peer = Some(*peer),
                LinkAttribute::LinkNetNsId(nsid) => link.nsid = Some(*nsid),
                LinkAttribute::Mtu(mtu) => link.seen.mtu = *mtu,
                LinkAttribute::Controller(master) => link.seen.master = *master,
                LinkAttribute::LinkInfo(info) => in_datapath = info.iter().any(of_datapath),
                LinkAttribute::Address(mac) => {
                    link.seen.mac = mac.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::AfSpecUnspec(families) => {
                    link.seen.address_mode = veth::address_mode(families).unwrap_or_default();
                }
                _ => {}
            }
        }
        if in_datapath {
            link.seen.master = 0;
        }
        link
    }

    /// A hash of its names.
    fn names(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.name, self.alias).hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether a link is a port of the kernel's datapath.
fn of_datapath(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::PortKind(kind) if kind.to_string() == "openvswitch")
}

/// An attribute among those of a message, or of an attribute that has some itself.
fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
    let found = attributes.find(|attribute| attribute.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(4..length)
}

/// What a link is to the device that has it as its port, by its attribute `IFLA_LINKINFO`.
fn slave_kind(info: &[u8]) -> Option<&[u8]> {
    find(info, libc::IFLA_INFO_SLAVE_KIND)
}

/// Which link-local IPv6 addresses the kernel gives to a link, by its attribute `IFLA_AF_SPEC`.
fn address_mode(families: &[u8]) -> u8 {
    let inet6 = find(families, libc::AF_INET6.cast_unsigned() as u16);
    let mode = inet6.and_then(|inet6| find(inet6, INET6_ADDR_GEN_MODE));
    mode.and_then(|mode| mode.first().copied()).unwrap_or_default()
}

/// A text of the kernel's, which ends with a zero.
fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

impl HostEnd {
    /// The container that has lost something by news of this link.
    fn lost_by(&mut self, link: &Link<'_>) -> Option<ContainerId> {
        let before = (mem::replace(&mut self.seen, link.seen), self.names);
        self.names = link.names();
        let changed = before != (self.seen, self.names);
        (changed || !link.up).then(|| self.container.clone())
    }
}

impl End {
    /// Whether a link of its namespace is this one.
    fn is(&self, link: &Link<'_>) -> bool {
        Some(link.index) == self.index
    }

    /// Whether news of this link mean that it has gone down or got another name.
    fn lost_by(&mut self, link: &Link<'_>) -> bool {
        let went_down = self.was_up && !link.up;
        let renamed = link.name.is_some_and(|name| name != self.key.interface.as_str());
        // Until it is up it is being made.
        let before = if link.up { self.seen.replace(link.seen) } else { None };
        let changed = self.was_up && (link.features || before.is_some_and(|it| it != link.seen));
        self.was_up = link.up;
        went_down || renamed || changed
    }
}

/// Reads one datagram and the number of the namespace that it is from, which only recvmsg(2) tells.
fn receive(socket: &Socket, datagram: &mut [u8], flags: libc::c_int) -> io::Result<(Heard, usize)> {
    let mut control = Control { bytes: [0; CONTROL] };
    let mut part = libc::iovec { iov_base: datagram.as_mut_ptr().cast(), iov_len: datagram.len() };
    // SAFETY: `msghdr` is plain data, for which all zeroes is a valid value.
    #[allow(unsafe_code)]
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = ptr::from_mut(&mut part);
    header.msg_iovlen = 1;
    header.msg_control = ptr::from_mut(&mut control).cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the header points to live buffers of the lengths that it gives.
    #[allow(unsafe_code)]
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOBUFS) => Ok((Heard::Overrun, 0)),
            _ => Err(error),
        };
    };
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Ok((Heard::Overrun, 0));
    }
    // SAFETY: the kernel has filled in the control buffer and its length; it is aligned for `cmsghdr`.
    #[allow(unsafe_code)]
    let nsid = unsafe { nsid_of(&header) };
    Ok((Heard::Datagram { nsid }, length))
}

/// A control buffer, aligned as its contents are.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; CONTROL],
}

/// The control message of `NETLINK_LISTEN_ALL_NSID`, if there is one.
///
/// # Safety
///
/// The header must be as recvmsg(2) left it, with a control buffer that is still alive.
#[allow(unsafe_code)]
unsafe fn nsid_of(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: by this function's own contract.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    let ours = message.cmsg_level == libc::SOL_NETLINK && message.cmsg_type == LISTEN_ALL_NSID;
    // SAFETY: a message of this type holds an `int`, whose alignment is not promised.
    ours.then(|| unsafe { libc::CMSG_DATA(message).cast::<i32>().read_unaligned() })
}
