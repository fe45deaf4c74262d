//! The loop: whatever happens, look at the container again.
//!
//! Work is keyed by container. An event carries no facts; events for a container that is being looked at
//! make one more look. What fails is tried again after a pause of its own and holds up nobody.

mod announcements;
mod changes;
mod finish;
mod forwarding;
mod look;
mod readiness;
mod steps;
mod timers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::tables::{Bridge, Controller, Interface, Mirror, OpenVSwitch, Port, Qos};
use ovsdb::{LockState, State};
use port_plan::{Backoff, Budget, ContainerId, LinkName, PortKey, Rules, Start};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::apply::World;
use crate::board::{Board, Denial};
use crate::docker::{self, Docker, Event};
use crate::error_chain::{chain, kind};
use crate::flow_rules;
use crate::gathering::Coming;
use crate::links;
use crate::memory;
use crate::netlink::{HostNews, News};
use crate::service_manager;
use crate::switch;
use announcements::Announcements;
use forwarding::Vigil;
pub(crate) use forwarding::forwarding;
use look::{Attached, Look};
pub(crate) use look::{Observer, Preview};
use timers::{Timer, Timers};

/// How long ovs-vswitchd may take over a port before it is asked again and somebody is told.
const READY: Duration = Duration::from_secs(5);
/// How long the lock may take to be given before another instance must have it.
const STANDBY: Duration = Duration::from_secs(1);
/// How long the question which engine this is may wait for looks to end. It takes Docker longer than all else that it is
/// asked at the start.
const ENGINE: Duration = Duration::from_secs(2);
/// How long a loss may yet turn out to be the end of a container.
const END: Duration = Duration::from_millis(20);
/// After so many looks that ended together, memory is given back.
const MANY: usize = 64;
/// How long work that has begun may take to finish at the end.
const FINISH: Duration = Duration::from_secs(4);

/// What the loop goes by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the configuration says about labels.
    pub(crate) rules: Rules,
    /// The time between looks at everything; never by time alone if `None`.
    pub(crate) resync_interval: Option<Duration>,
    /// Take away the ports of running containers at the end.
    pub(crate) detach_on_exit: bool,
}

/// What the loop can be told.
#[derive(Debug)]
pub(crate) enum Control {
    /// Go by these settings from now on, and look at everything.
    Reload(Settings),
    /// Finish what has begun and end.
    Stop,
}

/// The state of the loop. It lives in memory only: all of it can be learnt again.
pub(crate) struct Reconciler {
    observer: Arc<Observer>,
    /// What others may know of all this.
    board: Arc<Board>,
    /// In boxes, as a map has room for almost twice as many as there are.
    entries: HashMap<ContainerId, Box<Entry>>,
    survey: Survey,
    timers: Timers,
    work: JoinSet<Done>,
    /// The looks among it.
    underway: HashSet<tokio::task::Id>,
    /// Looks that have ended since there was no work.
    looks: usize,
    /// Each look under way has one more of it.
    looking: Arc<()>,
    host: Host,
    /// Whether other hosts on these bridges are to be asked whether they have an address, as far as that was looked at.
    asked: HashMap<LinkName, bool>,
    /// That there are ports of other engines was said, as the leader or not.
    others_told: Option<bool>,
    announcements: Announcements,
    vigil: Vigil,
    /// Docker's events have been followed: a survey before that would miss what happens meanwhile, and
    /// there would have to be another.
    followed: bool,
    /// Docker's events are lost, and that was said: what it does not answer meanwhile is not said again.
    docker_away: bool,
    /// Whether this is the instance that may change anything.
    mandate: watch::Receiver<LockState>,
    resync_interval: Option<Duration>,
    detach_on_exit: bool,
}

/// What is remembered of a container between looks.
#[derive(Default)]
struct Entry {
    /// Its name, as it was last known; empty if it never was.
    name: Arc<str>,
    looking: bool,
    again: bool,
    /// The look under way is part of one at everything.
    resync: bool,
    /// Something of it was lost while it was looked at. If it is to have nothing, it may well be.
    lost: bool,
    backoff: Backoff,
    /// How often its ports may be changed.
    budget: Budget,
    /// It was said that its ports are undone again and again.
    undone: bool,
    /// What was last said of it at WARN, so that it is said once.
    told: Option<Told>,
    /// What it was last said not to get, in which start, so that it is said once.
    denied: Option<(Start, Vec<Denial>)>,
    /// Its ports, one for each interface.
    ports: Vec<PortEntry>,
    /// Of which start it was told that labels of the image do not count.
    ignored: Option<Start>,
    /// How many of its interfaces the last look could not give their ports.
    failed: usize,
}

/// What is remembered of a port between looks.
struct PortEntry {
    attached: Attached,
    ready: bool,
    detection: Detection,
}

impl Entry {
    /// What is remembered of the port of an interface.
    fn port(&self, interface: &LinkName) -> Option<&PortEntry> {
        self.ports.iter().find(|port| port.is_of(interface))
    }

    fn port_mut(&mut self, interface: &LinkName) -> Option<&mut PortEntry> {
        self.ports.iter_mut().find(|port| port.is_of(interface))
    }

    /// Remembers a port, in the place of an earlier one of its interface.
    fn set_port(&mut self, port: PortEntry) {
        match self.port_mut(&port.attached.spec.key.interface) {
            Some(before) => *before = port,
            None => {
                self.ports.reserve_exact(1);
                self.ports.push(port);
            }
        }
    }
}

impl PortEntry {
    fn is_of(&self, interface: &LinkName) -> bool {
        self.attached.spec.key.interface == *interface
    }
}

/// How far it is known whether other hosts have a port's addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detection {
    Due,
    Running,
    Over,
    /// Other hosts have some, or that cannot be told: the next look goes on.
    Failed,
}

#[derive(PartialEq, Eq)]
enum Told {
    Failed(String),
    /// ovs-vswitchd does not take its port.
    Waiting,
}

/// The look at everything.
#[derive(Default)]
struct Survey {
    running: bool,
    again: bool,
    /// What kind of failure was last told, since one has succeeded.
    told: Option<String>,
    /// The links are known: one has succeeded since this instance may act.
    done: bool,
    /// The one under way began before another instance could have acted: what it finds is old.
    void: bool,
    backoff: Backoff,
}

/// The learning of what addresses the host has.
#[derive(Default)]
struct Host {
    running: bool,
    again: bool,
}

/// Work that has come to its end.
enum Done {
    Look(Box<Look>),
    Survey(Result<HashSet<ContainerId>, look::Error>),
    Detected {
        key: PortKey,
        port: LinkName,
        result: Result<(), links::Error>,
    },
    Announced {
        container: ContainerId,
        result: Result<(), String>,
    },
    Asked(Result<(), switch::Error>),
    /// Whether the engine has told which it is.
    Engine(Result<(), docker::Error>),
    /// Whether ports are marked with their engine.
    Marked(Result<(), switch::Error>),
    /// Whether the host has given up addresses.
    Reserved(Result<bool, links::Error>),
}

impl Reconciler {
    pub(crate) fn new(
        docker: Docker,
        world: World,
        mandate: watch::Receiver<LockState>,
        settings: Settings,
        board: Arc<Board>,
    ) -> Self {
        let Settings { rules, resync_interval, detach_on_exit } = settings;
        let vigil = Vigil::new(world.switch.endpoint());
        Self {
            mandate,
            vigil,
            observer: Arc::new(Observer::new(docker, world, rules)),
            board,
            entries: HashMap::new(),
            survey: Survey::default(),
            timers: Timers::default(),
            work: JoinSet::new(),
            underway: HashSet::new(),
            looks: 0,
            looking: Arc::default(),
            host: Host::default(),
            asked: HashMap::new(),
            others_told: None,
            announcements: Announcements::default(),
            followed: false,
            docker_away: false,
            resync_interval,
            detach_on_exit,
        }
    }

    /// Runs until told to stop, then finishes what has begun.
    pub(crate) async fn run(
        mut self,
        mut news: mpsc::UnboundedReceiver<News>,
        mut flows: mpsc::UnboundedReceiver<flow_rules::Event>,
        mut host: HostNews,
        mut controls: mpsc::Receiver<Control>,
    ) {
        let switch = &self.observer.world.switch;
        let mut interfaces = switch.changes::<Interface>();
        let mut ports = switch.changes::<Port>();
        let mut bridges = switch.changes::<Bridge>();
        let mut controllers = switch.changes::<Controller>();
        let mut roots = switch.changes::<OpenVSwitch>();
        let mut qos = switch.changes::<Qos>();
        let mut mirrors = switch.changes::<Mirror>();
        let mut state = switch.state();
        self.board.ovsdb(matches!(*state.borrow(), State::Connected { .. }));
        let mut mandate = self.mandate.clone();
        self.timers.set(Timer::Standby, STANDBY);
        let mut events = self.observer.docker.follow();
        let watchdog = service_manager::watchdog_interval();
        let mut pulse = interval(watchdog.unwrap_or(FINISH));
        loop {
            self.announce();
            let due = self.timers.next();
            tokio::select! {
                control = controls.recv() => match control {
                    Some(Control::Reload(settings)) => self.reload(settings),
                    Some(Control::Stop) | None => break,
                },
                Some(event) = events.recv() => match event {
                    Event::Connected => {
                        self.followed = true;
                        self.docker_away = false;
                        self.board.docker(true);
                        // The mandate may be news, too, and then one survey is enough for both.
                        if mandate.has_changed().unwrap_or_default() {
                            let state = *mandate.borrow_and_update();
                            self.mandate_changed(state);
                        } else {
                            self.look_at_everything();
                        }
                    }
                    Event::Disconnected => {
                        self.docker_away = true;
                        self.board.docker(false);
                    }
                    Event::Container(container, name) => {
                        self.named(&container, name);
                        self.look(container);
                    }
                    Event::Ended(container) => self.ended(container),
                },
                Some(change) = interfaces.recv() => self.interface_changed(&change),
                Some(change) = ports.recv() => self.port_changed(&change),
                Some(change) = bridges.recv() => {
                    self.bridge_changed(&change);
                    self.forwarding_may_differ();
                }
                Some(_) = controllers.recv() => self.forwarding_may_differ(),
                Some(change) = roots.recv() => {
                    if forwarding::waits_differently(&change) {
                        self.forwarding_may_differ();
                    }
                }
                () = self.vigil.news() => self.forwarding_may_differ(),
                Some(change) = qos.recv() => self.row_beside_changed(&change),
                Some(change) = mirrors.recv() => self.row_beside_changed(&change),
                Some(item) = news.recv() => self.link_news(item),
                Some(event) = flows.recv() => self.flows_changed(event),
                () = host.changed() => self.host_changed(),
                Ok(()) = state.changed() => {
                    let state = state.borrow_and_update().clone();
                    self.switch_changed(&state);
                }
                Ok(()) = mandate.changed() => {
                    let state = *mandate.borrow_and_update();
                    self.mandate_changed(state);
                }
                Some(done) = self.work.join_next_with_id() => {
                    let task = done.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
                    self.underway.remove(&task);
                    match done {
                        Ok((_, done)) => self.finish(done),
                        Err(error) => error!("work ended early: {error}"),
                    }
                    self.look_at_everything_if_due();
                    self.learn_engine_if_due();
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.timer_rang();
                }
                _ = pulse.tick(), if watchdog.is_some() => service_manager::alive(),
            }
        }
        self.stop().await;
    }

    async fn stop(mut self) {
        service_manager::stopping();
        if self.detach_on_exit {
            info!("stopping; the ports of running containers go");
        } else {
            info!("stopping; the ports of running containers stay");
        }
        let end = async {
            while self.work.join_next().await.is_some() {}
            if self.detach_on_exit {
                for container in self.entries.into_keys() {
                    let observer = Arc::clone(&self.observer);
                    self.work
                        .spawn(async move { Done::Look(observer.detach(container).await.into()) });
                }
            }
            while let Some(done) = self.work.join_next().await {
                let Ok(Done::Look(look)) = done else { continue };
                if let Err(error) = look.result {
                    let (container, name) = (look.container.short(), &*look.seen.name);
                    warn!(container, name, "port not removed: {}", chain(&error));
                }
            }
        };
        if timeout(FINISH, end).await.is_err() {
            warn!("left work unfinished; the next start will see to it");
        }
    }

    fn reload(&mut self, settings: Settings) {
        let Settings { rules, resync_interval, detach_on_exit } = settings;
        self.observer = Arc::new(self.observer.with_rules(rules));
        self.resync_interval = resync_interval;
        self.detach_on_exit = detach_on_exit;
        self.look_at_everything();
    }

    /// Looks at one container, now or as soon as the look under way is over.
    fn look(&mut self, container: ContainerId) {
        let coming = self.observer.gathering.coming();
        self.look_beside(container, &coming);
    }

    /// The same, as one of several that set out together.
    fn look_beside(&mut self, container: ContainerId, others: &Coming) {
        self.timers.cancel(&Timer::Look(container.clone()));
        if !self.may_act() {
            // Another instance is at work. When this one takes over, it looks at everything.
            return;
        }
        let entry = self.entries.entry(container.clone()).or_default();
        if !self.survey.done {
            // Which links there are is not known yet. The look at everything that finds out looks at all known
            // containers: this one may have come after it was asked which there are.
            return;
        }
        if entry.looking {
            entry.again = true;
            return;
        }
        entry.looking = true;
        let observer = Arc::clone(&self.observer);
        let coming = others.beside();
        let looking = Arc::clone(&self.looking);
        let task = self.work.spawn(async move {
            let look = observer.look(container, coming).await;
            drop(looking);
            Done::Look(Box::new(look))
        });
        self.underway.insert(task.id());
    }

    fn may_act(&self) -> bool {
        *self.mandate.borrow() == LockState::Held
    }

    /// Finds out which containers there are, here and there, to look at each.
    fn look_at_everything(&mut self) {
        self.timers.cancel(&Timer::Survey);
        if !self.followed || !self.may_act() {
            return;
        }
        // What looks of an earlier time as the leader have claimed or made must be there before it is learnt anew.
        let early = !self.survey.done && !self.underway.is_empty();
        if self.survey.running || early {
            self.survey.again = true;
            return;
        }
        self.survey.again = false;
        self.survey.running = true;
        self.survey.void = false;
        let observer = Arc::clone(&self.observer);
        self.work.spawn(async move {
            if let Err(error) = observer.world.switch.remove_broken_bridges().await {
                debug!("could not remove what is left of bridges: {}", chain(&error));
            }
            Done::Survey(observer.survey().await)
        });
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Look(look) => {
                self.looks += 1;
                self.finish_look(*look);
            }
            Done::Survey(result) => self.finish_survey(result),
            Done::Detected { key, port, result } => self.detected(&key, &port, result),
            Done::Announced { container, result: Ok(()) } => {
                debug!(container = container.short(), "announced the addresses");
            }
            Done::Announced { container, result: Err(reason) } => {
                // Peers find the container all the same, only later.
                debug!(container = container.short(), reason, "could not announce the addresses");
            }
            Done::Engine(result) => self.engine_known(result),
            Done::Marked(Ok(())) => {}
            Done::Marked(Err(error)) => {
                debug!("ports are not marked with their engine: {}", chain(&error));
            }
            Done::Reserved(result) => self.reserved(result),
            Done::Asked(Ok(())) => debug!("asked ovs-vswitchd to go over its configuration"),
            Done::Asked(Err(error)) => debug!("could not ask ovs-vswitchd: {}", chain(&error)),
        }
        if self.work.is_empty() && std::mem::take(&mut self.looks) >= MANY {
            memory::give_back();
        }
    }

    fn finish_survey(&mut self, result: Result<HashSet<ContainerId>, look::Error>) {
        self.survey.running = false;
        match result {
            Ok(_) if self.survey.void => {}
            Ok(containers) => {
                if !self.survey.done {
                    // No look is under way that could have claimed anything yet.
                    self.observer.learn();
                    info!(containers = containers.len(), "looking at all labelled containers");
                    service_manager::ready(containers.len());
                }
                debug!(containers = containers.len(), "looking at everything");
                self.survey.done = true;
                self.survey.backoff = Backoff::default();
                self.survey.told = None;
                if let Some(interval) = self.resync_interval {
                    self.timers.set(Timer::Survey, interval);
                }
                let known: Vec<_> = self.entries.keys().cloned().collect();
                self.board.surveyed();
                self.timers.set(Timer::Engine, ENGINE);
                let together = self.observer.gathering.coming();
                for container in containers.into_iter().chain(known).collect::<HashSet<_>>() {
                    self.entries.entry(container.clone()).or_default().resync = true;
                    self.look_beside(container, &together);
                }
            }
            Err(error) => {
                let pause = self.survey.backoff.fail(fastrand::f64());
                let reason = chain(&error);
                let kind = Some(kind(&reason));
                if self.survey.told == kind {
                    debug!(retry_in = ?pause, "cannot look at everything again: {reason}");
                } else {
                    warn!(retry_in = ?pause, "cannot look at everything: {reason}");
                    self.survey.told = kind;
                }
                self.timers.set(Timer::Survey, pause);
            }
        }
    }

    /// Looks at everything if that was asked for while it could not be done.
    fn look_at_everything_if_due(&mut self) {
        if self.survey.again {
            self.look_at_everything();
        }
    }

    fn timer_rang(&mut self) {
        let mut waiting = false;
        for timer in self.timers.take_due() {
            match timer {
                Timer::Look(container) => self.look(container),
                Timer::Survey => self.look_at_everything(),
                Timer::Standby => self.stand_by(),
                // Whatever has happened, those that are due come next.
                Timer::Announce => {}
                Timer::Engine => self.learn_engine(),
                Timer::Forwarding => self.see_forwarding(),
                Timer::Ready(port) => waiting |= self.still_waiting(&port),
            }
        }
        if waiting {
            self.ask_again();
        }
    }
}
