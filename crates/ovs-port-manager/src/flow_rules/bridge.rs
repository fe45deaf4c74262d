//! One bridge: which rules its ports are to have, what the switch has of them, and the connection between.

mod sync;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openflow::{Connection, Error, FlowEntry, Port, PortChange};
use port_plan::{FlowRules, LinkName, PortFlows};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::flows::COOKIE;
use super::{Event, PortsNow, Shared};
use crate::error_chain::chain;
use sync::Installed;

/// The pause before a lost connection is made again: until then, a restarted switch forwards without our flows.
const RECONNECT: Duration = Duration::from_millis(20);
/// The pause after tries that have failed for a while.
const PAUSE: Duration = Duration::from_secs(1);
/// How long ovs-vswitchd may take to make a bridge, or to be back after a restart, before anybody hears of it.
const GRACE: Duration = Duration::from_secs(2);
/// The time between looks whether all flows are still there. Their number tells, which costs next to nothing.
const LOOK: Duration = Duration::from_millis(500);

/// What a bridge's task is asked to do.
pub(super) enum Order {
    /// Put these rules of a port in force.
    Require { port: LinkName, rules: FlowRules, done: oneshot::Sender<Result<(), Arc<str>>> },
    /// A port is gone, or is to have no rules any more.
    Forget { port: LinkName },
    /// Look for flows that an earlier instance has left.
    Sweep,
}

/// The state of a task.
pub(super) struct Bridge {
    name: LinkName,
    socket: PathBuf,
    ports_now: PortsNow,
    shared: Arc<Shared>,
    /// The ports that are to have rules.
    wanted: BTreeMap<LinkName, Wanted>,
    /// The numbers that the switch has given, by name.
    numbers: HashMap<String, u32>,
    /// What is in force, as it was last seen.
    installed: HashMap<LinkName, Installed>,
    /// The meters that this task has made for ports.
    meters: HashMap<LinkName, u32>,
    /// Flows of ours for ports of ours whose rules nobody has asked for yet, by number.
    unknown: HashMap<u32, Vec<FlowEntry>>,
    /// Flows that bear our cookie and name no port, which this program does not make.
    strange: usize,
    /// Ports whose flows are to go.
    forgotten: HashSet<LinkName>,
    /// There may be flows that an earlier instance has left.
    unswept: bool,
    /// Since when the switch has been out of reach.
    away: Option<Away>,
    /// Since when the switch has been within reach, until those were told of whose rules nobody has asked for.
    found: Option<Instant>,
    /// Whether the switch shows flows as they were sent, once that is known of this connection.
    as_sent: Option<bool>,
    /// When it was last looked whether all flows are there.
    counted: Instant,
    /// When what the flows do was last looked at.
    looked: Instant,
    /// When it was last told that somebody else changes flows of ours.
    warned: Option<Instant>,
    /// Something has changed since it was published.
    changed: bool,
}

/// Rules that a port is to have.
struct Wanted {
    rules: FlowRules,
    /// Who waits until they are in force.
    waiting: Vec<oneshot::Sender<Result<(), Arc<str>>>>,
    /// They are not, and somebody has been told.
    lost: bool,
}

impl Wanted {
    /// They are not in force: tells those who wait; what is to be told of it if nobody does and it is news.
    fn fail(&mut self, port: &LinkName, reason: &Arc<str>) -> Option<Event> {
        let waited_for = !self.waiting.is_empty();
        self.waiting.drain(..).for_each(|done| drop(done.send(Err(Arc::clone(reason)))));
        let news = !std::mem::replace(&mut self.lost, true) && !waited_for;
        news.then(|| Event::Lost { port: port.clone(), reason: Arc::clone(reason) })
    }
}

struct Away {
    since: Instant,
    told: bool,
}

impl Bridge {
    pub(super) fn new(
        name: LinkName,
        socket: PathBuf,
        ports_now: PortsNow,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            name,
            socket,
            ports_now,
            shared,
            wanted: BTreeMap::new(),
            numbers: HashMap::new(),
            installed: HashMap::new(),
            meters: HashMap::new(),
            unknown: HashMap::new(),
            strange: 0,
            forgotten: HashSet::new(),
            unswept: false,
            away: None,
            found: None,
            as_sent: None,
            counted: Instant::now(),
            looked: Instant::now(),
            warned: None,
            changed: false,
        }
    }

    /// Works until there is nothing left to be kept in force.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut connection: Option<Connection> = None;
        let mut look_at = Instant::now();
        loop {
            if self.is_idle() && self.end(&orders) {
                return;
            }
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    self.take(order);
                    while let Ok(order) = orders.try_recv() {
                        self.take(order);
                    }
                }
                change = next_change(&mut connection) => match change {
                    Ok(change) => self.port_changed(change),
                    Err(error) => self.lost(&mut connection, &error),
                },
                () = sleep_until(look_at) => {}
            }
            look_at = self.work(&mut connection).await;
        }
    }

    /// Connects if need be, puts in force what is not, and looks whether the rest still is; returns when to do so again.
    async fn work(&mut self, connection: &mut Option<Connection>) -> Instant {
        let result = match connection {
            Some(open) => self.converge(open).await,
            None => match Connection::open(&self.socket).await {
                Ok(mut open) => match self.begin(&mut open).await {
                    Ok(()) => {
                        *connection = Some(open);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
        };
        if let Err(error) = result {
            self.lost(connection, &error);
        }
        match &self.away {
            None => Instant::now() + LOOK,
            Some(away) if away.since.elapsed() < GRACE => Instant::now() + RECONNECT,
            Some(_) => Instant::now() + PAUSE,
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Require { port, rules, done } => {
                let wanted = self.wanted.entry(port).or_insert_with(|| Wanted {
                    rules: FlowRules::default(),
                    waiting: Vec::new(),
                    lost: false,
                });
                wanted.rules = rules;
                // Who has given up waiting is not kept.
                wanted.waiting.retain(|waiting| !waiting.is_closed());
                wanted.waiting.push(done);
            }
            Order::Forget { port } => {
                self.wanted.remove(&port);
                self.forgotten.insert(port);
            }
            Order::Sweep => self.unswept = true,
        }
        self.changed = true;
    }

    fn port_changed(&mut self, change: PortChange) {
        match change {
            PortChange::Present(Port { number, name, .. }) => {
                self.numbers.insert(name, number);
            }
            PortChange::Gone(Port { number, name, .. }) => {
                if self.numbers.get(&name) == Some(&number) {
                    self.numbers.remove(&name);
                }
                self.prune();
            }
        }
        self.changed = true;
    }

    /// Ports that are gone without anybody saying so are wanted no more.
    fn prune(&mut self) {
        let ours = (self.ports_now)(&self.name);
        self.wanted.retain(|port, wanted| {
            wanted.waiting.retain(|waiting| !waiting.is_closed());
            !wanted.waiting.is_empty() || ours.contains(port)
        });
    }

    /// A new connection: nothing is known of the switch, which may have been restarted.
    async fn begin(&mut self, open: &mut Connection) -> Result<(), Error> {
        self.numbers =
            open.ports().await?.into_iter().map(|port| (port.name, port.number)).collect();
        self.found = Some(Instant::now());
        self.as_sent = None;
        self.look_at_each(open).await?;
        self.converge(open).await
    }

    /// Brings the switch to where it should be.
    async fn converge(&mut self, open: &mut Connection) -> Result<(), Error> {
        open.changes().for_each(|change| self.port_changed(change));
        self.clear_away(open).await?;
        self.verify(open).await?;
        self.install(open).await?;
        self.away = None;
        self.unswept = false;
        if self.found.is_some_and(|since| since.elapsed() > GRACE) {
            self.found = None;
            self.unknown_ports().for_each(|port| self.shared.tell(Event::Found { port }));
        }
        self.publish();
        Ok(())
    }

    /// The connection is gone, or of no use. What was in force may not be any more.
    fn lost(&mut self, connection: &mut Option<Connection>, error: &Error) {
        *connection = None;
        let away = self.away.get_or_insert_with(|| Away { since: Instant::now(), told: false });
        let reason: Arc<str> = match error {
            Error::Version => {
                format!(
                    "{error}; allow it: ovs-vsctl add bridge {} protocols OpenFlow13",
                    self.name
                )
            }
            _ => chain(error),
        }
        .into();
        debug!(bridge = %self.name, "lost OpenFlow: {reason}");
        self.installed.clear();
        // After a restart of the switch they may be somebody else's.
        self.meters.clear();
        self.unknown.clear();
        self.numbers.clear();
        self.changed = true;
        // A new bridge has its socket a moment later, and a restarted switch too.
        let passing = matches!(error, Error::Io(error) if is_passing(error));
        if !passing || away.since.elapsed() >= GRACE {
            if !std::mem::replace(&mut away.told, true) && !self.wanted.is_empty() {
                warn!(bridge = %self.name, "no flow rules can be put in force on this bridge: {reason}");
            }
            self.unswept = false;
            self.forgotten.clear();
            self.prune();
            let events = self.wanted.iter_mut();
            let events = events.filter_map(|(port, wanted)| wanted.fail(port, &reason));
            events.for_each(|event| self.shared.tell(event));
        }
        self.publish();
    }

    /// Tells everybody how the rules of ports are now.
    fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let of_wanted = self.wanted.iter().map(|(port, wanted)| {
            let installed = self.installed.get(port).filter(|it| it.rules == wanted.rules);
            let flows = installed.map(|it| PortFlows::InForce(it.rules.clone()));
            (port.clone(), flows.unwrap_or(PortFlows::Unknown))
        });
        let unknown = self.unknown_ports().map(|port| (port, PortFlows::Unknown));
        self.shared.publish(&self.name, unknown.chain(of_wanted).collect());
    }

    /// Ports of ours that have flows, and whose rules nobody has asked for.
    fn unknown_ports(&self) -> impl Iterator<Item = LinkName> {
        let any = !self.unknown.is_empty();
        let ours = any.then(|| (self.ports_now)(&self.name)).into_iter().flatten();
        ours.filter(|port| {
            let number = self.numbers.get(port.as_str());
            let has_flows = number.is_some_and(|number| self.unknown.contains_key(number));
            has_flows && !self.wanted.contains_key(port)
        })
    }

    /// Nothing is kept in force, and nothing is left to be deleted.
    fn is_idle(&self) -> bool {
        self.wanted.is_empty()
            && self.installed.is_empty()
            && self.unknown.is_empty()
            && self.forgotten.is_empty()
            && !self.unswept
    }

    /// Ends the task, unless somebody has asked for more meanwhile.
    fn end(&self, orders: &mpsc::UnboundedReceiver<Order>) -> bool {
        let mut bridges = self.shared.lock();
        // Closed, it has been let go, and the bridge may have another task already.
        let over = orders.is_empty();
        if over && !orders.is_closed() {
            bridges.remove(&self.name);
        }
        over
    }
}

/// How many flows of ours a port has.
pub(super) async fn count(socket: &Path, port: &LinkName) -> Result<usize, Error> {
    let mut open = Connection::open(socket).await?;
    let ports = open.ports().await?;
    let number = ports.into_iter().find(|it| it.name == port.as_str()).map(|it| it.number);
    let flows = open.flows(COOKIE).await?;
    Ok(flows.iter().filter(|flow| flow.in_port.is_some() && flow.in_port == number).count())
}

/// The next change of a port; never, where there is no connection.
async fn next_change(connection: &mut Option<Connection>) -> Result<PortChange, Error> {
    match connection {
        Some(open) => open.next_change().await,
        None => pending().await,
    }
}

/// What is to be expected while a switch starts or ends.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof
    )
}
