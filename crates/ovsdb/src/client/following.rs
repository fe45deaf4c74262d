//! What a client follows at present, and how far it has come. Pure.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::filter::Filter;
use crate::monitor::Monitor;
use crate::row::Row;
use crate::server_db::Progress;

/// The tables followed with their filters, and the last transaction that the replica has.
#[derive(Debug)]
pub(super) struct Following(Mutex<State>);

#[derive(Debug)]
struct State {
    monitor: Monitor,
    /// Grows with every change of a filter.
    version: u64,
    /// The version that the server filters by.
    in_force: u64,
    last: Option<Uuid>,
    /// How far the members of its cluster had come that the replica is from.
    progress: Option<Progress>,
}

/// What to ask a server for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) monitor: Monitor,
    pub(super) version: u64,
    /// The transaction from which on, if the replica is what the filters let pass up to there.
    pub(super) since: Option<Uuid>,
}

impl Following {
    pub(super) fn new(monitor: Monitor) -> Self {
        Self(Mutex::new(State { monitor, version: 0, in_force: 0, last: None, progress: None }))
    }

    pub(super) fn wanted(&self) -> Wanted {
        let state = self.state();
        Wanted {
            monitor: state.monitor.clone(),
            version: state.version,
            since: state.last.filter(|_| state.version == state.in_force),
        }
    }

    /// Takes a filter. `false` if its table is not followed.
    pub(super) fn set_filter<R: Row>(&self, filter: Filter<R>) -> bool {
        let mut state = self.state();
        state.version += 1;
        state.monitor.set_filter(filter)
    }

    /// The server filters by the filters of this version.
    pub(super) fn acknowledge(&self, version: u64) {
        let mut state = self.state();
        state.in_force = state.in_force.max(version);
    }

    pub(super) fn is_in_force(&self, version: u64) -> bool {
        self.state().in_force >= version
    }

    /// The replica has everything up to this transaction. Without one, who knows what it has.
    pub(super) fn set_last(&self, last: Option<Uuid>) {
        self.state().last = last;
    }

    /// The server connected to is so far. `false` if the replica is further: what it has would be lost again.
    pub(super) fn keeps_up(&self, progress: Progress) -> bool {
        let mut state = self.state();
        let behind = state.progress.is_some_and(|known| progress.is_behind(known));
        if !behind {
            state.progress = Some(progress);
        }
        !behind
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
