//! The decision: from what is wanted and what is there to the steps between them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::container::ContainerId;
use crate::desired::{Desired, Refusal};
use crate::link_name::LinkName;
use crate::observed::{Observed, ObservedInterface, ObservedLink, ObservedPort, Owner};
use crate::spec::{Datapath, PortSpec};
use crate::step::{LinkRepair, LinkSpec, Step};

/// What is to be done for one container, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps; none when all is as it should be. A later step relies on those before it.
    pub steps: Vec<Step>,
    /// Why the container gets no port, if what is there forbids it.
    pub refusal: Option<Refusal>,
}

/// Decides what is to be done for one container.
///
/// Stopping after any step and planning again from what is there then leads to the same end. Ports and
/// links that are not ours appear in no step.
///
/// `salt` is to be another number at each call: it goes into the name of a new port, which must not be one
/// that an earlier plan gave.
pub fn plan(container: &ContainerId, desired: &Desired, observed: &Observed, salt: u64) -> Plan {
    match desired {
        Desired::Port(spec) => attach(container, spec, observed, salt),
        Desired::Nothing | Desired::Mistaken(_) | Desired::Refused(_) => {
            Plan { steps: remove_all(observed), refusal: None }
        }
    }
}

fn remove_all(observed: &Observed) -> Vec<Step> {
    let ports = ours(observed).map(del_port);
    ports.chain(observed.links.iter().map(del_link)).collect()
}

fn attach(container: &ContainerId, spec: &PortSpec, observed: &Observed, salt: u64) -> Plan {
    let kept = ours(observed).find(|port| serves(port, spec, observed));
    if let (None, Some(port)) = (kept, foreign(spec, observed)) {
        let refusal = Some(Refusal::ForeignPort(port.name.to_string()));
        return Plan { steps: remove_all(observed), refusal };
    }
    let mut steps: Vec<Step> =
        ours(observed).filter(|port| Some(*port) != kept).map(del_port).collect();

    // A link of this start holds the interface's name inside the container: it must go first. One of
    // an earlier start lies in another namespace, and deleting it takes the kernel 16 ms: it goes last.
    let spare = observed.links.iter().filter(|link| kept.is_none_or(|port| port.name != link.name));
    let (before, after): (Vec<_>, Vec<_>) = spare.partition(|link| link.start == spec.start);

    steps.extend(before.into_iter().map(del_link));
    match kept {
        Some(port) => steps.extend(repair(port, spec, observed)),
        None => steps.extend(add(container, spec, observed, salt)),
    }
    steps.extend(after.into_iter().map(del_link));
    Plan { steps, refusal: None }
}

/// A port that somebody else made for the interface that the container wants.
fn foreign<'a>(spec: &PortSpec, observed: &'a Observed) -> Option<&'a ObservedPort> {
    observed.ports.iter().find(|port| port.owner == Owner::Other && port.key == spec.key)
}

/// The port serves this start of the container as it is, or with another tag.
fn serves(port: &ObservedPort, spec: &PortSpec, observed: &Observed) -> bool {
    port.key == spec.key
        && port.start.as_ref() == Some(&spec.start)
        && port.bridge == spec.bridge
        && observed.links.iter().any(|link| link.name == port.name)
        && observed.interface != ObservedInterface::Missing
}

/// Puts right what has changed of a port that is kept. What nobody asked for stays as it is.
fn repair(port: &ObservedPort, spec: &PortSpec, observed: &Observed) -> Vec<Step> {
    let tag = Step::SetTag { port: port.name.clone(), vlan: spec.vlan };
    let tag = (port.vlan != spec.vlan).then_some(tag);
    let link = repair_link(port, spec, observed).filter(|repair| !repair.is_empty());
    tag.into_iter().chain(link.map(Step::SetLink)).collect()
}

fn repair_link(port: &ObservedPort, spec: &PortSpec, observed: &Observed) -> Option<LinkRepair> {
    let ObservedInterface::Present { up, mac, mtu, addresses, gateways } = &observed.interface
    else {
        return None;
    };
    let missing_address = |address: &&IpNet| !addresses.contains(address);
    // Routes go when a link goes down, and come back only after it.
    let missing_gateway = |gateway: &&IpAddr| !up || !gateways.contains(gateway);
    Some(LinkRepair {
        name: port.name.clone(),
        key: spec.key.clone(),
        mac: Some(spec.mac).filter(|wanted| *mac != Some(*wanted)),
        mtu: spec.mtu.filter(|wanted| *mtu != u32::from(*wanted)),
        addresses: spec.addresses.iter().filter(missing_address).copied().collect(),
        gateways: spec.gateways.iter().filter(missing_gateway).copied().collect(),
        up: !up,
    })
}

fn add(container: &ContainerId, spec: &PortSpec, observed: &Observed, salt: u64) -> Vec<Step> {
    let PortSpec {
        key,
        container_name,
        start,
        bridge,
        bridge_datapath,
        vlan,
        mac,
        mtu,
        addresses,
        gateways,
    } = spec;
    let name = unused_name(container, spec, observed, salt);
    let datapath = observed.bridge.unwrap_or(*bridge_datapath);
    let add_bridge = Step::AddBridge { bridge: bridge.clone(), datapath };
    let add_link = Step::AddLink(LinkSpec {
        name: name.clone(),
        key: key.clone(),
        start: start.clone(),
        mac: *mac,
        mtu: *mtu,
        addresses: addresses.clone(),
        gateways: gateways.clone(),
        tx_checksum_offload: datapath == Datapath::System,
    });
    let add_port = Step::AddPort {
        bridge: bridge.clone(),
        port: name,
        vlan: *vlan,
        key: key.clone(),
        container_name: container_name.clone(),
        start: start.clone(),
    };
    let missing = observed.bridge.is_none().then_some(add_bridge);
    missing.into_iter().chain([add_link, add_port]).collect()
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
fn unused_name(
    container: &ContainerId,
    spec: &PortSpec,
    observed: &Observed,
    mut salt: u64,
) -> LinkName {
    loop {
        let name = name(container, spec, salt);
        let used = observed.ports.iter().any(|port| port.name == name)
            || observed.links.iter().any(|link| link.name == name);
        if !used {
            return name;
        }
        salt = salt.wrapping_add(1);
    }
}

/// Eight digits of the container's id, five of a hash, and `_l`, the ending that `ovs-docker` gives.
fn name(container: &ContainerId, spec: &PortSpec, salt: u64) -> LinkName {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let seed = format!("{container} {} {} {salt}", spec.key.interface, spec.start);
    let hash = Sha256::digest(seed);
    let head = container.as_str().chars().take(8);
    let digit = |byte: &u8| DIGITS.get(usize::from(*byte) % DIGITS.len()).copied();
    let middle = hash.iter().take(5).filter_map(digit).map(char::from);
    LinkName::generated(head.chain(middle).chain("_l".chars()).collect())
}

impl fmt::Display for Plan {
    /// One step a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match &self.refusal {
            Some(refusal) => writeln!(f, "refused: {refusal}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
