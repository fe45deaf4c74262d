//! The settings of a port's rows, as they are wanted and as they are found.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use crate::container::Start;
use crate::kilobits::Kilobits;
use crate::lease::Lease;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::trunks::{Trunks, VlanMode};
use crate::vlan::Vlan;

/// The settings of a port's rows that this program manages (ovs-vswitchd.conf.db(5)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortConfig {
    /// Port column `tag`.
    pub tag: Option<Vlan>,
    /// Port column `trunks`; of a trunk port, all VLANs if there is none.
    pub trunks: Trunks,
    /// Port column `vlan_mode`; without it, a port with a tag is an access port, another one a trunk port.
    pub vlan_mode: Option<VlanMode>,
    /// What the container may send in a second (Interface column `ingress_policing_rate`).
    pub ingress_rate: Option<Kilobits>,
    /// What it may send at once (Interface column `ingress_policing_burst`).
    pub ingress_burst: Option<Kilobits>,
    /// What is sent to it in a second (a `QoS` row of the Port's own).
    pub egress_rate: Option<Kilobits>,
    /// Interface column `ofport_request`.
    pub ofport_request: Option<u16>,
    /// Where a copy of all that the container sends and gets goes: a port of the same bridge (a Mirror row of the
    /// port's own).
    pub mirror: Option<LinkName>,
    /// The addresses that the interface holds (`external_ids:ip_address` of the Interface).
    pub addresses: Vec<IpNet>,
    /// The MAC address that it holds (`external_ids:mac_address` of the Interface).
    pub mac: Option<MacAddress>,
    /// The MAC address that it had when its port was taken over, and keeps in this start of its container
    /// (`external_ids:adopted_mac` of the Interface).
    pub kept_mac: Option<MacAddress>,
    /// Which of the container's labels are its own, if others are its image's (`external_ids:own_labels`).
    pub own_labels: Option<String>,
    /// The container's name, for people (`external_ids:container_name`). It may change while the container runs.
    pub container_name: Arc<str>,
}

/// One of the settings of a port's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortColumn {
    /// See [`PortConfig::tag`].
    Tag(Option<Vlan>),
    /// See [`PortConfig::trunks`].
    Trunks(Trunks),
    /// See [`PortConfig::vlan_mode`].
    VlanMode(Option<VlanMode>),
    /// See [`PortConfig::ingress_rate`].
    IngressRate(Option<Kilobits>),
    /// See [`PortConfig::ingress_burst`].
    IngressBurst(Option<Kilobits>),
    /// See [`PortConfig::egress_rate`].
    EgressRate(Option<Kilobits>),
    /// See [`PortConfig::ofport_request`].
    OfportRequest(Option<u16>),
    /// See [`PortConfig::mirror`].
    Mirror(Option<LinkName>),
    /// See [`PortConfig::addresses`].
    Addresses(Vec<IpNet>),
    /// See [`PortConfig::mac`].
    Mac(Option<MacAddress>),
    /// See [`PortConfig::kept_mac`].
    KeptMac(Option<MacAddress>),
    /// See [`PortConfig::own_labels`].
    OwnLabels(Option<String>),
    /// See [`PortConfig::container_name`].
    ContainerName(Arc<str>),
    /// It is to be as it is made.
    AsMade(Stray),
    /// The addresses that are kept for the container: these are to be written again.
    Leases(Vec<Lease>),
    /// The marks that tell whose port it is: all of them are written.
    Identity {
        /// The container's name.
        container_name: Arc<str>,
        /// The start that it was made for.
        start: Start,
    },
}

/// What somebody else has set of a port, though no label speaks of it, so that it is not what its labels ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// Its Interface row has a `type`: ovs-vswitchd then looks for something else than its link.
    Type,
    /// Its Port row has other `interfaces` than its own: it is a bond, or another port's link has its VLAN.
    Interfaces,
    /// Its Interface row has an `mtu_request`, which ovs-vswitchd gives its link again and again.
    MtuRequest,
}

impl PortConfig {
    /// All settings, each by itself.
    pub fn columns(&self) -> Vec<PortColumn> {
        let Self {
            tag,
            trunks,
            vlan_mode,
            ingress_rate,
            ingress_burst,
            egress_rate,
            ofport_request,
            mirror,
            addresses,
            mac,
            kept_mac,
            own_labels,
            container_name,
        } = self;
        vec![
            PortColumn::Tag(*tag),
            PortColumn::Trunks(trunks.clone()),
            PortColumn::VlanMode(*vlan_mode),
            PortColumn::IngressRate(*ingress_rate),
            PortColumn::IngressBurst(*ingress_burst),
            PortColumn::EgressRate(*egress_rate),
            PortColumn::OfportRequest(*ofport_request),
            PortColumn::Mirror(mirror.clone()),
            PortColumn::Addresses(addresses.clone()),
            PortColumn::Mac(*mac),
            PortColumn::KeptMac(*kept_mac),
            PortColumn::OwnLabels(own_labels.clone()),
            PortColumn::ContainerName(Arc::clone(container_name)),
        ]
    }

    /// The settings that are not what a new row has anyway.
    pub fn given(&self) -> Vec<PortColumn> {
        self.changes_from(&Self::default())
    }

    /// The settings that differ from those found.
    pub fn changes_from(&self, found: &Self) -> Vec<PortColumn> {
        // A number that nobody asked for is Open vSwitch's affair, or that of the flows that name it.
        // A name that the engine did not tell is still the one that it told before.
        let cared = |wanted: &PortColumn| match wanted {
            PortColumn::OfportRequest(number) => number.is_some(),
            PortColumn::ContainerName(name) => !name.is_empty(),
            _ => true,
        };
        let pairs = self.columns().into_iter().zip(found.columns());
        let pairs = pairs.filter(|(wanted, _)| cared(wanted));
        pairs.filter(|(wanted, found)| wanted != found).map(|(wanted, _)| wanted).collect()
    }
}

impl PortColumn {
    /// It tells whose port it is and changes nothing of what the port does.
    pub fn is_mark(&self) -> bool {
        match self {
            Self::Addresses(_)
            | Self::Mac(_)
            | Self::KeptMac(_)
            | Self::OwnLabels(_)
            | Self::ContainerName(_)
            | Self::Identity { .. } => true,
            Self::Tag(_)
            | Self::Trunks(_)
            | Self::VlanMode(_)
            | Self::IngressRate(_)
            | Self::IngressBurst(_)
            | Self::EgressRate(_)
            | Self::OfportRequest(_)
            | Self::AsMade(_)
            | Self::Leases(_)
            | Self::Mirror(_) => false,
        }
    }
}

impl fmt::Display for PortColumn {
    /// As an argument of `ovs-vsctl set`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity { container_name, start: _ } => {
                write!(f, "external_ids:container_name={container_name}")
            }
            Self::Tag(tag) => write!(f, "tag={}", OrNone(tag.as_ref())),
            Self::Trunks(trunks) => {
                write!(f, "trunks={}", OrNone((!trunks.is_empty()).then_some(trunks)))
            }
            Self::VlanMode(mode) => write!(f, "vlan_mode={}", OrNone(mode.as_ref())),
            Self::IngressRate(rate) => {
                write!(f, "ingress_policing_rate={}", rate.map_or(0, Kilobits::get))
            }
            Self::IngressBurst(burst) => {
                write!(f, "ingress_policing_burst={}", burst.map_or(0, Kilobits::get))
            }
            Self::EgressRate(None) => f.write_str("qos=[]"),
            Self::EgressRate(Some(rate)) => write!(f, "qos=linux-htb,max-rate={rate}"),
            Self::OfportRequest(port) => write!(f, "ofport_request={}", OrNone(port.as_ref())),
            Self::Addresses(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(IpNet::to_string).collect();
                write!(f, "external_ids:ip_address={}", addresses.join(","))
            }
            Self::Mac(mac) => write!(f, "external_ids:mac_address={}", OrNone(mac.as_ref())),
            Self::KeptMac(mac) => write!(f, "external_ids:adopted_mac={}", OrNone(mac.as_ref())),
            Self::OwnLabels(labels) => {
                write!(f, "external_ids:own_labels={}", OrNone(labels.as_ref()))
            }
            Self::ContainerName(name) => {
                write!(f, "external_ids:container_name={}", name.escape_debug())
            }
            Self::Mirror(output) => write!(f, "mirror={}", OrNone(output.as_ref())),
            Self::AsMade(Stray::Type) => f.write_str("type=\"\""),
            Self::AsMade(Stray::Interfaces) => f.write_str("interfaces=its own"),
            Self::AsMade(Stray::MtuRequest) => f.write_str("mtu_request=[]"),
            Self::Leases(leases) => {
                let addresses: Vec<_> = leases.iter().map(|it| it.address.to_string()).collect();
                write!(f, "kept={}", addresses.join(","))
            }
        }
    }
}

/// A value, or the empty set as `ovs-vsctl` writes it.
struct OrNone<'a, T>(Option<&'a T>);

impl<T: fmt::Display> fmt::Display for OrNone<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("[]"),
        }
    }
}
