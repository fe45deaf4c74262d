//! Taking over ports that others made, in place: which of them is what a container is to have, what keeps the others
//! from it, and what stays as it is.

use std::fmt;

use ipnet::IpNet;

use crate::desired::{Desired, Refusal};
use crate::identity::is_made_up;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::observed::{Observed, ObservedInterface, ObservedPort, Owner};
use crate::registry::Registry;
use crate::spec::PortSpec;

/// What keeps a port that somebody else made from being taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A command of this program made it; it goes with its container.
    ByCommand,
    /// It is for another interface, which has the addresses that the labels ask for.
    Interface {
        /// The one that it is for.
        found: LinkName,
        /// The one that the labels are for.
        wanted: LinkName,
    },
    /// It is on another bridge.
    Bridge {
        /// The one that it is on.
        found: LinkName,
        /// The one that the labels name.
        wanted: LinkName,
    },
    /// The link of its name is not there, or has its other end elsewhere.
    Link {
        /// The interface that it should lead to.
        wanted: LinkName,
    },
    /// Addresses that the labels ask for are missing.
    Addresses {
        /// The interface.
        interface: LinkName,
        /// What it has.
        found: Vec<IpNet>,
        /// What it lacks.
        missing: Vec<IpNet>,
    },
}

/// The port that somebody else made for what the container wants, and what keeps it from being taken over.
pub(crate) fn foreign<'a>(
    spec: &PortSpec,
    observed: &'a Observed,
) -> Option<(&'a ObservedPort, Option<Difference>)> {
    let others = || observed.ports.iter().filter(|port| port.owner != Owner::Us);
    let same = others().filter(|port| port.key == spec.key);
    let mut same: Vec<_> = same.map(|port| (port, difference(port, spec, observed))).collect();
    same.sort_by_key(|(_, difference)| difference.is_some());
    let elsewhere = || {
        let port = others().find(|port| has_addresses(port, spec, observed))?;
        Some((port, difference(port, spec, observed)))
    };
    same.into_iter().next().or_else(elsewhere)
}

/// Whether the port's own interface has an address that the labels give to another one.
fn has_addresses(port: &ObservedPort, spec: &PortSpec, observed: &Observed) -> bool {
    let interface = &port.key.interface;
    if *interface == spec.key.interface || observed.foreign_ends.get(&port.name) != Some(interface)
    {
        return false;
    }
    match observed.interfaces.get(interface) {
        Some(ObservedInterface::Present { addresses, .. }) => {
            spec.addresses.iter().any(|address| addresses.contains(address))
        }
        Some(ObservedInterface::Missing) | None => false,
    }
}

fn difference(port: &ObservedPort, spec: &PortSpec, observed: &Observed) -> Option<Difference> {
    let wanted = spec.key.interface.clone();
    if port.owner == Owner::Command {
        return Some(Difference::ByCommand);
    }
    if port.key.interface != wanted {
        return Some(Difference::Interface { found: port.key.interface.clone(), wanted });
    }
    if port.bridge != spec.bridge {
        let (found, wanted) = (port.bridge.clone(), spec.bridge.clone());
        return Some(Difference::Bridge { found, wanted });
    }
    let (Some(ObservedInterface::Present { addresses: found, .. }), true) =
        (observed.interfaces.get(&wanted), observed.foreign_ends.get(&port.name) == Some(&wanted))
    else {
        return Some(Difference::Link { wanted });
    };
    let missing: Vec<_> =
        spec.addresses.iter().filter(|address| !found.contains(address)).copied().collect();
    let (interface, found) = (wanted, found.clone());
    (!missing.is_empty()).then_some(Difference::Addresses { interface, found, missing })
}

impl Desired {
    /// Lets ports that are about to be taken over keep the MAC addresses that they have, for this start of the
    /// container, where no label asks for another: the neighbours know them.
    pub fn keep_macs(&mut self, observed: &Observed, registry: &mut Registry) {
        let Self::Ports(ports) = self else { return };
        let mut refused = Vec::new();
        ports.specs.retain_mut(|spec| {
            let Some(mac) = mac_to_keep(spec, observed) else { return true };
            match registry.keep_mac(spec, mac) {
                Ok(()) => {
                    spec.keep_mac(mac);
                    true
                }
                Err(conflict) => {
                    refused.push((spec.key.interface.clone(), Refusal::Taken(conflict)));
                    false
                }
            }
        });
        ports.refused.extend(refused);
    }
}

/// The MAC address that the interface has, if its port is about to be taken over, or half of it has been.
fn mac_to_keep(spec: &PortSpec, observed: &Observed) -> Option<MacAddress> {
    if !spec.adopt || spec.mac_given {
        return None;
    }
    let ours = |port: &&ObservedPort| {
        port.owner == Owner::Us && port.key == spec.key && port.start.as_ref() == Some(&spec.start)
    };
    let adopted = match observed.ports.iter().find(ours) {
        Some(port) => is_half_adopted(port),
        None => matches!(foreign(spec, observed), Some((_, None))),
    };
    match observed.interfaces.get(&spec.key.interface)? {
        ObservedInterface::Present { mac, .. } => mac.filter(|mac| adopted && *mac != spec.mac),
        ObservedInterface::Missing => None,
    }
}

/// Whether the mark of its link alone makes a port ours that somebody else named: so this program leaves it that dies
/// while it takes it over.
fn is_half_adopted(port: &ObservedPort) -> bool {
    port.marked.is_none() && port.config.mac.is_none() && !is_made_up(&port.name)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |nets: &[IpNet]| nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::ByCommand => f.write_str("a command of this program made it"),
            Self::Interface { found, wanted } => write!(
                f,
                "its interface is {found}, and the labels are for {wanted} (ovs.interface, default_interface)"
            ),
            Self::Bridge { found, wanted } => write!(
                f,
                "it is on bridge {found}, and the labels are for {wanted} (ovs.bridge, default_bridge)"
            ),
            Self::Link { wanted } => {
                write!(f, "its link does not lead to {wanted} of this container")
            }
            Self::Addresses { interface, found, missing } if found.is_empty() => {
                write!(f, "{interface} has no addresses, and the labels ask for {}", list(missing))
            }
            Self::Addresses { interface, found, missing } => write!(
                f,
                "{interface} has {}, and the labels ask for {}",
                list(found),
                list(missing)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
