//! Telling the neighbours of new ports where their addresses are now.
//!
//! Every port of a bridge hears an announcement, so that with many ports it costs ovs-vswitchd more than the
//! new port itself. While others are still being made that would hold them up: it waits for them, for a while.

use std::sync::Arc;
use std::time::Duration;

use port_plan::PortKey;

use super::timers::Timer;
use super::{Done, Reconciler};
use crate::error_chain::chain;

/// How long an announcement may wait for other ports to be made.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ports that are ready and not yet announced.
#[derive(Default)]
pub(super) struct Announcements {
    due: Vec<PortKey>,
    /// They have waited long enough.
    now: bool,
}

impl Announcements {
    pub(super) fn add(&mut self, port: PortKey) {
        self.due.push(port);
    }

    /// Other ports are no longer waited for.
    pub(super) fn hurry(&mut self) {
        self.now = true;
    }
}

impl Reconciler {
    /// Announces what is due, unless other ports are still being made.
    pub(super) fn announce(&mut self) {
        if self.announcements.due.is_empty() {
            return;
        }
        let making = Arc::strong_count(&self.looking) > 1 || self.timers.has_ready();
        if making && !self.announcements.now {
            self.timers.set_sooner(Timer::Announce, PATIENCE);
            return;
        }
        self.timers.cancel(&Timer::Announce);
        let Announcements { due, now: _ } = std::mem::take(&mut self.announcements);
        for key in due {
            self.announce_port(&key);
        }
    }

    fn announce_port(&mut self, key: &PortKey) {
        let Some(entry) = self.entries.get(&key.container) else { return };
        let Some(port) = entry.port(&key.interface) else { return };
        let (pid, spec) = (port.attached.pid, Arc::clone(&port.attached.spec));
        let links = Arc::clone(&self.observer.world.links);
        self.work.spawn(async move {
            let result = links.announce(pid, &spec).await;
            Done::Announced {
                container: spec.key.container.clone(),
                result: result.map_err(|error| chain(&error)),
            }
        });
    }
}
