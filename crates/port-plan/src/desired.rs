//! From a container to what it is to have.

use std::fmt;

use crate::container::{Container, Network, State};
use crate::labels::{self, Mistake};
use crate::mac::MacAddress;
use crate::spec::{Defaults, PortKey, PortSpec};

/// What a container is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Nothing: it does not run, is gone, or has no label of ours.
    Nothing,
    /// A port.
    Port(PortSpec),
    /// Nothing, because its labels have mistakes; never an empty list.
    Mistaken(Vec<Mistake>),
    /// Nothing, because what it asks for is not allowed.
    Refused(Refusal),
}

/// Why a container gets no port although its labels are sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It shares the host's network namespace; its interface would be the host's.
    HostNetwork,
    /// It shares another container's network namespace.
    ContainerNetwork(String),
    /// Somebody else has made a port for the same interface.
    ForeignPort(String),
}

impl Desired {
    /// What this container is to have.
    pub fn of(container: &Container, defaults: &Defaults) -> Self {
        let State::Running { pid: _, start } = &container.state else {
            return Self::Nothing;
        };
        let wanted = match labels::parse(&container.labels, defaults) {
            Ok(None) => return Self::Nothing,
            Ok(Some(wanted)) => wanted,
            Err(mistakes) => return Self::Mistaken(mistakes),
        };
        match &container.network {
            Network::Own => {}
            Network::Host => return Self::Refused(Refusal::HostNetwork),
            Network::Container(other) => {
                return Self::Refused(Refusal::ContainerNetwork(other.clone()));
            }
        }
        let labels::Wanted { bridge, interface, addresses, gateways, mtu, mac, vlan } = wanted;
        let first = addresses.first().map(ipnet::IpNet::addr);
        let Some(mac) = mac.or_else(|| Some(MacAddress::derive(&bridge, vlan, first?))) else {
            return Self::Nothing; // `parse` gives at least one address.
        };
        Self::Port(PortSpec {
            key: PortKey { container: container.id.clone(), interface },
            container_name: container.name.clone(),
            start: start.clone(),
            bridge,
            bridge_datapath: defaults.datapath,
            vlan,
            mac,
            mtu,
            addresses,
            gateways,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str(
                "it shares the host's network namespace, where no interface of a container may be \
                 made; start it with a network of its own (--network none, say)",
            ),
            Self::ContainerNetwork(other) => write!(
                f,
                "it shares the network namespace of container {other}; set the labels there"
            ),
            Self::ForeignPort(port) => write!(
                f,
                "port {port} was made for the same interface by somebody else; remove it \
                 (ovs-vsctl del-port {port}) or the labels"
            ),
        }
    }
}
