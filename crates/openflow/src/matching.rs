//! Which packets a flow is for.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::read::Reader;

/// `OFPXMC_OPENFLOW_BASIC`, the class of the specification's own fields (7.2.3.3).
const BASIC: u16 = 0x8000;
/// `OFPXMC_NXM_1`, the class of Open vSwitch's fields (ovs-fields(7)).
const NICIRA: u16 = 0x0001;
/// The field `in_port` (7.2.3.7).
const IN_PORT: u8 = 0;

/// The fields that a packet must have (7.2.3). An empty one fits all.
///
/// Fields must be given after those that they presuppose: the type of the frame before what is inside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match(Vec<u8>);

impl Match {
    /// Fits all packets.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the port of this number.
    #[must_use]
    pub fn in_port(self, number: u32) -> Self {
        self.basic(IN_PORT, &number.to_be_bytes())
    }

    /// Ethernet source.
    #[must_use]
    pub fn eth_src(self, mac: [u8; 6]) -> Self {
        self.basic(4, &mac)
    }

    /// Ethernet type, behind VLAN tags.
    #[must_use]
    pub fn eth_type(self, kind: u16) -> Self {
        self.basic(5, &kind.to_be_bytes())
    }

    /// The protocol inside IPv4 or IPv6.
    #[must_use]
    pub fn ip_proto(self, protocol: u8) -> Self {
        self.basic(10, &[protocol])
    }

    /// IPv4 source.
    #[must_use]
    pub fn ipv4_src(self, address: Ipv4Addr) -> Self {
        self.basic(11, &address.octets())
    }

    /// IPv4 destination.
    #[must_use]
    pub fn ipv4_dst(self, address: Ipv4Addr) -> Self {
        self.basic(12, &address.octets())
    }

    /// UDP source port.
    #[must_use]
    pub fn udp_src(self, port: u16) -> Self {
        self.basic(15, &port.to_be_bytes())
    }

    /// `ICMPv4` type.
    #[must_use]
    pub fn icmpv4_type(self, kind: u8) -> Self {
        self.basic(19, &[kind])
    }

    /// ARP operation.
    #[must_use]
    pub fn arp_op(self, operation: u16) -> Self {
        self.basic(21, &operation.to_be_bytes())
    }

    /// The IPv4 address of an ARP message's sender.
    #[must_use]
    pub fn arp_spa(self, address: Ipv4Addr) -> Self {
        self.basic(22, &address.octets())
    }

    /// The IPv4 address that an ARP message asks for.
    #[must_use]
    pub fn arp_tpa(self, address: Ipv4Addr) -> Self {
        self.basic(23, &address.octets())
    }

    /// The MAC address of an ARP message's sender.
    #[must_use]
    pub fn arp_sha(self, mac: [u8; 6]) -> Self {
        self.basic(24, &mac)
    }

    /// IPv6 source.
    #[must_use]
    pub fn ipv6_src(self, address: Ipv6Addr) -> Self {
        self.basic(26, &address.octets())
    }

    /// IPv6 destinations with this prefix of so many bits.
    #[must_use]
    pub fn ipv6_dst(self, address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
        let value = (address.to_bits() & mask).to_be_bytes();
        self.field(BASIC, 27, &value, Some(&mask.to_be_bytes()))
    }

    /// `ICMPv6` type.
    #[must_use]
    pub fn icmpv6_type(self, kind: u8) -> Self {
        self.basic(29, &[kind])
    }

    /// The target of a neighbour solicitation or advertisement.
    #[must_use]
    pub fn nd_target(self, address: Ipv6Addr) -> Self {
        self.basic(31, &address.octets())
    }

    /// Fragments of IP packets, the first ones included (`ip_frag=yes`, ovs-fields(7)).
    #[must_use]
    pub fn fragment(self) -> Self {
        self.field(NICIRA, 26, &[1], Some(&[1]))
    }

    /// A register that holds this value (`regN`, ovs-fields(7)).
    #[must_use]
    pub fn register(mut self, register: u8, value: u32) -> Self {
        self.0.extend(register_field(register, value));
        self
    }

    fn basic(self, number: u8, value: &[u8]) -> Self {
        self.field(BASIC, number, value, None)
    }

    fn field(mut self, class: u16, number: u8, value: &[u8], mask: Option<&[u8]>) -> Self {
        let masked = mask.unwrap_or_default();
        self.0.extend(class.to_be_bytes());
        self.0.extend([number << 1 | u8::from(mask.is_some()), (value.len() + masked.len()) as u8]);
        self.0.extend(value);
        self.0.extend(masked);
        self
    }

    /// `struct ofp_match` of type `OFPMT_OXM`, padded to a multiple of 8.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = 4 + self.0.len();
        let mut bytes = [1_u16.to_be_bytes(), (length as u16).to_be_bytes()].concat();
        bytes.extend(&self.0);
        bytes.resize(length.next_multiple_of(8), 0);
        bytes
    }
}

/// The field of a register with its value, as matches and actions have it.
pub(crate) fn register_field(register: u8, value: u32) -> Vec<u8> {
    let mut field = NICIRA.to_be_bytes().to_vec();
    field.extend([register << 1, 4]);
    field.extend(value.to_be_bytes());
    field
}

/// The fields of a match, sorted: a switch shows them in an order of its own.
pub(crate) struct Fields<'a> {
    pub(crate) sorted: Vec<&'a [u8]>,
    /// The port that they name.
    pub(crate) in_port: Option<u32>,
}

/// Reads a `struct ofp_match` with its padding.
pub(crate) fn read<'a>(from: &mut Reader<'a>) -> Option<Fields<'a>> {
    /// `struct ofp_match` up to its fields.
    const HEADER: usize = 4;
    let mut head = *from;
    let (_kind, length) = (head.u16()?, usize::from(head.u16()?));
    let bytes = from.take(length.max(HEADER))?;
    from.skip(length.next_multiple_of(8).saturating_sub(length))?;
    let mut fields = Fields { sorted: Vec::new(), in_port: None };
    let mut rest = Reader::new(bytes.get(HEADER..)?);
    while !rest.is_empty() {
        let mut field = rest;
        let (class, number, length) = (field.u16()?, field.u8()?, field.u8()?);
        if (class, number) == (BASIC, IN_PORT << 1) {
            fields.in_port = Some(field.u32()?);
        }
        fields.sorted.push(rest.take(HEADER + usize::from(length))?);
    }
    fields.sorted.sort_unstable();
    Some(fields)
}
