//! Locks: mutual exclusion among the clients of one server (RFC 7047 section 4.1.8).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Client;
use crate::session::Command;

/// A lock that this client holds or waits for, until this value is dropped.
///
/// It outlives lost connections: with each of them the lock is lost, and with the next one the
/// client waits in its queue again. So to do something only under the lock, let the server see to
/// it with [`Transaction::assert`](crate::Transaction::assert).
///
/// ```no_run
/// # async fn example(client: ovsdb::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut lock = client.lock("my_program")?;
/// lock.held().await;
/// let mut tx = ovsdb::Transaction::new();
/// tx.assert("my_program");
/// // ...
/// client.transact(tx).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lock {
    name: Arc<str>,
    client: Client,
    state: watch::Receiver<LockState>,
}

/// Whether a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Another client has it, or there is no connection.
    Waiting,
    /// This client has it.
    Held,
    /// This client had it until another stole it (RFC 7047 section 4.1.10). It is still in the
    /// queue.
    Stolen,
}

/// A lock that can't be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Its name is no `<id>`: letters, digits and underscores, and no digit first.
    #[error("{0:?} is no name for a lock: expected letters, digits and underscores")]
    InvalidName(String),
    /// This client has asked for it already. A server knows only one of each on a connection.
    #[error("this client has asked for the lock {0} already")]
    InUse(String),
}

/// The locks that a client wants.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<Arc<str>, watch::Sender<LockState>>>);

impl Client {
    /// Asks for a lock, behind those who asked before (RFC 7047 section 4.1.8).
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn lock(&self, name: &str) -> Result<Lock, LockError> {
        self.want(name, false)
    }

    /// Takes a lock, from whoever has it (RFC 7047 section 4.1.8).
    ///
    /// It is stolen once. After a lost connection the client waits in the queue like the others.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn steal(&self, name: &str) -> Result<Lock, LockError> {
        self.want(name, true)
    }

    fn want(&self, name: &str, steal: bool) -> Result<Lock, LockError> {
        if !is_id(name) {
            return Err(LockError::InvalidName(name.to_owned()));
        }
        let name: Arc<str> = name.into();
        let (sender, state) = watch::channel(LockState::Waiting);
        let mut locks = self.shared.locks.all();
        if locks.contains_key(&name) {
            return Err(LockError::InUse(name.to_string()));
        }
        locks.insert(Arc::clone(&name), sender);
        // Under the mutex, so that commands about one lock have the order of these changes. Without
        // a connection it is asked for as soon as there is one.
        let _ = self.commands.send(Command::Lock {
            id: self.shared.next_id(),
            name: Arc::clone(&name),
            steal,
        });
        drop(locks);
        let client = self.clone();
        Ok(Lock { name, client, state })
    }
}

impl Lock {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is held, and to be told when that changes.
    pub fn state(&self) -> watch::Receiver<LockState> {
        self.state.clone()
    }

    /// Whether it was held when the server last told.
    pub fn is_held(&self) -> bool {
        *self.state.borrow() == LockState::Held
    }

    /// Waits until it is held.
    pub async fn held(&mut self) {
        let held = self.state.wait_for(|state| *state == LockState::Held);
        if held.await.is_err() {
            // The sender lives as long as this value, so this does not happen.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locks = self.client.shared.locks.all();
        locks.remove(&self.name);
        let _ = self.client.commands.send(Command::Unlock {
            id: self.client.shared.next_id(),
            name: Arc::clone(&self.name),
        });
    }
}

impl Locks {
    /// The names of all locks wanted, to ask for them on a new connection.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.all().keys().map(Arc::clone).collect()
    }

    pub(super) fn set(&self, name: &str, state: LockState) {
        if let Some(lock) = self.all().get(name) {
            set(lock, state);
        }
    }

    /// With a connection its locks are lost.
    pub(super) fn lose_all(&self) {
        for lock in self.all().values() {
            set(lock, LockState::Waiting);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Sender<LockState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(lock: &watch::Sender<LockState>, new: LockState) {
    lock.send_if_modified(|state| std::mem::replace(state, new) != new);
}

/// Whether a text is an `<id>` (RFC 7047 section 3.1).
fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
