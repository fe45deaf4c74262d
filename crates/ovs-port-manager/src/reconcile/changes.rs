//! What the world tells, and whose look follows from it.

use std::collections::HashSet;
use std::sync::Arc;

use ovsdb::tables::{Bridge, Interface, Port};
use ovsdb::{Change, LockState, Row, State, Uuid};
use port_plan::ContainerId;
use tracing::{debug, info, warn};

use super::timers::Timer;
use super::{Done, END, Reconciler, STANDBY};
use crate::board::Instance;
use crate::docker;
use crate::error_chain::chain;
use crate::links;
use crate::netlink::News;
use crate::switch::{link_differs, settings_differ};
use crate::{service_manager, switch};

impl Reconciler {
    /// Another instance has ended, or has taken over while OVSDB was away.
    pub(super) fn mandate_changed(&mut self, state: LockState) {
        match state {
            LockState::Held => {
                self.board.instance(Instance::Active);
                self.timers.cancel(&Timer::Standby);
                self.look_at_everything();
            }
            LockState::Waiting | LockState::Stolen => {
                // Another instance may now make links that this one does not know.
                self.survey.done = false;
                self.survey.void = true;
                // Without OVSDB nobody has the lock: wait and see.
                self.timers.set(Timer::Standby, STANDBY);
            }
        }
    }

    /// Addresses of the host's, or ports that are no container's, have come or gone.
    pub(super) fn host_changed(&mut self) {
        // The look at everything that is to come learns them as well.
        if !self.survey.done {
            return;
        }
        if std::mem::replace(&mut self.host.running, true) {
            self.host.again = true;
            return;
        }
        let observer = Arc::clone(&self.observer);
        self.work.spawn(async move { Done::Reserved(observer.reserve().await) });
    }

    /// It is known which addresses the host has.
    pub(super) fn reserved(&mut self, result: Result<bool, links::Error>) {
        self.host.running = false;
        match result {
            // Somebody may have been refused one.
            Ok(true) => self.look_at_everything(),
            Ok(false) => {}
            Err(error) => {
                warn!("cannot list the host's addresses, the old list holds: {}", chain(&error));
            }
        }
        if std::mem::take(&mut self.host.again) {
            self.host_changed();
        }
    }

    /// Finds out which engine this is, if that is due and no look is under way that would have to wait for it.
    pub(super) fn learn_engine_if_due(&mut self) {
        if self.timers.has(&Timer::Engine) && self.underway.is_empty() {
            self.learn_engine();
        }
    }

    /// Finds out which engine this is.
    pub(super) fn learn_engine(&mut self) {
        self.timers.cancel(&Timer::Engine);
        let observer = Arc::clone(&self.observer);
        self.work.spawn(async move { Done::Engine(observer.learn_engine().await) });
    }

    /// It is known which engine this is: ports of its containers that do not say so yet are to be marked.
    pub(super) fn engine_known(&mut self, result: Result<(), docker::Error>) {
        if let Err(error) = result {
            return debug!("the engine does not tell which it is: {}", chain(&error));
        }
        let switch = self.observer.world.switch.clone();
        let ports = self.entries.iter().filter(|(_, entry)| !entry.ports.is_empty());
        let known: HashSet<_> = ports.map(|(container, _)| container.clone()).collect();
        let others = switch.other_engines();
        self.work.spawn(async move { Done::Marked(switch.mark_engine(&known).await) });
        let leads = self.may_act();
        if others.is_empty() || self.others_told.replace(leads) == Some(leads) {
            return;
        }
        let containers: usize = others.values().sum();
        let engines = others.into_keys().collect::<Vec<_>>().join(", ");
        match leads {
            true => warn!(
                %engines,
                "ports of {containers} containers are another engine's and are left alone; one Open vSwitch is for \
                 one engine"
            ),
            false => warn!(
                %engines,
                "the instance at work is another engine's: containers of this engine get no ports while it runs; one \
                 Open vSwitch is for one engine"
            ),
        }
    }

    /// An event tells what a container is called, which Docker may not answer when it is asked for the rest.
    pub(super) fn named(&mut self, container: &ContainerId, name: Option<Arc<str>>) {
        let (Some(name), true) = (name, self.may_act()) else { return };
        self.entries.entry(container.clone()).or_default().name = name;
    }

    /// A container without labels has ended: what commands have made for it is to go.
    pub(super) fn ended(&mut self, container: ContainerId) {
        if !self.observer.world.switch.by_hand_of(&container).is_empty() {
            self.look(container);
        }
    }

    pub(super) fn stand_by(&mut self) {
        let connected =
            matches!(*self.observer.world.switch.state().borrow(), State::Connected { .. });
        if connected && !self.may_act() {
            info!("standing by: another instance works on this database; this one follows it");
            // What the other one does is not seen; there is a look at everything before anything is done here.
            self.entries.clear();
            self.observer.world.flows.let_go();
            self.board.instance(Instance::Standby);
            self.learn_engine();
            service_manager::standing_by();
        }
    }

    /// An Interface row has come, changed or gone: look how the port stands now, which may be newer.
    pub(super) fn interface_changed(&mut self, change: &Change<Interface>) {
        let Some(row) = change.new.as_deref().or(change.old.as_deref()) else {
            return;
        };
        let rows = [&change.old, &change.new].into_iter().flatten();
        if rows.clone().map(|row| &row.external_ids).any(switch::is_by_hand) {
            self.board.by_hand(self.observer.world.switch.by_hand());
        }
        if rows.map(|row| &row.external_ids).any(|ids| !switch::is_addressed(ids)) {
            self.asked.clear();
        }
        if link_differs(change) {
            self.forwarding_may_differ();
        }
        let number = |row: &Option<_>| row.as_deref().and_then(|row: &Interface| row.ofport);
        if change.old.is_some() && number(&change.old) != number(&change.new) {
            for waiting in self.observer.wake_for_numbers() {
                self.look(waiting);
            }
        }
        let old = change.old.as_deref();
        if let Some(before) = old.and_then(switch::container_of)
            && change
                .new
                .as_deref()
                .is_none_or(|new| switch::container_of(new).as_ref() != Some(&before))
        {
            // Its marks have gone, or its row, in the place of which there may be another of its name.
            self.attached_changed(before);
        }
        let Some(container) = switch::container_of(row) else {
            let number = |row: &Option<Arc<Interface>>| row.as_ref().map(|row| row.ofport);
            if number(&change.old) != number(&change.new) {
                self.host_changed();
            }
            return;
        };
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && settings_differ(old, new)
        {
            self.attached_changed(container.clone());
        }
        let Some(entry) = self.entries.get(&container) else {
            return;
        };
        let Some(attached) =
            entry.ports.iter().map(|port| &port.attached).find(|one| one.port.as_str() == row.name)
        else {
            return;
        };
        match self.observer.world.switch.readiness(&attached.port) {
            Some(readiness) => {
                let key = attached.spec.key.clone();
                self.readiness(&key, readiness);
            }
            // While it is looked at, the row may well be gone by our own doing.
            None if entry.looking => {}
            None => self.look(container),
        }
    }

    /// A port has lost something in the kernel, or may have.
    pub(super) fn link_news(&mut self, news: News) {
        let container = match news {
            News::Overrun => return self.look_at_everything(),
            News::Lost(container) => container,
        };
        self.attached_changed(container);
    }

    /// Somebody has changed a Port row.
    pub(super) fn port_changed(&mut self, change: &Change<Port>) {
        let (Some(old), Some(new)) = (&change.old, &change.new) else { return };
        if old.rstp_status != new.rstp_status {
            self.forwarding_may_differ();
        }
        let only_that =
            || Port { rstp_status: old.rstp_status.clone(), ..(**new).clone() } == **old;
        if old != new && !only_that() {
            self.port_drifted(new.uuid);
        }
    }

    /// Somebody has changed or deleted a row that a port has beside its own.
    pub(super) fn row_beside_changed<R: Row>(&mut self, change: &Change<R>) {
        // One that comes is of our own making, or nothing to us.
        if let Some(container) = change.old.as_deref().and_then(switch::container_of) {
            self.attached_changed(container);
        }
    }

    /// Somebody has taken ports off a bridge, or addresses that are kept.
    pub(super) fn bridge_changed(&mut self, change: &Change<Bridge>) {
        self.asked.clear();
        let (Some(old), Some(new)) = (&change.old, &change.new) else { return };
        for port in old.ports.difference(&new.ports) {
            self.port_drifted(*port);
        }
        for container in switch::lost_leases(old, new) {
            self.attached_changed(container);
        }
    }

    fn port_drifted(&mut self, port: Uuid) {
        if let Some(container) = self.observer.world.switch.container_of_port(port) {
            self.attached_changed(container);
        }
    }

    /// Something of a container may no longer be as we left it.
    fn attached_changed(&mut self, container: ContainerId) {
        let Some(entry) = self.entries.get_mut(&container) else { return };
        if entry.looking {
            entry.lost = true;
        } else if !entry.ports.is_empty() {
            // A container that ends loses all it has, and Docker tells so a moment later.
            let pause = self.within_budget(&container, END);
            self.timers.set_sooner(Timer::Look(container), pause);
        }
    }

    pub(super) fn switch_changed(&mut self, state: &State) {
        match state {
            State::Connected { .. } => {
                self.board.ovsdb(true);
                self.look_at_everything();
            }
            State::Disconnected { reason } => {
                self.board.ovsdb(false);
                warn!(reason = %reason, "lost OVSDB, connecting again; ports stay as they are");
            }
        }
    }
}
