//! Telling the neighbours of new ports where their addresses are now.
//!
//! Every port of a bridge hears an announcement, so that with many ports it costs ovs-vswitchd more than the
//! new port itself. So there is one at a time, and each waits while other ports are being made; for a while, and after
//! that they go with pauses between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use port_plan::PortKey;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::timers::Timer;
use super::{Done, Reconciler};
use crate::error_chain::chain;

/// How long an announcement waits for other ports to be made.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time from one announcement to the next, where other ports are being made all the while.
const PAUSE: Duration = Duration::from_millis(100);

/// Ports that are ready and not yet announced, in the order in which they were.
#[derive(Default)]
pub(super) struct Announcements {
    due: VecDeque<Due>,
    underway: Option<AbortHandle>,
    /// When the last one began.
    last: Option<Instant>,
}

/// A port to be announced.
struct Due {
    port: PortKey,
    since: Instant,
}

impl Announcements {
    pub(super) fn add(&mut self, port: PortKey) {
        self.due.push_back(Due { port, since: Instant::now() });
    }

    /// The same, unless it is due anyway.
    pub(super) fn add_once(&mut self, port: PortKey) {
        if !self.due.iter().any(|due| due.port == port) {
            self.add(port);
        }
    }

    /// When the next one goes even if other ports are being made; none goes while another is under way.
    fn next(&self) -> Option<Instant> {
        let free = self.underway.as_ref().is_none_or(AbortHandle::is_finished);
        let due = self.due.front().filter(|_| free)?;
        let patient = due.since + PATIENCE;
        Some(self.last.map_or(patient, |last| patient.max(last + PAUSE)))
    }
}

impl Reconciler {
    /// Announces the port that is due next, unless it has to wait.
    pub(super) fn announce(&mut self) {
        while let Some(at) = self.announcements.next() {
            let making = Arc::strong_count(&self.looking) > 1 || self.timers.has_ready();
            let wait = at.saturating_duration_since(Instant::now());
            if making && !wait.is_zero() {
                return self.timers.set_sooner(Timer::Announce, wait);
            }
            let Some(Due { port, .. }) = self.announcements.due.pop_front() else { return };
            self.announce_port(&port);
        }
        if self.announcements.due.is_empty() {
            // The room for those of a burst is free again.
            self.announcements.due = VecDeque::new();
        }
    }

    fn announce_port(&mut self, key: &PortKey) {
        // It may have gone meanwhile.
        let Some(entry) = self.entries.get(&key.container) else { return };
        let Some(port) = entry.port(&key.interface) else { return };
        let (pid, spec) = (port.attached.pid, Arc::clone(&port.attached.spec));
        let links = Arc::clone(&self.observer.world.links);
        self.announcements.last = Some(Instant::now());
        let task = self.work.spawn(async move {
            let result = links.announce(pid, &spec).await;
            Done::Announced {
                container: spec.key.container.clone(),
                result: result.map_err(|error| chain(&error)),
            }
        });
        self.announcements.underway = Some(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(ports: usize) -> Announcements {
        let mut announcements = Announcements::default();
        for number in 0..ports {
            let container = format!("{number:064}").parse().unwrap();
            announcements.add(PortKey { container, interface: "eth1".parse().unwrap() });
        }
        announcements
    }

    #[tokio::test(start_paused = true)]
    async fn other_ports_are_waited_for_only_for_a_while() {
        assert_eq!(due(0).next(), None);
        assert_eq!(due(1).next(), Some(Instant::now() + PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_have_waited_long_enough_go_one_by_one_with_pauses() {
        let mut announcements = due(2);
        tokio::time::advance(PATIENCE * 2).await;
        announcements.last = Some(Instant::now());
        assert_eq!(announcements.next(), Some(Instant::now() + PAUSE));

        let underway = tokio::spawn(std::future::pending::<()>());
        announcements.underway = Some(underway.abort_handle());
        assert_eq!(announcements.next(), None);
        underway.abort();
        assert!(underway.await.is_err());
        assert!(announcements.next().is_some());
    }
}
