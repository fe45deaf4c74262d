//! From a port that is in place to one that is ready and announced.

use std::sync::Arc;

use port_plan::{Audience, Backoff, ContainerId, LinkName, PortKey, Readiness};
use tracing::{debug, info, warn};

use super::forwarding::SOON;
use super::look::Attached;
use super::timers::Timer;
use super::{Detection, Done, PortEntry, READY, Reconciler, Told};
use crate::board::Latency;
use crate::error_chain::chain;
use crate::flow_rules::Event;
use crate::links;

impl Reconciler {
    /// The port is in place; ready is what ovs-vswitchd says.
    pub(super) fn attached(&mut self, container: &ContainerId, attached: Attached) {
        let Some(entry) = self.entries.get_mut(container) else { return };
        let (port, key) = (attached.port.clone(), attached.spec.key.clone());
        let new_mac = attached.new_mac;
        let known = entry.port(&key.interface).is_some_and(|before| before.attached.port == port);
        // A second look at a new port must not make it old before it is ready and announced.
        if attached.fresh || !known {
            self.board.pending(&attached.spec, &port);
            let asks = attached.fresh || attached.unasked;
            let detection = match asks && attached.spec.awaits_detection() {
                true => Detection::Due,
                false => Detection::Over,
            };
            entry.set_port(PortEntry { attached, ready: false, detection });
        } else if let Some(known) = entry.port_mut(&key.interface) {
            let asks = attached.unasked && attached.spec.awaits_detection();
            let again = known.detection == Detection::Failed
                || (asks && known.detection == Detection::Over);
            if again {
                known.detection = Detection::Due;
                known.ready = false;
                known.attached.addressed |= attached.addressed;
                self.board.pending(&attached.spec, &port);
            }
            // The configuration may have changed meanwhile.
            if known.attached.spec != attached.spec {
                known.attached.spec = attached.spec;
            }
        }
        if new_mac {
            // The neighbours know another one.
            self.announcements.add_once(key.clone());
        }
        if let Some(readiness) = self.observer.world.switch.readiness(&port) {
            self.readiness(&key, readiness);
        }
    }

    pub(super) fn readiness(&mut self, key: &PortKey, readiness: Readiness) {
        let container = &key.container;
        let Some(entry) = self.entries.get_mut(container) else {
            return;
        };
        let Some(port) = entry.port_mut(&key.interface) else {
            return;
        };
        let PortEntry { attached, ready, detection } = port;
        let (id, port) = (container.short(), &attached.port);
        let name = &attached.spec.container_name;
        let timer = Timer::Ready(key.clone());
        match readiness {
            Readiness::Ready { .. } if *detection != Detection::Over => {
                self.timers.cancel(&timer);
                if *detection == Detection::Due {
                    let bridge = attached.spec.bridge.clone();
                    self.detect_duplicates(key, &bridge, readiness);
                }
            }
            Readiness::Ready { ofport } if !*ready => {
                *ready = true;
                self.timers.cancel(&timer);
                self.board.ready(&attached.spec, port, ofport);
                self.timers.set_sooner(Timer::Forwarding, SOON);
                if attached.fresh {
                    let after = attached.since.elapsed();
                    let waited = attached.placed.elapsed();
                    let latency = Latency { ready: waited, total: after, ..attached.latency };
                    self.board.attached(key, latency);
                    info!(container = id, name = &**name, %port, ofport, ?after, "port is ready");
                } else {
                    debug!(container = id, name = &**name, %port, ofport, "port is in place");
                }
                if attached.fresh || attached.addressed {
                    self.announcements.add(key.clone());
                }
                // Ready again, its neighbours are told again, but it was attached only once.
                attached.addressed |= std::mem::take(&mut attached.fresh);
                self.all_well(container);
            }
            Readiness::Ready { .. } => {}
            Readiness::Waiting => {
                *ready = false;
                self.board.pending(&attached.spec, port);
                self.timers.set(timer, READY);
            }
            Readiness::Failed { error } => {
                *ready = false;
                let reason = format!("ovs-vswitchd cannot use port {port}: {error}");
                let name = name.clone();
                self.failed(container, &name, &reason, vec![(key.interface.clone(), None)]);
            }
        }
    }

    /// Finds out whether other hosts have the port's addresses, which takes a port that forwards. Among many containers that
    /// all have theirs from this program nobody is asked: each question would go to all of them.
    fn detect_duplicates(&mut self, key: &PortKey, bridge: &LinkName, readiness: Readiness) {
        let switch = &self.observer.world.switch;
        let asks = match self.asked.get(bridge) {
            Some(known) => *known,
            None => {
                let asks = switch.audience(bridge).is_none_or(Audience::is_asked);
                *self.asked.entry(bridge.clone()).or_insert(asks)
            }
        };
        let Some(entry) = self.entries.get_mut(&key.container) else { return };
        let Some(port) = entry.port_mut(&key.interface) else { return };
        if !asks {
            port.detection = Detection::Over;
            return self.readiness(key, readiness);
        }
        port.detection = Detection::Running;
        let Attached { spec, port, pid, .. } = &port.attached;
        let (key, spec, port, pid) = (key.clone(), Arc::clone(spec), port.clone(), *pid);
        let links = Arc::clone(&self.observer.world.links);
        self.work.spawn(async move {
            let addresses = spec.addresses.clone();
            let result = links.detect(pid, &spec.bridge, &key, spec.mac, addresses).await;
            Done::Detected { key, port, result }
        });
    }

    /// It is known whether other hosts have a port's addresses.
    pub(super) fn detected(
        &mut self,
        key: &PortKey,
        of: &LinkName,
        result: Result<(), links::Error>,
    ) {
        let container = &key.container;
        let Some(entry) = self.entries.get_mut(container) else { return };
        let Some(port) = entry.port_mut(&key.interface) else { return };
        if port.attached.port != *of {
            return;
        }
        let name = port.attached.spec.container_name.clone();
        let reason = match result {
            Ok(()) => {
                port.detection = Detection::Over;
                if let Some(readiness) = self.observer.world.switch.readiness(of) {
                    self.readiness(key, readiness);
                }
                return;
            }
            Err(error) => chain(&error),
        };
        // A look gives it the addresses again, once nobody has them, and then it is asked again.
        port.detection = Detection::Failed;
        let interface = key.interface.clone();
        self.failed(container, &name, &format!("{interface}: {reason}"), vec![(interface, None)]);
    }

    /// Something has happened to flow rules that were in force.
    pub(super) fn flows_changed(&mut self, event: Event) {
        let (port, reason) = match event {
            Event::Lost { port, reason } => (port, Some(reason)),
            Event::Restored { port } | Event::Found { port } => (port, None),
        };
        let Some(key) = self.observer.world.switch.key_of_port(&port) else { return };
        let Some(reason) = reason else { return self.look(key.container) };
        let Some(entry) = self.entries.get_mut(&key.container) else { return };
        let Some(known) = entry.port_mut(&key.interface) else { return };
        known.ready = false;
        let name = known.attached.spec.container_name.clone();
        let (container, interface) = (key.container.clone(), key.interface.clone());
        let reason =
            format!("{interface}: the flow rules of port {port} are not in force: {reason}");
        self.failed(&container, &name, &reason, vec![(interface, None)]);
        self.board.unguarded(&key);
    }

    /// Once all ports of a container are ready, earlier failures are history.
    pub(super) fn all_well(&mut self, container: &ContainerId) {
        let Some(entry) = self.entries.get_mut(container) else { return };
        if entry.failed == 0 && entry.ports.iter().all(|port| port.ready) {
            entry.backoff = Backoff::default();
            entry.told = None;
            self.board.well(container);
        }
    }

    /// Says once that ovs-vswitchd does not take a port; whether that is so.
    pub(super) fn still_waiting(&mut self, key: &PortKey) -> bool {
        let container = &key.container;
        let Some(entry) = self.entries.get_mut(container) else { return false };
        let Some(port) = entry.ports.iter().find(|port| port.is_of(&key.interface)) else {
            return false;
        };
        let Attached { spec, port, .. } = &port.attached;
        let again = entry.backoff.fail(fastrand::f64()).max(READY);
        let told = Some(Told::Waiting);
        let reason = "ovs-vswitchd has not taken the port";
        let interfaces = vec![(key.interface.clone(), None)];
        self.board.retrying(container, &spec.container_name, reason, interfaces, again);
        if entry.told != told {
            let (id, name) = (container.short(), &*spec.container_name);
            warn!(container = id, name, %port, "ovs-vswitchd has not taken the port; is it running?");
            entry.told = told;
        }
        self.timers.set(Timer::Ready(key.clone()), again);
        true
    }

    /// Has ovs-vswitchd go over its configuration again. What it could not write to the database, on a
    /// full disk, it writes again only then.
    pub(super) fn ask_again(&mut self) {
        let switch = self.observer.world.switch.clone();
        self.work.spawn(async move { Done::Asked(switch.ask_again().await) });
    }
}
