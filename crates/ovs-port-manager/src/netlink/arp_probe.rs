//! Asking whether another host has an IPv4 address (RFC 5227).
//!
//! The medium is a bridge in this host and the links that lead out of it: what answers at all answers within a few
//! milliseconds. The RFC's times, up to nine seconds in all, are made for whatever an Ethernet may hide.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

use port_plan::MacAddress;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::filter;

/// How often is asked, as the RFC has it (`PROBE_NUM`): one may be lost while ovs-vswitchd works on its configuration.
const PROBES: usize = 3;
/// From one to the next, and from the last to the end: how long an answer may take. The RFC has 1 to 2 s
/// (`PROBE_MIN`, `PROBE_MAX`, `ANNOUNCE_WAIT`).
const PAUSE: Duration = Duration::from_millis(8);

/// `ETH_P_ARP` (`linux/if_ether.h`).
const ARP: u16 = 0x0806;
/// Ethernet (1), IPv4, lengths of their addresses, operation request (1): RFC 826.
const REQUEST: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
/// The length of such a message.
const LENGTH: usize = 28;
/// No sender: an ARP probe has none, so that nobody's neighbour table changes by it.
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// How many messages are read at a time. The filter lets claims alone pass, and one is enough.
const HEARD: usize = 64;

/// Another host uses an address, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) address: Ipv4Addr,
    /// The host's MAC address by its own account, which need not be a proper one.
    pub(super) mac: [u8; 6],
}

/// Asks for some addresses, and hears who has them.
pub(super) struct ArpProbe {
    socket: OwnedFd,
    index: u32,
    mac: MacAddress,
    addresses: Vec<Ipv4Addr>,
    siblings: Vec<MacAddress>,
    sent: usize,
    next: Instant,
}

impl ArpProbe {
    /// Prepares to ask from an interface of the calling thread's network namespace. What `siblings` say, the same
    /// host's other interfaces, is no other host's claim.
    pub(super) fn new(
        interface: &str,
        mac: MacAddress,
        addresses: Vec<Ipv4Addr>,
        siblings: Vec<MacAddress>,
        now: Instant,
    ) -> io::Result<Self> {
        // Protocol 0: it hears nothing before it is bound, and all that it hears then comes by the filter.
        let kind = SocketType::DGRAM;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, kind, flags, None::<Protocol>)?;
        let index = name_to_index(&socket, interface)?;
        filter::attach_arp(&socket, mac, &addresses)?;
        bind(&socket, &place(index))?;
        Ok(Self { socket, index, mac, addresses, siblings, sent: 0, next: now })
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Has nothing to do until then.
    pub(super) fn rest(&mut self, until: Instant) {
        self.next = until;
    }

    /// Does what is due; returns who has the addresses once that is known.
    pub(super) fn step(&mut self, now: Instant) -> io::Result<Option<Vec<Claim>>> {
        let claims = self.claims()?;
        if !claims.is_empty() {
            return Ok(Some(claims));
        }
        if now < self.next {
            return Ok(None);
        }
        if self.sent == PROBES {
            return Ok(Some(Vec::new()));
        }
        for address in &self.addresses {
            send(&self.socket, self.index, &probe(self.mac, *address))?;
        }
        self.sent += 1;
        self.next = now + PAUSE;
        Ok(None)
    }

    /// What has been heard of others: at most one claim for each address.
    fn claims(&self) -> io::Result<Vec<Claim>> {
        let mut claims: Vec<Claim> = Vec::new();
        let mut message = [0; LENGTH];
        for _ in 0..HEARD {
            match recv(&self.socket, &mut message[..], RecvFlags::empty()) {
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            let is_other = |mac: [u8; 6]| self.siblings.iter().all(|own| own.octets() != mac);
            let claim = claim(&message)
                .filter(|claim| self.addresses.contains(&claim.address) && is_other(claim.mac));
            let known = |claim: &Claim| claims.iter().any(|known| known.address == claim.address);
            claims.extend(claim.filter(|claim| !known(claim)));
        }
        Ok(claims)
    }
}

/// The address that the sender of an ARP message uses, or asks for as we do (RFC 5227, section 2.1.1).
fn claim(message: &[u8; LENGTH]) -> Option<Claim> {
    let part = |at: usize| message.get(at..at + 4)?.try_into().ok().map(<[u8; 4]>::into);
    let (sender, target): (Ipv4Addr, Ipv4Addr) = (part(14)?, part(24)?);
    let mac = message.get(8..14)?.try_into().ok()?;
    Some(Claim { address: if sender == NOBODY { target } else { sender }, mac })
}

fn probe(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    let mut message = Vec::with_capacity(LENGTH);
    message.extend(REQUEST);
    message.extend(mac.octets());
    message.extend(NOBODY.octets());
    message.extend([0; 6]);
    message.extend(address.octets());
    message
}

/// An interface's broadcast address.
fn place(index: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ARP.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff; 8],
    }
}

fn bind(socket: &OwnedFd, place: &libc::sockaddr_ll) -> io::Result<()> {
    let length = size_of_val(place) as libc::socklen_t;
    // SAFETY: the pointer is to a live value of the length given.
    #[allow(unsafe_code)]
    let bound = unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(place).cast(), length) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn send(socket: &OwnedFd, index: u32, message: &[u8]) -> io::Result<()> {
    let to = place(index);
    // SAFETY: both pointers are to live values of the lengths given.
    #[allow(unsafe_code)]
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
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

    fn message(sender: &str, target: &str) -> [u8; LENGTH] {
        let mac: MacAddress = "02:00:00:00:00:07".parse().unwrap();
        let mut message: [u8; LENGTH] = probe(mac, target.parse().unwrap()).try_into().unwrap();
        let sender: Ipv4Addr = sender.parse().unwrap();
        message[14..18].copy_from_slice(&sender.octets());
        message
    }

    #[test]
    fn who_uses_an_address_and_who_probes_for_it_claims_it() {
        let claims = |sender, target| claim(&message(sender, target)).unwrap().address.to_string();
        assert_eq!(
            claims("10.0.0.5", "10.0.0.9"),
            "10.0.0.5",
            "of all messages, the sender counts"
        );
        assert_eq!(claims("0.0.0.0", "10.0.0.9"), "10.0.0.9", "another probe");
    }
}
