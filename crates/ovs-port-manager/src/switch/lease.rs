//! Addresses from pools that are kept for containers, in the `external_ids` of the bridges.

use std::sync::Arc;

use ovsdb::tables::Bridge;
use ovsdb::{Mutation, Replica, Transaction};
use port_plan::{ContainerId, Lease, PortKey};

use super::{Error, Switch};

impl Switch {
    /// All that are there.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.client.read(|replica| {
            let of = |bridge: &Bridge| -> Vec<Lease> {
                let Ok(name) = bridge.name.parse() else { return Vec::new() };
                let pairs = bridge.external_ids.iter();
                pairs.filter_map(|(key, value)| Lease::read(&name, key, value)).collect()
            };
            replica.table::<Bridge>().iter().flat_map(|bridge| of(bridge)).collect()
        })
    }

    /// Those of these that are not there, though their bridge is.
    pub(crate) fn lacking(&self, leases: Vec<Lease>) -> Vec<Lease> {
        let lacks = |replica: &Replica, lease: &Lease| {
            let bridge = replica.table::<Bridge>().by_name(lease.bridge.as_str())?;
            let key = lease.key();
            let there = bridge.external_ids.get(&key);
            let there = there.and_then(|value| Lease::read(&lease.bridge, &key, value));
            Some(there.is_none_or(|there| there.holder.key != lease.holder.key))
        };
        self.client.read(|replica| {
            leases.into_iter().filter(|it| lacks(replica, it).unwrap_or(false)).collect()
        })
    }

    /// Has the addresses that are kept for an interface bear another name of its container.
    pub(super) fn rename_leases(&self, tx: &mut Transaction, key: &PortKey, name: &Arc<str>) {
        let old = |lease: &Lease| lease.holder.key == *key && lease.holder.container_name != *name;
        for mut lease in self.leases().into_iter().filter(old) {
            lease.holder.container_name = Arc::clone(name);
            insert(tx, &lease);
        }
    }

    /// Frees those of a container.
    pub(crate) async fn release(&self, container: &ContainerId) -> Result<(), Error> {
        let leases = self.leases().into_iter();
        let leases: Vec<_> =
            leases.filter(|lease| lease.holder.key.container == *container).collect();
        if leases.is_empty() {
            return Ok(());
        }
        let mut tx = Transaction::new();
        for lease in leases {
            let on = Bridge::NAME.eq(lease.bridge.as_str());
            let _ = tx.mutate(on, Mutation::delete_keys(Bridge::EXTERNAL_IDS, [lease.key()]));
        }
        let what = || format!("free the addresses of container {}", container.short());
        self.transact(tx, what).await.map(drop)
    }
}

/// The containers whose addresses a bridge has kept and keeps no more, or for others.
pub(crate) fn lost(old: &Bridge, new: &Bridge) -> Vec<ContainerId> {
    if old.external_ids == new.external_ids {
        return Vec::new();
    }
    let Ok(name) = old.name.parse() else { return Vec::new() };
    let pairs = old.external_ids.iter();
    let gone = pairs.filter(|(key, value)| new.external_ids.get(*key) != Some(*value));
    let gone = gone.filter_map(|(key, value)| Lease::read(&name, key, value));
    gone.map(|lease| lease.holder.key.container).collect()
}

/// Keeps an address; one that was kept already is kept anew.
pub(super) fn insert(tx: &mut Transaction, lease: &Lease) {
    let on = Bridge::NAME.eq(lease.bridge.as_str());
    let pair = [(lease.key(), lease.value())];
    let _ = tx.mutate(on, Mutation::put(Bridge::EXTERNAL_IDS, pair));
}
