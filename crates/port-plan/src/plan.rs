//! The decision: from what is wanted and what is there to the steps between them.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::adopt;
use crate::desired::{Desired, Refusal};
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::observed::{
    HostEnd, Leftover, Observed, ObservedInterface, ObservedLink, ObservedPort, Owner, PortFlows,
};
use crate::port_config::{PortColumn, Stray};
use crate::route::Route;
use crate::spec::{Datapath, PortKey, PortSpec};
use crate::step::{HostRepair, LinkRepair, LinkSpec, Step};

/// Below it the kernel gives an interface no IPv6 (`IPV6_MIN_MTU`, net/ipv6.h).
const IPV6_MIN_MTU: u32 = 1280;

/// What is to be done for one container: for each of its interfaces by itself, so that what fails of one
/// holds up no other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One entry for each interface that is wanted or that something is there for, ordered by name.
    pub ports: Vec<PortPlan>,
}

/// What is to be done for one interface, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// The interface's name inside the container.
    pub interface: LinkName,
    /// The steps; none when all is as it should be. A later step relies on those before it.
    pub steps: Vec<Step>,
    /// What the interface has once they are done.
    pub end: PlannedEnd,
}

/// What an interface has after its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedEnd {
    /// A port.
    Placed(Placed),
    /// None: what is there forbids it.
    Refused(Refusal),
    /// None, and it is to have none.
    Removed,
}

/// A port that an interface has after its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub port: LinkName,
    /// It was not there before.
    pub fresh: bool,
}

/// Decides what is to be done for one container.
///
/// Stopping after any step and planning again from what is there then leads to the same end. Ports and
/// links that are not ours appear in no step.
///
/// `salt` is to be another number at each call: it goes into the name of a new port, which must not be one
/// that an earlier plan gave.
pub fn plan(desired: &Desired, observed: &Observed, salt: u64) -> Plan {
    let wanted = desired.specs().iter().map(|spec| &spec.key.interface);
    let refused = desired.refused().iter().map(|(interface, _)| interface);
    let ports = ours(observed).map(|port| &port.key.interface);
    let links = observed.links.iter().map(|link| &link.interface);
    let leftovers = observed.leftovers.iter().map(|row| &row.interface);
    let interfaces: BTreeSet<_> =
        wanted.chain(refused).chain(ports).chain(links).chain(leftovers).collect();
    let ports = interfaces.into_iter().map(|interface| {
        let there = There::of(interface, observed);
        match desired.specs().iter().find(|spec| spec.key.interface == *interface) {
            Some(spec) => attach(spec, &there, salt),
            None => {
                let mut refused = desired.refused().iter();
                let refusal = refused.find(|(refused, _)| refused == interface);
                let end = refusal.map_or(PlannedEnd::Removed, |(_, refusal)| {
                    PlannedEnd::Refused(refusal.clone())
                });
                detach(interface.clone(), end, &there)
            }
        }
    });
    Plan { ports: ports.collect() }
}

/// What is there for one interface.
struct There<'a> {
    ports: Vec<&'a ObservedPort>,
    links: Vec<&'a ObservedLink>,
    leftovers: Vec<&'a Leftover>,
    interface: Option<&'a ObservedInterface>,
    observed: &'a Observed,
}

impl<'a> There<'a> {
    fn of(interface: &LinkName, observed: &'a Observed) -> Self {
        Self {
            ports: ours(observed).filter(|port| port.key.interface == *interface).collect(),
            links: observed
                .links
                .iter()
                .filter(|link| link.interface == *interface && !is_foreign(link, observed))
                .collect(),
            leftovers: observed
                .leftovers
                .iter()
                .filter(|row| row.interface == *interface)
                .collect(),
            interface: observed.interfaces.get(interface),
            observed,
        }
    }

    fn remove_all(&self) -> Vec<Step> {
        let ports = self.ports.iter().map(|port| del_port(port));
        let links = self.links.iter().map(|link| del_link(link));
        self.tidy_up().chain(ports).chain(links).collect()
    }

    fn tidy_up(&self) -> impl Iterator<Item = Step> {
        self.leftovers.iter().copied().cloned().map(Step::Destroy)
    }
}

fn detach(interface: LinkName, end: PlannedEnd, there: &There<'_>) -> PortPlan {
    PortPlan { interface, steps: there.remove_all(), end }
}

fn attach(spec: &PortSpec, there: &There<'_>, salt: u64) -> PortPlan {
    let interface = spec.key.interface.clone();
    let kept = there.ports.iter().copied().find(|port| serves(port, spec, there));
    let adopted = match adopt::foreign(spec, there.observed).filter(|_| kept.is_none()) {
        Some((port, None)) if spec.adopt => Some(port),
        Some((port, difference)) => {
            let refusal = Refusal::ForeignPort { port: port.name.clone(), difference };
            return detach(interface, PlannedEnd::Refused(refusal), there);
        }
        None => None,
    };
    let spare = there.ports.iter().copied().filter(|port| Some(*port) != kept);
    let mut steps: Vec<Step> = there.tidy_up().chain(spare.map(del_port)).collect();

    // A link of this start holds the interface's name inside the container: it must go first. One of
    // an earlier start lies in another namespace, and deleting it takes the kernel 16 ms: it goes last.
    let spare = there.links.iter().copied();
    let spare = spare.filter(|link| kept.is_none_or(|port| port.name != link.name));
    let (before, after): (Vec<_>, Vec<_>) = spare.partition(|link| link.start == spec.start);

    steps.extend(before.into_iter().map(del_link));
    let placed = match (kept, adopted) {
        (Some(port), _) => {
            steps.extend(repair(port, spec, there));
            steps.extend(set_flows(port.name.clone(), spec, there.observed));
            Placed { port: port.name.clone(), fresh: false }
        }
        (None, Some(port)) => {
            steps.extend(adopt(port, spec, there));
            steps.extend(set_flows(port.name.clone(), spec, there.observed));
            Placed { port: port.name.clone(), fresh: false }
        }
        (None, None) => {
            let port = unused_name(spec, there.observed, salt);
            steps.extend(add(spec, &port, there.observed));
            steps.extend(set_flows(port.clone(), spec, there.observed));
            Placed { port, fresh: true }
        }
    };
    steps.extend(after.into_iter().map(del_link));
    // Many plans may wait for each other.
    steps.shrink_to_fit();
    PortPlan { interface, steps, end: PlannedEnd::Placed(placed) }
}

impl PortPlan {
    /// The port that the interface has once the steps are taken.
    pub fn placed(&self) -> Option<&Placed> {
        match &self.end {
            PlannedEnd::Placed(placed) => Some(placed),
            PlannedEnd::Refused(_) | PlannedEnd::Removed => None,
        }
    }

    /// Why the interface gets no port, if what is there forbids it.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.end {
            PlannedEnd::Refused(refusal) => Some(refusal),
            PlannedEnd::Placed(_) | PlannedEnd::Removed => None,
        }
    }
}

/// The link of a port that is somebody else's, half taken over.
fn is_foreign(link: &ObservedLink, observed: &Observed) -> bool {
    observed.ports.iter().any(|port| port.owner != Owner::Us && port.name == link.name)
}

/// The port serves this start of the container as it is, or with other settings.
fn serves(port: &ObservedPort, spec: &PortSpec, there: &There<'_>) -> bool {
    port.start.as_ref() == Some(&spec.start)
        && port.bridge == spec.bridge
        && there.links.iter().any(|link| link.name == port.name && link.start == spec.start)
        && there.interface != Some(&ObservedInterface::Missing)
}

/// Puts right what has changed of a port that is kept. What nobody asked for stays as it is.
fn repair(port: &ObservedPort, spec: &PortSpec, there: &There<'_>) -> Vec<Step> {
    let mut changes = spec.config.changes_from(&port.config);
    changes.extend(as_made(port, spec));
    let unkept = there.observed.unkept.iter().filter(|lease| lease.holder.key == spec.key);
    let unkept: Vec<_> = unkept.cloned().collect();
    changes.extend((!unkept.is_empty()).then_some(PortColumn::Leases(unkept)));
    if port.marked.as_ref() != Some(&spec.container_name) {
        let (container_name, start) = (spec.container_name.clone(), spec.start.clone());
        changes.push(PortColumn::Identity { container_name, start });
    }
    let rows = (!changes.is_empty()).then(|| Step::SetPort {
        bridge: port.bridge.clone(),
        port: port.name.clone(),
        key: port.key.clone(),
        changes,
    });
    let host = repair_host_end(port, spec, there).filter(|repair| !repair.is_empty());
    let link = repair_link(port, spec, there).filter(|repair| !repair.is_empty());
    let links = host.map(Step::SetHostLink).into_iter().chain(link.map(Step::SetLink));
    rows.into_iter().chain(links).collect()
}

/// Puts right what no label speaks of but keeps a port from being what they ask for.
fn as_made(port: &ObservedPort, spec: &PortSpec) -> impl Iterator<Item = PortColumn> {
    // Whoever leaves the MTU to others may have it from anybody.
    let cared = |stray: &Stray| *stray != Stray::MtuRequest || spec.mtu.is_some();
    port.strays.iter().copied().filter(cared).map(PortColumn::AsMade)
}

fn repair_host_end(port: &ObservedPort, spec: &PortSpec, there: &There<'_>) -> Option<HostRepair> {
    let link = there.links.iter().find(|link| link.name == port.name)?;
    let HostEnd { up, mtu, marked, enslaved, makes_addresses } = link.state?;
    Some(HostRepair {
        name: port.name.clone(),
        key: spec.key.clone(),
        start: spec.start.clone(),
        mark: !marked,
        mtu: spec.mtu.filter(|wanted| mtu != u32::from(*wanted)),
        // The kernel's datapath is such a device itself, and the kernel lets nobody else have the link then.
        free: enslaved && datapath(spec, there.observed) == Datapath::Netdev,
        no_addresses: makes_addresses,
        // Where flow rules are to be put in force, the link comes up after them, with them.
        up: !up && set_flows(port.name.clone(), spec, there.observed).is_none(),
    })
}

fn repair_link(port: &ObservedPort, spec: &PortSpec, there: &There<'_>) -> Option<LinkRepair> {
    let Some(ObservedInterface::Present {
        up,
        mac,
        mtu,
        heeds_advertisements,
        tx_checksum_offload,
        addresses,
        routes,
    }) = there.interface
    else {
        return None;
    };
    let missing_address = |address: &&IpNet| !addresses.contains(address);
    // Routes go when a link goes down, and come back only after it.
    let missing_route = |route: &&Route| !up || !routes.iter().any(|found| route.is(found));
    // An interface too narrow for IPv6 gets its settings when it is widened, as the kernel has them by default.
    let (narrow, mtu) = (*mtu < IPV6_MIN_MTU, spec.mtu.filter(|it| *mtu != u32::from(*it)));
    let heeds_advertisements = *heeds_advertisements || (narrow && mtu.is_some());
    Some(LinkRepair {
        name: port.name.clone(),
        key: spec.key.clone(),
        bridge: spec.bridge.clone(),
        own_mac: spec.mac,
        mac: Some(spec.mac).filter(|wanted| *mac != Some(*wanted)),
        mtu,
        ignore_advertisements: heeds_advertisements && spec.ignores_advertisements(),
        addresses: spec.addresses.iter().filter(missing_address).copied().collect(),
        detect_duplicates: spec.detect_duplicates,
        routes: spec.routes.iter().filter(missing_route).copied().collect(),
        up: !up,
        tx_checksum_off: *tx_checksum_offload && datapath(spec, there.observed) == Datapath::Netdev,
    })
}

/// Takes over a port that somebody else made, and puts right what is not as it is to be.
fn adopt(port: &ObservedPort, spec: &PortSpec, there: &There<'_>) -> Vec<Step> {
    let adopt = Step::AdoptPort {
        bridge: port.bridge.clone(),
        port: port.name.clone(),
        key: spec.key.clone(),
        container_name: spec.container_name.clone(),
        start: spec.start.clone(),
        changes: spec
            .config
            .changes_from(&port.config)
            .into_iter()
            .chain(as_made(port, spec))
            .collect(),
        leases: spec.leases(),
        mtu: spec.mtu,
        tx_checksum_offload: datapath(spec, there.observed) == Datapath::System,
    };
    let link = repair_link(port, spec, there).filter(|repair| !repair.is_empty());
    [adopt].into_iter().chain(link.map(Step::SetLink)).collect()
}

fn add(spec: &PortSpec, name: &LinkName, observed: &Observed) -> Vec<Step> {
    let PortSpec {
        key,
        container_name,
        start,
        bridge,
        bridge_datapath: _,
        config,
        secured: _,
        mac,
        mac_given: _,
        adopt: _,
        mtu,
        addresses,
        detect_duplicates,
        leased: _,
        routes,
    } = spec;
    let datapath = datapath(spec, observed);
    let add_bridge = Step::AddBridge { bridge: bridge.clone(), datapath };
    let add_link = Step::AddLink(LinkSpec {
        name: name.clone(),
        key: key.clone(),
        start: start.clone(),
        by_hand: false,
        mac: *mac,
        mtu: *mtu,
        addresses: addresses.clone(),
        detect_duplicates: *detect_duplicates,
        routes: routes.clone(),
        tx_checksum_offload: datapath == Datapath::System,
        held: !spec.flow_rules(datapath).is_empty(),
        replaces: left_behind(spec, observed),
    });
    let add_port = Step::AddPort {
        bridge: bridge.clone(),
        port: name.clone(),
        config: config.clone(),
        key: key.clone(),
        container_name: container_name.clone(),
        start: start.clone(),
        leases: spec.leases(),
    };
    let missing = (!observed.bridges.contains_key(bridge)).then_some(add_bridge);
    missing.into_iter().chain([add_link, add_port]).collect()
}

/// The MAC address of what a link of this start may have left in the container, if its row is there and it is not.
fn left_behind(spec: &PortSpec, observed: &Observed) -> Option<MacAddress> {
    let mut ports = ours(observed).filter(|port| port.key == spec.key);
    let lost = ports.find(|port| {
        port.start.as_ref() == Some(&spec.start)
            && observed.links.iter().all(|link| link.name != port.name)
    });
    lost?.config.mac
}

/// Has a port's flow rules put in force, unless they are.
fn set_flows(port: LinkName, spec: &PortSpec, observed: &Observed) -> Option<Step> {
    let rules = spec.flow_rules(datapath(spec, observed));
    let done = match observed.flows.get(&port) {
        Some(PortFlows::InForce(there)) => *there == rules,
        Some(PortFlows::Unknown) => false,
        None => rules.is_empty(),
    };
    (!done).then(|| Step::SetFlows { bridge: spec.bridge.clone(), port, rules })
}

/// What the port's bridge forwards with, or will once it is there.
fn datapath(spec: &PortSpec, observed: &Observed) -> Datapath {
    observed.bridges.get(&spec.bridge).copied().unwrap_or(spec.bridge_datapath)
}

fn ours(observed: &Observed) -> impl Iterator<Item = &ObservedPort> {
    observed.ports.iter().filter(|port| port.owner == Owner::Us)
}

fn del_port(port: &ObservedPort) -> Step {
    Step::DelPort { bridge: port.bridge.clone(), port: port.name.clone() }
}

fn del_link(link: &ObservedLink) -> Step {
    Step::DelLink { link: link.name.clone() }
}

/// A name for the host end that is unique to this start of the container, and new even within it.
///
/// ovs-vswitchd does not recover when a link disappears and another of the same name comes before it has
/// taken note: OVSDB looks healthy and traffic is dead. So no name is used twice.
fn unused_name(spec: &PortSpec, observed: &Observed, mut salt: u64) -> LinkName {
    loop {
        let name = name(spec, salt);
        let used = observed.ports.iter().any(|port| port.name == name)
            || observed.links.iter().any(|link| link.name == name);
        if !used {
            return name;
        }
        salt = salt.wrapping_add(1);
    }
}

/// Eight digits of the container's id, five of a hash, and `_l`, the ending that `ovs-docker` gives.
fn name(spec: &PortSpec, salt: u64) -> LinkName {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let PortKey { container, interface } = &spec.key;
    let seed = format!("{container} {interface} {} {salt}", spec.start);
    let hash = Sha256::digest(seed);
    let head = container.as_str().chars().take(8);
    let digit = |byte: &u8| DIGITS.get(usize::from(*byte) % DIGITS.len()).copied();
    let middle = hash.iter().take(5).filter_map(digit).map(char::from);
    let name: String = head.chain(middle).chain("_l".chars()).collect();
    LinkName::generated(&name)
}

impl fmt::Display for Plan {
    /// One step a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PortPlan { interface, steps, end } in &self.ports {
            for step in steps {
                writeln!(f, "{step}")?;
            }
            if let PlannedEnd::Refused(refusal) = end {
                writeln!(f, "refused {interface}: {refusal}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
