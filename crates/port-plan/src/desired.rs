//! From a container to what it is to have.

use std::fmt;

use crate::container::{Container, Network, Start, State};
use crate::labels::{self, Addressing, Mistake, Wanted};
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::port_config::PortConfig;
use crate::rules::Rules;
use crate::spec::{Defaults, PortKey, PortSpec};

/// What a container is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Nothing: it does not run, is gone, or has no label of ours.
    Nothing,
    /// Ports, each interface by itself.
    Ports(DesiredPorts),
    /// Nothing, because its labels have mistakes; never an empty list.
    Mistaken(Vec<Mistake>),
    /// Nothing, because what it asks for is not allowed.
    Refused(Refusal),
}

/// What the interfaces of a container are to have, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredPorts {
    /// The ports to be had.
    pub specs: Vec<PortSpec>,
    /// The interfaces that get none, and why.
    pub refused: Vec<(LinkName, Refusal)>,
}

/// Why a container or one of its interfaces gets no port although its labels are sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It shares the host's network namespace; its interface would be the host's.
    HostNetwork,
    /// It shares another container's network namespace.
    ContainerNetwork(String),
    /// Somebody else has made a port for the same interface.
    ForeignPort(String),
    /// The configuration allows no mirror to this port.
    MirrorPort(LinkName),
}

impl Desired {
    /// What this container is to have.
    pub fn of(container: &Container, rules: &Rules) -> Self {
        let State::Running { pid: _, start } = &container.state else {
            return Self::Nothing;
        };
        let wanted = match labels::parse(&container.labels, &rules.defaults) {
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
        let mut ports = DesiredPorts::default();
        for wanted in wanted {
            match allowed(&wanted, rules) {
                Ok(()) => ports.specs.push(port(container, start, &rules.defaults, wanted)),
                Err(refusal) => ports.refused.push((wanted.interface, refusal)),
            }
        }
        Self::Ports(ports)
    }

    /// The ports that it is to have.
    pub fn specs(&self) -> &[PortSpec] {
        self.ports().map_or(&[], |ports| &ports.specs)
    }

    /// The interfaces that get no port, and why.
    pub fn refused(&self) -> &[(LinkName, Refusal)] {
        self.ports().map_or(&[], |ports| &ports.refused)
    }

    fn ports(&self) -> Option<&DesiredPorts> {
        match self {
            Self::Ports(ports) => Some(ports),
            Self::Nothing | Self::Mistaken(_) | Self::Refused(_) => None,
        }
    }
}

/// What an interface asks for is within the rules.
fn allowed(wanted: &Wanted, rules: &Rules) -> Result<(), Refusal> {
    match &wanted.mirror {
        Some(output) if !rules.mirror_ports.contains(output) => {
            Err(Refusal::MirrorPort(output.clone()))
        }
        _ => Ok(()),
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
        ingress_rate,
        ingress_burst,
        egress_rate,
        mirror,
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
        config: PortConfig {
            tag: vlan,
            trunks,
            vlan_mode,
            ingress_rate,
            ingress_burst,
            egress_rate,
            ofport_request,
            mirror,
        },
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
            Self::MirrorPort(port) => write!(
                f,
                "the configuration allows no mirror to {port}; its operator may list it in mirror_ports"
            ),
            Self::ForeignPort(port) => write!(
                f,
                "port {port} was made for the same interface by somebody else; remove it \
                 (ovs-vsctl del-port {port}) or the labels"
            ),
        }
    }
}
