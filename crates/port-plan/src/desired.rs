//! From a container to what it is to have.

use std::fmt;

use crate::container::{Container, Network, Start, State};
use crate::labels::{self, Addressing, Mistake, Wanted};
use crate::mac::MacAddress;
use crate::port_config::PortConfig;
use crate::spec::{Defaults, PortKey, PortSpec};

/// What a container is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Nothing: it does not run, is gone, or has no label of ours.
    Nothing,
    /// Ports, one for each interface; at least one, in the order of the interfaces' names.
    Ports(Vec<PortSpec>),
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
            Ok(wanted) if wanted.is_empty() => return Self::Nothing,
            Ok(wanted) => wanted,
            Err(mistakes) => return Self::Mistaken(mistakes),
        };
        match &container.network {
            Network::Own => {}
            Network::Host => return Self::Refused(Refusal::HostNetwork),
            Network::Container(other) => {
                return Self::Refused(Refusal::ContainerNetwork(other.clone()));
            }
        }
        let spec = |wanted| port(container, start, defaults, wanted);
        Self::Ports(wanted.into_iter().map(spec).collect())
    }

    /// The ports that it is to have.
    pub fn ports(&self) -> &[PortSpec] {
        match self {
            Self::Ports(specs) => specs,
            Self::Nothing | Self::Mistaken(_) | Self::Refused(_) => &[],
        }
    }
}

fn port(container: &Container, start: &Start, defaults: &Defaults, wanted: Wanted) -> PortSpec {
    let addresses = match &wanted.addressing {
        Addressing::Given(addresses) => addresses.clone(),
        Addressing::None => Vec::new(),
    };
    let routes = wanted.all_routes(&addresses);
    let Wanted {
        bridge,
        interface,
        addressing: _,
        gateways: _,
        routes: _,
        metric: _,
        mtu,
        mac,
        vlan,
        trunks,
        vlan_mode,
        ofport_request,
    } = wanted;
    let derived = || match addresses.first() {
        Some(first) => MacAddress::derive(&bridge, vlan, &first.addr()),
        None => MacAddress::derive(&bridge, vlan, &format!("{} {interface}", container.name)),
    };
    PortSpec {
        mac: mac.unwrap_or_else(derived),
        key: PortKey { container: container.id.clone(), interface },
        container_name: container.name.clone(),
        start: start.clone(),
        bridge,
        bridge_datapath: defaults.datapath,
        config: PortConfig { tag: vlan, trunks, vlan_mode, ofport_request },
        mtu,
        addresses,
        routes,
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
