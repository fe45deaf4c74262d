//! What one container wants of the switch: the labels, understood.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::container::{ContainerId, Start};
use crate::flow_rules::{self, FlowRules};
use crate::lease::Lease;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::port_config::PortConfig;
use crate::registry::Holder;
use crate::route::Route;

/// What makes a port the same port: one interface of one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The container's full id (`external_ids:container_id`).
    pub container: ContainerId,
    /// The interface's name inside the container (`external_ids:container_iface`).
    pub interface: LinkName,
}

/// Who forwards a bridge's packets (Bridge column `datapath_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// The kernel's openvswitch module (`system`, also written as the empty string).
    System,
    /// ovs-vswitchd itself, in user space (`netdev`).
    Netdev,
}

/// Why a text is not a [`Datapath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither 'system' nor 'netdev'")]
pub struct InvalidDatapath;

impl Datapath {
    /// The value of the column `datapath_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Netdev => "netdev",
        }
    }
}

impl FromStr for Datapath {
    type Err = InvalidDatapath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "system" | "" => Ok(Self::System),
            "netdev" => Ok(Self::Netdev),
            _ => Err(InvalidDatapath),
        }
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What labels leave unsaid, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The bridge when `ovs.bridge` is not given.
    pub bridge: LinkName,
    /// The container's interface when `ovs.interface` is not given.
    pub interface: LinkName,
    /// What a bridge that does not exist yet is created with.
    pub datapath: Datapath,
}

impl PortSpec {
    /// What is done to the frames that it sends, on a bridge of this datapath.
    pub fn flow_rules(&self, datapath: Datapath) -> FlowRules {
        FlowRules {
            rules: if self.secured { flow_rules::rules(self).into() } else { Arc::default() },
            // The kernel's datapath polices by the Interface's columns.
            limit: flow_rules::limit(self).filter(|_| datapath == Datapath::Netdev),
        }
    }

    /// The addresses that are to be kept for its container.
    pub fn leases(&self) -> Vec<Lease> {
        let (key, container_name) = (self.key.clone(), self.container_name.clone());
        let holder = Holder { key, container_name };
        let lease = |net: &IpNet| Lease {
            bridge: self.bridge.clone(),
            vlan: self.config.tag,
            address: net.addr(),
            holder: holder.clone(),
        };
        self.addresses.iter().filter(|_| self.leased).map(lease).collect()
    }

    /// Whether router advertisements give its interface neither routes nor addresses. One without addresses of ours is
    /// its container's own affair.
    pub fn ignores_advertisements(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Keeps the MAC address that its interface had when it was taken over.
    pub(crate) fn keep_mac(&mut self, mac: MacAddress) {
        self.mac = mac;
        self.config.mac = Some(mac);
        self.config.kept_mac = Some(mac);
    }

    /// Whether it is ready only after its addresses have been found to be free.
    pub fn awaits_detection(&self) -> bool {
        self.detect_duplicates && !self.addresses.is_empty()
    }
}

/// A port that a container wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Whose port it is.
    pub key: PortKey,
    /// The container's name, for people (`external_ids:container_name`).
    pub container_name: Arc<str>,
    /// The start of the container that it belongs to.
    pub start: Start,
    /// The bridge to be on.
    pub bridge: LinkName,
    /// What that bridge is created with if it is missing.
    pub bridge_datapath: Datapath,
    /// The settings of its rows.
    pub config: PortConfig,
    /// Whether it may send its own MAC address and addresses alone.
    pub secured: bool,
    /// The interface's MAC address.
    pub mac: MacAddress,
    /// Whether a label gives it.
    pub mac_given: bool,
    /// Whether a port that somebody else made may be taken over.
    pub adopt: bool,
    /// The interface's MTU in bytes; the kernel's default if `None`.
    pub mtu: Option<u16>,
    /// The interface's addresses; none for a container that sees to that itself.
    pub addresses: Vec<IpNet>,
    /// Whether to find out first that no other host of the link has its addresses (RFC 5227; RFC 4862, section 5.4).
    /// Those from a pool are known to be free.
    pub detect_duplicates: bool,
    /// Whether its addresses are from pools, to be kept for the container.
    pub leased: bool,
    /// Routes through the interface, default ones among them.
    pub routes: Vec<Route>,
}
