//! The VLANs that a port reaches.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::trunks::{Trunks, VlanMode};
use crate::vlan::Vlan;

/// The VLANs in which a port has its addresses; 0 is untagged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vlans {
    /// Where frames without a tag belong.
    native: u16,
    /// The others of a trunk. Nearly every port has none, so they cost it nothing.
    others: Option<Arc<BTreeSet<u16>>>,
}

impl Vlans {
    /// Those of a port with these columns (ovs-vswitchd.conf.db(5)).
    pub(crate) fn of(tag: Option<Vlan>, trunks: &Trunks, mode: Option<VlanMode>) -> Self {
        let native = tag.map_or(0, Vlan::get);
        let all = sent(tag, trunks, mode).into_iter();
        let others: BTreeSet<u16> = all.filter(|vlan| *vlan != native).collect();
        Self { native, others: (!others.is_empty()).then(|| others.into()) }
    }

    /// The first in order: those of no port come before it.
    pub(crate) const FIRST: Self = Self { native: 0, others: None };

    /// Whether one of them is this, or both are untagged.
    pub(crate) fn contains(&self, vlan: Option<Vlan>) -> bool {
        self.has(vlan.map_or(0, Vlan::get))
    }

    /// Whether two ports reach each other in one of them.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        self.iter().any(|vlan| other.has(vlan))
    }

    fn has(&self, vlan: u16) -> bool {
        self.native == vlan || self.others.as_ref().is_some_and(|others| others.contains(&vlan))
    }

    fn iter(&self) -> impl Iterator<Item = u16> {
        let others = self.others.iter().flat_map(|others| others.iter().copied());
        [self.native].into_iter().chain(others)
    }
}

impl From<Option<Vlan>> for Vlans {
    fn from(vlan: Option<Vlan>) -> Self {
        Self { native: vlan.map_or(0, Vlan::get), others: None }
    }
}

/// The VLANs that a port with these columns sends into; 0 is untagged. A trunk without any in the column `trunks` is not
/// told from a port that sends untagged frames alone: nothing then says where it has its addresses.
pub(crate) fn sent(tag: Option<Vlan>, trunks: &Trunks, mode: Option<VlanMode>) -> Vec<u16> {
    let tag = tag.map(Vlan::get);
    match mode {
        // Its customers' tags stay inside the one VLAN.
        Some(VlanMode::Access | VlanMode::Dot1qTunnel) => tag.into_iter().collect(),
        None | Some(VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged) => {
            let mut vlans: Vec<_> = tag.into_iter().chain(trunks.iter()).collect();
            if vlans.is_empty() {
                vlans.push(0);
            }
            vlans
        }
    }
}

impl fmt::Display for Vlans {
    /// What follows a bridge's name: nothing, if they are untagged alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.others {
            None if self.native == 0 => Ok(()),
            None => write!(f, ", VLAN {},", self.native),
            Some(_) => write!(f, ", VLANs {},", self.iter().collect::<Trunks>()),
        }
    }
}
