//! The status board: what the reconciler knows of each container, for those who ask.
//!
//! The reconciler writes it, and nobody else; commands, metrics and the API read it. Nothing that is read
//! here ever decides anything. [`State`] is pure: it is told what happened and when.

mod metrics;
mod row;
mod state;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use port_plan::{ContainerId, LinkName, PortKey, PortSpec, Refusal, Step};
use tokio::sync::broadcast;

use crate::switch::ByHandNow;
use metrics::Metrics;
pub(crate) use metrics::{Closed, Door, Latency, exposition, prometheus_text};
pub(crate) use row::{Counters, Phase, Row};
pub(crate) use state::{Denial, Hindrance, Instance, Trouble};
use state::{State, Taken};

/// Events that a slow listener may be behind before it loses some.
const EVENTS: usize = 256;

/// Shared by the reconciler, which writes, and those who read.
pub(crate) struct Board {
    state: Mutex<State>,
    metrics: Metrics,
    events: broadcast::Sender<Arc<str>>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        Self { state: Mutex::default(), metrics: Metrics::new(), events }
    }

    /// Where this instance stands among others.
    pub(crate) fn instance(&self, instance: Instance) {
        let mut state = self.state();
        state.instance = instance;
        if instance == Instance::Standby {
            state.forget_all();
        }
    }

    /// The ports that commands have made.
    pub(crate) fn by_hand(&self, ports: Vec<ByHandNow>) {
        self.state().by_hand = ports.into_iter().map(Row::from).collect();
    }

    /// Whether Docker's events are followed.
    pub(crate) fn docker(&self, connected: bool) {
        let before = std::mem::replace(&mut self.state().docker, connected);
        if before && !connected {
            self.metrics.reconnect("docker");
        }
    }

    /// Whether OVSDB is connected.
    pub(crate) fn ovsdb(&self, connected: bool) {
        let before = std::mem::replace(&mut self.state().ovsdb, connected);
        if before && !connected {
            self.metrics.reconnect("ovsdb");
        }
    }

    /// All containers have been listed, to be looked at each.
    pub(crate) fn surveyed(&self) {
        self.state().surveyed = true;
        self.metrics.resyncs.inc();
    }

    /// A look at a container has come to its end, and these steps with it.
    pub(crate) fn looked(
        &self,
        container: &ContainerId,
        name: &Arc<str>,
        service: Option<&str>,
        steps: Vec<(LinkName, Step, Duration, Option<String>)>,
        resync: bool,
    ) {
        let now = SystemTime::now();
        let taken: Vec<_> = steps
            .into_iter()
            .map(|(interface, step, took, error)| {
                if error.is_none() {
                    self.metrics.step(&step, resync);
                }
                let (step, error) = (step.to_string().into(), error.map(Into::into));
                Taken { at: now, interface, step, took, error }
            })
            .collect();
        for step in &taken {
            let interface = Some(step.interface.as_str());
            self.tell(container, name, interface, "step", Some(&step.step));
        }
        self.state().looked(container, name, service, taken);
    }

    /// A port is in place and waits for ovs-vswitchd.
    pub(crate) fn pending(&self, spec: &Arc<PortSpec>, port: &LinkName) {
        if self.state().pending(spec, port, SystemTime::now()) {
            self.tell_phase(&spec.key, &spec.container_name, Phase::Pending, None);
        }
    }

    /// A port forwards.
    pub(crate) fn ready(&self, spec: &Arc<PortSpec>, port: &LinkName, ofport: i64) {
        if self.state().ready(spec, port, ofport, SystemTime::now()) {
            self.tell_phase(&spec.key, &spec.container_name, Phase::Ready, None);
        }
    }

    /// A port is in place without its flow rules, and lets everything pass until it is ready again.
    pub(crate) fn unguarded(&self, key: &PortKey) {
        self.state().unguarded(key);
    }

    /// Something is in the way of a port that is in place, or nothing any more.
    pub(crate) fn hindered(&self, spec: &PortSpec, hindrance: Option<Hindrance>) {
        match &hindrance {
            Some(Hindrance { phase, reason, .. }) => {
                self.tell_phase(&spec.key, &spec.container_name, *phase, Some(reason));
            }
            None => self.tell_phase(&spec.key, &spec.container_name, Phase::Ready, None),
        }
        self.state().hindered(&spec.key, hindrance);
    }

    /// What was in the way of a port is history, as it is gone or not ready any more.
    pub(crate) fn forget_hindrance(&self, key: &PortKey) {
        self.state().hindered(key, None);
    }

    /// What an interface's way to its new port took.
    pub(crate) fn attached(&self, key: &PortKey, latency: Latency) {
        self.metrics.attached(latency);
        self.state().attached(key, latency);
    }

    /// A connection of somebody who asks was closed before its answer had been read.
    pub(crate) fn connection_closed(&self, door: Door, why: Closed) {
        self.metrics.connection_closed(door, why);
    }

    /// A container does not get all that its labels ask for; nothing is told twice in one start.
    pub(crate) fn denied(&self, container: &ContainerId, name: &str, denials: Vec<Denial>) {
        for denial in &denials {
            self.metrics.denied(denial);
            self.tell(container, name, None, denial.phase().as_str(), Some(&denial.to_string()));
        }
        self.state().denied(container, denials, SystemTime::now());
    }

    /// Something failed and is tried again.
    pub(crate) fn retrying(
        &self,
        container: &ContainerId,
        name: &Arc<str>,
        error: &str,
        interfaces: Vec<(LinkName, Option<PortSpec>)>,
        pause: Duration,
    ) {
        self.metrics.retries.inc();
        self.tell(container, name, None, Phase::Retrying.as_str(), Some(error));
        let now = SystemTime::now();
        let error = error.to_owned();
        let trouble = Trouble { error, interfaces, since: now, retry_at: now + pause };
        self.state().retrying(container, name, trouble);
    }

    /// Earlier failures of a container are history.
    pub(crate) fn well(&self, container: &ContainerId) {
        self.state().well(container);
    }

    /// A port is no longer the container's.
    pub(crate) fn forget_port(&self, key: &PortKey) {
        let name = self.state().forget_port(key);
        if let Some(name) = name {
            self.tell(&key.container, &name, Some(key.interface.as_str()), "gone", None);
        }
    }

    /// A container has ended.
    pub(crate) fn forget(&self, container: &ContainerId) {
        self.state().forget(container);
    }

    /// All containers as they stand, one row for each interface.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.state().rows()
    }

    /// Whether all is as it has to be for containers to be attached; if not, what is not.
    pub(crate) fn unready(&self) -> Option<Cow<'static, str>> {
        self.state().unready()
    }

    pub(crate) fn instance_now(&self) -> Instance {
        self.state().instance
    }

    /// What happens from now on, each as a line of JSON.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.events.subscribe()
    }

    fn tell_phase(&self, key: &PortKey, name: &str, phase: Phase, detail: Option<&str>) {
        self.tell(&key.container, name, Some(key.interface.as_str()), phase.as_str(), detail);
    }

    fn tell(
        &self,
        container: &ContainerId,
        name: &str,
        interface: Option<&str>,
        what: &str,
        detail: Option<&str>,
    ) {
        if self.events.receiver_count() > 0 {
            let event = row::event(SystemTime::now(), container, name, interface, what, detail);
            // Nobody listens any more: fine.
            let _ = self.events.send(event.into());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single call of the state's: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denial {
    /// For the mistakes of a container's labels.
    pub(crate) fn mistakes(mistakes: &[port_plan::Mistake]) -> Vec<Self> {
        mistakes.iter().cloned().map(Self::Mistake).collect()
    }

    pub(crate) fn refused(interface: Option<&LinkName>, refusal: Refusal) -> Self {
        Self::Refused { interface: interface.cloned(), refusal }
    }
}

#[cfg(test)]
mod tests;
