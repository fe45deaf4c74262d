//! From a container to what it is to have.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::adopt::Difference;
use crate::container::{Container, Network, Start, State};
use crate::labels::{self, Addressing, Mistake, Wanted};
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::policy::Denial;
use crate::pool::Pool;
use crate::port_config::PortConfig;
use crate::provenance::ImageUnknown;
use crate::registry::{Claim, Conflict, NumberTaken, Registry, Taken};
use crate::reserved::{self, Reservation};
use crate::rules::Rules;
use crate::spec::{PortKey, PortSpec};
use crate::trunks::Trunks;
use crate::vlan::Vlan;
use crate::vlans::Vlans;

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
    ForeignPort {
        /// Its name.
        port: LinkName,
        /// What keeps it from being taken over, besides that this is not switched on.
        difference: Option<Difference>,
    },
    /// The configuration allows no mirror to this port.
    MirrorPort(LinkName),
    /// All its labels are from its image, and the configuration does not trust those.
    ImageLabels(Vec<String>),
    /// Nobody can tell which of its labels are its image's, and the configuration does not trust those.
    ImageUnknown(ImageUnknown),
    /// The configuration's policy does not allow it.
    Policy(Denial),
    /// Another interface holds an address, the MAC address or the OpenFlow number.
    Taken(Conflict),
    /// A port of the switch has the OpenFlow number.
    NumberTaken(NumberTaken),
    /// The host or the configuration has an address or the MAC address.
    Reserved(Reservation),
    /// There is no pool for bridge and VLAN.
    NoPool {
        /// The bridge.
        bridge: LinkName,
        /// The VLAN.
        vlan: Option<Vlan>,
    },
    /// All addresses of the pools are taken.
    PoolExhausted(String),
    /// A label does not go together with the address from the pool.
    Misfit(String),
}

impl Desired {
    /// What this container is to have; takes from the registry what that needs.
    pub fn of(container: &Container, rules: &Rules, registry: &mut Registry) -> Self {
        let State::Running { pid: _, start } = &container.state else {
            return Self::Nothing;
        };
        let labels = match trusted(container, rules) {
            Ok(labels) => labels,
            Err(refusal) => return Self::Refused(refusal),
        };
        let wanted = match labels::parse(&labels, &rules.defaults) {
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
        ports.specs.reserve_exact(wanted.len());
        for wanted in wanted {
            let interface = wanted.interface.clone();
            match admit(container, start, wanted, rules, registry) {
                Ok(spec) => ports.specs.push(spec),
                Err(refusal) => ports.refused.push((interface, refusal)),
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

/// The labels that count.
fn trusted(container: &Container, rules: &Rules) -> Result<BTreeMap<String, String>, Refusal> {
    let mut labels = container.labels.clone();
    if rules.trust_image_labels {
        return Ok(labels);
    }
    if let Some(unknown) = container.image_unknown() {
        return Err(Refusal::ImageUnknown(unknown.clone()));
    }
    let ignored: Vec<_> = container.labels_of_image().collect();
    for name in &ignored {
        labels.remove(*name);
    }
    if ignored.is_empty() || labels::concern_us(labels.keys().map(String::as_str)) {
        return Ok(labels);
    }
    Err(Refusal::ImageLabels(ignored.into_iter().map(str::to_owned).collect()))
}

/// Decides on one interface, and takes what it needs from the registry.
fn admit(
    container: &Container,
    start: &Start,
    mut wanted: Wanted,
    rules: &Rules,
    registry: &mut Registry,
) -> Result<PortSpec, Refusal> {
    let judged = rules.policy.judge(container, rules.trust_image_labels, &wanted);
    let limited = judged.map_err(Refusal::Policy)?;
    // A port without VLANs would carry the frames of all (ovs-vswitchd.conf.db(5), Port column `trunks`).
    if (limited || rules.port_security.contains(&wanted.bridge))
        && wanted.vlan.is_none()
        && wanted.trunks.is_empty()
    {
        wanted.trunks = Trunks::untagged();
    }
    if let Some(output) = &wanted.mirror
        && !rules.mirror_ports.contains(output)
    {
        return Err(Refusal::MirrorPort(output.clone()));
    }
    let addresses = match &wanted.addressing {
        Addressing::Given(addresses) => addresses.clone(),
        Addressing::None => Vec::new(),
        Addressing::Auto => {
            let addresses = assign(container, &wanted, rules, registry)?;
            let gateways = gateways(&wanted, &addresses, rules);
            wanted.gateways.extend(gateways);
            if let Some(problem) = labels::misfits(&wanted, &addresses) {
                return Err(Refusal::Misfit(problem));
            }
            addresses
        }
    };
    let key = PortKey { container: container.id.clone(), interface: wanted.interface.clone() };
    let kept = registry.kept_mac(&key, start).filter(|_| wanted.mac.is_none());
    // A name that makes a MAC address may change while the container runs; the MAC address of its interface must not.
    let held = addresses.is_empty().then(|| registry.mac_of(&key, &wanted.bridge)).flatten();
    let mut spec = port(container, start, rules, wanted, addresses, held);
    if let Some(mac) = kept {
        spec.keep_mac(mac);
    }
    if let Some(reservation) = reserved::reservation(container, &spec, rules, registry) {
        return Err(Refusal::Reserved(reservation));
    }
    match registry.claim(&spec) {
        Ok(()) => Ok(spec),
        Err(Taken::Held(conflict)) => Err(Refusal::Taken(conflict)),
        Err(Taken::Number(taken)) => Err(Refusal::NumberTaken(taken)),
    }
}

/// The pools for an interface.
fn pools<'a>(wanted: &'a Wanted, rules: &'a Rules) -> impl Iterator<Item = &'a Pool> {
    rules.pools.iter().filter(|pool| pool.bridge == wanted.bridge && pool.vlan == wanted.vlan)
}

/// An address of each family that there is a pool for: the one that the interface holds already, or else a free
/// one.
fn assign(
    container: &Container,
    wanted: &Wanted,
    rules: &Rules,
    registry: &mut Registry,
) -> Result<Vec<IpNet>, Refusal> {
    let key = PortKey { container: container.id.clone(), interface: wanted.interface.clone() };
    let vlans = Vlans::of(wanted.vlan, &wanted.trunks, wanted.vlan_mode);
    let claim = |address: &IpNet| Claim::Address {
        bridge: wanted.bridge.clone(),
        address: address.addr(),
        vlans: vlans.clone(),
    };
    let identity = container.identity(rules.trust_image_labels);
    let identity = format!("{identity} {}", wanted.interface);
    let mut addresses = Vec::new();
    for ipv4 in [true, false] {
        let family = || pools(wanted, rules).filter(|pool| pool.prefix.addr().is_ipv4() == ipv4);
        // Pools may overlap.
        let free_in_all = |address: &IpNet| {
            pools(wanted, rules).all(|pool| pool.reserves(address.addr()).is_none())
        };
        let all = || family().flat_map(|pool| pool.candidates(&identity)).filter(free_in_all);
        if family().next().is_none() {
            continue;
        }
        let held = all().find(|address| registry.holds(&claim(address), &key));
        let free = || all().find(|address| !registry.is_taken(&claim(address), &key));
        let Some(address) = held.or_else(free) else {
            let ranges: Vec<_> = family().map(Pool::to_string).collect();
            registry.wait_for_address(&wanted.bridge, wanted.vlan, &container.id);
            return Err(Refusal::PoolExhausted(ranges.join(", ")));
        };
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(Refusal::NoPool { bridge: wanted.bridge.clone(), vlan: wanted.vlan });
    }
    Ok(addresses)
}

/// The gateways of the pools that gave these addresses, for families without one of the labels'.
fn gateways(wanted: &Wanted, addresses: &[IpNet], rules: &Rules) -> Vec<IpAddr> {
    let of = |address: &IpNet| {
        let asked = wanted.gateways.iter().any(|one| one.is_ipv4() == address.addr().is_ipv4());
        let pool = pools(wanted, rules).find(|pool| pool.holds(address.addr()))?;
        pool.gateway.filter(|_| !asked)
    };
    addresses.iter().filter_map(of).collect()
}

fn port(
    container: &Container,
    start: &Start,
    rules: &Rules,
    wanted: Wanted,
    addresses: Vec<IpNet>,
    held: Option<MacAddress>,
) -> PortSpec {
    let routes = wanted.all_routes(&addresses);
    let Wanted {
        bridge,
        interface,
        addressing,
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
        None => {
            let identity = container.identity(rules.trust_image_labels);
            MacAddress::derive(&bridge, vlan, &format!("{identity} {interface}"))
        }
    };
    let mac_given = mac.is_some();
    let mac = mac.or(held).unwrap_or_else(derived);
    let secured = rules.port_security.contains(&bridge);
    PortSpec {
        key: PortKey { container: container.id.clone(), interface },
        container_name: container.name.clone(),
        start: start.clone(),
        bridge,
        bridge_datapath: rules.defaults.datapath,
        config: PortConfig {
            tag: vlan,
            trunks,
            vlan_mode,
            ingress_rate,
            ingress_burst,
            egress_rate,
            ofport_request,
            mirror,
            addresses: addresses.clone(),
            mac: Some(mac),
            kept_mac: None,
            own_labels: container.own_labels(),
            container_name: container.name.clone(),
        },
        secured,
        mac,
        mac_given,
        adopt: rules.adopt,
        mtu,
        addresses,
        detect_duplicates: addressing != Addressing::Auto,
        leased: addressing == Addressing::Auto,
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
            Self::ImageLabels(names) => write!(
                f,
                "labels of its image are ignored ({}); give them to the container, or set image_labels: trust",
                names.join(", ")
            ),
            Self::ImageUnknown(unknown) => unknown.fmt(f),
            Self::Policy(denial) => denial.fmt(f),
            Self::Taken(conflict) => {
                write!(
                    f,
                    "{conflict}; it is granted once that one has stopped, or is removed if the address is from a pool"
                )
            }
            Self::NumberTaken(taken) => {
                write!(f, "{taken}; ask for another one, or leave ovs.ofport_request out")
            }
            Self::Reserved(reservation) => write!(f, "{reservation}; choose another one"),
            Self::NoPool { bridge, vlan } => {
                write!(f, "the configuration has no pool for bridge {bridge}")?;
                vlan.map_or(Ok(()), |vlan| write!(f, " and VLAN {vlan}"))
            }
            Self::PoolExhausted(pool) => write!(
                f,
                "all addresses of the pool {pool} are taken, or kept for stopped containers; one is granted once a \
                 container is removed"
            ),
            Self::Misfit(problem) => f.write_str(problem),
            Self::ForeignPort { port, difference } => {
                let remove =
                    format!("(ovs-vsctl del-port {port}; ip link delete {port}) or the labels");
                match difference {
                    Some(Difference::ByCommand) => write!(
                        f,
                        "port {port} was made for the same interface by the command add-port; remove it \
                         (ovs-port-manager del-port) or the labels"
                    ),
                    None => write!(
                        f,
                        "port {port} was made for the same interface by somebody else; set adopt: true to take it \
                         over as it is, or remove it {remove}"
                    ),
                    Some(difference) => write!(
                        f,
                        "port {port} was made for this container by somebody else and cannot be taken over: \
                         {difference}; remove it {remove}"
                    ),
                }
            }
        }
    }
}
