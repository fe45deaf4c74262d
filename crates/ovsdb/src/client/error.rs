//! Why a connection could not be made, and why a transaction was not committed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::monitor::SchemaMismatch;
use crate::reply::{ErrorKind, MalformedReply, OperationError, RpcError};
use crate::session::{RequestError, SessionError};
use crate::update::FoldError;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing can be reached there.
    #[error("cannot connect to {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// The system's reason: no such file, permission denied, connection refused, ...
        source: io::Error,
    },
    /// Nothing answered in time.
    #[error("cannot connect to {endpoint} within {} ms", .after.as_millis())]
    TimedOut {
        /// Where.
        endpoint: Endpoint,
        /// How long it was tried.
        after: Duration,
    },
    /// The connection ended before the replica was complete, perhaps because there is no OVSDB
    /// server at its other end ([`SessionError::Protocol`]).
    #[error("the connection to {endpoint} failed")]
    Failed {
        /// Where.
        endpoint: Endpoint,
        /// Why it ended.
        source: SessionError,
    },
    /// The server refused to tell the schema (it may not have the database) or to be monitored.
    #[error("the server at {endpoint} refused {method}")]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// The request.
        method: &'static str,
        /// The server's reason.
        source: RpcError,
    },
    /// There is no endpoint to connect to.
    #[error("no endpoint given")]
    NoEndpoint,
    /// The server is not the leader of its cluster ([`Options::leader_only`](crate::Options)).
    #[error("the server at {endpoint} is not the leader of its cluster")]
    NotLeader {
        /// Where.
        endpoint: Endpoint,
    },
    /// The server has no contact with its cluster, so what it has may be old.
    #[error("the server at {endpoint} is not connected to its cluster")]
    Detached {
        /// Where.
        endpoint: Endpoint,
    },
    /// The server does not have all yet that another member of its cluster had told.
    #[error("the server at {endpoint} knows less of its cluster's database than was known before")]
    Behind {
        /// Where.
        endpoint: Endpoint,
    },
    /// The database is not as the row types need it.
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// The server's schema is not in the form of RFC 7047 section 3.2.
    #[error("malformed database schema")]
    MalformedSchema(#[source] serde_json::Error),
    /// The first snapshot does not fit the row types.
    #[error("the server's snapshot does not fit the replica")]
    Snapshot(#[from] FoldError),
}

/// Why a transaction was not, or perhaps not, committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransactError {
    /// It was not sent, or its outcome is unknown, or the server refused it as a whole.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An operation, or the commit, failed; nothing of the transaction happened.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The server answered, but not in a form that tells the outcome.
    #[error(transparent)]
    Malformed(#[from] MalformedReply),
    /// It can't be written as JSON; nothing was sent.
    #[error("cannot encode the transaction")]
    Encode(#[source] Arc<serde_json::Error>),
}

impl TransactError {
    /// The server's word for what failed, if it had one.
    pub fn kind(&self) -> Option<&ErrorKind> {
        match self {
            Self::Operation(error) => Some(&error.kind),
            Self::Request(RequestError::Refused(error)) => Some(&error.kind),
            Self::Request(_) | Self::Malformed(_) | Self::Encode(_) => None,
        }
    }

    /// Whether the transaction may have been committed in spite of this error.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Request(RequestError::ConnectionLost { .. }) | Self::Malformed(_))
    }

    /// Whether the server was asked and refused, or was not asked because of what was in the
    /// transaction. Another transaction may fare better.
    pub(crate) fn nothing_happened(&self) -> bool {
        match self {
            Self::Operation(_) | Self::Encode(_) | Self::Request(RequestError::Refused(_)) => true,
            Self::Request(_) | Self::Malformed(_) => false,
        }
    }
}
