//! Who may ask for what: the rules of the configuration.
//!
//! The first rule that a container fits decides, and a container that fits none gets nothing. Without any rule,
//! everything is allowed.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::container::Container;
use crate::glob::Glob;
use crate::labels::{Addressing, Wanted};
use crate::link_name::LinkName;
use crate::mac::{MacAddress, MacPrefix};
use crate::provenance::ImageUnknown;
use crate::trunks::Trunks;
use crate::vlans;

/// The rules, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(pub Vec<Rule>);

/// Which containers it is for, and what it allows them; what is not given fits everything and allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What the operator calls it.
    pub name: String,
    /// The image, as the container was started from it.
    pub image: Option<Glob>,
    /// The Compose project.
    pub compose_project: Option<Glob>,
    /// The container's name.
    pub container: Option<Glob>,
    /// Where its labels are from.
    pub labels_from: Option<Source>,
    /// The bridges allowed.
    pub bridges: Option<Vec<Glob>>,
    /// The VLANs allowed; 0 is untagged.
    pub vlans: Option<Trunks>,
    /// The addresses allowed. Those of a pool are allowed anyway.
    pub addresses: Option<AddressLimit>,
    /// What MAC addresses have to begin with. Those that no label gives are allowed anyway.
    pub macs: Option<Vec<MacPrefix>>,
}

/// Which addresses a rule allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressLimit {
    /// The prefixes that addresses have to be in.
    pub prefixes: Vec<IpNet>,
    /// Whether an interface may be without an address given (`ovs.ip_address=none`): nothing then limits which one
    /// it takes itself, and port security holds it to its MAC address alone.
    pub none: bool,
}

/// Where labels are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// All from whoever started the container.
    Run,
    /// At least one from the image.
    Image,
}

/// Why the policy refuses an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The container fits no rule.
    NoRule,
    /// Whether it fits the rule depends on where its labels are from, which nobody can tell.
    Untellable {
        /// The rule's name.
        rule: String,
        /// Why.
        image: ImageUnknown,
    },
    /// The rule does not allow something.
    Beyond {
        /// The rule's name.
        rule: String,
        /// What it does not allow.
        what: Forbidden,
    },
}

/// What a rule does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// The bridge.
    Bridge(LinkName),
    /// A VLAN; 0 is untagged.
    Vlan(u16),
    /// An address.
    Address(IpNet),
    /// That no address is given (`ovs.ip_address=none`).
    NoAddress,
    /// A MAC address.
    Mac(MacAddress),
}

impl AddressLimit {
    /// Whether it names an address by itself.
    fn names(&self, address: IpAddr) -> bool {
        self.prefixes.contains(&IpNet::from(address))
    }

    fn forbidden(&self, addressing: &Addressing) -> Option<Forbidden> {
        let within =
            |address: &IpNet| self.prefixes.iter().any(|net| net.contains(&address.addr()));
        match addressing {
            // The pools are the operator's, too.
            Addressing::Auto => None,
            Addressing::None => (!self.none).then_some(Forbidden::NoAddress),
            Addressing::Given(addresses) => {
                addresses.iter().find(|address| !within(address)).copied().map(Forbidden::Address)
            }
        }
    }
}

impl Policy {
    /// Judges what an interface wants; returns whether the rule limits its VLANs.
    pub(crate) fn judge(
        &self,
        container: &Container,
        trust_image_labels: bool,
        wanted: &Wanted,
    ) -> Result<bool, Denial> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let rule = self.rule(container, trust_image_labels)?;
        match rule.forbidden(wanted) {
            Some(what) => Err(Denial::Beyond { rule: rule.name.clone(), what }),
            None => Ok(rule.vlans.is_some()),
        }
    }
}

impl Policy {
    /// Whether the rule for a container names an address by itself, and so gives it that whoever else would have it.
    pub(crate) fn names(
        &self,
        container: &Container,
        trust_image_labels: bool,
        address: IpAddr,
    ) -> bool {
        let rule = self.rule(container, trust_image_labels);
        let limit = rule.ok().and_then(|rule| rule.addresses.as_ref());
        limit.is_some_and(|limit| limit.names(address))
    }

    /// The first rule that a container fits. If it may fit one whose labels' source nobody can tell, it fits none.
    fn rule(&self, container: &Container, trust_image_labels: bool) -> Result<&Rule, Denial> {
        let fit = |rule: &&Rule| rule.fits_apart_from_source(container, trust_image_labels);
        for rule in self.0.iter().filter(fit) {
            match (rule.labels_from, container.image_unknown()) {
                (Some(_), Some(image)) => {
                    let (rule, image) = (rule.name.clone(), image.clone());
                    return Err(Denial::Untellable { rule, image });
                }
                (None, _) => return Ok(rule),
                (Some(source), None) if source == container.label_source() => return Ok(rule),
                (Some(_), None) => {}
            }
        }
        Err(Denial::NoRule)
    }
}

impl Rule {
    fn fits_apart_from_source(&self, container: &Container, trust_image_labels: bool) -> bool {
        let fits = |glob: &Option<Glob>, text: Option<&str>| {
            glob.as_ref().is_none_or(|glob| text.is_some_and(|text| glob.matches(text)))
        };
        fits(&self.image, Some(&container.image))
            && fits(&self.compose_project, container.compose_project(trust_image_labels))
            && fits(&self.container, Some(&container.name))
    }

    fn forbidden(&self, wanted: &Wanted) -> Option<Forbidden> {
        let bridge = self.bridges.as_ref().and_then(|allowed| {
            let there = allowed.iter().any(|glob| glob.matches(wanted.bridge.as_str()));
            (!there).then(|| Forbidden::Bridge(wanted.bridge.clone()))
        });
        let vlan = || {
            let allowed = self.vlans.as_ref()?;
            let sent = vlans::sent(wanted.vlan, &wanted.trunks, wanted.vlan_mode);
            sent.into_iter().find(|vlan| !allowed.contains(*vlan)).map(Forbidden::Vlan)
        };
        let address = || self.addresses.as_ref()?.forbidden(&wanted.addressing);
        let mac = || {
            let (Some(allowed), Some(mac)) = (&self.macs, wanted.mac) else { return None };
            let within = allowed.iter().any(|prefix| prefix.contains(mac));
            (!within).then_some(Forbidden::Mac(mac))
        };
        bridge.or_else(vlan).or_else(address).or_else(mac)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => {
                f.write_str("no rule of the configuration's policy is for this container")
            }
            Self::Untellable { rule, image } => write!(
                f,
                "whether the policy's rule '{rule}' is for it depends on where its labels are from, and {image}"
            ),
            Self::Beyond { rule, what } => {
                write!(f, "the policy's rule '{rule}' does not allow {what}")
            }
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(bridge) => write!(f, "bridge {bridge}"),
            Self::Vlan(0) => f.write_str("untagged frames (VLAN 0)"),
            Self::Vlan(vlan) => write!(f, "VLAN {vlan}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::NoAddress => f.write_str(
                "ovs.ip_address=none, as it limits addresses; its operator may list none among them",
            ),
            Self::Mac(mac) => write!(f, "MAC address {mac}"),
        }
    }
}

#[cfg(test)]
mod tests;
