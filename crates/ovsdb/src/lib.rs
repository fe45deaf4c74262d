//! An OVSDB client ([RFC 7047]): typed rows, a live replica of tables, atomic transactions.
//!
//! [`Client`] is the way in. It connects to an [`Endpoint`], keeps a [`Replica`] of the tables
//! that a [`Monitor`] names, reconnects when the connection is lost, and sends [`Transaction`]s.
//! The row types are in [`tables`].
//!
//! ```no_run
//! use ovsdb::tables::{Bridge, Interface, Port};
//! use ovsdb::{Client, Insert, Monitor, Mutation, Transaction};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = "unix:/run/openvswitch/db.sock".parse()?;
//! let monitor = Monitor::new("Open_vSwitch").table::<Bridge>().table::<Interface>();
//! let client = Client::connect(endpoint, monitor).await?;
//!
//! // Read from the replica, without asking the server.
//! let bridge = client.read(|replica| replica.table::<Bridge>().by_name("ovsbr0").cloned());
//!
//! // Write: all of it, or nothing.
//! let mut tx = Transaction::new();
//! let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, "eth7"));
//! let port = tx.insert(
//!     Insert::<Port>::new()
//!         .set(Port::NAME, "eth7")
//!         .set(Port::INTERFACES, [interface])
//!         .set(Port::TAG, Some(100)),
//! );
//! let found = tx.mutate(Bridge::NAME.eq("ovsbr0"), Mutation::insert(Bridge::PORTS, [port]));
//! let reply = client.transact(tx).await?;
//! assert_eq!(reply.count(found), 1, "there is no such bridge");
//!
//! // Follow: the rows there already, then every change.
//! let mut changes = client.subscribe::<Interface>();
//! while let Some(change) = changes.recv().await {
//!     println!("{:?} -> {:?}", change.old, change.new);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::commit`] lets many callers share transactions, [`Client::transact_once`] outlives lost
//! connections, [`Client::connect_cluster`] is for RAFT clusters. `ssl:` endpoints need the feature
//! `ssl`.
//!
//! The layers, from the wire up: `value`, `message`, `session` (one connection), `update`, `table`
//! and `replica` (folding, pure), `client`. Beside them `column`, `condition`, `mutation`,
//! `operation`, `transaction`, `bundle` and `reply`, also pure.
//!
//! [RFC 7047]: https://www.rfc-editor.org/rfc/rfc7047

pub mod schema;
pub mod tables;

mod backoff;
mod bundle;
mod client;
mod column;
mod condition;
mod endpoint;
mod filter;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod inactivity;
mod message;
mod monitor;
mod mutation;
mod operation;
mod replica;
mod reply;
mod row;
mod server_db;
mod session;
mod string_enum;
mod table;
#[cfg(feature = "ssl")]
mod tls;
mod transaction;
mod update;
mod value;

pub use client::{
    CallError, Client, ConnectError, Lock, LockError, LockState, Once, Options, State,
    TransactError,
};
pub use column::{Column, Ref};
pub use condition::Where;
pub use endpoint::{Endpoint, EndpointError};
pub use filter::{Conjunction, Filter};
pub use message::{DecodeError, Limits};
pub use monitor::{Monitor, SchemaMismatch};
pub use mutation::{Arithmetic, Container, Mutation};
pub use replica::Replica;
pub use reply::{ErrorKind, MalformedReply, OperationError, Reply, RpcError};
pub use row::{Field, Fold, FromAtom, IntoAtom, IntoValue, Row};
pub use session::{RequestError, SessionError};
pub use table::{Change, Table};
#[cfg(feature = "ssl")]
pub use tls::{Identity, Tls, TlsError};
pub use transaction::{Counted, Insert, Selected, Transaction, Update, Wait};
pub use update::FoldError;
pub use value::{Atom, NamedUuid, TypeError, Value};

pub use uuid::Uuid;
