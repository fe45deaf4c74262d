//! Netlink by hand: the veth pairs and their host ends in one batch, then address and "up" in one batch inside each
//! container, where transmit checksums are switched off before: without, TCP does not pass the userspace datapath.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ethtool::set_tx_checksum;

// linux/rtnetlink.h, linux/netlink.h and linux/if_link.h.
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLM_F_CREATE_EXCL: u16 = 0x400 | 0x200;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const AF_INET6: u16 = 10;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
/// The index that the container's end is made with, so that nobody has to ask for it. The kernel heeds it
/// only if the host's end is given one, too (drivers/net/veth.c).
const INDEX: u32 = 1000;
/// The name of the container's end.
const CONTAINER_END: &str = "eth1";

/// A pair to be made.
pub(crate) struct Link {
    pub(crate) id: String,
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) address: [u8; 4],
    pub(crate) prefix: u8,
}

/// A socket in the host's namespace, kept, and the way back there.
pub(crate) struct Netlink {
    host: Socket,
    home: File,
    /// Of requests, and the index of each pair's end in the host.
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self> {
        // Far from the kernel's own, and from those of another run.
        Ok(Self {
            host: socket()?,
            home: File::open("/proc/thread-self/ns/net")?,
            sequence: fastrand::u32(1 << 20..1 << 30),
        })
    }

    /// Makes pairs: one batch for all in the host, then one inside each container.
    pub(crate) fn make(&mut self, links: &[Link]) -> Result<()> {
        let open = |link: &Link| {
            File::open(format!("/proc/{}/ns/net", link.pid)).context("the container has ended")
        };
        let namespaces = links.iter().map(open).collect::<Result<Vec<_>>>()?;
        let mut bytes = Vec::with_capacity(256 * links.len());
        for (link, netns) in links.iter().zip(&namespaces) {
            self.sequence += 1;
            pair(&mut bytes, self.sequence, link, netns.as_raw_fd());
            host_up(&mut bytes, self.sequence);
        }
        exchange(&self.host, &bytes, 2 * links.len())?;
        for (link, netns) in links.iter().zip(&namespaces) {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            let mut bytes = Vec::with_capacity(128);
            address(&mut bytes, link);
            up(&mut bytes);
            let inside = socket()?;
            set_tx_checksum(&inside, &CONTAINER_END.parse()?, false)?;
            exchange(&inside, &bytes, 2)?;
        }
        // Whoever stays in a container's namespace keeps it alive.
        move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }
}

fn socket() -> Result<Socket> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_cap_ack(true)?;
    // Room for the acknowledgements of a thousand.
    socket.set_rx_buf_sz(4 << 20)?;
    Ok(socket)
}

/// Sends, and reads so many acknowledgements.
fn exchange(socket: &Socket, bytes: &[u8], mut outstanding: usize) -> Result<()> {
    socket.send(bytes, 0)?;
    let mut buffer = Vec::with_capacity(8192);
    while outstanding > 0 {
        buffer.clear();
        let length = socket.recv(&mut buffer, 0)?;
        let code = buffer.get(16..20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
        ensure!(length >= 20 && code == Some(0), "the kernel refuses: {code:?}");
        outstanding -= 1;
    }
    Ok(())
}

fn pair(bytes: &mut Vec<u8>, sequence: u32, link: &Link, netns: i32) {
    message(bytes, RTM_NEWLINK, NLM_F_CREATE_EXCL, sequence, |bytes| {
        interface(bytes, sequence, false);
        attribute(bytes, IFLA_IFNAME, |bytes| text(bytes, &link.name));
        one_queue(bytes);
        attribute(bytes, IFLA_LINKINFO, |bytes| {
            attribute(bytes, IFLA_INFO_KIND, |bytes| bytes.extend(b"veth"));
            attribute(bytes, IFLA_INFO_DATA, |bytes| {
                attribute(bytes, VETH_INFO_PEER, |bytes| {
                    interface(bytes, INDEX, false);
                    attribute(bytes, IFLA_IFNAME, |bytes| text(bytes, CONTAINER_END));
                    one_queue(bytes);
                    attribute(bytes, IFLA_ADDRESS, |bytes| {
                        bytes.extend([0x02, 0]);
                        bytes.extend(link.address);
                    });
                    attribute(bytes, IFLA_NET_NS_FD, |bytes| bytes.extend(netns.to_ne_bytes()));
                });
            });
        });
    });
}

fn address(bytes: &mut Vec<u8>, link: &Link) {
    message(bytes, RTM_NEWADDR, NLM_F_CREATE_EXCL, 1, |bytes| {
        // struct ifaddrmsg: family (AF_INET), prefix, flags, scope, index.
        bytes.extend([2, link.prefix, 0, 0]);
        bytes.extend(INDEX.to_ne_bytes());
        // IFA_LOCAL and IFA_ADDRESS.
        attribute(bytes, 2, |bytes| bytes.extend(link.address));
        attribute(bytes, 1, |bytes| bytes.extend(link.address));
    });
}

fn one_queue(bytes: &mut Vec<u8>) {
    attribute(bytes, IFLA_NUM_TX_QUEUES, |bytes| bytes.extend(1_u32.to_ne_bytes()));
    attribute(bytes, IFLA_NUM_RX_QUEUES, |bytes| bytes.extend(1_u32.to_ne_bytes()));
}

/// Takes the host's end up, without a link-local address of its own.
fn host_up(bytes: &mut Vec<u8>, index: u32) {
    message(bytes, RTM_NEWLINK, 0, 0, |bytes| {
        interface(bytes, index, true);
        attribute(bytes, IFLA_AF_SPEC, |bytes| {
            attribute(bytes, AF_INET6, |bytes| {
                attribute(bytes, IFLA_INET6_ADDR_GEN_MODE, |bytes| bytes.push(1));
            });
        });
    });
}

fn up(bytes: &mut Vec<u8>) {
    message(bytes, RTM_NEWLINK, 0, 2, |bytes| interface(bytes, INDEX, true));
}

/// `struct ifinfomsg`.
fn interface(bytes: &mut Vec<u8>, index: u32, up: bool) {
    let flag = if up { IFF_UP } else { 0 };
    for word in [0, index, flag, flag] {
        bytes.extend(word.to_ne_bytes());
    }
}

fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST_ACK).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    body(bytes);
    let length = u32::try_from(bytes.len() - start).unwrap_or_default();
    fill(bytes, start, &length.to_ne_bytes());
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend(kind.to_ne_bytes());
    body(bytes);
    let length = u16::try_from(bytes.len() - start).unwrap_or_default();
    fill(bytes, start, &length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn fill(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(with) {
        *place = *byte;
    }
}
