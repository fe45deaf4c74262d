//! Sending a transaction until its outcome is known, and never twice.

use std::time::Duration;

use super::{Client, TransactError};
use crate::bundle::Bundle;
use crate::condition::Where;
use crate::reply::{ErrorKind, Reply};
use crate::row::Row;
use crate::session::RequestError;
use crate::transaction::{Transaction, Wait};

/// What became of a transaction that may be committed once only.
#[derive(Debug)]
pub enum Once {
    /// It was committed, and this is the server's reply.
    Committed(Reply),
    /// Its mark was there: it had been committed, and the reply was lost with its connection, or
    /// else somebody had done the same before.
    Found,
}

impl Client {
    /// Executes a transaction once, across lost connections.
    ///
    /// When a connection is lost with a transaction in flight, nobody can know whether it was
    /// committed; to look into the replica is not enough in a cluster, where a new leader may come
    /// to commit what the old one had begun. So the transaction must leave a mark: `mark` describes
    /// rows that exist if, and only if, it was committed, such as a unique name or a UUID in the
    /// `external_ids` of a row that it inserts. The transaction is sent behind a guard (a `wait`
    /// with a timeout of zero, RFC 7047 section 5.2.6) that fails it if there is such a row.
    ///
    /// Without a connection it waits for one, for ever: put a timeout around it. If the future is
    /// dropped, the transaction may be executed or not.
    ///
    /// ```no_run
    /// use ovsdb::tables::{Bridge, Interface, Port};
    /// use ovsdb::{Client, Insert, Mutation, Once, TransactError, Transaction};
    ///
    /// async fn add_port(client: &Client, bridge: &str, name: &str) -> Result<(), TransactError> {
    ///     let mut tx = Transaction::new();
    ///     let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, name));
    ///     let port = Insert::<Port>::new()
    ///         .set(Port::NAME, name)
    ///         .set(Port::INTERFACES, [interface]);
    ///     let port = tx.insert(port);
    ///     tx.require(Bridge::NAME.eq(bridge));
    ///     let _ = tx.mutate(Bridge::NAME.eq(bridge), Mutation::insert(Bridge::PORTS, [port]));
    ///     match client.transact_once(Port::NAME.eq(name), tx).await? {
    ///         Once::Committed(_) => println!("added {name}"),
    ///         Once::Found => println!("{name} is there"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`TransactError`]; never that there is no connection, but for a client whose runtime
    /// has ended. An operation's index counts the guard: those of `tx` start at 1.
    pub async fn transact_once<R: Row>(
        &self,
        mark: impl Into<Where<R>>,
        tx: Transaction,
    ) -> Result<Once, TransactError> {
        let mut guarded = Transaction::new();
        guarded.wait(Wait::until_equal(mark, []).timeout(Duration::ZERO));
        let guarded = [guarded.and(tx)];
        let bundle = Bundle::new(&guarded);
        loop {
            match self.execute(&bundle).await {
                Ok(reply) => return Ok(Once::Committed(reply)),
                Err(TransactError::Operation(error))
                    if error.index == Some(0) && error.kind == ErrorKind::TimedOut =>
                {
                    return Ok(Once::Found);
                }
                Err(TransactError::Request(
                    RequestError::ConnectionLost { .. } | RequestError::NotConnected { .. },
                )) => self.connected().await?,
                Err(error) => return Err(error),
            }
        }
    }
}
