//! What is to happen later.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use port_plan::{ContainerId, PortKey};
use tokio::time::Instant;

/// Something to do at its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Look at everything again.
    Survey,
    /// Tell that another instance is at work.
    Standby,
    /// Look at this container again.
    Look(ContainerId),
    /// Announce ports that are ready, whatever else is being made.
    Announce,
    /// Ask which engine this is, though looks are under way.
    Engine,
    /// See whether ports that are ready forward.
    Forwarding,
    /// Wonder why ovs-vswitchd has not taken this port.
    Ready(PortKey),
}

/// Timers, each of which is set once at the most.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: HashMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a timer, or sets it anew.
    pub(super) fn set(&mut self, timer: Timer, after: Duration) {
        self.cancel(&timer);
        let at = Instant::now() + after;
        self.at.insert(timer.clone(), at);
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set to an earlier time.
    pub(super) fn set_sooner(&mut self, timer: Timer, after: Duration) {
        let at = Instant::now() + after;
        if self.at.get(&timer).is_none_or(|before| *before > at) {
            self.set(timer, after);
        }
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    pub(super) fn has(&self, timer: &Timer) -> bool {
        self.at.contains_key(timer)
    }

    /// Some port is waited for.
    pub(super) fn has_ready(&self) -> bool {
        self.at.keys().any(|timer| matches!(timer, Timer::Ready(_)))
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out all that are due.
    pub(super) fn take_due(&mut self) -> Vec<Timer> {
        let now = Instant::now();
        let mut due = Vec::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, timer)) = self.order.pop_first() else {
                break;
            };
            self.at.remove(&timer);
            due.push(timer);
        }
        due
    }
}
