//! Ports that commands make, as `ovs-docker` makes them, with marks of their own beside its two.

use std::collections::{BTreeMap, HashSet};

use ovsdb::tables::{Bridge, Interface, Port};
use ovsdb::{Insert, Mutation, Replica, Transaction, Update};
use port_plan::{ByHandPort, ContainerId, LinkName, Start, Vlan};

use super::{Error, Switch, is_ours, key};

/// The value of `external_ids:owner` of a port that a command has made.
const BY_HAND: &str = "ovs-port-manager/by-hand";
/// The key for the full id of its container; `container_id` is what the command was given.
pub(super) const CONTAINER: &str = "by_hand_container";

/// A port that a command may be about.
pub(crate) struct NamedPort {
    pub(crate) name: LinkName,
    pub(crate) bridge: LinkName,
    /// The interface's name inside the container.
    pub(crate) interface: String,
    /// It is there because of labels.
    pub(crate) labelled: bool,
}

/// A port that a command has made, as it is.
pub(crate) struct ByHandNow {
    pub(crate) container: ContainerId,
    /// What the command was given for it: a name, or an id or its beginning.
    pub(crate) given: String,
    /// The interface's name inside the container.
    pub(crate) interface: String,
    pub(crate) bridge: LinkName,
    pub(crate) port: String,
    /// Its OpenFlow number, once ovs-vswitchd has given one.
    pub(crate) ofport: Option<i64>,
}

/// The marks of a port that a command makes.
pub(crate) struct ByHandIds<'a> {
    /// The container as the command names it.
    pub(crate) given: &'a str,
    pub(crate) container: &'a ContainerId,
    pub(crate) interface: &'a LinkName,
    pub(crate) start: &'a Start,
}

impl Switch {
    /// The ports of a container, whoever made them, by its full id or by the words that name it.
    pub(crate) fn named(&self, id: Option<&ContainerId>, words: &[&str]) -> Vec<NamedPort> {
        let names = |ids: &BTreeMap<String, String>| {
            let given = ids.get(key::CONTAINER_ID).map(String::as_str);
            let full = ids.get(CONTAINER).map(String::as_str);
            let id = id.map(ContainerId::as_str);
            id.is_some() && (given == id || full == id)
                || given.is_some_and(|it| words.contains(&it))
        };
        self.client.read(|replica| {
            let interfaces = replica.table::<Interface>().iter();
            interfaces
                .filter(|row| names(&row.external_ids))
                .filter_map(|row| {
                    Some(NamedPort {
                        name: row.name.parse().ok()?,
                        bridge: bridge_of(replica, row)?,
                        interface: row.external_ids.get(key::CONTAINER_IFACE)?.clone(),
                        labelled: is_ours(&row.external_ids),
                    })
                })
                .collect()
        })
    }

    /// The ports that commands have made for a container.
    pub(crate) fn by_hand_of(&self, container: &ContainerId) -> Vec<ByHandPort> {
        self.client.read(|replica| {
            let rows = replica.table::<Interface>();
            rows.by_external_id(CONTAINER, container.as_str())
                .filter(|row| is_by_hand(&row.external_ids))
                .filter_map(|row| {
                    let ids = &row.external_ids;
                    Some(ByHandPort {
                        name: row.name.parse().ok()?,
                        bridge: bridge_of(replica, row)?,
                        interface: ids.get(key::CONTAINER_IFACE)?.parse().ok()?,
                        start: ids.get(key::CONTAINER_START)?.as_str().into(),
                    })
                })
                .collect()
        })
    }

    /// All ports that commands have made.
    pub(crate) fn by_hand(&self) -> Vec<ByHandNow> {
        self.client.read(|replica| {
            let rows = replica.table::<Interface>().by_external_id(key::OWNER, BY_HAND);
            rows.filter_map(|row| {
                let ids = &row.external_ids;
                Some(ByHandNow {
                    container: ids.get(CONTAINER)?.parse().ok()?,
                    given: ids.get(key::CONTAINER_ID)?.clone(),
                    interface: ids.get(key::CONTAINER_IFACE)?.clone(),
                    bridge: bridge_of(replica, row)?,
                    port: row.name.clone(),
                    ofport: row.ofport.filter(|number| *number > 0),
                })
            })
            .collect()
        })
    }

    /// The containers that commands have made ports for.
    pub(crate) fn by_hand_containers(&self) -> HashSet<ContainerId> {
        self.client.read(|replica| {
            let rows = replica.table::<Interface>().by_external_id(key::OWNER, BY_HAND);
            rows.filter_map(|row| row.external_ids.get(CONTAINER)?.parse().ok()).collect()
        })
    }

    /// Puts a link on a bridge for a command.
    pub(crate) async fn add_by_hand(
        &self,
        bridge: &LinkName,
        port: &LinkName,
        ids: &ByHandIds<'_>,
    ) -> Result<(), Error> {
        let mut tx = Transaction::new();
        let interface = tx.insert(
            Insert::<Interface>::new()
                .set(Interface::NAME, port.as_str())
                .set(Interface::EXTERNAL_IDS, ids.external_ids()),
        );
        let row = tx.insert(
            Insert::<Port>::new().set(Port::NAME, port.as_str()).set(Port::INTERFACES, [interface]),
        );
        let on = Bridge::NAME.eq(bridge.as_str());
        let bridges = tx.mutate(on, Mutation::insert(Bridge::PORTS, [row]));
        let reply = self.transact(tx, || format!("add port {port} to {bridge}")).await?;
        if reply.count(bridges) == 0 { Err(Error::NoBridge(bridge.clone())) } else { Ok(()) }
    }

    /// Makes a port an access port of a VLAN.
    pub(crate) async fn set_tag(&self, port: &LinkName, vlan: Vlan) -> Result<(), Error> {
        let mut tx = Transaction::new();
        let update = Update::<Port>::new().set(Port::TAG, Some(vlan.get().into()));
        let ports = tx.update(Port::NAME.eq(port.as_str()), update);
        let reply = self.transact(tx, || format!("change port {port}")).await?;
        if reply.count(ports) == 0 { Err(Error::NoPort(port.clone())) } else { Ok(()) }
    }
}

impl ByHandIds<'_> {
    fn external_ids(&self) -> BTreeMap<String, String> {
        let ids = [
            (key::CONTAINER_ID, self.given),
            (key::CONTAINER_IFACE, self.interface.as_str()),
            (key::CONTAINER_START, self.start.as_str()),
            (CONTAINER, self.container.as_str()),
            (key::OWNER, BY_HAND),
        ];
        ids.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// Whether a command has made the row.
pub(crate) fn is_by_hand(external_ids: &BTreeMap<String, String>) -> bool {
    external_ids.get(key::OWNER).is_some_and(|owner| owner == BY_HAND)
}

fn bridge_of(replica: &Replica, interface: &Interface) -> Option<LinkName> {
    let port = replica.table::<Port>().by_name(&interface.name)?;
    let mut bridges = replica.table::<Bridge>().iter();
    bridges.find(|row| row.ports.contains(&port.uuid))?.name.parse().ok()
}
