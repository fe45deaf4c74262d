//! Telling the neighbours where an address is now: gratuitous ARP and unsolicited neighbour advertisement.
//!
//! Without it, peers that have an older MAC address for the same IP address send into the void until
//! their entry expires, and the switch learns the port only from the container's first own packet.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use ipnet::IpNet;
use port_plan::{LinkName, MacAddress};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IPv6 next header: `ICMPv6` (RFC 4443).
const ICMPV6: u8 = 58;
/// All nodes of the link, `ff02::1` (RFC 4291, section 2.7.1), and its MAC address (RFC 2464, section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const BROADCAST_MAC: [u8; 6] = [0xff; 6];

/// Announces the addresses from an interface of the calling thread's namespace.
pub(super) fn announce(name: &LinkName, mac: MacAddress, addresses: &[IpNet]) -> io::Result<()> {
    // Protocol 0: the socket sends and never receives.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let index = name_to_index(&socket, name.as_str())?;
    for address in addresses {
        let frame = match address.addr() {
            IpAddr::V4(v4) => gratuitous_arp(mac, v4),
            IpAddr::V6(v6) => neighbour_advertisement(mac, v6),
        };
        send(&socket, index, &frame)?;
    }
    Ok(())
}

/// An ARP request for the address that it comes from (RFC 5227, section 3: an ARP announcement).
fn gratuitous_arp(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    let mac = mac.octets();
    let mut frame = ethernet(BROADCAST_MAC, mac, ETHERTYPE_ARP);
    // Ethernet (1), IPv4, lengths of their addresses, operation request (1).
    frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes, overriding what they know (RFC 4861, 4.4 and 7.2.6).
fn neighbour_advertisement(mac: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    /// RFC 4861, section 7.1.2: receivers drop what has crossed a router.
    const HOP_LIMIT: u8 = 255;

    let mac = mac.octets();
    let message = |checksum: u16| {
        let mut message = vec![ADVERTISEMENT, 0];
        message.extend(checksum.to_be_bytes());
        message.extend([OVERRIDE, 0, 0, 0]);
        message.extend(address.octets());
        // One option of one unit of eight bytes.
        message.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
        message.extend(mac);
        message
    };
    let checksum = icmpv6_checksum(address, ALL_NODES, &message(0));
    let message = message(checksum);

    let mut frame = ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    // Version 6, no traffic class, no flow label; payload length; next header; hop limit (RFC 8200).
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind.to_be_bytes());
    frame
}

/// The Internet checksum over pseudo-header and message (RFC 4443, section 2.3).
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        bytes.chunks(2).map(word).sum()
    };
    let length = message.len() as u32;
    let sum =
        words(&from.octets()) + words(&to.octets()) + length + u32::from(ICMPV6) + words(message);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

fn send(socket: &OwnedFd, index: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data, for which all zeroes is a valid value.
    #[allow(unsafe_code)]
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index.cast_signed();
    // SAFETY: both pointers are to live values of the lengths given.
    #[allow(unsafe_code)]
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            ptr::from_ref(&to).cast(),
            size_of_val(&to) as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_checks_out_to_its_receiver() {
        let address = "fd00::5".parse().unwrap();
        let frame = neighbour_advertisement("02:00:00:00:00:05".parse().unwrap(), address);
        assert_eq!(frame.len(), 86);
        // A message with its own checksum in it sums up to nothing.
        assert_eq!(icmpv6_checksum(address, ALL_NODES, &frame[54..]), 0);
    }

    #[test]
    fn an_arp_announcement_asks_for_its_own_address() {
        let frame =
            gratuitous_arp("02:00:00:00:00:05".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[28..32], frame[38..42]);
        assert_eq!(frame[..6], BROADCAST_MAC);
    }
}
