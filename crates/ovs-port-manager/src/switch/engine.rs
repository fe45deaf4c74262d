//! Whose containers ports are for: two engines on one Open vSwitch must not take each other's ports for stale.
//!
//! A row without the mark is from an earlier version, or was made before the engine had answered: it belongs to
//! whoever knows the container.

use std::collections::{BTreeMap, HashSet};

use ovsdb::tables::Interface;
use ovsdb::{Mutation, Transaction};
use port_plan::ContainerId;

use super::{Error, OWNER, Switch, container_of, interfaces_of, is_ours, key};

/// The key of an Interface's `external_ids` for the engine that runs the container.
const ENGINE: &str = "container_engine";

impl Switch {
    /// Whether it is known which engine this is.
    pub(crate) fn knows_engine(&self) -> bool {
        self.engine.get().is_some()
    }

    /// From now on, ports are made for containers of this engine.
    pub(crate) fn set_engine(&self, engine: &str) {
        // It never becomes another one.
        let _ = self.engine.set(engine.to_owned());
    }

    /// The mark of ports for this engine's containers, once it is known.
    pub(super) fn engine_mark(&self) -> Option<(String, String)> {
        self.engine.get().map(|engine| (ENGINE.to_owned(), engine.clone()))
    }

    /// Whether ports of a container bear the mark of an engine.
    pub(crate) fn is_marked(&self, container: &ContainerId) -> bool {
        !self.engines_of(container).is_empty()
    }

    /// Whether ports of a container are for another engine than this one, or for one that is not known to be this one.
    pub(crate) fn is_anothers(&self, container: &ContainerId) -> bool {
        let engines = self.engines_of(container);
        engines.iter().any(|engine| Some(engine) != self.engine.get())
    }

    fn engines_of(&self, container: &ContainerId) -> Vec<String> {
        self.client.read(|replica| {
            let ours = interfaces_of(replica, container).filter(|row| is_ours(&row.external_ids));
            ours.filter_map(|row| row.external_ids.get(ENGINE).cloned()).collect()
        })
    }

    /// The engines beside this one that ports are for, each with the number of its containers.
    pub(crate) fn other_engines(&self) -> BTreeMap<String, usize> {
        let mut containers: BTreeMap<String, HashSet<ContainerId>> = BTreeMap::new();
        self.client.read(|replica| {
            for row in replica.table::<Interface>().by_external_id(key::OWNER, OWNER) {
                let engine = row.external_ids.get(ENGINE);
                let engine = engine.filter(|engine| Some(*engine) != self.engine.get());
                if let Some((engine, container)) = engine.zip(container_of(&**row)) {
                    containers.entry(engine.clone()).or_default().insert(container);
                }
            }
        });
        containers.into_iter().map(|(engine, all)| (engine, all.len())).collect()
    }

    /// Marks the ports of these containers, which the engine knows, where no mark is yet.
    pub(crate) async fn mark_engine(&self, known: &HashSet<ContainerId>) -> Result<(), Error> {
        let Some(mark) = self.engine_mark() else { return Ok(()) };
        let unmarked: Vec<_> = self.client.read(|replica| {
            let ours = replica.table::<Interface>().by_external_id(key::OWNER, OWNER);
            let unmarked = ours.filter(|row| !row.external_ids.contains_key(ENGINE));
            let known =
                unmarked.filter(|row| container_of(&***row).is_some_and(|it| known.contains(&it)));
            known.map(|row| row.uuid).collect()
        });
        if unmarked.is_empty() {
            return Ok(());
        }
        let mut tx = Transaction::new();
        for row in unmarked {
            let _ = tx.mutate(row, Mutation::put(Interface::EXTERNAL_IDS, [mark.clone()]));
        }
        self.transact(tx, || "mark ports with their engine".to_owned()).await.map(drop)
    }
}
