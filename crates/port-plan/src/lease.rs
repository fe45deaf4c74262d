//! Addresses from pools, each kept for a container as long as it exists, whether it runs or not.
//!
//! A lease lies in the `external_ids` of the bridge, beside what others keep there: the port's own rows go when
//! the container stops.

use std::net::IpAddr;

use crate::link_name::LinkName;
use crate::registry::{Claim, Holder};
use crate::spec::PortKey;
use crate::vlan::Vlan;

/// What the keys of leases begin with. The VLAN follows, `-` for none, and the address.
const PREFIX: &str = "ovs-port-manager:lease:";

/// One address of a bridge and VLAN, and the interface that it is kept for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The bridge whose row it lies in.
    pub bridge: LinkName,
    /// The port's VLAN; untagged if `None`.
    pub vlan: Option<Vlan>,
    /// The address.
    pub address: IpAddr,
    /// Whom it is kept for.
    pub holder: Holder,
}

impl Lease {
    /// The key of `external_ids`.
    pub fn key(&self) -> String {
        match self.vlan {
            Some(vlan) => format!("{PREFIX}{vlan}:{}", self.address),
            None => format!("{PREFIX}-:{}", self.address),
        }
    }

    /// The value of `external_ids`: container, interface, the container's name.
    pub fn value(&self) -> String {
        let Holder { key: PortKey { container, interface }, container_name } = &self.holder;
        format!("{} {interface} {container_name}", container.as_str())
    }

    /// The lease that a pair of a bridge's `external_ids` is, if it is one.
    pub fn read(bridge: &LinkName, key: &str, value: &str) -> Option<Self> {
        let (vlan, address) = key.strip_prefix(PREFIX)?.split_once(':')?;
        let vlan = match vlan {
            "-" => None,
            vlan => Some(vlan.parse().ok()?),
        };
        let mut words = value.splitn(3, ' ');
        let (container, interface) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let container_name = words.next()?.into();
        let holder = Holder { key: PortKey { container, interface }, container_name };
        Some(Self { bridge: bridge.clone(), vlan, address: address.parse().ok()?, holder })
    }

    /// What it claims.
    pub(crate) fn claim(&self) -> Claim {
        let (bridge, address) = (self.bridge.clone(), self.address);
        Claim::Address { bridge, address, vlans: self.vlan.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_other_pairs_are_none() {
        let bridge: LinkName = "ovsbr0".parse().unwrap();
        let key = PortKey {
            container: "a".repeat(64).parse().unwrap(),
            interface: "eth1".parse().unwrap(),
        };
        let holder = Holder { key, container_name: "web 1".into() };
        for (vlan, address) in [(None, "10.0.0.1"), (Some("7"), "fd00::1")] {
            let vlan = vlan.map(|vlan| vlan.parse().unwrap());
            let address = address.parse().unwrap();
            let lease = Lease { bridge: bridge.clone(), vlan, address, holder: holder.clone() };
            assert_eq!(Lease::read(&bridge, &lease.key(), &lease.value()), Some(lease));
        }
        for (key, value) in [
            ("bridge-id", "ovsbr0"),
            ("ovs-port-manager:lease:-:10.0.0.1", "short eth1 web"),
            ("ovs-port-manager:lease:x:10.0.0.1", "web"),
            ("ovs-port-manager:lease:-:here", "web"),
        ] {
            assert_eq!(Lease::read(&bridge, key, value), None, "{key}={value}");
        }
    }
}
