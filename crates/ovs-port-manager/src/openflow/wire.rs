//! OpenFlow 1.3 messages: the few that are sent and read, to and from bytes.
//!
//! Section numbers are those of the OpenFlow Switch Specification 1.3.5. Extensions of Open vSwitch (registers,
//! resubmit) are told in ovs-fields(7) and ovs-actions(7).

use std::net::{Ipv4Addr, Ipv6Addr};

use port_plan::{Frames, MacAddress};

/// The version in every header.
const VERSION: u8 = 4;
/// `struct ofp_header`: version, type, length, transaction.
pub(super) const HEADER: usize = 8;

/// Types of messages (7.1).
pub(super) mod kind {
    pub(in super::super) const HELLO: u8 = 0;
    pub(in super::super) const ERROR: u8 = 1;
    pub(in super::super) const ECHO_REQUEST: u8 = 2;
    pub(in super::super) const ECHO_REPLY: u8 = 3;
    pub(in super::super) const FLOW_MOD: u8 = 14;
    pub(in super::super) const MULTIPART_REQUEST: u8 = 18;
    pub(in super::super) const MULTIPART_REPLY: u8 = 19;
    pub(in super::super) const BARRIER_REQUEST: u8 = 20;
    pub(in super::super) const BARRIER_REPLY: u8 = 21;
    pub(in super::super) const METER_MOD: u8 = 29;
}

/// What every flow of ours bears: "ovs-port" in ASCII.
pub(super) const COOKIE: u64 = 0x6f76_732d_706f_7274;
/// The table of the rules.
const GUARD_TABLE: u8 = 200;
/// The priority, in the first table, of the flow that leads there: before anybody else's.
const ENTRANCE: u16 = 65535;
/// Every table, port and group (7.3.4).
const ALL_TABLES: u8 = 0xff;
const ANY: u32 = 0xffff_ffff;
/// No buffered packet (7.3.4).
const NO_BUFFER: u32 = 0xffff_ffff;

/// A whole message.
pub(super) fn message(kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u16;
    let mut bytes = vec![VERSION, kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// `OFPFC_ADD`, `OFPFC_DELETE` (7.3.4).
#[derive(Clone, Copy)]
enum Command {
    Add = 0,
    Delete = 3,
}

/// The flow that leads frames from a port to the rules, once: marked ones have been there.
pub(super) fn entrance(port: u32, meter: Option<u32>) -> Vec<u8> {
    let mut fields = Fields::of(port);
    fields.mark();
    let mut instructions = Vec::new();
    if let Some(meter) = meter {
        // OFPIT_METER (7.2.4).
        instructions.extend(instruction(6, &meter.to_be_bytes()));
    }
    // OFPIT_GOTO_TABLE.
    instructions.extend(instruction(1, &[GUARD_TABLE, 0, 0, 0]));
    flow_mod(Command::Add, 0, ENTRANCE, &fields, &instructions)
}

/// A rule for frames from a port.
pub(super) fn guard(port: u32, priority: u16, frames: Frames, pass: bool) -> Vec<u8> {
    let mut fields = Fields::of(port);
    fields.frames(frames);
    let instructions = if pass { back_to_the_first_table() } else { Vec::new() };
    flow_mod(Command::Add, GUARD_TABLE, priority, &fields, &instructions)
}

/// Deletes all flows of ours for a port.
pub(super) fn delete(port: u32) -> Vec<u8> {
    flow_mod(Command::Delete, ALL_TABLES, 0, &Fields::of(port), &[])
}

fn flow_mod(
    command: Command,
    table: u8,
    priority: u16,
    fields: &Fields,
    instructions: &[u8],
) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend(COOKIE.to_be_bytes());
    // Looked at when flows are deleted: those of everybody else stay.
    body.extend(u64::MAX.to_be_bytes());
    body.extend([table, command as u8]);
    // No timeouts.
    body.extend([0; 4]);
    body.extend(priority.to_be_bytes());
    body.extend(NO_BUFFER.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    // No flags, padding.
    body.extend([0; 4]);
    body.extend(fields.matching());
    body.extend(instructions);
    body
}

/// Marks the frame and has the first table look at it again.
fn back_to_the_first_table() -> Vec<u8> {
    // OFPAT_SET_FIELD (7.2.5), padded to a multiple of 8.
    let mut field = mark(1);
    let length = (4 + field.len()).next_multiple_of(8);
    field.resize(length - 4, 0);
    let mut actions = [25_u16.to_be_bytes(), (length as u16).to_be_bytes()].concat();
    actions.extend(field);
    // OFPAT_EXPERIMENTER with NXAST_RESUBMIT_TABLE: vendor, subtype, port (as it came), table 0, padding.
    actions.extend(0xffff_u16.to_be_bytes());
    actions.extend(16_u16.to_be_bytes());
    actions.extend(0x0000_2320_u32.to_be_bytes());
    actions.extend(14_u16.to_be_bytes());
    actions.extend(0xfff8_u16.to_be_bytes());
    actions.extend([0; 4]);
    // OFPIT_APPLY_ACTIONS, whose body begins with padding.
    instruction(4, &[&[0; 4], actions.as_slice()].concat())
}

fn instruction(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len()) as u16;
    [&kind.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

/// The register 15, an OXM field of Nicira's class (ovs-fields(7)).
fn mark(value: u32) -> Vec<u8> {
    let mut field = vec![0, 1, 15 << 1, 4];
    field.extend(value.to_be_bytes());
    field
}

/// The fields of a match (7.2.3).
struct Fields(Vec<u8>);

impl Fields {
    fn of(port: u32) -> Self {
        let mut fields = Self(Vec::with_capacity(64));
        fields.basic(0, &port.to_be_bytes());
        fields
    }

    /// A frame that has not been marked yet.
    fn mark(&mut self) {
        self.0.extend(mark(0));
    }

    fn frames(&mut self, frames: Frames) {
        match frames {
            Frames::Any => {}
            Frames::From(mac) => self.source(mac),
            Frames::Arp(mac, v4) => {
                self.source(mac);
                self.ethertype(0x0806);
                self.basic(22, &v4.octets());
                self.basic(24, &mac.octets());
            }
            Frames::Ipv4(mac, v4) => {
                self.source(mac);
                self.ethertype(0x0800);
                self.ipv4_source(v4);
            }
            Frames::Ipv6(mac, v6) => {
                self.source(mac);
                self.ethertype(0x86dd);
                self.ipv6_source(v6);
            }
            Frames::Advertisements(mac) => self.advertisements(mac),
            Frames::Advertisement(mac, target) => {
                self.advertisements(mac);
                self.ipv6_source(target);
                self.basic(31, &target.octets());
            }
        }
    }

    fn source(&mut self, mac: MacAddress) {
        self.basic(4, &mac.octets());
    }

    fn ethertype(&mut self, kind: u16) {
        self.basic(5, &kind.to_be_bytes());
    }

    fn ipv4_source(&mut self, address: Ipv4Addr) {
        self.basic(11, &address.octets());
    }

    fn ipv6_source(&mut self, address: Ipv6Addr) {
        self.basic(26, &address.octets());
    }

    fn advertisements(&mut self, mac: MacAddress) {
        self.source(mac);
        self.ethertype(0x86dd);
        // IPv6 next header ICMPv6, its type.
        self.basic(10, &[58]);
        self.basic(29, &[136]);
    }

    /// A field of the class `OFPXMC_OPENFLOW_BASIC` by its number (7.2.3.7).
    fn basic(&mut self, number: u8, value: &[u8]) {
        self.0.extend([0x80, 0x00, number << 1, value.len() as u8]);
        self.0.extend(value);
    }

    /// `struct ofp_match` of type `OFPMT_OXM`, padded to a multiple of 8.
    fn matching(&self) -> Vec<u8> {
        let length = 4 + self.0.len();
        let mut bytes = [1_u16.to_be_bytes(), (length as u16).to_be_bytes()].concat();
        bytes.extend(&self.0);
        bytes.resize(length.next_multiple_of(8), 0);
        bytes
    }
}

/// `OFPMC_ADD` and its like (7.3.5.5).
#[derive(Clone, Copy)]
pub(super) enum MeterCommand {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

/// Makes, changes or deletes a meter that drops what is more than so many kilobits in a second.
pub(super) fn meter(command: MeterCommand, meter: u32, rate: u32, burst: u32) -> Vec<u8> {
    let mut body = (command as u16).to_be_bytes().to_vec();
    // OFPMF_KBPS and OFPMF_BURST.
    body.extend(0b101_u16.to_be_bytes());
    body.extend(meter.to_be_bytes());
    if !matches!(command, MeterCommand::Delete) {
        // One band, OFPMBT_DROP, with padding.
        body.extend(1_u16.to_be_bytes());
        body.extend(16_u16.to_be_bytes());
        body.extend(rate.to_be_bytes());
        body.extend(burst.to_be_bytes());
        body.extend([0; 4]);
    }
    body
}

/// Asks for all flows of ours in the first table (7.3.5.2).
pub(super) fn flow_stats_request() -> Vec<u8> {
    // OFPMP_FLOW, no flags, padding; then table, padding, any port and group, padding.
    let mut body = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend([0; 4]);
    body.extend(COOKIE.to_be_bytes());
    body.extend(u64::MAX.to_be_bytes());
    body.extend(Fields(Vec::new()).matching());
    body
}

/// The ports of the flows in an answer to that, and whether another part of the answer follows.
pub(super) fn flow_stats(body: &[u8]) -> Option<(Vec<u32>, bool)> {
    /// `struct ofp_flow_stats` up to its match.
    const FIXED: usize = 48;
    let word =
        |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let more = word(body, 2)? & 1 != 0;
    let mut flows = body.get(8..)?;
    let mut ports = Vec::new();
    while !flows.is_empty() {
        let length = usize::from(word(flows, 0)?);
        let flow = flows.get(..length)?;
        // The match begins with its type and length; the port is the first of its fields.
        let field = flow.get(FIXED + 4..FIXED + 12)?;
        if let [0x80, 0x00, 0, 4, port @ ..] = field {
            ports.push(u32::from_be_bytes(port.try_into().ok()?));
        }
        flows = flows.get(length..).filter(|_| length > 0)?;
    }
    Some((ports, more))
}
