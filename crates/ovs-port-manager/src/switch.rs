//! The switch: what its database says, and the transactions that change it.
//!
//! Rows become what the planner observes, steps become transactions. Nothing is decided here.

mod adopt;
mod bridge;
mod by_hand;
mod columns;
mod engine;
mod facts;
mod inventory;
mod lease;
mod port;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use ovsdb::tables::{Bridge, Controller, Interface, Mirror, OpenVSwitch, Port, Qos};
use ovsdb::{
    Change, Client, Lock, LockState, Monitor, Mutation, Replica, Row, State, Transaction, Uuid,
};
use port_plan::{
    ContainerId, Datapath, Identity, Leftover, LeftoverRow, LinkName, Numbers, ObservedLink,
    ObservedPort, Owner, PortKey, Readiness, RowMarks, Start, identify, is_made_up,
};
use tokio::sync::{Mutex, mpsc, watch};

pub(crate) use by_hand::{ByHandIds, ByHandNow, NamedPort, is_by_hand};
pub(crate) use columns::settings_differ;
pub(crate) use facts::link_differs;
pub(crate) use inventory::{Broken, Inventory};
pub(crate) use lease::lost as lost_leases;

/// Keys of an Interface's `external_ids`. The first two are those of `ovs-docker`.
mod key {
    pub(super) const ADOPTED_MAC: &str = "adopted_mac";
    pub(super) const CONTAINER_ID: &str = "container_id";
    pub(super) const CONTAINER_IFACE: &str = "container_iface";
    pub(super) const CONTAINER_NAME: &str = "container_name";
    pub(super) const CONTAINER_START: &str = "container_start";
    pub(super) const IP_ADDRESS: &str = "ip_address";
    pub(super) const MAC_ADDRESS: &str = "mac_address";
    pub(super) const OWNER: &str = "owner";
    pub(super) const OWN_LABELS: &str = "own_labels";
}

/// The value of `external_ids:owner` that makes a row ours.
const OWNER: &str = "ovs-port-manager";
/// The lock (RFC 7047, section 4.1.8) that the one instance has that may change anything.
const LOCK: &str = "ovs_port_manager";

/// Why the switch could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {what} in OVSDB")]
    Transact { what: String, source: ovsdb::TransactError },
    #[error("bridge {0} has disappeared")]
    NoBridge(LinkName),
    #[error("port {0} has disappeared")]
    NoPort(LinkName),
    #[error(
        "bridge {bridge} has no port {output} to mirror to; add it (ovs-vsctl add-port {bridge} {output})"
    )]
    NoOutput { output: LinkName, bridge: LinkName },
    #[error(
        "{name} is a fake bridge, VLAN {vlan} of {parent}, or a port in that VLAN; set ovs.bridge={parent} and ovs.vlan={vlan}"
    )]
    FakeBridge { name: LinkName, parent: String, vlan: i64 },
    #[error(
        "{name} is a port of bridge {bridge} and cannot be a bridge; choose another name with ovs.bridge"
    )]
    PortNamed { name: LinkName, bridge: String },
    #[error(
        "ovs-vswitchd cannot make bridge {bridge} ({error}), which is removed again; choose another name with ovs.bridge"
    )]
    BridgeFailed { bridge: LinkName, error: String },
    #[error("the database has no Open_vSwitch row; initialise it (ovs-vsctl init)")]
    NotInitialised,
}

/// What the mark of a link says: whose it is, and of which start.
type LinkMark = (PortKey, Start);

/// The marks of a port, for its Interface row.
pub(crate) struct Ids<'a> {
    pub(crate) key: &'a PortKey,
    pub(crate) container_name: &'a str,
    pub(crate) start: &'a Start,
}

/// A connection to the switch's database, with a live replica. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Switch {
    client: Client,
    endpoint: ovsdb::Endpoint,
    /// Held while a bridge is created, so that many first ports create it once.
    creating: Arc<Mutex<()>>,
    /// The engine whose containers ports are made for, once it has told.
    engine: Arc<OnceLock<String>>,
    /// Held as long as there is a clone of this. Commands have none: they change only what no daemon does.
    lock: Option<Arc<Lock>>,
}

impl Switch {
    /// Connects and reads the database.
    pub(crate) async fn connect(endpoint: &ovsdb::Endpoint) -> Result<Self, ovsdb::ConnectError> {
        let monitor = Monitor::new("Open_vSwitch")
            .table::<OpenVSwitch>()
            .table::<Bridge>()
            .table::<Controller>()
            .table::<Port>()
            .table::<Interface>()
            .table::<Qos>()
            .table::<Mirror>()
            // Nobody reads these, and with many ports they are a good part of the replica and of its news.
            .without(Port::OTHER_CONFIG)
            .without(Interface::MAC_IN_USE)
            .without(Interface::IFINDEX)
            .without(Interface::MTU)
            .index_external_id(key::CONTAINER_ID)
            .index_external_id(key::OWNER)
            .index_external_id(by_hand::CONTAINER);
        let client = Client::connect(endpoint.clone(), monitor).await?;
        Ok(Self {
            client,
            endpoint: endpoint.clone(),
            creating: Arc::default(),
            engine: Arc::default(),
            lock: None,
        })
    }

    /// Asks for the lock; returns whether this instance may change anything, and each change of that. The
    /// server sees to it, too.
    pub(crate) fn claim(&mut self) -> Result<watch::Receiver<LockState>, ovsdb::LockError> {
        let lock = self.client.lock(LOCK)?;
        let mandate = lock.state();
        self.lock = Some(lock.into());
        Ok(mandate)
    }

    /// Whether this instance may change anything, as far as the server has told; commands always may.
    pub(crate) fn may_act(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.is_held())
    }

    /// Where the database is.
    pub(crate) fn endpoint(&self) -> &ovsdb::Endpoint {
        &self.endpoint
    }

    /// Whether the database is connected, and each change of that.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.client.state()
    }

    /// All changes of a table's rows; first, those that are there.
    pub(crate) fn changes<R: Row>(&self) -> mpsc::UnboundedReceiver<Change<R>> {
        self.client.subscribe()
    }

    /// The container that a port belongs to.
    pub(crate) fn container_of_port(&self, port: Uuid) -> Option<ContainerId> {
        self.client.read(|replica| {
            let port = replica.table::<Port>().get(port)?;
            container_of(&**replica.table::<Interface>().by_name(&port.name)?)
        })
    }

    /// The datapath of a bridge, if the bridge exists.
    pub(crate) fn bridge(&self, name: &LinkName) -> Option<Datapath> {
        self.client.read(|replica| {
            let bridge = replica.table::<Bridge>().by_name(name.as_str())?;
            // A datapath type of a special build does its own forwarding, as netdev does.
            Some(bridge.datapath_type.parse().unwrap_or(Datapath::Netdev))
        })
    }

    /// The names of all bridges.
    pub(crate) fn bridges(&self) -> Vec<LinkName> {
        self.client.read(|replica| {
            let bridges = replica.table::<Bridge>().iter();
            bridges.filter_map(|bridge| bridge.name.parse().ok()).collect()
        })
    }

    /// The ports of a container, and those of others that bear its id. `links` are its links; `mark` tells what the
    /// mark of any link says.
    pub(crate) fn ports_of(
        &self,
        container: &ContainerId,
        links: &[ObservedLink],
        mark: impl Fn(&LinkName) -> Option<(PortKey, Start)>,
    ) -> Vec<ObservedPort> {
        let of_link = |link: &ObservedLink| {
            let (container, interface) = (container.clone(), link.interface.clone());
            (PortKey { container, interface }, link.start.clone())
        };
        self.client.read(|replica| {
            let table = replica.table::<Interface>();
            let named = links.iter().filter_map(|link| table.by_name(link.name.as_str()));
            let mut rows: Vec<_> = interfaces_of(replica, container).chain(named).collect();
            rows.sort_by_key(|row| row.uuid);
            rows.dedup_by_key(|row| row.uuid);
            let port = |row: &Arc<Interface>| {
                let name: LinkName = row.name.parse().ok()?;
                let own = links.iter().find(|link| link.name == name).map(of_link);
                let link = own.or_else(|| mark(&name));
                identified(replica, container, row, link.as_ref())
            };
            rows.into_iter().filter_map(port).collect()
        })
    }

    /// Tells whose a link is by its name and its mark, with what the row of its name says.
    pub(crate) fn identifier(
        &self,
    ) -> impl Fn(&LinkName, Option<&LinkMark>) -> Option<LinkMark> + Send + 'static {
        let switch = self.clone();
        move |name, mark| {
            let identity = switch.identify(name, mark)?;
            Some((identity.key, identity.start?))
        }
    }

    /// Whose the row of this name says that it is, with what the mark of its link says.
    pub(crate) fn identify(
        &self,
        name: &LinkName,
        link: Option<&(PortKey, Start)>,
    ) -> Option<Identity> {
        self.client.read(|replica| {
            let row = replica.table::<Interface>().by_name(name.as_str())?;
            identify(name, &row_marks(row), link)
        })
    }

    /// All ports of ours, each with the name of its container.
    pub(crate) fn ports(
        &self,
        mark: impl Fn(&LinkName) -> Option<LinkMark>,
    ) -> Vec<(ObservedPort, String)> {
        self.client.read(|replica| {
            let port = |row: &Arc<Interface>| {
                let name: LinkName = row.name.parse().ok()?;
                if !is_ours(&row.external_ids) && !is_made_up(&name) {
                    return None;
                }
                let link = mark(&name);
                let identity = identify(&name, &row_marks(row), link.as_ref())?;
                let port = identified(replica, &identity.key.container, row, link.as_ref())?;
                let name = row.external_ids.get(key::CONTAINER_NAME);
                Some((port, name.cloned().unwrap_or_default()))
            };
            replica.table::<Interface>().iter().filter_map(port).collect()
        })
    }

    /// The interface that a port of ours is for.
    pub(crate) fn key_of_port(&self, port: &LinkName) -> Option<PortKey> {
        self.client.read(|replica| key_of(replica.table::<Interface>().by_name(port.as_str())?))
    }

    /// The name that a container's rows give it.
    pub(crate) fn container_name(&self, container: &ContainerId) -> Option<Arc<str>> {
        self.client.read(|replica| {
            interfaces_of(replica, container).find_map(|interface| {
                let name = interface.external_ids.get(key::CONTAINER_NAME)?;
                Some(name.as_str().into())
            })
        })
    }

    /// Rows of ours for a container that serve no port any more.
    pub(crate) fn leftovers_of(&self, container: &ContainerId) -> Vec<Leftover> {
        self.client.read(|replica| leftovers(replica, container))
    }

    /// The containers that rows of ours belong to.
    pub(crate) fn containers(&self) -> HashSet<ContainerId> {
        fn of<R: Row>(replica: &Replica) -> impl Iterator<Item = ContainerId> {
            let ours = replica.table::<R>().by_external_id(key::OWNER, OWNER);
            ours.filter_map(|row| container_of(&**row))
        }
        let named = |row: &Arc<Interface>| {
            Some(identify(&row.name.parse().ok()?, &row_marks(row), None)?.key.container)
        };
        self.client.read(|replica| {
            replica
                .table::<Interface>()
                .iter()
                .filter_map(named)
                .chain(of::<Qos>(replica))
                .chain(of::<Mirror>(replica))
                .collect()
        })
    }

    /// How ovs-vswitchd has taken a port, if its row exists.
    pub(crate) fn readiness(&self, port: &LinkName) -> Option<Readiness> {
        self.client.read(|replica| {
            let interface = replica.table::<Interface>().by_name(port.as_str())?;
            Some(Readiness::of(interface.ofport, interface.error.as_deref()))
        })
    }

    /// The names of the ports of ours on a bridge.
    pub(crate) fn port_names(&self, bridge: &LinkName) -> HashSet<LinkName> {
        self.client.read(|replica| {
            let bridge = replica.table::<Bridge>().by_name(bridge.as_str());
            let ports = bridge.into_iter().flat_map(|bridge| &bridge.ports);
            let ports = ports.filter_map(|port| replica.table::<Port>().get(*port));
            let interfaces =
                ports.filter_map(|port| replica.table::<Interface>().by_name(&port.name));
            let ours = interfaces.filter(|row| is_ours(&row.external_ids));
            ours.filter_map(|row| row.name.parse().ok()).collect()
        })
    }

    /// The OpenFlow numbers on each bridge that ports have or ask for, with the ports' names.
    pub(crate) fn numbers(&self) -> Numbers {
        self.client.read(|replica| {
            let mut numbers = Numbers::default();
            for bridge in replica.table::<Bridge>().iter() {
                let Ok(name) = bridge.name.parse::<LinkName>() else { continue };
                let ports = bridge.ports.iter();
                let ports = ports.filter_map(|port| replica.table::<Port>().get(*port));
                let interfaces = ports.flat_map(|port| &port.interfaces);
                let interfaces =
                    interfaces.filter_map(|row| replica.table::<Interface>().get(*row));
                for row in interfaces {
                    for number in [row.ofport, row.ofport_request].into_iter().flatten() {
                        let Ok(number) = u16::try_from(number) else { continue };
                        numbers.note(&name, number, &row.name, key_of(row));
                    }
                }
            }
            numbers
        })
    }

    /// Has ovs-vswitchd go over its whole configuration, which it does when `next_cfg` rises
    /// (ovs-vswitchd.conf.db(5), `Open_vSwitch`).
    pub(crate) async fn ask_again(&self) -> Result<(), Error> {
        let root = self.root().ok_or(Error::NotInitialised)?;
        let mut tx = Transaction::new();
        let _ = tx.mutate(root, Mutation::add(OpenVSwitch::NEXT_CFG, 1));
        self.transact(tx, || "raise next_cfg".to_owned()).await.map(drop)
    }

    /// The one row of the table `Open_vSwitch`.
    fn root(&self) -> Option<Uuid> {
        self.client.read(|replica| replica.table::<OpenVSwitch>().iter().next().map(|row| row.uuid))
    }

    /// Tells that the rows of so many ports are about to be changed, best in one transaction.
    pub(crate) fn will_change(&self, ports: usize) {
        self.client.will_commit(ports);
    }

    /// Executes a transaction, together with those that other ports have ready.
    async fn transact(
        &self,
        mut tx: Transaction,
        what: impl FnOnce() -> String,
    ) -> Result<ovsdb::Reply, Error> {
        if self.lock.is_some() {
            tx.assert(LOCK);
        }
        self.client.commit(tx).await.map_err(|source| Error::Transact { what: what(), source })
    }
}

impl Ids<'_> {
    fn external_ids(&self) -> BTreeMap<String, String> {
        let mut ids = marks(self.key);
        ids.insert(key::CONTAINER_NAME.to_owned(), self.container_name.to_owned());
        ids.insert(key::CONTAINER_START.to_owned(), self.start.to_string());
        ids
    }
}

/// The `external_ids` of every row of ours: whose it is, and that it is ours.
fn marks(key: &PortKey) -> BTreeMap<String, String> {
    let ids = [
        (key::CONTAINER_ID, key.container.as_str()),
        (key::CONTAINER_IFACE, key.interface.as_str()),
        (key::OWNER, OWNER),
    ];
    ids.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn is_ours(external_ids: &BTreeMap<String, String>) -> bool {
    external_ids.get(key::OWNER).is_some_and(|owner| owner == OWNER)
}

/// Whether an Interface is of a container that has its addresses from this program.
pub(crate) fn is_addressed(external_ids: &BTreeMap<String, String>) -> bool {
    let given = external_ids.get(key::IP_ADDRESS);
    is_ours(external_ids) && given.is_some_and(|addresses| !addresses.is_empty())
}

/// Whose port an Interface is of, if it is one of ours.
fn key_of(row: &Interface) -> Option<PortKey> {
    let interface = row.external_ids.get(key::CONTAINER_IFACE)?.parse().ok()?;
    let container = container_of(row).filter(|_| is_ours(&row.external_ids))?;
    Some(PortKey { container, interface })
}

/// The container that a row belongs to.
pub(crate) fn container_of(row: &impl Row) -> Option<ContainerId> {
    row.external_ids()?.get(key::CONTAINER_ID)?.parse().ok()
}

/// Rows of ours for a container that serve no port any more.
fn leftovers(replica: &Replica, container: &ContainerId) -> Vec<Leftover> {
    let used = |qos: &Qos| replica.table::<Port>().iter().any(|port| port.qos == Some(qos.uuid));
    let of_port = |mirror: &Mirror| {
        let mut ports = mirror.select_src_port.union(&mirror.select_dst_port);
        ports.any(|port| replica.table::<Port>().get(*port).is_some())
    };
    let on = |mirror: &Mirror| {
        let bridge =
            replica.table::<Bridge>().iter().find(|row| row.mirrors.contains(&mirror.uuid));
        bridge.and_then(|row| row.name.parse().ok())
    };
    let leftover = |ids: &BTreeMap<String, String>, row, uuid: Uuid| {
        let interface = ids.get(key::CONTAINER_IFACE)?.parse().ok()?;
        is_ours(ids).then(|| Leftover { interface, row, uuid: uuid.to_string() })
    };
    let id = container.as_str();
    let qos = replica.table::<Qos>().by_external_id(key::CONTAINER_ID, id);
    let qos = qos
        .filter(|row| !used(row))
        .filter_map(|row| leftover(&row.external_ids, LeftoverRow::Qos, row.uuid));
    let mirrors = replica.table::<Mirror>().by_external_id(key::CONTAINER_ID, id);
    let mirrors = mirrors.filter(|row| !of_port(row)).filter_map(|row| {
        leftover(&row.external_ids, LeftoverRow::Mirror { bridge: on(row)? }, row.uuid)
    });
    qos.chain(mirrors).collect()
}

fn interfaces_of<'a>(
    replica: &'a Replica,
    container: &'a ContainerId,
) -> impl Iterator<Item = &'a Arc<Interface>> {
    replica.table::<Interface>().by_external_id(key::CONTAINER_ID, container.as_str())
}

/// What a row says of whose port it is.
fn row_marks(row: &Interface) -> RowMarks {
    let ids = &row.external_ids;
    RowMarks {
        owner: owner_of(ids),
        container: container_of(row),
        interface: ids.get(key::CONTAINER_IFACE).and_then(|name| name.parse().ok()),
        start: ids.get(key::CONTAINER_START).map(|start| start.as_str().into()),
        has_mac: ids.contains_key(key::MAC_ADDRESS),
    }
}

fn owner_of(ids: &BTreeMap<String, String>) -> Owner {
    match () {
        () if is_ours(ids) => Owner::Us,
        () if is_by_hand(ids) => Owner::Command,
        () => Owner::Other,
    }
}

/// A port of a container, by all that tells whose it is; `None` if it is another one's.
fn identified(
    replica: &Replica,
    container: &ContainerId,
    row: &Interface,
    link: Option<&(PortKey, Start)>,
) -> Option<ObservedPort> {
    let marks = row_marks(row);
    let Some(identity) = identify(&row.name.parse().ok()?, &marks, link) else {
        return observed(replica, container, row);
    };
    if identity.key.container != *container {
        return None;
    }
    let by_row = Some(&identity.key.interface) == marks.interface.as_ref()
        && identity.start == marks.start
        && marks.container.as_ref() == Some(container)
        && marks.owner == Owner::Us;
    let name = row.external_ids.get(key::CONTAINER_NAME);
    let port = replica.table::<Port>().by_name(&row.name)?;
    Some(ObservedPort {
        name: row.name.parse().ok()?,
        bridge: bridge_of(replica, port)?,
        key: identity.key,
        start: identity.start,
        owner: Owner::Us,
        marked: name.filter(|_| by_row).map(|name| name.as_str().into()),
        config: columns::read(replica, port, row),
        strays: columns::strays(port, row),
    })
}

fn bridge_of(replica: &Replica, port: &Port) -> Option<LinkName> {
    let mut bridges = replica.table::<Bridge>().iter();
    bridges.find(|row| row.ports.contains(&port.uuid))?.name.parse().ok()
}

fn observed(
    replica: &Replica,
    container: &ContainerId,
    interface: &Interface,
) -> Option<ObservedPort> {
    let ids = &interface.external_ids;
    // ovs-docker and everybody else give a port the name of its one interface.
    let port = replica.table::<Port>().by_name(&interface.name)?;
    Some(ObservedPort {
        name: interface.name.parse().ok()?,
        bridge: bridge_of(replica, port)?,
        key: PortKey {
            container: container.clone(),
            interface: ids.get(key::CONTAINER_IFACE)?.parse().ok()?,
        },
        start: ids.get(key::CONTAINER_START).map(|start| start.as_str().into()),
        owner: owner_of(ids),
        marked: None,
        config: columns::read(replica, port, interface),
        strays: columns::strays(port, interface),
    })
}
