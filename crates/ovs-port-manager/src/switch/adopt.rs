//! Ports that others made: found by all that they may call their container, and made ours.

use ovsdb::tables::{Interface, Port};
use ovsdb::{Mutation, Transaction};
use port_plan::{ContainerId, Lease, LinkName, ObservedPort, Owner, PortColumn};

use super::port::transient;
use super::{Error, Ids, Switch, key, lease, observed};

impl Switch {
    /// The ports of others that may be a container's: those that bear its id, its name or the beginning of its id, as
    /// `ovs-docker` writes what it was given.
    pub(crate) fn foreign_ports_of(
        &self,
        container: &ContainerId,
        container_name: &str,
    ) -> Vec<ObservedPort> {
        let id = container.as_str();
        let beginnings = (1..=id.len()).filter_map(|length| id.get(..length));
        self.client.read(|replica| {
            let rows = |word| replica.table::<Interface>().by_external_id(key::CONTAINER_ID, word);
            let rows = [container_name].into_iter().chain(beginnings).flat_map(rows);
            rows.filter_map(|row| observed(replica, container, row))
                .filter(|port| port.owner != Owner::Us)
                .collect()
        })
    }

    /// Makes a port of somebody else's ours: its marks and what is to change of its columns, in one transaction.
    pub(crate) async fn adopt_port(
        &self,
        bridge: &LinkName,
        port: &LinkName,
        ids: &Ids<'_>,
        changes: &[PortColumn],
        leases: &[Lease],
    ) -> Result<(), Error> {
        let mut tx = Transaction::new();
        let named = Interface::NAME.eq(port.as_str());
        let mut marks = ids.external_ids();
        marks.extend(self.engine_mark());
        let _ = tx.mutate(named, Mutation::put(Interface::EXTERNAL_IDS, marks));
        let named = Port::NAME.eq(port.as_str());
        let _ = tx.mutate(named, Mutation::put(Port::OTHER_CONFIG, transient()));
        let ports = self.change(&mut tx, bridge, port, ids.key, changes)?;
        for lease in leases {
            lease::insert(&mut tx, lease);
        }
        let reply = self.transact(tx, || format!("take over port {port}")).await?;
        if reply.count(ports) == 0 { Err(Error::NoPort(port.clone())) } else { Ok(()) }
    }
}
