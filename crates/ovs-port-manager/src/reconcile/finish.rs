//! What follows from a look that has come to its end.

use std::sync::Arc;
use std::time::Duration;

use port_plan::{ContainerId, LinkName, PortKey, PortSpec, Start};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::look::{Error, Failed, Look, Ports, Seen, Standing};
use super::timers::Timer;
use super::{Reconciler, Told};
use crate::apply;
use crate::board::Denial;
use crate::error_chain::{chain, kind};

/// So many tries to see a container's process may fail before somebody is told: one and a half seconds.
const UNSEEN: u32 = 5;

impl Reconciler {
    pub(super) fn finish_look(&mut self, look: Look) {
        let Look { container, seen, woken, result } = look;
        let Seen { mut name, service, ignored, steps } = seen;
        for waiter in woken {
            self.look(waiter);
        }
        let Some(entry) = self.entries.get_mut(&container) else {
            return;
        };
        entry.looking = false;
        // What Docker does not answer has the name that it had.
        if name.is_empty() {
            name = Arc::clone(&entry.name);
        } else if entry.name != name {
            entry.name = Arc::clone(&name);
        }
        if let Some((start, names)) = ignored
            && entry.ignored.as_ref() != Some(&start)
        {
            let (id, names) = (container.short(), names.join(", "));
            warn!(container = id, name = &*name, "labels of its image do not count: {names}");
            entry.ignored = Some(start);
        }
        if !steps.is_empty() {
            entry.budget.spend(Instant::now().into_std());
        }
        let again = std::mem::take(&mut entry.again);
        let lost = std::mem::take(&mut entry.lost) && !matches!(result, Ok(Standing::Nothing));
        let resync = std::mem::take(&mut entry.resync);
        self.board.looked(&container, &name, service.as_deref(), steps, resync);
        match result {
            Ok(Standing::Nothing) => {
                // Its end is the end of all that is remembered of it.
                self.forget_ports(&container, |_| true);
                self.board.forget(&container);
                if again {
                    self.entries.insert(container.clone(), Box::default());
                } else {
                    self.entries.remove(&container);
                }
            }
            Ok(Standing::Denied { start, denials }) => {
                self.forget_ports(&container, |_| true);
                self.board.well(&container);
                self.denied(&container, &name, start, denials);
            }
            Ok(Standing::Ports(ports)) => self.stands(&container, &name, ports),
            // The container ended while it was looked at, or this instance leads no more; both are told.
            Err(error) if error.is_gone() => {
                self.not_seen(&container, &name, &chain(&error), Vec::new());
            }
            Err(error) if error.is_anothers() => {
                self.retry_quietly(&container, &chain(&error));
            }
            Err(Error::Docker(error)) if self.docker_away => {
                let reason = chain(&error);
                let pause = self.retry_quietly(&container, &reason);
                self.board.retrying(&container, &name, &reason, Vec::new(), pause);
            }
            Err(error) => self.failed(&container, &name, &chain(&error), Vec::new()),
        }
        if again {
            self.look(container);
        } else if lost {
            let pause = self.within_budget(&container, Duration::ZERO);
            self.timers.set_sooner(Timer::Look(container), pause);
        }
    }

    /// How long to wait before a container is looked at again whose ports may have to be changed again: at least so long,
    /// and longer if they were changed very often. That is told once.
    pub(super) fn within_budget(&mut self, container: &ContainerId, least: Duration) -> Duration {
        let Some(entry) = self.entries.get_mut(container) else { return least };
        let now = Instant::now().into_std();
        let wait = entry.budget.wait(now);
        entry.undone &= !entry.budget.is_full(now);
        if wait <= least {
            return least;
        }
        let name = entry.ports.first().map(|port| Arc::clone(&port.attached.spec.container_name));
        let name = name.unwrap_or_default();
        let reason =
            "something inside the container or on the host undoes its ports again and again";
        if !std::mem::replace(&mut entry.undone, true) {
            let id = container.short();
            warn!(container = id, name = &*name, retry_in = ?wait, "{reason}; they are restored now and then");
        }
        self.board.retrying(container, &name, reason, Vec::new(), wait);
        wait
    }

    /// Each interface stands by itself: one may be ready while another is refused and a third fails.
    fn stands(&mut self, container: &ContainerId, name: &Arc<str>, ports: Ports) {
        let Ports { start, attached, refused, failed } = ports;
        self.forget_ports(container, |key| {
            let interface = &key.interface;
            !attached.iter().any(|port| port.spec.key.interface == *interface)
                && !failed.iter().any(|failed| failed.interface == *interface)
        });
        if let Some(entry) = self.entries.get_mut(container) {
            entry.failed = failed.len();
        }
        for port in attached {
            self.attached(container, port);
        }
        self.denied(container, name, start, refused);
        if failed.is_empty() {
            return self.all_well(container);
        }
        let quiet = |error: &apply::Error| error.is_gone() || error.is_anothers();
        let gone = failed.iter().all(|failed| quiet(&failed.error));
        let failed_as_gone = failed.iter().all(|failed| failed.error.is_gone());
        let (mut interfaces, mut reasons) = (Vec::new(), Vec::new());
        for Failed { interface, spec, error, unguarded } in failed {
            if unguarded {
                let key = PortKey { container: container.clone(), interface: interface.clone() };
                self.board.unguarded(&key);
                // It is ready again, and then guarded, only after a look that puts the rules in force.
                let entry = self.entries.get_mut(container);
                let port = entry.and_then(|entry| entry.port_mut(&interface));
                port.into_iter().for_each(|port| port.ready = false);
            }
            reasons.push(format!("{interface}: {}", chain(&error)));
            interfaces.push((interface, spec));
        }
        match gone {
            true if failed_as_gone => {
                self.not_seen(container, name, &reasons.join("; "), interfaces);
            }
            true => {
                self.retry_quietly(container, &reasons.join("; "));
            }
            false => self.failed(container, name, &reasons.join("; "), interfaces),
        }
    }

    /// Forgets those ports of a container that are no longer its.
    fn forget_ports(&mut self, container: &ContainerId, gone: impl Fn(&PortKey) -> bool) {
        let Some(entry) = self.entries.get_mut(container) else { return };
        let timers = &mut self.timers;
        entry.ports.retain(|port| {
            let key = &port.attached.spec.key;
            if gone(key) {
                timers.cancel(&Timer::Ready(key.clone()));
                self.board.forget_port(key);
            }
            !gone(key)
        });
    }

    /// Says once in each start what a container does not get.
    fn denied(&mut self, id: &ContainerId, name: &str, start: Start, denials: Vec<Denial>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let denied = (!denials.is_empty()).then_some((start, denials));
        if entry.denied == denied {
            return;
        }
        entry.denied.clone_from(&denied);
        let denials = denied.map(|(_, denials)| denials).unwrap_or_default();
        let reasons: Vec<_> = denials.iter().map(ToString::to_string).collect();
        self.board.denied(id, name, denials);
        if !reasons.is_empty() {
            warn!(container = id.short(), name, "not attached: {}", reasons.join("; "));
        }
    }

    /// Something failed for these interfaces of a container, or for all of it.
    pub(super) fn failed(
        &mut self,
        container: &ContainerId,
        name: &Arc<str>,
        reason: &str,
        interfaces: Vec<(LinkName, Option<PortSpec>)>,
    ) {
        let Some(entry) = self.entries.get_mut(container) else {
            return;
        };
        let pause = entry.backoff.fail(fastrand::f64());
        let pause = pause.max(entry.budget.wait(Instant::now().into_std()));
        let told = Some(Told::Failed(kind(reason)));
        let id = container.short();
        if entry.told == told {
            debug!(container = id, name = known(name), retry_in = ?pause, "failed again: {reason}");
        } else {
            warn!(container = id, name = known(name), retry_in = ?pause, "will try again: {reason}");
            entry.told = told;
        }
        self.board.retrying(container, name, reason, interfaces, pause);
        self.timers.set(Timer::Look(container.clone()), pause);
    }

    /// Its process is not to be seen. It may just have ended, of which Docker will tell; if it goes on like that, the
    /// daemon does not see the host's processes.
    fn not_seen(
        &mut self,
        container: &ContainerId,
        name: &Arc<str>,
        reason: &str,
        interfaces: Vec<(LinkName, Option<PortSpec>)>,
    ) {
        let tries = self.entries.get(container).map_or(0, |entry| entry.backoff.failures());
        if tries < UNSEEN {
            self.retry_quietly(container, reason);
            return;
        }
        let advice = "Docker says that it runs; a daemon in a container needs the host's processes (--pid host), and \
                      cgroups that name containers";
        self.failed(container, name, &format!("{reason}; {advice}"), interfaces);
    }

    /// Looks again after a pause, which is returned, for a reason that need not be told.
    fn retry_quietly(&mut self, container: &ContainerId, reason: &str) -> Duration {
        let entry = self.entries.entry(container.clone()).or_default();
        let pause = entry.backoff.fail(fastrand::f64());
        let pause = pause.max(entry.budget.wait(Instant::now().into_std()));
        debug!(container = container.short(), retry_in = ?pause, "{reason}");
        self.timers.set(Timer::Look(container.clone()), pause);
        pause
    }
}

/// A container's name for the log, which leaves out one that is not known.
fn known(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}
