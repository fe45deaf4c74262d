//! One bridge: which rules its ports are to have, what the switch has of them, and the connection between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openflow::{Connection, Error, FlowChange, FlowEntry, Meter, Port, PortChange};
use port_plan::{FlowRules, LinkName, PortFlows};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::flows::{self, COOKIE};
use super::{Event, PortsNow, Shared};
use crate::error_chain::chain;

/// The pause before a lost connection is made again: until then, a restarted switch forwards without our flows.
const RECONNECT: Duration = Duration::from_millis(20);
/// The pause after tries that have failed for a while.
const PAUSE: Duration = Duration::from_secs(1);
/// How long ovs-vswitchd may take to make a bridge, or to be back after a restart, before anybody hears of it.
const GRACE: Duration = Duration::from_secs(2);
/// The time between looks whether all flows are still there. Their number tells, which costs next to nothing.
const LOOK: Duration = Duration::from_millis(500);
/// The time that one flow adds to the time between looks at what the flows do: whoever changes some keeps their number.
const LOOK_AT_EACH: Duration = Duration::from_millis(1);
/// The time between two warnings that somebody else changes flows of ours.
const WARN_AGAIN: Duration = Duration::from_secs(60);

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

/// Rules that are in force.
struct Installed {
    rules: FlowRules,
    number: u32,
    meter: Option<Meter>,
    /// What its flows look like, sorted.
    fingerprints: Vec<u64>,
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
            PortChange::Present(Port { number, name }) => {
                self.numbers.insert(name, number);
            }
            PortChange::Gone(Port { number, name }) => {
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

    /// Deletes flows and meters of ports that are gone, have another number, or are to have no rules any more.
    async fn clear_away(&mut self, open: &mut Connection) -> Result<(), Error> {
        let (wanted, numbers) = (&self.wanted, &self.numbers);
        let over = self.installed.extract_if(|port, installed| {
            !wanted.contains_key(port) || numbers.get(port.as_str()) != Some(&installed.number)
        });
        let over = over.map(|(port, it)| (it.number, self.meters.remove(&port)));
        let mut over: HashMap<u32, Option<u32>> = over.collect();
        let ended = self.meters.extract_if(|port, _| !wanted.contains_key(port));
        let ended: Vec<_> = ended.map(|(_, meter)| meter).collect();
        if !self.unknown.is_empty() {
            // Those of ports whose rules are wanted are replaced in one go.
            let ours = (self.ports_now)(&self.name);
            let kept = ours.iter().filter(|port| !self.forgotten.contains(*port));
            let kept = kept.chain(wanted.keys());
            let kept = kept.filter_map(|port| numbers.get(port.as_str()).copied());
            let kept: HashSet<u32> = kept.collect();
            let gone = self.unknown.extract_if(|number, _| !kept.contains(number));
            over.extend(gone.map(|(number, flows)| (number, meter_of(&flows))));
        }
        if !over.is_empty() || !ended.is_empty() {
            self.changed = true;
            let delete = |number: &u32| FlowChange::Delete { cookie: COOKIE, in_port: *number };
            open.commit(&over.keys().map(delete).collect::<Vec<_>>()).await?;
            for meter in over.values().flatten().chain(&ended) {
                open.delete_meter(*meter).await?;
            }
            // A number may be another port's by now, whose flows have gone with those.
            self.installed.retain(|_, installed| !over.contains_key(&installed.number));
        }
        self.forgotten.clear();
        Ok(())
    }

    /// Looks whether what was put in force still is. What is not is put back.
    async fn verify(&mut self, open: &mut Connection) -> Result<(), Error> {
        let installed = self.installed.values().map(|one| one.fingerprints.len());
        let unknown = self.unknown.values().map(Vec::len);
        let expected: usize = installed.chain(unknown).chain([self.strange]).sum();
        let pause = LOOK.max(LOOK_AT_EACH * u32::try_from(expected).unwrap_or(u32::MAX));
        if self.looked.elapsed() >= pause || open.count(COOKIE).await? as usize != expected {
            self.look_at_each(open).await?;
        }
        Ok(())
    }

    /// Looks at each flow and meter of ours. What differs from what was put in force counts as not in force.
    async fn look_at_each(&mut self, open: &mut Connection) -> Result<(), Error> {
        self.looked = Instant::now();
        let mut there: HashMap<Option<u32>, Vec<FlowEntry>> = HashMap::new();
        for flow in open.flows(COOKIE).await? {
            there.entry(flow.in_port).or_default().push(flow);
        }
        let meters = match self.installed.values().any(|one| one.meter.is_some()) {
            true => open.meters().await?,
            false => Vec::new(),
        };
        let mut lost = Vec::new();
        self.installed.retain(|port, installed| {
            let flows = there.get(&Some(installed.number)).map(|flows| fingerprints(flows));
            let metered = installed.meter.is_none_or(|meter| meters.contains(&meter));
            let same = flows.as_ref() == Some(&installed.fingerprints) && metered;
            if same {
                there.remove(&Some(installed.number));
            } else {
                lost.push(port.to_string());
            }
            same
        });
        self.strange = there.remove(&None).map_or(0, |flows| flows.len());
        self.unknown = there.into_iter().filter_map(|(port, flows)| Some((port?, flows))).collect();
        self.warn_of(&lost);
        self.clear_away(open).await
    }

    /// Somebody else has changed or deleted flows of ours. Told once a minute at most: it may be a habit.
    fn warn_of(&mut self, lost: &[String]) {
        let [port, ..] = lost else { return };
        self.changed = true;
        let (bridge, ports) = (&self.name, lost.len());
        if self.warned.is_some_and(|before| before.elapsed() < WARN_AGAIN) {
            return debug!(%bridge, %port, ports, "putting back flow rules again");
        }
        self.warned = Some(Instant::now());
        warn!(%bridge, %port, ports, "somebody else changed or deleted the flow rules of ports; putting them back");
    }

    /// Puts in force what is not, of all ports that the switch has: all of it in one go.
    async fn install(&mut self, open: &mut Connection) -> Result<(), Error> {
        let due = |(port, wanted): (&LinkName, &Wanted)| {
            let number = *self.numbers.get(port.as_str())?;
            let installed = self.installed.get(port);
            let done = installed.is_some_and(|it| it.rules == wanted.rules && it.number == number);
            (!done).then(|| (port.clone(), wanted.rules.clone(), number))
        };
        let due: Vec<_> = self.wanted.iter().filter_map(due).collect();
        let mut placed = Vec::new();
        let mut changes = Vec::new();
        let mut old_meters = Vec::new();
        for (port, rules, number) in due {
            let before = self.meter_before(&port, number);
            let meter = meter_for(open, number, &rules, before).await?;
            old_meters.extend(before.filter(|old| Some(*old) != meter.map(|meter| meter.number)));
            match meter {
                Some(meter) => self.meters.insert(port.clone(), meter.number),
                None => self.meters.remove(&port),
            };
            changes.push(FlowChange::Delete { cookie: COOKIE, in_port: number });
            let flows = flows::flows(number, &rules, meter.map(|meter| meter.number));
            let count = flows.len();
            changes.extend(flows.into_iter().map(FlowChange::Add));
            placed.push((
                port,
                Installed { rules, number, meter, fingerprints: Vec::new() },
                count,
            ));
        }
        if !placed.is_empty() {
            self.changed = true;
            open.commit(&changes).await?;
            for meter in old_meters {
                open.delete_meter(meter).await?;
            }
            self.note(open, placed).await?;
        }
        for (port, wanted) in &mut self.wanted {
            if self.installed.contains_key(port) {
                wanted.waiting.drain(..).for_each(|done| drop(done.send(Ok(()))));
                if std::mem::take(&mut wanted.lost) {
                    self.shared.tell(Event::Restored { port: port.clone() });
                }
            }
        }
        Ok(())
    }

    /// Notes what the switch shows of flows that were put there just now.
    async fn note(
        &mut self,
        open: &mut Connection,
        placed: Vec<(LinkName, Installed, usize)>,
    ) -> Result<(), Error> {
        let mut there: HashMap<u32, Vec<FlowEntry>> = HashMap::new();
        for flow in open.flows(COOKIE).await? {
            if let Some(number) = flow.in_port {
                there.entry(number).or_default().push(flow);
            }
        }
        for (port, installed, count) in placed {
            let flows = there.remove(&installed.number).unwrap_or_default();
            self.unknown.remove(&installed.number);
            if flows.len() != count {
                return Err(Error::Malformed("other flows than were asked for"));
            }
            let fingerprints = fingerprints(&flows);
            self.installed.insert(port, Installed { fingerprints, ..installed });
        }
        Ok(())
    }

    /// The meter that is a port's already: made for it by this task, or used by flows of ours.
    fn meter_before(&self, port: &LinkName, number: u32) -> Option<u32> {
        let unknown = || meter_of(self.unknown.get(&number)?);
        self.meters.get(port).copied().or_else(unknown)
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
            for (port, wanted) in &mut self.wanted {
                let mut waiting = wanted.waiting.drain(..).peekable();
                let waited_for = waiting.peek().is_some();
                waiting.for_each(|done| drop(done.send(Err(Arc::clone(&reason)))));
                // Who waits hears of it by that.
                if !std::mem::replace(&mut wanted.lost, true) && !waited_for {
                    let (port, reason) = (port.clone(), Arc::clone(&reason));
                    self.shared.tell(Event::Lost { port, reason });
                }
            }
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
        let over = orders.is_empty();
        if over {
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

/// The meter for a port's rules: the one that its flows use already, with the right rate, or a new one. A meter that
/// is there and that no flow of ours uses is somebody else's.
async fn meter_for(
    open: &mut Connection,
    number: u32,
    rules: &FlowRules,
    before: Option<u32>,
) -> Result<Option<Meter>, Error> {
    let Some(limit) = rules.limit else { return Ok(None) };
    if let Some(before) = before {
        let meter = Meter { number: before, rate: limit.rate, burst: limit.burst };
        if open.set_meter(meter).await? {
            return Ok(Some(meter));
        }
    }
    for meter in flows::meters(number, limit) {
        if open.add_meter(meter).await? {
            return Ok(Some(meter));
        }
    }
    Err(Error::Malformed("all meters that could be the port's are somebody else's"))
}

fn meter_of(flows: &[FlowEntry]) -> Option<u32> {
    flows.iter().find_map(|flow| flow.meter)
}

fn fingerprints(flows: &[FlowEntry]) -> Vec<u64> {
    let mut all: Vec<_> = flows.iter().map(|flow| flow.fingerprint).collect();
    all.sort_unstable();
    all
}

/// What is to be expected while a switch starts or ends.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof
    )
}
