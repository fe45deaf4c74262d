//! The flows and the meter that put a port's rules in force.

use openflow::{Action, Flow, Instruction, Match, Meter};
use port_plan::{Field, FlowRule, FlowRules, Limit};

/// What every flow of ours bears: "ovs-port" in ASCII.
pub(crate) const COOKIE: u64 = 0x6f76_732d_706f_7274;
/// The table of the rules.
pub(crate) const RULES_TABLE: u8 = 200;
/// The priority, in the first table, of the flow that leads there: before anybody else's.
const ENTRANCE: u16 = 65535;
/// The register that tells that a frame has been there.
const MARK: u8 = 15;

/// Types of frames and protocols.
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The flows of a port that has this number: the rules, and the way to them.
pub(super) fn flows(number: u32, rules: &FlowRules, meter: Option<u32>) -> Vec<Flow> {
    let all = FlowRule { priority: 1, fields: Vec::new(), pass: true };
    let each = if rules.rules.is_empty() { std::slice::from_ref(&all) } else { &*rules.rules };
    let entrance = entrance(number, meter);
    each.iter().map(|one| rule(number, one)).chain([entrance]).collect()
}

/// How many flows the rules of a port take.
pub(super) fn count(rules: &FlowRules) -> usize {
    if rules.is_empty() { 0 } else { rules.rules.len().max(1) + 1 }
}

/// Leads frames from a port to the rules, once: marked ones have been there.
fn entrance(number: u32, meter: Option<u32>) -> Flow {
    let meter = meter.map(Instruction::Meter);
    Flow {
        table: 0,
        priority: ENTRANCE,
        cookie: COOKIE,
        matching: Match::new().in_port(number).register(MARK, 0),
        instructions: meter.into_iter().chain([Instruction::GotoTable(RULES_TABLE)]).collect(),
    }
}

fn rule(number: u32, rule: &FlowRule) -> Flow {
    // Marks the frame and has the first table look at it again.
    let pass = vec![Action::SetRegister(MARK, 1), Action::Resubmit(0)];
    Flow {
        table: RULES_TABLE,
        priority: rule.priority,
        cookie: COOKIE,
        matching: rule.fields.iter().fold(Match::new().in_port(number), with),
        instructions: rule.pass.then_some(Instruction::Apply(pass)).into_iter().collect(),
    }
}

fn with(matching: Match, field: &Field) -> Match {
    match *field {
        Field::EthSrc(mac) => matching.eth_src(mac.octets()),
        Field::Arp => matching.eth_type(ARP),
        Field::Ipv4 => matching.eth_type(IPV4),
        Field::Ipv6 => matching.eth_type(IPV6),
        Field::ArpSha(mac) => matching.arp_sha(mac.octets()),
        Field::ArpSpa(address) => matching.arp_spa(address),
        Field::ArpTpa(address) => matching.arp_tpa(address),
        Field::Ipv4Src(address) => matching.ipv4_src(address),
        Field::Ipv4Dst(address) => matching.ipv4_dst(address),
        Field::Ipv6Src(address) => matching.ipv6_src(address),
        Field::Ipv6Dst(address, prefix) => matching.ipv6_dst(address, prefix),
        Field::Fragment => matching.fragment(),
        Field::Udp => matching.ip_proto(UDP),
        Field::UdpSrc(port) => matching.udp_src(port),
        Field::Icmpv4(kind) => matching.ip_proto(ICMP).icmpv4_type(kind),
        Field::Icmpv6(kind) => matching.ip_proto(ICMPV6).icmpv6_type(kind),
        Field::NdTarget(address) => matching.nd_target(address),
    }
}

/// The meters that a port of this number may have, the preferred one first: all in a range where operators hardly have
/// theirs. One that exists is not taken.
pub(super) fn meters(number: u32, limit: Limit) -> impl Iterator<Item = Meter> {
    /// As many as there are numbers of ports.
    const RANGE: u32 = 1 << 16;
    let Limit { rate, burst } = limit;
    let numbers = (1..4).map(move |range| range * RANGE + number % RANGE);
    let there = numbers.filter(|number| *number <= openflow::MAX_METER);
    there.map(move |number| Meter { number, rate, burst })
}
