//! The task behind a client: keeps the replica in step, and starts over when a connection is lost.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::establish::{Connection, SERVER_MONITOR_ID};
use super::lock::LockState;
use super::{MONITOR_ID, Shared, State, chain};
use crate::backoff::Backoff;
use crate::replica::Replica;
use crate::session::{Command, Notice, Session, SessionError};
use crate::update::{FoldError, TableUpdates};
use crate::value::UuidText;

/// Keeps a connection until all clients are gone.
pub(super) async fn keep(
    shared: Arc<Shared>,
    mut connection: Connection,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let options = &shared.options;
    let mut backoff = Backoff::new(options.backoff_first, options.backoff_last);
    let mut generation = 1;
    loop {
        let since = Instant::now();
        let Connection { session, databases } = &mut connection;
        let end = match shared.ask_for_locks(session) {
            Ok(()) => {
                let take = |notice: Notice<'_>| shared.take(databases, &notice);
                session.run(&mut commands, take).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = end else { return };
        let mut reason = chain(&error);
        tracing::warn!(endpoint = %shared.endpoint(), %reason, "lost the connection to OVSDB");
        // The state first, so that whoever learns of a lost request finds it.
        shared.locks.lose_all();
        shared.disconnected(&reason);
        connection.session.fail_pending(&reason);
        drop(connection);
        // A server that hangs up on us again and again is no reason to hurry.
        if since.elapsed() > options.backoff_last {
            backoff.reset();
        }
        // The one that was lost counts as tried in this round.
        let mut tried = 1;
        connection = loop {
            let attempt = async {
                if tried % shared.endpoints.len() == 0 {
                    sleep(backoff.delay()).await;
                }
                tried += 1;
                shared.current.fetch_add(1, Ordering::Relaxed);
                shared.establish().await
            };
            match refusing(&mut commands, &reason, attempt).await {
                Some(Ok(connection)) => break connection,
                Some(Err(error)) => {
                    reason = chain(&error);
                    tracing::debug!(endpoint = %shared.endpoint(), %reason, "still no connection");
                    shared.disconnected(&reason);
                }
                None => return,
            }
        };
        generation += 1;
        shared.state.send_replace(State::Connected { generation });
        tracing::info!(endpoint = %shared.endpoint(), generation, "connected to OVSDB again");
    }
}

/// Waits for `future` and refuses all requests meanwhile; `None` if all clients are gone.
async fn refusing<T>(
    commands: &mut mpsc::UnboundedReceiver<Command>,
    reason: &Arc<str>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            command = commands.recv() => command?.refuse(reason),
            output = &mut future => return Some(output),
        }
    }
}

impl Shared {
    /// Asks on a new connection for all locks wanted.
    fn ask_for_locks(&self, session: &mut Session) -> Result<(), SessionError> {
        for name in self.locks.names() {
            session.accept(Command::Lock { id: self.next_id(), name, steal: false })?;
        }
        Ok(())
    }

    /// Tells why there is no connection, but not the same again and again.
    fn disconnected(&self, reason: &Arc<str>) {
        let new = State::Disconnected { reason: Arc::clone(reason) };
        self.state.send_if_modified(|state| {
            let changed = *state != new;
            *state = new;
            changed
        });
    }

    fn take(
        &self,
        databases: &mut Option<Replica>,
        notice: &Notice<'_>,
    ) -> Result<(), SessionError> {
        match *notice {
            Notice::Lock { name, held } => {
                let state = if held { LockState::Held } else { LockState::Waiting };
                self.locks.set(name, state);
                Ok(())
            }
            Notice::Notification { method, params } => match method {
                // What differs between the first two is inside (RFC 7047 section 4.1.6,
                // ovsdb-server(7), section 4.1.14).
                "update" | "update2" => {
                    let (id, updates): (String, TableUpdates<'_>) = parse(params)?;
                    self.take_updates(databases, &id, updates)
                }
                // ovsdb-server(7), section 4.1.15.
                "update3" => {
                    let (id, UuidText(last), updates): (String, _, TableUpdates<'_>) =
                        parse(params)?;
                    self.take_updates(databases, &id, updates)?;
                    self.following.set_last(Some(last));
                    Ok(())
                }
                "locked" | "stolen" => {
                    let [name]: [String; 1] = parse(params)?;
                    let state =
                        if method == "locked" { LockState::Held } else { LockState::Stolen };
                    self.locks.set(&name, state);
                    Ok(())
                }
                "monitor_canceled" => Err(SessionError::MonitorCanceled),
                other => {
                    tracing::debug!(method = other, "ignored a notification");
                    Ok(())
                }
            },
        }
    }

    fn take_updates(
        &self,
        databases: &mut Option<Replica>,
        monitor: &str,
        updates: TableUpdates<'_>,
    ) -> Result<(), SessionError> {
        match (monitor, databases) {
            (SERVER_MONITOR_ID, Some(databases)) => {
                databases.fold(updates)?;
                self.accept(databases).map(|_| ())
            }
            (MONITOR_ID, _) => {
                let folded = self.fold(updates);
                if folded.is_err() {
                    // The differences since would not fit either.
                    self.following.set_last(None);
                }
                Ok(folded?)
            }
            // Sent before the server heard that it was cancelled.
            _ => Ok(()),
        }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(params: &'a RawValue) -> Result<T, FoldError> {
    Ok(serde_json::from_str(params.get())?)
}
