//! What an application holds: a replica that stays live across lost connections, and transactions.
//!
//! One task owns the connection. It alone writes to the replica; everybody else reads.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::endpoint::Endpoint;
use crate::message::{self, Limits};
use crate::monitor::{Monitor, SchemaMismatch};
use crate::replica::Replica;
use crate::reply::{
    ErrorKind, MalformedReply, OperationError, Reply, RpcError, Verdict, parse_reply,
};
use crate::row::Row;
use crate::session::{Command, RequestError, SessionError};
use crate::table::Change;
use crate::transaction::Transaction;
use crate::update::FoldError;

mod connection;

/// A connection to a database that heals itself. Clones share it, and it ends with the last one.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What clients share with the task behind them.
#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    monitor: Monitor,
    options: Options,
    replica: RwLock<Replica>,
    state: watch::Sender<State>,
    next_id: AtomicU64,
}

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
            limits: Limits::default(),
        }
    }
}

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
#[derive(Debug, thiserror::Error)]
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
    Encode(#[source] serde_json::Error),
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
}

impl Client {
    /// Connects and fills the replica, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// This first connection could not be made. A connection lost later is made anew, for ever.
    pub async fn connect(endpoint: Endpoint, monitor: Monitor) -> Result<Self, ConnectError> {
        Self::connect_with(endpoint, monitor, Options::default()).await
    }

    /// Connects and fills the replica.
    ///
    /// # Errors
    ///
    /// See [`Self::connect`].
    pub async fn connect_with(
        endpoint: Endpoint,
        monitor: Monitor,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared {
            replica: RwLock::new(monitor.empty_replica()),
            endpoint,
            monitor,
            options,
            state: watch::Sender::new(State::Disconnected { reason: "not yet connected".into() }),
            next_id: AtomicU64::new(1),
        });
        let session = shared.establish().await?;
        shared.state.send_replace(State::Connected { generation: 1 });
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(connection::keep(Arc::clone(&shared), session, receiver));
        Ok(Self { commands, shared })
    }

    /// Reads from the replica. It can't change meanwhile, so the closure must be short, and must
    /// not use the client again.
    ///
    /// # Panics
    ///
    /// If the closure asks for a table that is not monitored (see [`Replica::table`]).
    pub fn read<T>(&self, read: impl FnOnce(&Replica) -> T) -> T {
        read(&self.shared.read())
    }

    /// The rows already there, as inserts, and then every change, in their order.
    ///
    /// A lost connection is not seen here: once there is a new one, the differences are. The
    /// receiver ends with the last client. What is not received is kept, so do receive.
    ///
    /// # Panics
    ///
    /// If the table of `R` is not monitored.
    pub fn subscribe<R: Row>(&self) -> mpsc::UnboundedReceiver<Change<R>> {
        self.shared.write().table_mut().subscribe()
    }

    /// Whether there is a connection, and to be told when that changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Where the server is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Executes a transaction; once it returns, the replica has its effects.
    ///
    /// If the future is dropped, the transaction may be executed or not, like one whose connection
    /// was lost.
    ///
    /// # Errors
    ///
    /// See [`TransactError`]; without a connection it fails at once.
    pub async fn transact(&self, tx: Transaction) -> Result<Reply, TransactError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut text = Vec::new();
        let params = tx.params(self.shared.monitor.database());
        message::write_request(&mut text, id, "transact", params).map_err(TransactError::Encode)?;
        let result = self.request(id, text).await?;
        match parse_reply(&tx, &result)? {
            Verdict::Committed(reply) => Ok(reply),
            Verdict::Failed(error) => Err(error.into()),
        }
    }

    async fn request(&self, id: u64, text: Vec<u8>) -> Result<Box<RawValue>, RequestError> {
        let ended = || Arc::from("the client has ended");
        let (reply, mut response) = oneshot::channel();
        let command = Command::Request { id, text, reply };
        if self.commands.send(command).is_err() {
            return Err(RequestError::NotConnected { reason: ended() });
        }
        let mut cancel = CancelOnDrop { commands: &self.commands, id: Some(id) };
        let result = (&mut response).await;
        cancel.id = None;
        result.unwrap_or_else(|_| Err(RequestError::ConnectionLost { reason: ended() }))
    }
}

/// Tells the task behind a client that nobody waits for a response any more.
struct CancelOnDrop<'a> {
    commands: &'a mpsc::UnboundedSender<Command>,
    id: Option<u64>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // Without a task there is nothing to cancel.
            let _ = self.commands.send(Command::Cancel { id });
        }
    }
}

impl Shared {
    // A panic inside `read` leaves the replica as it was, so poison means nothing here. The task
    // that writes does not panic.

    fn read(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Replica> {
        self.replica.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error and all its sources, in one line.
fn chain(error: &dyn Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a string can't fail.
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text.into()
}
