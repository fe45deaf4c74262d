//! Who holds which address and which MAC address: the first who claims it, until its port has gone.
//!
//! This is memory only, and all of it can be learnt again: a port's row in OVSDB bears the addresses that its
//! interface holds. One look at a time decides, because there is one registry and deciding is one call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::container::{ContainerId, Start};
use crate::lease::Lease;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::numbers::Numbers;
use crate::observed::ObservedPort;
use crate::port_config::PortConfig;
use crate::reserved::Reserved;
use crate::spec::{PortKey, PortSpec};
use crate::vlan::Vlan;
use crate::vlans::Vlans;

/// Something that one interface alone may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// An address on a bridge, in each VLAN that the port reaches. One interface alone may have it in any of them.
    Address {
        /// The bridge.
        bridge: LinkName,
        /// The address.
        address: IpAddr,
        /// The VLANs.
        vlans: Vlans,
    },
    /// A MAC address on a bridge.
    Mac {
        /// The bridge.
        bridge: LinkName,
        /// The MAC address.
        mac: MacAddress,
    },
    /// An OpenFlow number on a bridge.
    Number {
        /// The bridge.
        bridge: LinkName,
        /// The number.
        number: u16,
    },
}

/// The interface that holds a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The interface.
    pub key: PortKey,
    /// The name of its container.
    pub container_name: Arc<str>,
}

/// What somebody else holds already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What was claimed.
    pub claim: Claim,
    /// Who has it.
    pub holder: Holder,
}

/// Why something cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// An interface of a container holds it.
    Held(Conflict),
    /// A port of the switch has this OpenFlow number already, or asks for it.
    Number(NumberTaken),
}

/// An OpenFlow number that a port has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberTaken {
    /// The bridge.
    pub bridge: LinkName,
    /// The number.
    pub number: u16,
    /// The port's name.
    pub port: String,
}

/// All claims, and who waits for one.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The OpenFlow numbers that ports have.
    numbers: Numbers,
    holders: BTreeMap<Claim, Holder>,
    /// The same by container, so that one container's end costs no walk over all.
    held: BTreeMap<ContainerId, Vec<Claim>>,
    /// Addresses that are kept for containers that exist, whether they run or not.
    leases: BTreeMap<Claim, Holder>,
    /// What the host has.
    reserved: Reserved,
    waiting: BTreeMap<Awaited, Vec<ContainerId>>,
    /// MAC addresses that interfaces keep in one start of their containers.
    kept_macs: BTreeMap<PortKey, (Start, MacAddress)>,
}

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    /// This.
    Claim(Claim),
    /// Any address of a bridge in these VLANs.
    Address(LinkName, Vlans),
}

impl Registry {
    /// Forgets all but what the host has, to learn it anew.
    pub fn forget(&mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        *self = Self { reserved, ..Self::default() };
    }

    /// Learns what the host has now; returns whether it has given up something.
    pub fn reserve(&mut self, reserved: Reserved) -> bool {
        let before = std::mem::replace(&mut self.reserved, reserved);
        !before.is_within(&self.reserved)
    }

    /// What the host has.
    pub(crate) fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// Learns from a port of ours that is there already what its interface holds.
    pub fn learn(&mut self, port: &ObservedPort, container_name: &str) {
        let addresses = port.config.addresses.iter().map(ipnet::IpNet::addr);
        let own = (port.config.mac, port.config.ofport_request);
        let claims = claims(&port.bridge, &port.config, addresses, own);
        let holder = Holder { key: port.key.clone(), container_name: container_name.into() };
        if let (Some(start), Some(mac)) = (&port.start, port.config.kept_mac) {
            self.kept_macs.insert(port.key.clone(), (start.clone(), mac));
        }
        for claim in claims {
            if !self.holders.contains_key(&claim) {
                self.take(claim, holder.clone());
            }
        }
    }

    /// Learns that an address is kept for a container.
    pub fn learn_lease(&mut self, lease: Lease) {
        self.leases.insert(lease.claim(), lease.holder);
    }

    /// Learns which OpenFlow numbers ports have now, whoever made them. Whoever asks for a number is to be judged by
    /// that.
    pub fn learn_numbers(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    /// A port has gone or has another OpenFlow number: who waits for one. It may be this.
    pub fn wake_for_numbers(&mut self) -> Vec<ContainerId> {
        let mut woken = Vec::new();
        self.waiting.retain(|awaited, waiting| {
            let of_number = matches!(awaited, Awaited::Claim(Claim::Number { .. }));
            woken.extend(waiting.extract_if(.., |_| of_number));
            !of_number
        });
        woken
    }

    /// Whether an address is kept for this container.
    pub fn has_leases(&self, container: &ContainerId) -> bool {
        self.leases.values().any(|holder| holder.key.container == *container)
    }

    /// A container exists no more: what was kept for it is free. Returns who waited for that.
    pub fn release(&mut self, container: &ContainerId) -> Vec<ContainerId> {
        let kept = std::mem::take(&mut self.leases);
        let (freed, kept) = kept.into_iter().partition(|(_, by)| by.key.container == *container);
        self.leases = kept;
        let freed: BTreeMap<_, _> = freed;
        self.wake(container, freed.into_keys())
    }

    /// Takes all that a port needs, or nothing; then the container is told of when it may try again.
    ///
    /// # Errors
    ///
    /// The first thing that somebody else holds.
    pub(crate) fn claim(&mut self, spec: &PortSpec) -> Result<(), Taken> {
        if let Some(number) = spec.config.ofport_request
            && let Some(port) = self.numbers.of_other(&spec.bridge, number, &spec.key)
        {
            let (bridge, port) = (spec.bridge.clone(), port.to_owned());
            let claim = Claim::Number { bridge: bridge.clone(), number };
            self.wait(Awaited::Claim(claim), &spec.key.container);
            return Err(Taken::Number(NumberTaken { bridge, number, port }));
        }
        let claims = claims_of(spec);
        if let Some(conflict) = claims.iter().find_map(|claim| self.conflict(claim, &spec.key)) {
            self.wait(Awaited::Claim(conflict.claim.clone()), &spec.key.container);
            return Err(Taken::Held(conflict));
        }
        let holder = Holder { key: spec.key.clone(), container_name: spec.container_name.clone() };
        for claim in claims {
            self.take(claim, holder.clone());
        }
        for lease in spec.leases() {
            self.learn_lease(lease);
        }
        Ok(())
    }

    /// Lets an interface keep a MAC address in this start of its container, instead of the one that it would get.
    ///
    /// # Errors
    ///
    /// Who holds it.
    pub(crate) fn keep_mac(&mut self, spec: &PortSpec, mac: MacAddress) -> Result<(), Conflict> {
        let claim = Claim::Mac { bridge: spec.bridge.clone(), mac };
        if let Some(conflict) = self.conflict(&claim, &spec.key) {
            self.wait(Awaited::Claim(claim), &spec.key.container);
            return Err(conflict);
        }
        let container_name = spec.container_name.clone();
        self.take(claim, Holder { key: spec.key.clone(), container_name });
        self.kept_macs.insert(spec.key.clone(), (spec.start.clone(), mac));
        Ok(())
    }

    /// The MAC address that an interface keeps in this start of its container.
    pub(crate) fn kept_mac(&self, key: &PortKey, start: &Start) -> Option<MacAddress> {
        let (of, mac) = self.kept_macs.get(key)?;
        (of == start).then_some(*mac)
    }

    fn take(&mut self, claim: Claim, holder: Holder) {
        let held = self.held.entry(holder.key.container.clone()).or_default();
        if !held.contains(&claim) {
            held.reserve_exact(1);
            held.push(claim.clone());
        }
        // One that holds it already stays, with the parts that it shares.
        if self.holders.get(&claim) != Some(&holder) {
            self.holders.insert(claim, holder);
        }
    }

    /// Whether somebody else than this interface has something.
    pub(crate) fn is_taken(&self, claim: &Claim, key: &PortKey) -> bool {
        self.conflict(claim, key).is_some()
            || !self.holds(claim, key) && self.reserved.why(claim).is_some()
    }

    /// Whether this interface holds something, and nobody else any part of it.
    pub(crate) fn holds(&self, claim: &Claim, key: &PortKey) -> bool {
        self.conflict(claim, key).is_none() && self.overlapping(claim).next().is_some()
    }

    /// The MAC address that an interface holds on a bridge.
    pub(crate) fn mac_of(&self, key: &PortKey, on: &LinkName) -> Option<MacAddress> {
        self.held.get(&key.container)?.iter().find_map(|claim| match claim {
            Claim::Mac { bridge, mac } if bridge == on && self.holds(claim, key) => Some(*mac),
            Claim::Mac { .. } | Claim::Address { .. } | Claim::Number { .. } => None,
        })
    }

    /// Has a container told when any address of a bridge and VLAN becomes free.
    pub(crate) fn wait_for_address(
        &mut self,
        bridge: &LinkName,
        vlan: Option<Vlan>,
        container: &ContainerId,
    ) {
        self.wait(Awaited::Address(bridge.clone(), vlan.into()), container);
    }

    fn wait(&mut self, awaited: Awaited, container: &ContainerId) {
        let waiting = self.waiting.entry(awaited).or_default();
        if !waiting.contains(container) {
            waiting.push(container.clone());
        }
    }

    /// A container has nothing any more but these ports: what else it held is free. Returns who waited for
    /// that, the first first.
    pub fn settle(&mut self, container: &ContainerId, ports: &[PortSpec]) -> Vec<ContainerId> {
        let keep: BTreeSet<_> = ports.iter().flat_map(claims_of).collect();
        let Some(held) = self.held.get_mut(container) else { return Vec::new() };
        let freed: Vec<_> = held.extract_if(.., |claim| !keep.contains(claim)).collect();
        if held.is_empty() {
            self.held.remove(container);
        }
        for claim in &freed {
            self.holders.remove(claim);
        }
        let leased = |claim: &Claim| self.leases.contains_key(claim);
        let freed: Vec<_> = freed.into_iter().filter(|claim| !leased(claim)).collect();
        self.wake(container, freed.into_iter())
    }

    /// Who waited for something that is free now, the first first.
    fn wake(
        &mut self,
        container: &ContainerId,
        freed: impl Iterator<Item = Claim>,
    ) -> Vec<ContainerId> {
        let mut woken = Vec::new();
        for claim in freed {
            for awaited in self.awaited(&claim) {
                for waiter in self.waiting.remove(&awaited).unwrap_or_default() {
                    if waiter != *container && !woken.contains(&waiter) {
                        woken.push(waiter);
                    }
                }
            }
        }
        woken
    }

    /// What those wait for who may have this now.
    fn awaited(&self, freed: &Claim) -> Vec<Awaited> {
        let mut awaited = Vec::new();
        if let Claim::Address { bridge, vlans, .. } = freed {
            let first = Awaited::Address(bridge.clone(), Vlans::FIRST);
            let of_bridge = self.waiting.range(first..).map_while(|(awaited, _)| match awaited {
                Awaited::Address(on, of) if on == bridge => Some((awaited, of)),
                Awaited::Address(..) | Awaited::Claim(_) => None,
            });
            awaited
                .extend(of_bridge.filter(|(_, of)| of.overlap(vlans)).map(|(one, _)| one.clone()));
        }
        awaited.push(Awaited::Claim(freed.clone()));
        awaited
    }

    /// A container has ended and waits for nothing any more.
    pub fn leave(&mut self, container: &ContainerId) {
        self.kept_macs.retain(|key, _| key.container != *container);
        self.waiting.retain(|_, waiting| {
            waiting.retain(|one| one != container);
            !waiting.is_empty()
        });
    }

    /// What somebody else than this interface holds of a claim.
    fn conflict(&self, claim: &Claim, key: &PortKey) -> Option<Conflict> {
        let (claim, holder) = self.overlapping(claim).find(|(_, holder)| holder.key != *key)?;
        Some(Conflict { claim: claim.clone(), holder: holder.clone() })
    }

    /// All that is held of a claim, and by whom.
    fn overlapping<'a>(
        &'a self,
        claim: &'a Claim,
    ) -> impl Iterator<Item = (&'a Claim, &'a Holder)> {
        claim.overlapping(&self.holders).chain(claim.overlapping(&self.leases))
    }
}

/// What a port needs.
pub(crate) fn claims_of(spec: &PortSpec) -> Vec<Claim> {
    let addresses = spec.addresses.iter().map(ipnet::IpNet::addr);
    let own = (Some(spec.mac), spec.config.ofport_request);
    claims(&spec.bridge, &spec.config, addresses, own)
}

fn claims(
    bridge: &LinkName,
    config: &PortConfig,
    addresses: impl Iterator<Item = IpAddr>,
    (mac, number): (Option<MacAddress>, Option<u16>),
) -> Vec<Claim> {
    let vlans = Vlans::of(config.tag, &config.trunks, config.vlan_mode);
    let address =
        |address| Claim::Address { bridge: bridge.clone(), address, vlans: vlans.clone() };
    let mac = mac.map(|mac| Claim::Mac { bridge: bridge.clone(), mac });
    let number = number.map(|number| Claim::Number { bridge: bridge.clone(), number });
    addresses.map(address).chain(mac).chain(number).collect()
}

impl Claim {
    /// What there is of this in a map: the same, or of an address what reaches one of its VLANs.
    pub(crate) fn overlapping<'a, T>(
        &'a self,
        all: &'a BTreeMap<Self, T>,
    ) -> impl Iterator<Item = (&'a Self, &'a T)> {
        let akin = all.range(self.first()..).take_while(|(other, _)| self.is_akin(other));
        akin.filter(|(other, _)| self.overlaps(other))
    }

    /// The first in order of those that may overlap.
    fn first(&self) -> Self {
        let mut first = self.clone();
        if let Self::Address { vlans, .. } = &mut first {
            *vlans = Vlans::FIRST;
        }
        first
    }

    /// Whether they differ in their VLANs at most.
    fn is_akin(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Address { bridge, address, vlans: _ },
                Self::Address { bridge: of, address: same, vlans: _ },
            ) => (bridge, address) == (of, same),
            _ => self == other,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address { vlans, .. }, Self::Address { vlans: others, .. }) => {
                vlans.overlap(others)
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for NumberTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, number, port } = self;
        write!(f, "OpenFlow number {number} on {bridge} is taken by port {port}")
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { key, container_name } = &self.holder;
        let (claim, interface, id) = (&self.claim, &key.interface, key.container.short());
        write!(f, "{claim} is held by {interface} of container {container_name} ({id})")
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { bridge, address, vlans } => write!(f, "{address} on {bridge}{vlans}"),
            Self::Mac { bridge, mac } => write!(f, "MAC address {mac} on {bridge}"),
            Self::Number { bridge, number } => write!(f, "OpenFlow number {number} on {bridge}"),
        }
    }
}

#[cfg(test)]
mod tests;
