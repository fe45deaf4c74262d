//! The transactions that make, change and delete a port: each is whole in one.

use std::collections::{BTreeMap, BTreeSet};

use ovsdb::tables::{Bridge, Interface, Mirror, Port, Qos};
use ovsdb::{Counted, Insert, Mutation, Ref, Replica, Transaction, Update, Uuid};
use port_plan::{
    Kilobits, Lease, Leftover, LeftoverRow, LinkName, PortColumn, PortConfig, PortKey,
};

use super::columns::{self, Columns};
use super::{Error, Ids, Switch, lease, marks};

impl Switch {
    /// Puts a link on a bridge: all its rows, tag included, in one transaction.
    pub(crate) async fn add_port(
        &self,
        bridge: &LinkName,
        port: &LinkName,
        config: &PortConfig,
        ids: &Ids<'_>,
        leases: &[Lease],
    ) -> Result<(), Error> {
        let mut tx = Transaction::new();
        let Columns { port: mut columns, interface, egress_rate, mirror, marks, .. } =
            Columns::of(&config.given());
        let mut external_ids = ids.external_ids();
        external_ids.extend(marks);
        external_ids.extend(self.engine_mark());
        if let Some(Some(rate)) = egress_rate {
            columns = columns.set(Port::QOS, Some(insert_qos(&mut tx, rate, ids.key)));
        }
        let interface = tx.insert(
            Insert::from(interface)
                .set(Interface::NAME, port.as_str())
                .set(Interface::EXTERNAL_IDS, external_ids),
        );
        let row = tx.insert(
            Insert::from(columns)
                .set(Port::NAME, port.as_str())
                .set(Port::INTERFACES, [interface])
                .set(Port::OTHER_CONFIG, transient()),
        );
        let on = Bridge::NAME.eq(bridge.as_str());
        let bridges = tx.mutate(on, Mutation::insert(Bridge::PORTS, [row]));
        if let Some(Some(output)) = mirror {
            self.insert_mirror(&mut tx, bridge, port, row, &output, ids.key)?;
        }
        for lease in leases {
            lease::insert(&mut tx, lease);
        }
        let reply = self.transact(tx, || format!("add port {port} to {bridge}")).await?;
        // Without a bridge to refer to them, the server has dropped the rows again.
        if reply.count(bridges) == 0 { Err(Error::NoBridge(bridge.clone())) } else { Ok(()) }
    }

    /// Changes settings of a port.
    pub(crate) async fn set_port(
        &self,
        bridge: &LinkName,
        port: &LinkName,
        key: &PortKey,
        changes: &[PortColumn],
    ) -> Result<(), Error> {
        let mut tx = Transaction::new();
        let ports = self.change(&mut tx, bridge, port, key, changes)?;
        let reply = self.transact(tx, || format!("change port {port}")).await?;
        if reply.count(ports) == 0 { Err(Error::NoPort(port.clone())) } else { Ok(()) }
    }

    /// Adds what changes a port's settings to a transaction; returns the handle of what counts its row.
    pub(super) fn change(
        &self,
        tx: &mut Transaction,
        bridge: &LinkName,
        port: &LinkName,
        key: &PortKey,
        changes: &[PortColumn],
    ) -> Result<Counted, Error> {
        let Some(there) = self.client.read(|replica| Beside::of(replica, port)) else {
            return Err(Error::NoPort(port.clone()));
        };
        let Columns {
            port: mut columns,
            interface,
            egress_rate,
            mirror,
            identity,
            own_interface,
            leases,
            marks,
        } = Columns::of(changes);
        if own_interface {
            columns = columns.set(Port::INTERFACES, [there.interface.into()]);
            self.take_back(tx, there.interface, port);
        }
        for lease in &leases {
            lease::insert(tx, lease);
        }
        if let Some(rate) = egress_rate {
            let row = rate.map(|rate| insert_qos(tx, rate, key));
            columns = columns.set(Port::QOS, row);
        }
        let ports = tx.update(Port::NAME.eq(port.as_str()), columns);
        let named = || Interface::NAME.eq(port.as_str());
        let _ = tx.update(named(), interface);
        if let Some((container_name, start)) = identity {
            let ids = Ids { key, container_name: &container_name, start: &start };
            let put = Mutation::put(Interface::EXTERNAL_IDS, ids.external_ids());
            let _ = tx.mutate(named(), put);
            let named = Port::NAME.eq(port.as_str());
            let _ = tx.mutate(named, Mutation::put(Port::OTHER_CONFIG, transient()));
        }
        for (key, value) in marks {
            let _ = tx.mutate(named(), Mutation::put(Interface::EXTERNAL_IDS, [(key, value)]));
        }
        let name = changes.iter().find_map(|change| match change {
            PortColumn::ContainerName(name) => Some(name),
            _ => None,
        });
        if let Some(name) = name {
            self.rename_leases(tx, key, name);
        }
        if egress_rate.is_some() {
            there.delete_qos(tx);
        }
        if let Some(output) = mirror {
            there.delete_mirrors(tx, bridge);
            if let Some(output) = output {
                self.insert_mirror(tx, bridge, port, there.port.into(), &output, key)?;
            }
        }
        Ok(ports)
    }

    /// Takes a port off its bridge; the server then drops its rows. One that is gone is fine.
    pub(crate) async fn del_port(&self, bridge: &LinkName, port: &LinkName) -> Result<(), Error> {
        let Some(there) = self.client.read(|replica| Beside::of(replica, port)) else {
            return Ok(());
        };
        let mut tx = Transaction::new();
        if there.qos.is_some() {
            // A row that something refers to cannot be deleted, and the Port is there until the commit.
            let _ = tx.update(there.port, Update::<Port>::new().set(Port::QOS, None));
            there.delete_qos(&mut tx);
        }
        there.delete_mirrors(&mut tx, bridge);
        // A bridge that is gone has taken its ports with it.
        let _ = tx.mutate(
            Bridge::NAME.eq(bridge.as_str()),
            Mutation::delete(Bridge::PORTS, [there.port.into()]),
        );
        self.transact(tx, || format!("delete port {port} from {bridge}")).await.map(drop)
    }

    /// Deletes a row that has outlived its port. One that is gone is fine.
    pub(crate) async fn destroy(&self, leftover: &Leftover) -> Result<(), Error> {
        let Ok(uuid) = leftover.uuid.parse::<Uuid>() else { return Ok(()) };
        let mut tx = Transaction::new();
        match &leftover.row {
            LeftoverRow::Qos => {
                let _ = tx.delete::<Qos>(uuid);
            }
            LeftoverRow::Mirror { bridge } => delete_mirror(&mut tx, bridge, uuid),
        }
        self.transact(tx, || format!("delete row {uuid}")).await.map(drop)
    }

    /// Takes a port's own Interface row out of all other ports. One that had no other has its own back, if that still is
    /// there, and otherwise goes: no port is without.
    fn take_back(&self, tx: &mut Transaction, interface: Uuid, own: &LinkName) {
        self.client.read(|replica| {
            let ports = replica.table::<Port>().iter();
            let others =
                ports.filter(|row| row.name != own.as_str() && row.interfaces.contains(&interface));
            for other in others {
                let mut left = other.interfaces.clone();
                left.remove(&interface);
                if left.is_empty() {
                    let its_own = replica.table::<Interface>().by_name(&other.name);
                    left.extend(its_own.map(|row| row.uuid));
                }
                if left.is_empty() {
                    let bridges = replica.table::<Bridge>().iter();
                    for bridge in bridges.filter(|bridge| bridge.ports.contains(&other.uuid)) {
                        let delete = Mutation::delete(Bridge::PORTS, [other.uuid.into()]);
                        let _ = tx.mutate(bridge.uuid, delete);
                    }
                } else {
                    let left: BTreeSet<Ref<Interface>> = left.into_iter().map(Ref::from).collect();
                    let left = Update::<Port>::new().set(Port::INTERFACES, left);
                    let _ = tx.update(other.uuid, left);
                }
            }
        });
    }

    /// Copies what a port sends and gets to another port of its bridge.
    fn insert_mirror(
        &self,
        tx: &mut Transaction,
        bridge: &LinkName,
        port: &LinkName,
        row: Ref<Port>,
        output: &LinkName,
        key: &PortKey,
    ) -> Result<(), Error> {
        let output = self
            .client
            .read(|replica| {
                let row = replica.table::<Port>().by_name(output.as_str())?;
                let bridge = replica.table::<Bridge>().by_name(bridge.as_str())?;
                bridge.ports.contains(&row.uuid).then_some(row.uuid)
            })
            .ok_or_else(|| Error::NoOutput { output: output.clone(), bridge: bridge.clone() })?;
        let mirror = tx.insert(
            Insert::<Mirror>::new()
                .set(Mirror::NAME, port.as_str())
                .set(Mirror::SELECT_SRC_PORT, [row])
                .set(Mirror::SELECT_DST_PORT, [row])
                .set(Mirror::OUTPUT_PORT, Some(output.into()))
                .set(Mirror::EXTERNAL_IDS, marks(key)),
        );
        let on = Bridge::NAME.eq(bridge.as_str());
        let _ = tx.mutate(on, Mutation::insert(Bridge::MIRRORS, [mirror]));
        Ok(())
    }
}

/// Rows of ours beside those of a port itself.
struct Beside {
    port: Uuid,
    /// The port's own Interface row.
    interface: Uuid,
    qos: Option<Uuid>,
    mirrors: Vec<Uuid>,
}

impl Beside {
    fn of(replica: &Replica, port: &LinkName) -> Option<Self> {
        let port = replica.table::<Port>().by_name(port.as_str())?;
        let mirrors = replica.table::<Mirror>().iter();
        let mirrors = mirrors.filter(|row| columns::is_own_mirror(row, port));
        Some(Self {
            port: port.uuid,
            interface: replica.table::<Interface>().by_name(&port.name)?.uuid,
            qos: columns::qos_of(replica, port).map(|row| row.uuid),
            mirrors: mirrors.map(|row| row.uuid).collect(),
        })
    }

    fn delete_qos(&self, tx: &mut Transaction) {
        if let Some(qos) = self.qos {
            let _ = tx.delete::<Qos>(qos);
        }
    }

    fn delete_mirrors(&self, tx: &mut Transaction, bridge: &LinkName) {
        for mirror in &self.mirrors {
            delete_mirror(tx, bridge, *mirror);
        }
    }
}

/// A Mirror goes when its bridge no longer refers to it.
fn delete_mirror(tx: &mut Transaction, bridge: &LinkName, mirror: Uuid) {
    let on = Bridge::NAME.eq(bridge.as_str());
    let _ = tx.mutate(on, Mutation::delete(Bridge::MIRRORS, [mirror.into()]));
}

/// Shapes what goes to a port. `linux-htb` is what both datapaths have for a veth: `egress-policer` is for DPDK's
/// ports alone (ovs-vswitchd.conf.db(5), `QoS` column `type`).
fn insert_qos(tx: &mut Transaction, rate: Kilobits, key: &PortKey) -> Ref<Qos> {
    let max_rate = (u64::from(rate.get()) * 1000).to_string();
    tx.insert(
        Insert::<Qos>::new()
            .set(Qos::TYPE, columns::SHAPER)
            .set(Qos::OTHER_CONFIG, BTreeMap::from([(columns::MAX_RATE.to_owned(), max_rate)]))
            .set(Qos::EXTERNAL_IDS, marks(key)),
    )
}

/// Marks a port as one that does not outlive a reboot: `ovs-ctl start --delete-transient-ports`
/// removes it before ovs-vswitchd starts (ovs-ctl(8)).
pub(super) fn transient() -> BTreeMap<String, String> {
    BTreeMap::from([("transient".to_owned(), "true".to_owned())])
}
