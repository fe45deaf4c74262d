//! Flows as they are sent, and as the switch shows them.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::matching::{self, Fields, Match, register_field};
use crate::message::{Message, kind, multipart};
use crate::read::Reader;

/// Every table, port and group (7.3.4).
const ALL_TABLES: u8 = 0xff;
const ANY: u32 = 0xffff_ffff;
/// No buffered packet (7.3.4).
const NO_BUFFER: u32 = 0xffff_ffff;

/// A flow: what is done to the packets that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The table that it is in.
    pub table: u8,
    /// Of the flows that fit a packet, the one of the highest priority holds.
    pub priority: u16,
    /// Who has made it.
    pub cookie: u64,
    /// The packets that it is for.
    pub matching: Match,
    /// What is done to them; without any, they are dropped.
    pub instructions: Vec<Instruction>,
}

impl Flow {
    /// The [fingerprint](FlowEntry::fingerprint) of what the switch shows of this flow, if it writes it as it was sent.
    pub fn fingerprint(&self) -> u64 {
        let matching = self.matching.bytes();
        let instructions: Vec<u8> = self.instructions.iter().flat_map(Instruction::bytes).collect();
        let fields = matching::read(&mut Reader::new(&matching));
        let sorted = fields.map(|fields| fields.sorted).unwrap_or_default();
        let cookie = self.cookie.to_be_bytes();
        fingerprint((self.table, self.priority), &[0; 6], &cookie, &sorted, &instructions)
    }
}

/// What a flow does (7.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Drops what is more than this meter lets pass.
    Meter(u32),
    /// Goes on in this table.
    GotoTable(u8),
    /// Does this at once, in this order.
    Apply(Vec<Action>),
}

/// What is done to a packet (7.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sets a register (ovs-actions(7), `set_field`).
    SetRegister(u8, u32),
    /// Has a table look at it as it came (ovs-actions(7), `resubmit`).
    Resubmit(u8),
}

/// A change of a bridge's flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowChange {
    /// This flow is to be there, in the place of one with the same table, priority and match.
    Add(Flow),
    /// Flows of this cookie from this port go, in all tables.
    Delete {
        /// Their cookie.
        cookie: u64,
        /// The port's number.
        in_port: u32,
    },
}

/// A flow that the switch has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEntry {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// The port that its match names.
    pub in_port: Option<u32>,
    /// The meter that it uses.
    pub meter: Option<u32>,
    /// A hash of all that it does, to and for whom: two with the same are alike. Counters are no part of it.
    pub fingerprint: u64,
}

impl FlowChange {
    pub(crate) fn message(&self) -> Message {
        match self {
            Self::Add(flow) => {
                let Flow { table, priority, cookie, matching, instructions } = flow;
                let instructions = instructions.iter().flat_map(Instruction::bytes).collect();
                let command = (*table, Command::Add, *priority);
                flow_mod(*cookie, command, matching, instructions)
            }
            Self::Delete { cookie, in_port } => {
                let matching = Match::new().in_port(*in_port);
                flow_mod(*cookie, (ALL_TABLES, Command::Delete, 0), &matching, Vec::new())
            }
        }
    }
}

/// `OFPFC_ADD`, `OFPFC_DELETE` (7.3.4).
#[derive(Clone, Copy)]
enum Command {
    Add = 0,
    Delete = 3,
}

fn flow_mod(
    cookie: u64,
    (table, command, priority): (u8, Command, u16),
    matching: &Match,
    instructions: Vec<u8>,
) -> Message {
    let mut body = Vec::with_capacity(160);
    body.extend(cookie.to_be_bytes());
    // Looked at when flows are deleted: those of everybody else stay.
    body.extend(u64::MAX.to_be_bytes());
    body.extend([table, command as u8]);
    // No time-outs.
    body.extend([0; 4]);
    body.extend(priority.to_be_bytes());
    body.extend(NO_BUFFER.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    // No flags, padding.
    body.extend([0; 4]);
    body.extend(matching.bytes());
    body.extend(instructions);
    Message::new(kind::FLOW_MOD, body)
}

/// `OFPIT_GOTO_TABLE`, `OFPIT_APPLY_ACTIONS`, `OFPIT_METER` (7.2.4).
const GOTO_TABLE: u16 = 1;
const APPLY_ACTIONS: u16 = 4;
const METER: u16 = 6;

impl Instruction {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Meter(meter) => instruction(METER, &meter.to_be_bytes()),
            Self::GotoTable(table) => instruction(GOTO_TABLE, &[*table, 0, 0, 0]),
            Self::Apply(actions) => {
                // The body begins with padding.
                let actions = actions.iter().flat_map(Action::bytes);
                let body: Vec<u8> = [0; 4].into_iter().chain(actions).collect();
                instruction(APPLY_ACTIONS, &body)
            }
        }
    }
}

fn instruction(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len()) as u16;
    [&kind.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

impl Action {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::SetRegister(register, value) => {
                // OFPAT_SET_FIELD, padded to a multiple of 8.
                let field = register_field(*register, *value);
                let length = (4 + field.len()).next_multiple_of(8);
                let mut bytes = [25_u16.to_be_bytes(), (length as u16).to_be_bytes()].concat();
                bytes.extend(field);
                bytes.resize(length, 0);
                bytes
            }
            Self::Resubmit(table) => {
                // OFPAT_EXPERIMENTER with NXAST_RESUBMIT_TABLE: vendor, subtype, port (as it came), table, padding.
                let mut bytes = [0xffff_u16.to_be_bytes(), 16_u16.to_be_bytes()].concat();
                bytes.extend(0x0000_2320_u32.to_be_bytes());
                bytes.extend(14_u16.to_be_bytes());
                bytes.extend(0xfff8_u16.to_be_bytes());
                bytes.extend([*table, 0, 0, 0]);
                bytes
            }
        }
    }
}

/// Asks for all flows of a cookie.
pub(crate) fn list_request(cookie: u64) -> Message {
    Message::multipart(multipart::FLOW, &stats_request(ALL_TABLES, cookie, u64::MAX))
}

/// Asks how many flows there are of a cookie.
pub(crate) fn count_request(cookie: u64) -> Message {
    Message::multipart(multipart::AGGREGATE, &stats_request(ALL_TABLES, cookie, u64::MAX))
}

/// Asks how many flows there are in a table whose cookies have these values in these bits.
pub(crate) fn count_in_table_request(table: u8, cookie: u64, mask: u64) -> Message {
    Message::multipart(multipart::AGGREGATE, &stats_request(table, cookie, mask))
}

/// `struct ofp_flow_stats_request`, and that for aggregates, which is the same (7.3.5.2, 7.3.5.3).
fn stats_request(table: u8, cookie: u64, mask: u64) -> Vec<u8> {
    let mut body = vec![table, 0, 0, 0];
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend([0; 4]);
    body.extend(cookie.to_be_bytes());
    body.extend(mask.to_be_bytes());
    body.extend(Match::new().bytes());
    body
}

/// Reads the flows of one part of an answer.
pub(crate) fn read_list(body: &[u8]) -> Option<Vec<FlowEntry>> {
    let mut rest = Reader::new(body);
    let mut flows = Vec::new();
    while !rest.is_empty() {
        let mut head = rest;
        let flow = rest.take(usize::from(head.u16()?).max(2))?;
        flows.push(read_entry(flow)?);
    }
    Some(flows)
}

/// `struct ofp_flow_stats` (7.3.5.2).
fn read_entry(flow: &[u8]) -> Option<FlowEntry> {
    let mut flow = Reader::new(flow);
    flow.skip(2)?;
    let table = flow.u8()?;
    // Padding, seconds and nanoseconds.
    flow.skip(1 + 8)?;
    let priority = flow.u16()?;
    let timeouts_and_flags = flow.take(6)?;
    flow.skip(4)?;
    let cookie = flow.take(8)?;
    // Packets and bytes.
    flow.skip(16)?;
    let Fields { sorted, in_port } = matching::read(&mut flow)?;
    let instructions = flow.rest();
    let meter = read_meter(instructions)?;
    let fingerprint =
        fingerprint((table, priority), timeouts_and_flags, cookie, &sorted, instructions);
    Some(FlowEntry { table, priority, in_port, meter, fingerprint })
}

fn fingerprint(
    place: (u8, u16),
    timeouts_and_flags: &[u8],
    cookie: &[u8],
    fields: &[&[u8]],
    instructions: &[u8],
) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place, timeouts_and_flags, cookie, fields, instructions).hash(&mut hasher);
    hasher.finish()
}

fn read_meter(instructions: &[u8]) -> Option<Option<u32>> {
    let mut rest = Reader::new(instructions);
    let mut meter = None;
    while !rest.is_empty() {
        let mut head = rest;
        let (kind, length) = (head.u16()?, usize::from(head.u16()?));
        let mut body = Reader::new(rest.take(length.max(4))?);
        body.skip(4)?;
        if kind == METER {
            meter = Some(body.u32()?);
        }
    }
    Some(meter)
}

/// Reads how many flows there are.
pub(crate) fn read_count(body: &[u8]) -> Option<u32> {
    let mut body = Reader::new(body);
    body.skip(16)?;
    body.u32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the switch would show of a flow that was just added.
    fn shown(flow: &Flow) -> Vec<u8> {
        let mut bytes = vec![0, 0, flow.table, 0];
        bytes.extend([0; 8]);
        bytes.extend(flow.priority.to_be_bytes());
        bytes.extend([0; 10]);
        bytes.extend(flow.cookie.to_be_bytes());
        bytes.extend([0; 16]);
        bytes.extend(flow.matching.bytes());
        bytes.extend(flow.instructions.iter().flat_map(Instruction::bytes));
        let length = (bytes.len() as u16).to_be_bytes();
        bytes[..2].copy_from_slice(&length);
        bytes
    }

    fn flow(in_port: u32, meter: Option<u32>) -> Flow {
        let actions = vec![Action::SetRegister(15, 1), Action::Resubmit(0)];
        let meter = meter.map(Instruction::Meter);
        Flow {
            table: 200,
            priority: 20,
            cookie: 7,
            matching: Match::new().in_port(in_port).eth_type(0x86dd).fragment(),
            instructions: meter.into_iter().chain([Instruction::Apply(actions)]).collect(),
        }
    }

    #[test]
    fn a_shown_flow_tells_its_port_and_meter_and_no_two_look_alike() {
        let (one, other) = (flow(7, Some(131_079)), flow(8, None));
        let entries = read_list(&[shown(&one), shown(&other)].concat()).unwrap();
        let told: Vec<_> = entries.iter().map(|one| (one.table, one.in_port, one.meter)).collect();
        assert_eq!(told, [(200, Some(7), Some(131_079)), (200, Some(8), None)]);
        assert_ne!(entries[0].fingerprint, entries[1].fingerprint);
        assert_eq!(read_list(&shown(&one)).unwrap()[0], entries[0]);
        assert_eq!(entries[0].fingerprint, one.fingerprint());
    }

    #[test]
    fn one_that_does_something_else_looks_different() {
        let (one, mut other) = (flow(7, None), flow(7, None));
        other.instructions = vec![Instruction::GotoTable(1)];
        let entries = read_list(&[shown(&one), shown(&other)].concat()).unwrap();
        assert_ne!(entries[0].fingerprint, entries[1].fingerprint);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_list(&bytes);
            let _ = read_count(&bytes);
        }
    }
}
