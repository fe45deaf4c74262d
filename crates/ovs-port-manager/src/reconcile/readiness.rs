//! From a port that is in place to one that is ready and announced.

use port_plan::{Backoff, ContainerId, Readiness};
use tracing::{debug, info, warn};

use super::look::{self, Attached};
use super::timers::Timer;
use super::{Done, READY, Reconciler, Told};
use crate::netns;

impl Reconciler {
    /// The port is in place; ready is what ovs-vswitchd says.
    pub(super) fn attached(&mut self, container: &ContainerId, attached: Attached) {
        let Some(entry) = self.entries.get_mut(container) else { return };
        let port = attached.port.clone();
        let known = entry.attached.as_ref().is_some_and(|before| before.port == port);
        // A second look at a new port must not make it old before it is ready and announced.
        if attached.fresh || !known {
            entry.ready = false;
            entry.attached = Some(attached);
        }
        if let Some(readiness) = self.observer.world.switch.readiness(&port) {
            self.readiness(container, readiness);
        }
    }

    pub(super) fn readiness(&mut self, container: &ContainerId, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(container) else {
            return;
        };
        let Some(attached) = &entry.attached else {
            return;
        };
        let (id, name, port) = (container.short(), &attached.spec.container_name, &attached.port);
        let timer = Timer::Ready(container.clone());
        match readiness {
            Readiness::Ready { ofport } if !entry.ready => {
                entry.ready = true;
                entry.backoff = Backoff::default();
                entry.told = None;
                self.timers.cancel(&timer);
                if attached.fresh {
                    let after = attached.since.elapsed();
                    info!(container = id, name, %port, ofport, ?after, "port is ready");
                    self.announce(container);
                } else {
                    debug!(container = id, name, %port, ofport, "port is in place");
                }
            }
            Readiness::Ready { .. } => {}
            Readiness::Waiting => {
                entry.ready = false;
                self.timers.set(timer, READY);
            }
            Readiness::Failed { error } => {
                entry.ready = false;
                let reason = format!("ovs-vswitchd cannot use port {port}: {error}");
                let name = name.clone();
                self.failed(container, &name, &reason);
            }
        }
    }

    /// Says once that ovs-vswitchd does not take a container's port; whether that is so.
    pub(super) fn still_waiting(&mut self, container: &ContainerId) -> bool {
        let Some(entry) = self.entries.get_mut(container) else { return false };
        let Some(Attached { spec, port, .. }) = &entry.attached else { return false };
        let again = entry.backoff.fail(fastrand::f64()).max(READY);
        let told = Some(Told::Waiting);
        if entry.told != told {
            let (id, name) = (container.short(), &spec.container_name);
            warn!(container = id, name, %port, "ovs-vswitchd has not taken the port; is it running?");
            entry.told = told;
        }
        self.timers.set(Timer::Ready(container.clone()), again);
        true
    }

    /// Has ovs-vswitchd go over its configuration again. What it could not write to the database, on a
    /// full disk, it writes again only then.
    pub(super) fn ask_again(&mut self) {
        let switch = self.observer.world.switch.clone();
        self.work.spawn(async move { Done::Asked(switch.ask_again().await) });
    }

    /// Tells the container's neighbours where it is now.
    fn announce(&mut self, container: &ContainerId) {
        let Some(attached) = self.entries.get(container).and_then(|entry| entry.attached.as_ref())
        else {
            return;
        };
        let (container, pid, spec) = (container.clone(), attached.pid, attached.spec.clone());
        self.work.spawn(async move {
            let id = container.clone();
            let work = netns::on_own_thread(move || look::announce(pid, &id, &spec));
            let result = work.await.map_err(|error| error.to_string()).and_then(|done| done);
            Done::Announced { container, result }
        });
    }
}
