//! Whether the labels of services are right, each service's by themselves and all together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use port_plan::labels::{self, Addressing, Wanted};
use port_plan::{Datapath, Defaults, LinkName, MacAddress, Refusal, Vlan};

use super::load::Loader;
use super::project::{Label, Placed, Service};
use super::shown;
use super::value::Place;

/// Whether a service has labels of ours.
pub(super) fn is_ours(service: &Service) -> bool {
    labels::concern_us(service.labels.keys().map(String::as_str))
}

/// Reports all mistakes in the services' labels.
pub(super) fn judge(loader: &mut Loader<'_>, services: &[Service]) {
    let Some(defaults) = defaults() else { return };
    let mut claims = Claims::new();
    for service in services {
        replicas(loader, service);
        lookalikes(loader, service);
        if !is_ours(service) {
            continue;
        }
        let wanted = labels_of(loader, service, &defaults);
        if !namespace(loader, service) {
            continue;
        }
        for wanted in &wanted {
            interface(loader, service, wanted);
        }
        if !matches!(containers(service), Some((0, _))) {
            alone(loader, service, &wanted, &mut claims);
        }
    }
}

/// Labels that are somebody else's, but look as if they were meant to be ours.
fn lookalikes(loader: &mut Loader<'_>, service: &Service) {
    for (name, label) in &service.labels {
        let lower = name.trim_start().to_lowercase();
        let meant =
            ["ovs.", "ovs_", "ovs-", "ovs/", "ovs:"].iter().any(|form| lower.starts_with(form));
        if meant && !name.starts_with(labels::PREFIX) {
            let message = format!("{}: does not begin with ovs. and does nothing", shown(name));
            loader.warn(&label.place, Some(&service.name), message);
        }
    }
}

/// What the labels ask for; nothing if they have mistakes, which are reported.
fn labels_of(loader: &mut Loader<'_>, service: &Service, defaults: &Defaults) -> Vec<Wanted> {
    let values = service.labels.iter().map(|(name, label)| (name.clone(), label.value.clone()));
    let mistakes = match labels::parse(&values.collect(), defaults) {
        Ok(wanted) => {
            for (name, label) in &service.labels {
                for variable in label.unset.iter().filter(|_| name.starts_with(labels::PREFIX)) {
                    let message = format!("{name}: the variable {variable} is not set");
                    loader.warn(&label.place, Some(&service.name), message);
                }
            }
            return wanted;
        }
        Err(mistakes) => mistakes,
    };
    let first = service.labels.iter().find(|(label, _)| label.starts_with(labels::PREFIX));
    for mistake in mistakes {
        let label = service.labels.get(&mistake.label);
        let mut message = mistake.to_string();
        for variable in label.iter().flat_map(|label| &label.unset) {
            message.push_str(&format!(" (the variable {variable} is not set)"));
        }
        if let Some(label) = label.or(first.map(|(_, label)| label)) {
            loader.tell(&label.place, Some(&service.name), message);
        }
    }
    Vec::new()
}

/// Whether the container has a network namespace of its own, as it must.
fn namespace(loader: &mut Loader<'_>, service: &Service) -> bool {
    let Some(mode) = &service.network_mode else { return true };
    let refusal = match mode.text.split_once(':') {
        Some(("container" | "service", other)) => Some(Refusal::ContainerNetwork(shown(other))),
        _ => (mode.text == "host").then_some(Refusal::HostNetwork),
    };
    let is_own = refusal.is_none();
    if let Some(refusal) = refusal {
        loader.tell(&mode.place, Some(&service.name), refusal.to_string());
    }
    if let Some(place) = &service.has_networks {
        let message = "network_mode and networks: Docker Compose takes one of them only";
        loader.tell(place, Some(&service.name), message.to_owned());
    }
    is_own
}

/// The interface must not be one that Docker makes.
fn interface(loader: &mut Loader<'_>, service: &Service, wanted: &Wanted) {
    let mode = service.network_mode.as_ref().map(|mode| mode.text.as_str());
    let numbered = match mode {
        None => service.interfaces.numbered,
        Some("none" | "host") => 0,
        Some(mode) if mode.contains(':') => 0,
        Some(_) => 1,
    };
    let name = wanted.interface.to_string();
    let number = name.strip_prefix("eth").and_then(|number| number.parse::<usize>().ok());
    let is_numbered =
        number.is_some_and(|number| number < numbered && format!("eth{number}") == name);
    let is_named = mode.is_none() && service.interfaces.named.contains(&name);
    if !is_numbered && !is_named {
        return;
    }
    let message = format!(
        "{name} is the interface of one of Docker's own networks; give ovs.interface another name, \
         or the service network_mode: none"
    );
    let naming = service.labels.iter().find(|(label, value)| {
        label.as_str() == "ovs.interface" && value.value.trim() == name
            || label.starts_with(&format!("{}{name}.", labels::PREFIX))
    });
    let place = naming.map(|(_, label)| &label.place).or_else(|| first(service));
    if let Some(place) = place {
        loader.tell(place, Some(&service.name), message);
    }
}

fn first(service: &Service) -> Option<&Place> {
    let mut labels = service.labels.iter();
    let label: Option<(_, &Label)> = labels.find(|(name, _)| name.starts_with(labels::PREFIX));
    label.map(|(_, label)| &label.place)
}

/// How many containers a service is to have.
fn number(placed: Option<&Placed>) -> Option<u64> {
    placed?.text.trim().parse().ok()
}

fn containers(service: &Service) -> Option<(u64, &Placed)> {
    let placed = service.scale.as_ref().or(service.replicas.as_ref())?;
    Some((number(Some(placed))?, placed))
}

/// What Docker Compose itself refuses about the number of containers.
fn replicas(loader: &mut Loader<'_>, service: &Service) {
    let (scale, replicas) = (number(service.scale.as_ref()), number(service.replicas.as_ref()));
    if let (Some(scale), Some(replicas), Some(at)) = (scale, replicas, &service.scale)
        && scale != replicas
    {
        let message = format!("scale is {scale}, and deploy.replicas is {replicas}");
        loader.tell(&at.place, Some(&service.name), message);
    }
    if let (Some((2.., _)), Some(name)) = (containers(service), &service.container_name) {
        let message = format!("several containers cannot all have the name {}", shown(&name.text));
        loader.tell(&name.place, Some(&service.name), message);
    }
}

/// Something that one interface alone may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Address(LinkName, Option<Vlan>, IpAddr),
    Mac(LinkName, MacAddress),
    Ofport(LinkName, u16),
}

impl Claim {
    fn shown(&self) -> String {
        let vlan =
            |vlan: &Option<Vlan>| vlan.map(|vlan| format!(" VLAN {vlan}")).unwrap_or_default();
        match self {
            Self::Address(bridge, tag, address) => {
                format!("the address {address} on {bridge}{}", vlan(tag))
            }
            Self::Mac(bridge, mac) => format!("the MAC address {mac} on {bridge}"),
            Self::Ofport(bridge, number) => {
                format!("the OpenFlow port number {number} on {bridge}")
            }
        }
    }

    /// The key of the label that makes it.
    fn key(&self) -> &'static str {
        match self {
            Self::Address(..) => "ip_address",
            Self::Mac(..) => "mac_address",
            Self::Ofport(..) => "ofport_request",
        }
    }
}

/// Who made each claim: the service's name, its profiles and where.
type Claims<'s> = BTreeMap<Claim, (&'s Service, &'s Place)>;

fn claims_of(wanted: &Wanted) -> Vec<Claim> {
    let bridge = &wanted.bridge;
    let mut claims = Vec::new();
    if let Addressing::Given(addresses) = &wanted.addressing {
        let claim =
            |address: &ipnet::IpNet| Claim::Address(bridge.clone(), wanted.vlan, address.addr());
        claims.extend(addresses.iter().map(claim));
    }
    claims.extend(wanted.mac.map(|mac| Claim::Mac(bridge.clone(), mac)));
    claims.extend(wanted.ofport_request.map(|number| Claim::Ofport(bridge.clone(), number)));
    claims
}

/// What one interface alone may have is asked for once.
fn alone<'s>(
    loader: &mut Loader<'_>,
    service: &'s Service,
    wanted: &[Wanted],
    claims: &mut Claims<'s>,
) {
    let several = containers(service).filter(|(number, _)| *number > 1);
    for wanted in wanted {
        for claim in claims_of(wanted) {
            let own = [
                format!("{}{}.{}", labels::PREFIX, wanted.interface, claim.key()),
                format!("{}{}", labels::PREFIX, claim.key()),
            ];
            let label = own.iter().find_map(|name| service.labels.get(name));
            let Some(place) = label.map(|label| &label.place).or_else(|| first(service)) else {
                continue;
            };
            if let Some((number, at)) = several {
                let message = format!("{number} replicas would all have {}", claim.shown());
                loader.tell(&at.place, Some(&service.name), message);
            }
            match claims.get(&claim) {
                Some((other, at)) => conflict(loader, service, place, &claim, other, at),
                None => {
                    claims.insert(claim, (service, place));
                }
            }
        }
    }
}

fn conflict(
    loader: &mut Loader<'_>,
    service: &Service,
    place: &Place,
    claim: &Claim,
    other: &Service,
    at: &Place,
) {
    let file = shown(&at.file.to_string_lossy());
    let whose = match service.name == other.name {
        true => "another interface of its own".to_owned(),
        false => format!("service {} ({file}:{})", shown(&other.name), at.line),
    };
    let message = format!("{whose} has {} already", claim.shown());
    // Services without a profile in common need not run at the same time.
    let apart = !service.profiles.is_empty()
        && !other.profiles.is_empty()
        && !service.profiles.iter().any(|profile| other.profiles.contains(profile));
    if apart {
        loader.warn(place, Some(&service.name), format!("{message}, in another profile"));
    } else {
        loader.tell(place, Some(&service.name), message);
    }
}

/// What labels leave unsaid has no bearing on whether they are right.
fn defaults() -> Option<Defaults> {
    Some(Defaults {
        bridge: "ovsbr0".parse().ok()?,
        interface: "eth1".parse().ok()?,
        datapath: Datapath::Netdev,
    })
}
