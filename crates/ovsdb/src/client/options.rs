//! What can be chosen about a connection, and what can be known of it.

use std::sync::Arc;
use std::time::Duration;

use crate::message::Limits;

/// Whether there is a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The replica is live.
    Connected {
        /// How many connections there were, this one included.
        generation: u64,
    },
    /// The replica is as it was when the connection was lost, and a new one is being attempted.
    Disconnected {
        /// Why the last connection, or the last attempt, failed.
        reason: Arc<str>,
    },
}

/// Times and limits of a connection.
///
/// ```
/// use std::time::Duration;
///
/// use ovsdb::Options;
///
/// let patient = Options { probe_interval: Duration::from_secs(60), ..Options::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a connection may take to be established.
    pub connect_timeout: Duration,
    /// After how much silence the server is probed; after as much again it is given up.
    pub probe_interval: Duration,
    /// The first delay before a new attempt to connect.
    pub backoff_first: Duration,
    /// The longest delay before a new attempt to connect.
    pub backoff_last: Duration,
    /// Whether to be connected to the leader only, where the database is clustered. Followers can
    /// serve reads, a little later, and pass transactions on to the leader, at the cost of a trip.
    pub leader_only: bool,
    /// What the server may send at most.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(5),
            backoff_first: Duration::from_millis(100),
            backoff_last: Duration::from_secs(4),
            leader_only: false,
            limits: Limits::default(),
        }
    }
}
