//! Bridges that labels name: made where the name is free, and taken back where Open vSwitch cannot make them.

use std::time::Duration;

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{Change, Insert, Mutation, Replica, Transaction};
use port_plan::{Datapath, LinkName, Readiness};
use tokio::sync::{MutexGuard, mpsc};
use tokio::time::timeout;

use super::{Error, OWNER, Switch};

/// The key of a Bridge's `external_ids` that tells, by the value of [`OWNER`], that this program has created it.
const CREATED_BY: &str = "created_by";
/// How long ovs-vswitchd may take to make a bridge before its ports are made all the same.
const MADE: Duration = Duration::from_secs(2);

/// A bridge that is about to be created; nobody else creates one meanwhile.
pub(crate) struct Creation<'a> {
    switch: &'a Switch,
    name: &'a LinkName,
    _alone: MutexGuard<'a, ()>,
}

impl Switch {
    /// Begins to create a bridge; `None` if it exists.
    ///
    /// # Errors
    ///
    /// When a port has the name, be it that of a fake bridge.
    pub(crate) async fn create<'a>(
        &'a self,
        name: &'a LinkName,
    ) -> Result<Option<Creation<'a>>, Error> {
        let alone = self.creating.lock().await;
        if self.bridge(name).is_some() {
            return Ok(None);
        }
        match self.client.read(|replica| named_port(replica, name)) {
            Some(refusal) => Err(refusal),
            None => Ok(Some(Creation { switch: self, name, _alone: alone })),
        }
    }

    /// Removes the bridges that this program has created and Open vSwitch could not make, unless somebody has put a
    /// port there.
    pub(crate) async fn remove_broken_bridges(&self) -> Result<(), Error> {
        let broken: Vec<LinkName> = self.client.read(|replica| {
            let created = replica.table::<Bridge>().iter();
            let created = created
                .filter(|row| row.external_ids.get(CREATED_BY).is_some_and(|by| by == OWNER));
            created.filter_map(|row| row.name.parse().ok()).collect()
        });
        for name in broken {
            if matches!(self.readiness(&name), Some(Readiness::Failed { .. })) {
                self.remove_bridge(&name).await?;
            }
        }
        Ok(())
    }

    /// Removes a bridge without ports but its own.
    async fn remove_bridge(&self, name: &LinkName) -> Result<(), Error> {
        let (Some(root), Some(bridge)) = (
            self.root(),
            self.client.read(|replica| {
                let bridge = replica.table::<Bridge>().by_name(name.as_str())?;
                let own = replica.table::<Port>().by_name(name.as_str())?;
                bridge.ports.iter().all(|port| *port == own.uuid).then_some(bridge.uuid)
            }),
        ) else {
            return Ok(());
        };
        let mut tx = Transaction::new();
        // The rows go with the last reference to them.
        let _ = tx.mutate(root, Mutation::delete(OpenVSwitch::BRIDGES, [bridge.into()]));
        self.transact(tx, || format!("remove bridge {name}")).await.map(drop)
    }
}

impl Creation<'_> {
    /// Creates it with its internal port, as `ovs-vsctl add-br` does, and waits until ovs-vswitchd has made it, if
    /// that runs.
    ///
    /// # Errors
    ///
    /// When ovs-vswitchd cannot; nothing of the bridge is left then.
    pub(crate) async fn finish(self, datapath: Datapath) -> Result<(), Error> {
        let Self { switch, name, _alone } = &self;
        let root = switch.root().ok_or(Error::NotInitialised)?;
        let changes = switch.changes::<Interface>();
        let mut tx = Transaction::new();
        let interface = tx.insert(
            Insert::<Interface>::new()
                .set(Interface::NAME, name.as_str())
                .set(Interface::TYPE, "internal"),
        );
        let port = tx.insert(
            Insert::<Port>::new().set(Port::NAME, name.as_str()).set(Port::INTERFACES, [interface]),
        );
        let created = [(CREATED_BY.to_owned(), OWNER.to_owned())];
        let bridge = tx.insert(
            Insert::<Bridge>::new()
                .set(Bridge::NAME, name.as_str())
                .set(Bridge::DATAPATH_TYPE, datapath.as_str())
                .set(Bridge::EXTERNAL_IDS, created)
                .set(Bridge::PORTS, [port]),
        );
        let roots = tx.mutate(root, Mutation::insert(OpenVSwitch::BRIDGES, [bridge]));
        let reply = switch.transact(tx, || format!("add bridge {name}")).await?;
        if reply.count(roots) == 0 {
            return Err(Error::NotInitialised);
        }
        let Ok(Some(error)) = timeout(MADE, made(changes, name)).await else { return Ok(()) };
        // What cannot be removed now is found by the next look at everything.
        let _ = switch.remove_bridge(name).await;
        Err(Error::BridgeFailed { bridge: (*name).clone(), error })
    }
}

/// Waits until ovs-vswitchd has taken a bridge's internal interface; why it could not.
async fn made(
    mut changes: mpsc::UnboundedReceiver<Change<Interface>>,
    name: &LinkName,
) -> Option<String> {
    while let Some(change) = changes.recv().await {
        let Some(row) = change.new.filter(|row| row.name == name.as_str()) else { continue };
        match Readiness::of(row.ofport, row.error.as_deref()) {
            Readiness::Waiting => {}
            Readiness::Ready { .. } => return None,
            Readiness::Failed { error } => return Some(error),
        }
    }
    None
}

/// Why a name that a port has is no bridge's.
fn named_port(replica: &Replica, name: &LinkName) -> Option<Error> {
    let port = replica.table::<Port>().by_name(name.as_str())?;
    let bridge = replica.table::<Bridge>().iter().find(|row| row.ports.contains(&port.uuid))?;
    let (name, parent, vlan) = (name.clone(), bridge.name.clone(), port.tag);
    Some(match vlan {
        Some(vlan) => Error::FakeBridge { name, parent, vlan },
        None => Error::PortNamed { name, bridge: parent },
    })
}
