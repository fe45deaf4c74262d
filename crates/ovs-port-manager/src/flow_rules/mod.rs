//! The flow rules of ports: port security, and the limits that the userspace datapath has by flows alone.
//!
//! A task for each bridge with such ports ([`bridge`]) keeps an OpenFlow connection to the bridge's management socket
//! (ovs-vswitchd(8)). The switch itself tells there which port has which number, so that rules go in for a port's own
//! number only, and follow it at once. ovs-vswitchd forgets flows when it restarts, and anybody may delete them: the
//! task sees to it that they are there, and says so when they cannot be. Flows and meters of others are left alone:
//! flows of ours bear a cookie, and a meter is ours if such a flow uses it.

mod bridge;
mod flows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use port_plan::{FlowRules, LinkName, Observed, PortFlows, PortSpec};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use crate::error_chain::chain;
use bridge::{Bridge, Order};
pub(crate) use flows::{COOKIE, RULES_TABLE};

/// How long rules may take to be in force.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a port's rules are not in force.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The switch was asked in vain.
    #[error("the flow rules of port {port} on bridge {bridge} are not in force: {reason}")]
    NotInForce { bridge: LinkName, port: LinkName, reason: Arc<str> },
    /// The sockets are somewhere else.
    #[error(
        "no flow rules for ports of bridge {0}: its management socket is known only where OVSDB is reached by a Unix socket beside it"
    )]
    NoSocket(LinkName),
    /// The program ends.
    #[error("shutting down")]
    Closed,
}

/// What happens to rules that were in force.
#[derive(Debug)]
pub(crate) enum Event {
    /// They are not any more, and could not be put back at once.
    Lost { port: LinkName, reason: Arc<str> },
    /// They are again.
    Restored { port: LinkName },
    /// This port has flows of an earlier instance, and nobody has asked for its rules.
    Found { port: LinkName },
}

/// Tells the names of the ports of ours that a bridge has now.
type PortsNow = Arc<dyn Fn(&LinkName) -> HashSet<LinkName> + Send + Sync>;

/// The flow rules on all bridges. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FlowTables {
    /// Where ovs-vswitchd has its sockets.
    folder: Option<PathBuf>,
    ports_now: PortsNow,
    shared: Arc<Shared>,
}

/// What the tasks and their callers share.
struct Shared {
    bridges: Mutex<HashMap<LinkName, Entry>>,
    events: mpsc::UnboundedSender<Event>,
}

/// A bridge that has a task.
struct Entry {
    orders: mpsc::UnboundedSender<Order>,
    /// The rules of its ports, as the task last saw them.
    ports: HashMap<LinkName, PortFlows>,
}

impl FlowTables {
    /// For the switch of a database, whose socket is in the folder of all its sockets. What happens to rules later goes
    /// to `events`: at most one for each port in each look that the task takes.
    pub(crate) fn new(
        ovsdb: &ovsdb::Endpoint,
        ports_now: PortsNow,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let folder = match ovsdb {
            ovsdb::Endpoint::Unix(path) => path.parent().map(Path::to_owned),
            _ => None,
        };
        let shared = Arc::new(Shared { bridges: Mutex::default(), events });
        Self { folder, ports_now, shared }
    }

    /// Puts a port's rules in force; without any, takes away what it had. Returns when they are, which is never before
    /// ovs-vswitchd has the port.
    pub(crate) async fn require(
        &self,
        on: &LinkName,
        port: &LinkName,
        rules: &FlowRules,
    ) -> Result<(), Error> {
        if rules.is_empty() {
            self.forget(on, port);
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.order(on, Order::Require { port: port.clone(), rules: rules.clone(), done })?;
        let not_in_force =
            |reason| Error::NotInForce { bridge: on.clone(), port: port.clone(), reason };
        match timeout(PATIENCE, answer).await {
            Ok(Ok(result)) => result.map_err(not_in_force),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                Err(not_in_force("ovs-vswitchd has not added the port; is it running?".into()))
            }
        }
    }

    /// Has what a port had taken away. Nobody waits for that: a port that is gone lets nothing pass.
    pub(crate) fn forget(&self, on: &LinkName, port: &LinkName) {
        let bridges = self.shared.lock();
        if let Some(entry) = bridges.get(on) {
            // A task that has ended has left nothing behind.
            let _ = entry.orders.send(Order::Forget { port: port.clone() });
        }
    }

    /// The rules of those of these ports that have any, as they were last seen.
    pub(crate) fn of<'a>(
        &self,
        ports: impl Iterator<Item = (&'a LinkName, &'a LinkName)>,
    ) -> BTreeMap<LinkName, PortFlows> {
        let bridges = self.shared.lock();
        let of = |(bridge, port): (&LinkName, &LinkName)| {
            Some((port.clone(), bridges.get(bridge)?.ports.get(port)?.clone()))
        };
        if bridges.is_empty() { BTreeMap::new() } else { ports.filter_map(of).collect() }
    }

    /// Looks for flows that an earlier instance has left on these bridges: those of ports that are gone are deleted,
    /// others are told of.
    pub(crate) fn sweep(&self, bridges: Vec<LinkName>) {
        for bridge in bridges {
            if let Err(error) = self.order(&bridge, Order::Sweep) {
                debug!(%bridge, "cannot look for flows: {}", chain(&error));
            }
        }
    }

    /// Leaves all flows as they are, to another instance.
    pub(crate) fn let_go(&self) {
        // The tasks end with the last sender of orders.
        self.shared.lock().clear();
    }

    /// The rules of a container's ports as they would be in force if as many flows are there as it takes, for those who
    /// only look and keep no connection.
    pub(crate) async fn glance(
        &self,
        observed: &Observed,
        specs: &[PortSpec],
    ) -> BTreeMap<LinkName, PortFlows> {
        let mut flows = BTreeMap::new();
        for port in &observed.ports {
            let of_port = |spec: &&PortSpec| spec.key == port.key && spec.bridge == port.bridge;
            let Some(spec) = specs.iter().find(of_port) else { continue };
            let Some(folder) = &self.folder else { continue };
            let datapath = observed.bridges.get(&port.bridge).copied();
            let rules = spec.flow_rules(datapath.unwrap_or(spec.bridge_datapath));
            let socket = folder.join(format!("{}.mgmt", port.bridge));
            let count = timeout(PATIENCE, bridge::count(&socket, &port.name)).await;
            // Without an answer nothing is known.
            let Ok(Ok(count)) = count else { continue };
            let there = match count {
                0 => continue,
                _ if count == flows::count(&rules) => PortFlows::InForce(rules),
                _ => PortFlows::Unknown,
            };
            flows.insert(port.name.clone(), there);
        }
        flows
    }

    /// Sends an order to the task of a bridge, which is started when it is first needed.
    fn order(&self, on: &LinkName, order: Order) -> Result<(), Error> {
        let folder = self.folder.as_ref().ok_or_else(|| Error::NoSocket(on.clone()))?;
        // Held until it is sent: a task ends only under the lock, when nothing waits for it.
        let mut bridges = self.shared.lock();
        let entry = bridges.entry(on.clone()).or_insert_with(|| {
            let (orders, received) = mpsc::unbounded_channel();
            let socket = folder.join(format!("{on}.mgmt"));
            let ports_now = Arc::clone(&self.ports_now);
            let task = Bridge::new(on.clone(), socket, ports_now, Arc::clone(&self.shared));
            tokio::spawn(task.run(received));
            Entry { orders, ports: HashMap::new() }
        });
        entry.orders.send(order).map_err(|_| Error::Closed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<LinkName, Entry>> {
        // Every change of the map is a single call: a panic elsewhere leaves it whole.
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how the rules of a bridge's ports are now.
    fn publish(&self, bridge: &LinkName, ports: HashMap<LinkName, PortFlows>) {
        if let Some(entry) = self.lock().get_mut(bridge) {
            entry.ports = ports;
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens at the end of the program.
        let _ = self.events.send(event);
    }
}
