//! A port's settings, to and from the columns of its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ovsdb::tables::{Interface, Mirror, Port, Qos, VlanMode};
use ovsdb::{Replica, Update};
use port_plan::{
    Kilobits, Lease, LinkName, PortColumn, PortConfig, Start, Stray, Vlan, is_made_up,
};

use super::{is_ours, key};

/// The type of the `QoS` rows that this program makes, and their key for the rate in bits per second.
pub(super) const SHAPER: &str = "linux-htb";
pub(super) const MAX_RATE: &str = "max-rate";

/// What is to be written to a port's rows.
pub(super) struct Columns {
    pub(super) port: Update<Port>,
    pub(super) interface: Update<Interface>,
    /// The rate of a `QoS` row to be made, or that there is to be none.
    pub(super) egress_rate: Option<Option<Kilobits>>,
    /// The output port of a Mirror row to be made, or that there is to be none.
    pub(super) mirror: Option<Option<LinkName>>,
    /// All marks that tell whose port it is are to be written, with the container's name and start.
    pub(super) identity: Option<(Arc<str>, Start)>,
    /// The Port row is to have its own Interface row, and no other.
    pub(super) own_interface: bool,
    /// The addresses that are to be kept.
    pub(super) leases: Vec<Lease>,
    /// Marks of the Interface row (`external_ids`).
    pub(super) marks: BTreeMap<String, String>,
}

impl Columns {
    /// The columns for these settings.
    pub(super) fn of(settings: &[PortColumn]) -> Self {
        let none = Self {
            port: Update::new(),
            interface: Update::new(),
            egress_rate: None,
            mirror: None,
            identity: None,
            own_interface: false,
            leases: Vec::new(),
            marks: BTreeMap::new(),
        };
        settings.iter().fold(none, Self::with)
    }

    fn with(mut self, setting: &PortColumn) -> Self {
        let kilobits = |number: &Option<Kilobits>| number.map_or(0, |one| i64::from(one.get()));
        match setting {
            PortColumn::Tag(vlan) => {
                self.port = self.port.set(Port::TAG, vlan.map(|vlan: Vlan| i64::from(vlan.get())));
            }
            PortColumn::Trunks(trunks) => {
                let trunks: BTreeSet<_> = trunks.iter().map(i64::from).collect();
                self.port = self.port.set(Port::TRUNKS, trunks);
            }
            PortColumn::VlanMode(mode) => {
                let mode = mode.map(|mode| VlanMode::from(mode.as_str().to_owned()));
                self.port = self.port.set(Port::VLAN_MODE, mode);
            }
            PortColumn::IngressRate(rate) => {
                let rate = kilobits(rate);
                self.interface = self.interface.set(Interface::INGRESS_POLICING_RATE, rate);
            }
            PortColumn::IngressBurst(burst) => {
                let burst = kilobits(burst);
                self.interface = self.interface.set(Interface::INGRESS_POLICING_BURST, burst);
            }
            PortColumn::EgressRate(rate) => self.egress_rate = Some(*rate),
            PortColumn::OfportRequest(number) => {
                let number = number.map(i64::from);
                self.interface = self.interface.set(Interface::OFPORT_REQUEST, number);
            }
            PortColumn::Mirror(output) => self.mirror = Some(output.clone()),
            PortColumn::AsMade(Stray::Type) => {
                self.interface = self.interface.set(Interface::TYPE, "");
            }
            PortColumn::AsMade(Stray::MtuRequest) => {
                self.interface = self.interface.set(Interface::MTU_REQUEST, None);
            }
            PortColumn::AsMade(Stray::Interfaces) => self.own_interface = true,
            PortColumn::Leases(leases) => self.leases.extend(leases.iter().cloned()),
            PortColumn::Addresses(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                self.marks.insert(key::IP_ADDRESS.to_owned(), addresses.join(","));
            }
            PortColumn::Identity { container_name, start } => {
                self.identity = Some((container_name.clone(), start.clone()));
            }
            PortColumn::KeptMac(mac) => {
                let mac = mac.map(|mac| mac.to_string()).unwrap_or_default();
                self.marks.insert(key::ADOPTED_MAC.to_owned(), mac);
            }
            PortColumn::Mac(mac) => {
                let mac = mac.map(|mac| mac.to_string()).unwrap_or_default();
                self.marks.insert(key::MAC_ADDRESS.to_owned(), mac);
            }
            PortColumn::ContainerName(name) => {
                self.marks.insert(key::CONTAINER_NAME.to_owned(), name.to_string());
            }
            PortColumn::OwnLabels(labels) => {
                let labels = labels.clone().unwrap_or_default();
                self.marks.insert(key::OWN_LABELS.to_owned(), labels);
            }
        }
        self
    }
}

/// Whether a change of an Interface row may be one of a port's settings: ovs-vswitchd itself writes other
/// columns every now and then.
pub(crate) fn settings_differ(old: &Interface, new: &Interface) -> bool {
    let settings = |row: &Interface| {
        let rates = (row.ingress_policing_rate, row.ingress_policing_burst);
        (row.ofport_request, rates, row.mtu_request)
    };
    old.r#type != new.r#type
        || old.external_ids != new.external_ids
        || settings(old) != settings(new)
}

/// The settings that a port's rows hold.
pub(super) fn read(replica: &Replica, port: &Port, interface: &Interface) -> PortConfig {
    let kilobits = |number: i64| Kilobits::new(u64::try_from(number).ok()?);
    let mark = |key: &str| interface.external_ids.get(key).map_or("", String::as_str);
    PortConfig {
        tag: port.tag.and_then(|tag| tag.to_string().parse().ok()),
        trunks: port.trunks.iter().filter_map(|number| u16::try_from(*number).ok()).collect(),
        vlan_mode: port.vlan_mode.as_ref().and_then(|mode| mode.as_str().parse().ok()),
        ingress_rate: kilobits(interface.ingress_policing_rate),
        ingress_burst: kilobits(interface.ingress_policing_burst),
        egress_rate: qos_of(replica, port).and_then(|qos| rate_of(qos)),
        ofport_request: interface.ofport_request.and_then(|number| number.try_into().ok()),
        mirror: mirror_of(replica, port, mark(key::CONTAINER_ID)),
        addresses: mark(key::IP_ADDRESS)
            .split(',')
            .filter_map(|address| address.parse().ok())
            .collect(),
        mac: mark(key::MAC_ADDRESS).parse().ok(),
        kept_mac: mark(key::ADOPTED_MAC).parse().ok(),
        container_name: mark(key::CONTAINER_NAME).into(),
        own_labels: Some(mark(key::OWN_LABELS).to_owned()).filter(|labels| !labels.is_empty()),
    }
}

/// What else of a port's rows somebody has set.
pub(super) fn strays(port: &Port, interface: &Interface) -> Vec<Stray> {
    let there = [
        (!interface.r#type.is_empty(), Stray::Type),
        (port.interfaces != BTreeSet::from([interface.uuid]), Stray::Interfaces),
        (interface.mtu_request.is_some(), Stray::MtuRequest),
    ];
    there.into_iter().filter(|(there, _)| *there).map(|(_, stray)| stray).collect()
}

/// The `QoS` row of ours that a port has: either mark tells it.
pub(super) fn qos_of<'a>(replica: &'a Replica, port: &Port) -> Option<&'a Arc<Qos>> {
    let qos = replica.table::<Qos>().get(port.qos?)?;
    let row = replica.table::<Interface>().by_name(&port.name)?;
    let container = row.external_ids.get(key::CONTAINER_ID);
    let same = container.is_some() && qos.external_ids.get(key::CONTAINER_ID) == container;
    (is_ours(&qos.external_ids) || same).then_some(qos)
}

/// The rate of a row that is as this program makes them.
fn rate_of(qos: &Qos) -> Option<Kilobits> {
    let bits: u64 = qos.other_config.get(MAX_RATE)?.parse().ok()?;
    let set = qos.r#type == SHAPER && qos.other_config.len() == 1 && qos.queues.is_empty();
    let as_made = set && is_ours(&qos.external_ids) && bits.is_multiple_of(1000);
    as_made.then(|| Kilobits::new(bits / 1000)).flatten()
}

/// Whether a mirror is of a port.
pub(super) fn mirrors(mirror: &Mirror, port: &Port) -> bool {
    mirror.select_src_port.contains(&port.uuid) || mirror.select_dst_port.contains(&port.uuid)
}

/// Whether a mirror of a port is one of ours: its mark tells it, or its name, which is that of the port.
pub(super) fn is_own_mirror(mirror: &Mirror, port: &Port) -> bool {
    let named = || {
        mirror.name == port.name && port.name.parse().is_ok_and(|name: LinkName| is_made_up(&name))
    };
    mirrors(mirror, port) && (is_ours(&mirror.external_ids) || named())
}

/// Where the mirror of ours that a port has leads to, if that mirror is as this program makes them.
fn mirror_of(replica: &Replica, port: &Port, container: &str) -> Option<LinkName> {
    let table = replica.table::<Mirror>();
    let marked = |row: &&Arc<Mirror>| {
        is_ours(&row.external_ids)
            && row.external_ids.get(key::CONTAINER_ID).is_some_and(|id| id == container)
    };
    let all = table.by_external_id(key::CONTAINER_ID, container);
    let unmarked = table.by_name(&port.name).filter(|row| !marked(row));
    let mut ours = all.filter(marked).chain(unmarked).filter(|row| is_own_mirror(row, port));
    let only = BTreeSet::from([port.uuid]);
    let (mirror, None) = (ours.next()?, ours.next()) else { return None };
    let Mirror { select_all, select_src_port, select_dst_port, select_vlan, .. } = &**mirror;
    let as_made = marked(&mirror)
        && mirror.name == port.name
        && !select_all
        && (mirror.output_vlan, mirror.snaplen) == (None, None)
        && *select_src_port == only
        && *select_dst_port == only
        && select_vlan.is_empty();
    let output = replica.table::<Port>().get(mirror.output_port?)?;
    output.name.parse().ok().filter(|_| as_made)
}
