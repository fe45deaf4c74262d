//! What an application holds: a replica that stays live across lost connections, and transactions.
//!
//! One task owns the connection. It alone writes to the replica; everybody else reads.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::bundle::Bundle;
use crate::endpoint::Endpoint;
use crate::message;
use crate::monitor::Monitor;
use crate::replica::Replica;
use crate::reply::{Reply, Verdict, parse_reply};
use crate::row::Row;
use crate::session::{Command, RequestError};
use crate::table::Change;
use crate::transaction::Transaction;
use crate::update::{FoldError, TableUpdates};

mod connection;
mod error;
mod establish;
mod following;
mod group;
mod lock;
mod once;
mod options;
mod request;

use following::Following;
use group::Group;
use lock::Locks;

pub use error::{ConnectError, TransactError};
pub use lock::{Lock, LockError, LockState};
pub use once::Once;
pub use options::{Options, State};
pub use request::CallError;

/// A connection to a database that heals itself. Clones share it, and it ends with the last one.
///
/// A request whose future is dropped is cancelled on the server (RFC 7047 section 4.1.4), so a
/// deadline is a timeout around it:
///
/// ```no_run
/// use std::time::Duration;
///
/// use ovsdb::tables::Interface;
/// use ovsdb::{Client, Monitor, Transaction, Wait};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = "unix:/run/openvswitch/db.sock".parse()?;
/// let client = Client::connect(endpoint, Monitor::new("Open_vSwitch")).await?;
/// let mut tx = Transaction::new();
/// tx.wait(Wait::until_different(Interface::NAME.eq("eth7"), []));
/// match tokio::time::timeout(Duration::from_secs(5), client.transact(tx)).await {
///     Ok(reply) => println!("there is an interface eth7: {:?}", reply?),
///     Err(_) => println!("there was none for five seconds, and the server no longer looks"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What clients share with the task behind them.
#[derive(Debug)]
struct Shared {
    /// At least one, in the order in which they are tried.
    endpoints: Vec<Endpoint>,
    /// Which of them it is, or was last.
    current: AtomicUsize,
    database: String,
    following: Following,
    options: Options,
    replica: RwLock<Replica>,
    state: watch::Sender<State>,
    locks: Locks,
    next_id: AtomicU64,
    group: Group,
}

/// The id of the one monitor of the database that a connection has.
const MONITOR_ID: &str = "replica";

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
        Self::connect_cluster([endpoint], monitor, options).await
    }

    /// Connects to one of the servers of a cluster, and fills the replica.
    ///
    /// The endpoints are tried in their order, again after each loss of a connection. A member
    /// that has lost contact with its cluster, or does not have all yet that the replica has, is left
    /// for another, and with [`Options::leader_only`] so is one that is not the leader.
    ///
    /// ```no_run
    /// use ovsdb::{Client, Endpoint, Monitor, Options};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoints = Endpoint::parse_list("tcp:10.0.0.1:6641,tcp:10.0.0.2:6641,tcp:10.0.0.3:6641")?;
    /// let options = Options { leader_only: true, ..Options::default() };
    /// let client = Client::connect_cluster(endpoints, Monitor::new("OVN_Northbound"), options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// None of them could be connected to. The error is that of the last.
    pub async fn connect_cluster(
        endpoints: impl IntoIterator<Item = Endpoint>,
        monitor: Monitor,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared {
            endpoints: endpoints.into_iter().collect(),
            current: AtomicUsize::new(0),
            database: monitor.database().to_owned(),
            replica: RwLock::new(monitor.empty_replica()),
            following: Following::new(monitor),
            options,
            state: watch::Sender::new(State::Disconnected { reason: "not yet connected".into() }),
            locks: Locks::default(),
            next_id: AtomicU64::new(1),
            group: Group::default(),
        });
        let connection = shared.establish_any().await?;
        shared.state.send_replace(State::Connected { generation: 1 });
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(connection::keep(Arc::clone(&shared), connection, receiver));
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
    /// ```no_run
    /// use ovsdb::Client;
    /// use ovsdb::tables::Port;
    ///
    /// async fn follow(client: &Client) {
    ///     let mut changes = client.subscribe::<Port>();
    ///     while let Some(change) = changes.recv().await {
    ///         match (change.old, change.new) {
    ///             (None, Some(port)) => println!("+ {}", port.name),
    ///             (Some(port), None) => println!("- {}", port.name),
    ///             (Some(old), Some(new)) if old.tag != new.tag => {
    ///                 println!("{}: tag {:?} -> {:?}", new.name, old.tag, new.tag);
    ///             }
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// ```
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

    /// Where the server is that is, or was last, or is just being, connected to.
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.endpoint()
    }

    /// Executes a transaction; once it returns, the replica has its effects.
    ///
    /// If the future is dropped, the server is asked to cancel the transaction (RFC 7047 section
    /// 4.1.4). One that waits then ends without effect; another may be executed all the same, like
    /// one whose connection was lost.
    ///
    /// # Errors
    ///
    /// See [`TransactError`]; without a connection it fails at once.
    pub async fn transact(&self, tx: Transaction) -> Result<Reply, TransactError> {
        self.execute(&Bundle::new(&[tx])).await
    }

    async fn execute(&self, bundle: &Bundle<'_>) -> Result<Reply, TransactError> {
        self.begin(bundle)?.reply(bundle).await
    }

    /// Sends transactions, now.
    fn begin(&self, bundle: &Bundle<'_>) -> Result<InFlight<'_>, TransactError> {
        let params = bundle.params(&self.shared.database);
        self.send("transact", params).map_err(|error| TransactError::Encode(Arc::new(error)))
    }

    /// Sends a request, now.
    fn send(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<InFlight<'_>, serde_json::Error> {
        let id = self.shared.next_id();
        let mut text = Vec::with_capacity(1024);
        message::write_request(&mut text, id, method, params)?;
        let (reply, response) = oneshot::channel();
        if let Err(unsent) = self.commands.send(Command::Request { id, text, reply }) {
            unsent.0.refuse(&client_ended());
        }
        Ok(InFlight { commands: &self.commands, id: Some(id), response })
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

    /// Waits for the response to transactions.
    async fn reply(self, bundle: &Bundle<'_>) -> Result<Reply, TransactError> {
        let result = self.response().await?;
        match parse_reply(bundle, &result)? {
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
    #[expect(
        clippy::indexing_slicing,
        reason = "not by input: there is at least one endpoint, and the index is a remainder"
    )]
    fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.current.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// An id that no request of this client has had.
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    // A panic inside `read` leaves the replica as it was, so poison means nothing here. The task
    // that writes does not panic.

    fn read(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    // Only the task behind the client changes rows, so between staging changes and committing them
    // there are no others, and who reads need not wait while they are parsed.

    fn fold(&self, updates: TableUpdates<'_>) -> Result<(), FoldError> {
        let changes = self.read().stage(updates)?;
        self.write().commit(changes);
        Ok(())
    }

    fn replace(&self, snapshot: TableUpdates<'_>) -> Result<(), FoldError> {
        let changes = self.read().stage_snapshot(snapshot)?;
        self.write().commit(changes);
        Ok(())
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
