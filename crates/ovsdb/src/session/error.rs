//! Why a connection ended, and what that means for the requests on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::message::DecodeError;
use crate::reply::RpcError;
use crate::update::FoldError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak OVSDB")]
    Protocol(#[from] DecodeError),
    /// The peer was silent, even when probed.
    #[error("no sign of life from the server for {} ms", .after.as_millis())]
    Inactive {
        /// For how long.
        after: Duration,
    },
    /// The server sent a table update that the replica can't take.
    #[error("the server's update does not fit the replica")]
    Update(#[from] FoldError),
    /// The server is not, or no longer, the leader of its cluster
    /// ([`Options::leader_only`](crate::Options::leader_only)).
    #[error("the server is not the leader of its cluster")]
    NotLeader,
    /// The server is, or was, cut off from its cluster: what it knows may be old.
    #[error("the server is not connected to its cluster")]
    Detached,
    /// The server, a member of a cluster, does not have all yet that the replica has.
    #[error("the server knows less of its cluster's database than was known before")]
    Behind,
    /// The server stopped a monitor, so that the replica would go stale.
    #[error("the server cancelled the monitor")]
    MonitorCanceled,
    /// The peer asks and asks and does not read the answers.
    #[error("the server does not read what it is sent")]
    Congested,
    /// A message could not be written as JSON.
    #[error("cannot encode a message")]
    Encode(#[source] serde_json::Error),
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It was not sent, because there is no connection.
    #[error("not connected to the OVSDB server: {reason}")]
    NotConnected {
        /// Why there is none.
        reason: Arc<str>,
    },
    /// The connection ended before the response: the server may have executed the request, or not.
    #[error("the connection to the OVSDB server was lost, the outcome is unknown: {reason}")]
    ConnectionLost {
        /// Why it ended.
        reason: Arc<str>,
    },
    /// The server refused it.
    #[error("the OVSDB server refused the request")]
    Refused(#[source] RpcError),
}
