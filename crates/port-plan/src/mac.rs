//! Unicast MAC addresses, given by a label or derived so that they stay the same.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::link_name::LinkName;
use crate::vlan::Vlan;

/// A unicast Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

/// Why a text is not a [`MacAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a unicast MAC address, such as 02:00:00:00:00:01")]
pub struct InvalidMac;

/// First byte, bit 0: the address is a group (IEEE 802, I/G bit).
const GROUP: u8 = 0x01;
/// First byte, bit 1: the address is locally administered (IEEE 802, U/L bit).
const LOCAL: u8 = 0x02;

impl MacAddress {
    /// The address of these bytes, if it is a unicast one.
    pub fn from_octets(octets: [u8; 6]) -> Option<Self> {
        (octets[0] & GROUP == 0 && octets != [0; 6]).then_some(Self(octets))
    }

    /// The address's six bytes in transmission order.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The link-local address that the kernel makes of it (RFC 4291, appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        let universal = 0x02 ^ a;
        Ipv6Addr::new(0xfe80, 0, 0, 0, universal << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
    }

    /// The address that an interface gets when no label gives one.
    ///
    /// It depends on the bridge, the VLAN and what makes the interface the same one again: its first IP
    /// address or, without any, the names of container and interface. So it survives restarts and
    /// re-creation of the container, and its peers' ARP entries stay true. It is the first six bytes of
    /// SHA-256 over `BRIDGE VLAN IDENTITY` (VLAN `0` when untagged), marked as locally administered.
    pub fn derive(bridge: &LinkName, vlan: Option<Vlan>, identity: &dyn fmt::Display) -> Self {
        let tag = vlan.map_or(0, Vlan::get);
        let digest = Sha256::digest(format!("{bridge} {tag} {identity}"));
        let mut octets = [0; 6];
        for (octet, byte) in octets.iter_mut().zip(digest) {
            *octet = byte;
        }
        octets[0] = (octets[0] & !GROUP) | LOCAL;
        Self(octets)
    }
}

/// What MAC addresses begin with: one to six bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacPrefix(Vec<u8>);

/// Why a text is not a [`MacPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not one to six bytes that MAC addresses begin with, such as 02:00:00")]
pub struct InvalidMacPrefix;

impl MacPrefix {
    /// Whether an address begins with it.
    pub fn contains(&self, mac: MacAddress) -> bool {
        mac.0.starts_with(&self.0)
    }
}

impl FromStr for MacPrefix {
    type Err = InvalidMacPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
        let bytes = bytes.filter(|bytes| bytes.len() <= 6).ok_or(InvalidMacPrefix)?;
        Ok(Self(bytes))
    }
}

/// Two hexadecimal digits. `from_str_radix` alone would take a sign, too.
fn octet(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

impl FromStr for MacAddress {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            *octet = parts.next().and_then(self::octet).ok_or(InvalidMac)?;
        }
        if parts.next().is_some() {
            return Err(InvalidMac);
        }
        Self::from_octets(octets).ok_or(InvalidMac)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
