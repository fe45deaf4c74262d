//! The loop: whatever happens, look at the container again.
//!
//! Work is keyed by container. An event carries no facts; events for a container that is being looked at
//! make one more look. What fails is tried again after a pause of its own and holds up nobody.

mod changes;
mod look;
mod readiness;
mod timers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::LockState;
use ovsdb::tables::{Bridge, Interface, Port};
use port_plan::{Backoff, ContainerId, Defaults, Start};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::apply::World;
use crate::docker::{Docker, Event};
use crate::error_chain::chain;
use crate::gathering::Gathering;
use crate::memory;
use crate::netlink::News;
use crate::service_manager;
use look::{Attached, Look, Observer, Standing};
use timers::{Timer, Timers};

/// Containers that are inspected at once.
const INSPECTIONS: usize = 8;
/// How long ovs-vswitchd may take over a port before somebody is told.
const READY: Duration = Duration::from_secs(10);
/// How long the lock may take to be given before another instance must have it.
const STANDBY: Duration = Duration::from_secs(1);
/// How long a loss may yet turn out to be the end of a container.
const END: Duration = Duration::from_millis(20);
/// After so many looks that ended together, memory is given back.
const MANY: usize = 64;
/// How long work that has begun may take to finish at the end.
const FINISH: Duration = Duration::from_secs(4);

/// What the loop goes by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What labels leave unsaid.
    pub(crate) defaults: Defaults,
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
    entries: HashMap<ContainerId, Entry>,
    survey: Survey,
    timers: Timers,
    work: JoinSet<Done>,
    /// Looks that have ended since there was no work.
    looks: usize,
    /// Docker's events have been followed: a survey before that would miss what happens meanwhile, and
    /// there would have to be another.
    followed: bool,
    /// Whether this is the instance that may change anything.
    mandate: watch::Receiver<LockState>,
    resync_interval: Option<Duration>,
    detach_on_exit: bool,
}

/// What is remembered of a container between looks.
#[derive(Default)]
struct Entry {
    looking: bool,
    again: bool,
    /// Something of it was lost while it was looked at. If it is to have nothing, it may well be.
    lost: bool,
    backoff: Backoff,
    /// What was last said of it at WARN, so that it is said once.
    told: Option<Told>,
    attached: Option<Attached>,
    ready: bool,
}

#[derive(PartialEq, Eq)]
enum Told {
    Denied(Start),
    Failed(String),
}

/// The look at everything.
#[derive(Default)]
struct Survey {
    running: bool,
    again: bool,
    /// The links are known: one has succeeded since this instance may act.
    done: bool,
    /// The one under way began before another instance could have acted: what it finds is old.
    void: bool,
    backoff: Backoff,
}

/// Work that has come to its end.
enum Done {
    Look(Box<Look>),
    Survey(Result<HashSet<ContainerId>, look::Error>),
    Announced { container: ContainerId, result: Result<(), String> },
}

impl Reconciler {
    pub(crate) fn new(docker: Docker, world: World, settings: Settings) -> Self {
        let Settings { defaults, resync_interval, detach_on_exit } = settings;
        let inspections = Semaphore::new(INSPECTIONS).into();
        Self {
            mandate: world.switch.mandate(),
            observer: Arc::new(Observer {
                docker,
                world,
                defaults,
                inspections,
                gathering: Gathering::default(),
            }),
            entries: HashMap::new(),
            survey: Survey::default(),
            timers: Timers::default(),
            work: JoinSet::new(),
            looks: 0,
            followed: false,
            resync_interval,
            detach_on_exit,
        }
    }

    /// Runs until told to stop, then finishes what has begun.
    pub(crate) async fn run(
        mut self,
        mut news: mpsc::UnboundedReceiver<News>,
        mut controls: mpsc::Receiver<Control>,
    ) {
        let switch = &self.observer.world.switch;
        let mut interfaces = switch.changes::<Interface>();
        let mut ports = switch.changes::<Port>();
        let mut bridges = switch.changes::<Bridge>();
        let mut state = switch.state();
        let mut mandate = switch.mandate();
        self.timers.set(Timer::Standby, STANDBY);
        let mut events = self.observer.docker.follow();
        let watchdog = service_manager::watchdog_interval();
        let mut pulse = interval(watchdog.unwrap_or(FINISH));
        loop {
            let due = self.timers.next();
            tokio::select! {
                control = controls.recv() => match control {
                    Some(Control::Reload(settings)) => self.reload(settings),
                    Some(Control::Stop) | None => break,
                },
                Some(event) = events.recv() => match event {
                    Event::Connected => {
                        self.followed = true;
                        // The mandate may be news, too, and then one survey is enough for both.
                        if mandate.has_changed().unwrap_or_default() {
                            let state = *mandate.borrow_and_update();
                            self.mandate_changed(state);
                        } else {
                            self.look_at_everything();
                        }
                    }
                    Event::Container(container) => self.look(container),
                },
                Some(change) = interfaces.recv() => self.interface_changed(&change),
                Some(change) = ports.recv() => self.port_changed(&change),
                Some(change) = bridges.recv() => self.bridge_changed(&change),
                Some(item) = news.recv() => self.link_news(item),
                Ok(()) = state.changed() => {
                    let state = state.borrow_and_update().clone();
                    self.switch_changed(&state);
                }
                Ok(()) = mandate.changed() => {
                    let state = *mandate.borrow_and_update();
                    self.mandate_changed(state);
                }
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => error!("work ended early: {error}"),
                },
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
                    let (container, name) = (look.container.short(), look.name);
                    warn!(container, name, "port not removed: {}", chain(&error));
                }
            }
        };
        if timeout(FINISH, end).await.is_err() {
            warn!("left work unfinished; the next start will see to it");
        }
    }

    fn reload(&mut self, settings: Settings) {
        let Settings { defaults, resync_interval, detach_on_exit } = settings;
        self.observer = Arc::new(Observer { defaults, ..Observer::clone(&self.observer) });
        self.resync_interval = resync_interval;
        self.detach_on_exit = detach_on_exit;
        self.look_at_everything();
    }

    /// Looks at one container, now or as soon as the look under way is over.
    fn look(&mut self, container: ContainerId) {
        let may_look = self.survey.done && self.may_act();
        let entry = self.entries.entry(container.clone()).or_default();
        self.timers.cancel(&Timer::Look(container.clone()));
        if !may_look {
            // Which links there are is not known yet, or another instance is at work. The survey that
            // comes when that has changed looks at all known containers.
            return;
        }
        if entry.looking {
            entry.again = true;
            return;
        }
        entry.looking = true;
        let observer = Arc::clone(&self.observer);
        let coming = observer.gathering.coming();
        self.work
            .spawn(async move { Done::Look(Box::new(observer.look(container, coming).await)) });
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
        if self.survey.running {
            self.survey.again = true;
            return;
        }
        self.survey.running = true;
        self.survey.void = false;
        let observer = Arc::clone(&self.observer);
        self.work.spawn(async move { Done::Survey(observer.survey().await) });
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Look(look) => {
                self.looks += 1;
                self.finish_look(*look);
            }
            Done::Survey(result) => self.finish_survey(result),
            Done::Announced { container, result: Ok(()) } => {
                debug!(container = container.short(), "announced the addresses");
            }
            Done::Announced { container, result: Err(reason) } => {
                // Peers find the container all the same, only later.
                debug!(container = container.short(), reason, "could not announce the addresses");
            }
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
                    info!(containers = containers.len(), "looking at all labelled containers");
                    service_manager::ready(containers.len());
                }
                debug!(containers = containers.len(), "looking at everything");
                self.survey.done = true;
                self.survey.backoff = Backoff::default();
                if let Some(interval) = self.resync_interval {
                    self.timers.set(Timer::Survey, interval);
                }
                let known: Vec<_> = self.entries.keys().cloned().collect();
                for container in containers.into_iter().chain(known).collect::<HashSet<_>>() {
                    self.look(container);
                }
            }
            Err(error) => {
                let pause = self.survey.backoff.fail(fastrand::f64());
                warn!(retry_in = ?pause, "cannot look at everything: {}", chain(&error));
                self.timers.set(Timer::Survey, pause);
            }
        }
        if std::mem::take(&mut self.survey.again) {
            self.look_at_everything();
        }
    }

    fn finish_look(&mut self, look: Look) {
        let Look { container, name, result } = look;
        let Some(entry) = self.entries.get_mut(&container) else {
            return;
        };
        entry.looking = false;
        let mut again = std::mem::take(&mut entry.again);
        let lost = std::mem::take(&mut entry.lost);
        again |= lost && !matches!(result, Ok(Standing::Nothing));
        match result {
            Ok(Standing::Nothing) => {
                // Its end is the end of all that is remembered of it.
                *entry = Entry::default();
                self.timers.cancel(&Timer::Ready(container.clone()));
                if !again {
                    self.entries.remove(&container);
                }
            }
            Ok(Standing::Denied { start, reasons }) => {
                entry.attached = None;
                let told = Some(Told::Denied(start));
                if entry.told != told {
                    let reasons = reasons.join("; ");
                    warn!(container = container.short(), name, "not attached: {reasons}");
                    entry.told = told;
                }
            }
            Ok(Standing::Attached(attached)) => self.attached(&container, *attached),
            Err(error) if error.is_gone() => self.retry_quietly(&container, &error),
            Err(error) => self.failed(&container, &name, &chain(&error)),
        }
        if again {
            self.look(container);
        }
    }

    fn failed(&mut self, container: &ContainerId, name: &str, reason: &str) {
        let Some(entry) = self.entries.get_mut(container) else {
            return;
        };
        let pause = entry.backoff.fail(fastrand::f64());
        let told = Some(Told::Failed(reason.to_owned()));
        let id = container.short();
        if entry.told == told {
            debug!(container = id, name, retry_in = ?pause, "failed again: {reason}");
        } else {
            warn!(container = id, name, retry_in = ?pause, "will try again: {reason}");
            entry.told = told;
        }
        self.timers.set(Timer::Look(container.clone()), pause);
    }

    /// The container ended while it was looked at; Docker will say so.
    fn retry_quietly(&mut self, container: &ContainerId, error: &look::Error) {
        let Some(entry) = self.entries.get_mut(container) else {
            return;
        };
        let pause = entry.backoff.fail(fastrand::f64());
        debug!(container = container.short(), retry_in = ?pause, "{}", chain(error));
        self.timers.set(Timer::Look(container.clone()), pause);
    }

    fn timer_rang(&mut self) {
        for timer in self.timers.take_due() {
            match timer {
                Timer::Look(container) => self.look(container),
                Timer::Survey => self.look_at_everything(),
                Timer::Standby => self.stand_by(),
                Timer::Ready(container) => {
                    let attached =
                        self.entries.get(&container).and_then(|entry| entry.attached.as_ref());
                    if let Some(Attached { spec, port, .. }) = attached {
                        let (id, name) = (container.short(), &spec.container_name);
                        warn!(
                            container = id, name, %port,
                            "ovs-vswitchd has not taken the port for {} s; is it running?",
                            READY.as_secs()
                        );
                    }
                }
            }
        }
    }
}
