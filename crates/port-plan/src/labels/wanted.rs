//! What the labels of one interface ask for.

use std::net::IpAddr;

use ipnet::IpNet;

use super::judge;
use crate::kilobits::Kilobits;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::route::Route;
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
    /// The interface's addresses.
    pub addressing: Addressing,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Other routes, as yet without metric.
    pub routes: Vec<Route>,
    /// Metric of all routes.
    pub metric: Option<u32>,
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
    /// What the container may send in a second.
    pub ingress_rate: Option<Kilobits>,
    /// What it may send at once.
    pub ingress_burst: Option<Kilobits>,
    /// What is sent to it in a second.
    pub egress_rate: Option<Kilobits>,
    /// The port that gets a copy of all traffic.
    pub mirror: Option<LinkName>,
    /// The OpenFlow port number to have.
    pub ofport_request: Option<u16>,
}

/// Where an interface's addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// The label gives them.
    Given(Vec<IpNet>),
    /// The pools of its bridge and VLAN.
    Auto,
    /// It is to have none; the container sees to that itself, by DHCP, say.
    None,
}

impl Wanted {
    /// All routes through the interface, with these addresses.
    pub(crate) fn all_routes(&self, addresses: &[IpNet]) -> Vec<Route> {
        let defaults = self.gateways.iter().copied().map(Route::default_via);
        let finish = |route: Route| Route {
            onlink: route.via.is_some_and(|via| judge::is_onlink(via, addresses)),
            ..route.with_metric(self.metric)
        };
        self.routes.iter().copied().chain(defaults).map(finish).collect()
    }

    /// What is wanted where no label says anything, for an interface that a label's name has named.
    pub(super) fn of(interface: Option<&LinkName>, defaults: &Defaults) -> Self {
        Self {
            interface: interface.unwrap_or(&defaults.interface).clone(),
            bridge: defaults.bridge.clone(),
            addressing: Addressing::Given(Vec::new()),
            gateways: Vec::new(),
            routes: Vec::new(),
            metric: None,
            mtu: None,
            mac: None,
            vlan: None,
            trunks: Trunks::default(),
            vlan_mode: None,
            ingress_rate: None,
            ingress_burst: None,
            egress_rate: None,
            mirror: None,
            ofport_request: None,
        }
    }
}
