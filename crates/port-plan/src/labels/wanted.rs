//! What the labels of one interface ask for.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::spec::Defaults;
use crate::trunks::{Trunks, VlanMode};
use crate::vlan::Vlan;

/// What the labels of one interface ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The interface's name inside the container.
    pub interface: LinkName,
    /// The bridge.
    pub bridge: LinkName,
    /// The interface's addresses, at least one.
    pub addresses: Vec<IpNet>,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// MTU in bytes.
    pub mtu: Option<u16>,
    /// MAC address.
    pub mac: Option<MacAddress>,
    /// Access VLAN, or native VLAN, or the outer VLAN of a tunnel.
    pub vlan: Option<Vlan>,
    /// VLANs of a trunk.
    pub trunks: Trunks,
    /// What the port does with tags.
    pub vlan_mode: Option<VlanMode>,
    /// The OpenFlow port number to have.
    pub ofport_request: Option<u16>,
}

impl Wanted {
    /// What is wanted where no label says anything, for an interface that a label's name has named.
    pub(super) fn of(interface: Option<&LinkName>, defaults: &Defaults) -> Self {
        Self {
            interface: interface.unwrap_or(&defaults.interface).clone(),
            bridge: defaults.bridge.clone(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            mtu: None,
            mac: None,
            vlan: None,
            trunks: Trunks::default(),
            vlan_mode: None,
            ofport_request: None,
        }
    }
}
