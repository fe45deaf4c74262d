//! What an application holds: a replica that stays live across lost connections, and transactions.
//!
//! One task owns the connection. It alone writes to the replica; everybody else reads.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::endpoint::Endpoint;
use crate::message;
use crate::monitor::Monitor;
use crate::replica::Replica;
use crate::reply::{Reply, Verdict, parse_reply};
use crate::row::Row;
use crate::session::{Command, RequestError};
use crate::table::Change;
use crate::transaction::Transaction;

mod connection;
mod error;
mod group;
mod options;

use group::Group;

pub use error::{ConnectError, TransactError};
pub use options::{Options, State};

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
    group: Group,
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
            state: watch::Sender::new(State::Disconnected {
                reason: "not yet connected".into(),
            }),
            next_id: AtomicU64::new(1),
            group: Group::default(),
        });
        let session = shared.establish().await?;
        shared
            .state
            .send_replace(State::Connected { generation: 1 });
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
        self.begin(&tx)?.reply(&tx).await
    }

    /// Sends a transaction, now.
    fn begin(&self, tx: &Transaction) -> Result<InFlight<'_>, TransactError> {
        let params = tx.params(self.shared.monitor.database());
        self.send("transact", params)
            .map_err(|error| TransactError::Encode(Arc::new(error)))
    }

    /// Sends a request, now.
    fn send(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<InFlight<'_>, serde_json::Error> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut text = Vec::new();
        message::write_request(&mut text, id, method, params)?;
        let (reply, response) = oneshot::channel();
        if let Err(unsent) = self.commands.send(Command::Request { id, text, reply }) {
            unsent.0.refuse(&client_ended());
        }
        Ok(InFlight {
            commands: &self.commands,
            id: Some(id),
            response,
        })
    }
}

/// A request that is on its way. If nobody waits for its response any more, it is cancelled
/// (RFC 7047 section 4.1.4).
struct InFlight<'a> {
    commands: &'a mpsc::UnboundedSender<Command>,
    id: Option<u64>,
    response: oneshot::Receiver<Result<Box<RawValue>, RequestError>>,
}

impl InFlight<'_> {
    /// Waits for the response.
    async fn response(mut self) -> Result<Box<RawValue>, RequestError> {
        let result = (&mut self.response).await;
        self.id = None;
        result.unwrap_or_else(|_| {
            let reason = client_ended();
            Err(RequestError::ConnectionLost { reason })
        })
    }

    /// Waits for the response to a transaction.
    async fn reply(self, tx: &Transaction) -> Result<Reply, TransactError> {
        let result = self.response().await?;
        match parse_reply(tx, &result)? {
            Verdict::Committed(reply) => Ok(reply),
            Verdict::Failed(error) => Err(error.into()),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // Without a task there is nothing to cancel.
            let _ = self.commands.send(Command::Cancel { id });
        }
    }
}

fn client_ended() -> Arc<str> {
    "the client has ended".into()
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
