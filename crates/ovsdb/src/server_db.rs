//! The database `_Server`, in which a server tells of the databases it serves and of its place in
//! a cluster (ovsdb-server(7), "The _Server database"). Pure.

use uuid::Uuid;

use crate::monitor::Monitor;
use crate::row::{Fold, Row};
use crate::value::{TypeError, Value};

/// Its name.
pub(crate) const NAME: &str = "_Server";

/// A row of its table `Database`: one of the databases served.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Database {
    uuid: Uuid,
    pub(crate) name: String,
    /// `standalone`, `clustered` or `relay`.
    pub(crate) model: String,
    /// Whether a clustered server is in contact with a majority of its cluster.
    pub(crate) connected: bool,
    /// Whether a clustered server is the leader.
    pub(crate) leader: bool,
    /// Which cluster a clustered server belongs to, once it has joined it.
    cid: Option<Uuid>,
    /// The index of the last entry of the cluster's log that a clustered server has applied.
    index: Option<i64>,
}

impl Row for Database {
    const TABLE: &'static str = "Database";

    const COLUMNS: &'static [&'static str] =
        &["name", "model", "connected", "leader", "cid", "index"];

    fn new(uuid: Uuid) -> Self {
        Self {
            uuid,
            name: String::new(),
            model: String::new(),
            connected: false,
            leader: false,
            cid: None,
            index: None,
        }
    }

    fn uuid(&self) -> Uuid {
        self.uuid
    }

    fn fold(&mut self, column: &str, value: Value, how: Fold) -> Result<(), TypeError> {
        match column {
            "name" => how.apply(&mut self.name, value),
            "model" => how.apply(&mut self.model, value),
            "connected" => how.apply(&mut self.connected, value),
            "leader" => how.apply(&mut self.leader, value),
            "cid" => how.apply(&mut self.cid, value),
            "index" => how.apply(&mut self.index, value),
            _ => Ok(()),
        }
    }
}

/// What a server is to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The only one that has it, or one that relays it.
    Alone,
    /// The leader of its cluster.
    Leader,
    /// A member that follows the leader.
    Follower,
    /// A member without contact to a majority: what it has may be old, and it can't commit.
    Detached,
}

impl Role {
    pub(crate) fn of(database: &Database) -> Self {
        match (database.model == "clustered", database.connected, database.leader) {
            (false, ..) => Self::Alone,
            (true, false, _) => Self::Detached,
            (true, true, true) => Self::Leader,
            (true, true, false) => Self::Follower,
        }
    }
}

/// How far a member of a cluster has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    cluster: Uuid,
    /// Grows with every transaction, and is the same for all members that have it.
    index: i64,
}

impl Progress {
    /// Nothing of a server alone, which has all that there is.
    pub(crate) fn of(database: &Database) -> Option<Self> {
        Some(Self { cluster: database.cid?, index: database.index? })
    }

    /// Whether a member that is so far lacks what one that was as far as `known` had. Nothing is known of other
    /// clusters.
    pub(crate) fn is_behind(self, known: Self) -> bool {
        self.cluster == known.cluster && self.index < known.index
    }
}

/// What to follow of it.
pub(crate) fn monitor() -> Monitor {
    Monitor::new(NAME).table::<Database>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_lost_its_cluster_is_no_leader() {
        let row = |model: &str, connected, leader| Database {
            model: model.to_owned(),
            connected,
            leader,
            ..Database::new(Uuid::nil())
        };
        for (database, role) in [
            (row("standalone", true, true), Role::Alone),
            (row("relay", true, false), Role::Alone),
            (row("clustered", true, true), Role::Leader),
            (row("clustered", true, false), Role::Follower),
            (row("clustered", false, true), Role::Detached),
        ] {
            assert_eq!(Role::of(&database), role, "{database:?}");
        }
    }

    #[test]
    fn a_member_is_behind_another_of_its_cluster_alone() {
        let progress = |cluster, index| Progress { cluster: Uuid::from_u128(cluster), index };
        assert!(progress(1, 6).is_behind(progress(1, 7)));
        assert!(!progress(1, 7).is_behind(progress(1, 7)));
        assert!(!progress(2, 1).is_behind(progress(1, 7)), "a new cluster begins anew");
    }
}
