//! The flows of ours on each bridge: port security, and the limits that the userspace datapath has by flows alone.
//!
//! ovs-vswitchd forgets flows when it restarts. So a task for each bridge with guarded ports keeps a connection to the
//! bridge's management socket (ovs-vswitchd(8)), knows what is to be there, and puts it there whenever the
//! connection is made anew. Flows and meters of others are left alone: ours bear a cookie.

mod connection;
mod wire;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use port_plan::{Guards, LinkName};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::error_chain::chain;
use connection::{Connection, Message};
use wire::{MeterCommand, kind};

pub(crate) use connection::Error as ConnectionError;

/// The pause before a lost connection is made anew: until then, a restarted switch forwards without our flows.
const RECONNECT: Duration = Duration::from_millis(20);
/// How long ovs-vswitchd may take to make a bridge.
const NEW_BRIDGE: Duration = Duration::from_secs(2);
/// The pause after tries that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a port could not be guarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot guard port {port} of bridge {bridge}")]
    Switch { bridge: LinkName, port: u16, source: ConnectionError },
    #[error(
        "cannot guard ports of bridge {0}: its management socket is known only where OVSDB is reached by a Unix socket beside it"
    )]
    NoSocket(LinkName),
    #[error("shutting down")]
    Closed,
}

/// Tells the ports of ours that a bridge has now, by their OpenFlow numbers.
type PortsNow = Arc<dyn Fn(&LinkName) -> HashSet<u32> + Send + Sync>;

/// All bridges with guarded ports. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OpenFlow {
    /// Where ovs-vswitchd has its sockets.
    folder: Option<PathBuf>,
    ports_now: PortsNow,
    bridges: Arc<Mutex<HashMap<LinkName, mpsc::UnboundedSender<Order>>>>,
}

/// What a bridge's task is asked to do.
struct Order {
    port: u16,
    what: What,
    done: oneshot::Sender<Result<(), ConnectionError>>,
}

enum What {
    /// Guard a port that does not exist yet.
    Prepare(Guards),
    /// Guard a port that may be guarded already.
    Guard(Guards),
    /// Forget a port that is gone, or is to be guarded no more.
    Forget,
}

impl OpenFlow {
    /// For the switch of a database, whose socket is in the folder of all its sockets.
    pub(crate) fn beside(ovsdb: &ovsdb::Endpoint, ports_now: PortsNow) -> Self {
        let folder = match ovsdb {
            ovsdb::Endpoint::Unix(path) => path.parent().map(Path::to_owned),
            _ => None,
        };
        Self { folder, ports_now, bridges: Arc::default() }
    }

    /// Guards a port that is about to be made.
    pub(crate) async fn prepare(
        &self,
        on: &LinkName,
        port: u16,
        guards: &Guards,
    ) -> Result<(), Error> {
        self.order(on, port, What::Prepare(guards.clone())).await
    }

    /// Guards a port that is there. Nothing is sent if it is guarded like that already.
    pub(crate) async fn guard(
        &self,
        on: &LinkName,
        port: u16,
        guards: &Guards,
    ) -> Result<(), Error> {
        self.order(on, port, What::Guard(guards.clone())).await
    }

    /// Removes what a port was guarded by.
    pub(crate) async fn forget(&self, on: &LinkName, port: u16) -> Result<(), Error> {
        if self.guards(on) { self.order(on, port, What::Forget).await } else { Ok(()) }
    }

    /// Whether a port of this bridge has been guarded since the start.
    pub(crate) fn guards(&self, bridge: &LinkName) -> bool {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner).contains_key(bridge)
    }

    async fn order(&self, on: &LinkName, port: u16, what: What) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let task = self.task(on)?;
        task.send(Order { port, what, done }).map_err(|_| Error::Closed)?;
        let result = answer.await.map_err(|_| Error::Closed)?;
        result.map_err(|source| Error::Switch { bridge: on.clone(), port, source })
    }

    /// The task of a bridge, which is started when it is first needed.
    fn task(&self, bridge: &LinkName) -> Result<mpsc::UnboundedSender<Order>, Error> {
        let folder = self.folder.as_ref().ok_or_else(|| Error::NoSocket(bridge.clone()))?;
        let mut bridges = self.bridges.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (orders, received) = mpsc::unbounded_channel();
            let socket = folder.join(format!("{bridge}.mgmt"));
            let task = Task {
                bridge: bridge.clone(),
                socket,
                ports_now: Arc::clone(&self.ports_now),
                guarded: HashMap::new(),
            };
            tokio::spawn(task.run(received));
            orders
        };
        Ok(bridges.entry(bridge.clone()).or_insert_with(start).clone())
    }
}

/// One bridge: what is to be there, and the connection that puts it there.
struct Task {
    bridge: LinkName,
    socket: PathBuf,
    ports_now: PortsNow,
    guarded: HashMap<u16, Guards>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut connection: Option<Connection> = None;
        loop {
            let order = match &mut connection {
                Some(open) => tokio::select! {
                    order = orders.recv() => Ok(order),
                    lost = open.serve() => Err(lost),
                },
                None => Ok(orders.recv().await),
            };
            match order {
                Ok(None) => return,
                Err(lost) => {
                    debug!(bridge = %self.bridge, "lost OpenFlow: {}", chain(&lost));
                    connection = self.connect_again().await;
                }
                Ok(Some(Order { port, what, done })) => {
                    let result = self.carry_out(&mut connection, port, what).await;
                    if result.is_err() {
                        connection = None;
                    }
                    // Nobody listens when the look was given up.
                    let _ = done.send(result);
                }
            }
        }
    }

    async fn carry_out(
        &mut self,
        connection: &mut Option<Connection>,
        port: u16,
        what: What,
    ) -> Result<(), ConnectionError> {
        let messages = match what {
            What::Prepare(guards) => {
                let mut messages = vec![(kind::FLOW_MOD, wire::delete(port.into()))];
                messages.extend(guarding(port, &guards));
                self.guarded.insert(port, guards);
                messages
            }
            What::Guard(guards) => {
                if connection.is_some() && self.guarded.get(&port) == Some(&guards) {
                    return Ok(());
                }
                let messages = guarding(port, &guards);
                self.guarded.insert(port, guards);
                messages
            }
            What::Forget => {
                let metered = self.guarded.remove(&port).is_some_and(|it| it.meter.is_some());
                let mut messages = vec![(kind::FLOW_MOD, wire::delete(port.into()))];
                if metered {
                    let meter = wire::meter(MeterCommand::Delete, port.into(), 0, 0);
                    messages.push((kind::METER_MOD, meter));
                }
                messages
            }
        };
        let open = match connection {
            Some(open) => open,
            None => connection.insert(self.connect().await?),
        };
        open.exchange(messages).await
    }

    /// A bridge that was made just now has its socket a moment later.
    async fn open(&self) -> Result<Connection, ConnectionError> {
        let deadline = Instant::now() + NEW_BRIDGE;
        loop {
            match Connection::open(&self.socket).await {
                Err(ConnectionError::Io(error))
                    if error.kind() == io::ErrorKind::NotFound && Instant::now() < deadline =>
                {
                    sleep(RECONNECT).await;
                }
                result => return result,
            }
        }
    }

    /// Connects and puts everything there that is to be there.
    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let mut open = self.open().await?;
        let ours = (self.ports_now)(&self.bridge);
        let stale = open.ports().await?.into_iter().filter(|port| !ours.contains(port));
        let known =
            |port: &u32| u16::try_from(*port).is_ok_and(|port| self.guarded.contains_key(&port));
        let stale = stale.filter(|port| !known(port));
        let mut messages: Vec<Message> =
            stale.map(|port| (kind::FLOW_MOD, wire::delete(port))).collect();
        messages.extend(self.guarded.iter().flat_map(|(port, guards)| guarding(*port, guards)));
        open.exchange(messages).await?;
        Ok(open)
    }

    /// After a restart of the switch: its ports are back before their flows are.
    async fn connect_again(&self) -> Option<Connection> {
        for _ in 0..250 {
            sleep(RECONNECT).await;
            if let Ok(open) = self.connect().await {
                return Some(open);
            }
        }
        warn!(bridge = %self.bridge, "ovs-vswitchd does not speak OpenFlow; ports that it has are not guarded");
        loop {
            sleep(PAUSE).await;
            match self.connect().await {
                Ok(open) => return Some(open),
                // A bridge that is gone has no ports to guard.
                Err(_) if (self.ports_now)(&self.bridge).is_empty() => return None,
                Err(_) => {}
            }
        }
    }
}

/// The messages that guard a port: the rules first, the way to them last.
fn guarding(port: u16, guards: &Guards) -> Vec<Message> {
    let mut messages = Vec::new();
    let number = u32::from(port);
    if let Some((rate, burst)) = guards.meter {
        // One of the two fails: the meter is there already, or is not.
        for command in [MeterCommand::Add, MeterCommand::Modify] {
            messages.push((kind::METER_MOD, wire::meter(command, number, rate, burst)));
        }
    }
    let all = port_plan::Guard { priority: 1, frames: port_plan::Frames::Any, pass: true };
    let rules = if guards.rules.is_empty() { std::slice::from_ref(&all) } else { &guards.rules };
    for guard in rules {
        let flow = wire::guard(number, guard.priority, guard.frames, guard.pass);
        messages.push((kind::FLOW_MOD, flow));
    }
    let meter = guards.meter.map(|_| number);
    messages.push((kind::FLOW_MOD, wire::entrance(number, meter)));
    messages
}
