//! The task behind a client: makes connections, keeps the replica in step, starts over on a loss.

use std::pin::pin;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{ConnectError, Shared, State, chain};
use crate::backoff::Backoff;
use crate::reply::{ErrorKind, RpcError};
use crate::schema::Schema;
use crate::session::{Command, Session, SessionError};
use crate::update::{FoldError, TableUpdates};

/// The id of the one monitor that a connection has.
const MONITOR_ID: &str = "replica";

/// Keeps a connection until all clients are gone.
pub(super) async fn keep(
    shared: Arc<Shared>,
    mut session: Session,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let options = &shared.options;
    let mut backoff = Backoff::new(options.backoff_first, options.backoff_last);
    let mut generation = 1;
    loop {
        let since = Instant::now();
        let end = session.run(&mut commands, |method, params| shared.take(method, params)).await;
        let Err(error) = end else { return };
        let mut reason = chain(&error);
        tracing::warn!(endpoint = %shared.endpoint, %reason, "lost the connection to OVSDB");
        // The state first, so that whoever learns of a lost request finds it.
        shared.disconnected(&reason);
        session.fail_pending(&reason);
        drop(session);
        // A server that hangs up on us again and again is no reason to hurry.
        if since.elapsed() > options.backoff_last {
            backoff.reset();
        }
        session = loop {
            let attempt = async {
                sleep(backoff.delay()).await;
                shared.establish().await
            };
            match refusing(&mut commands, &reason, attempt).await {
                Some(Ok(session)) => break session,
                Some(Err(error)) => {
                    reason = chain(&error);
                    tracing::debug!(endpoint = %shared.endpoint, %reason, "still no connection");
                    shared.disconnected(&reason);
                }
                None => return,
            }
        };
        generation += 1;
        shared.state.send_replace(State::Connected { generation });
        tracing::info!(endpoint = %shared.endpoint, generation, "connected to OVSDB again");
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
    /// Connects, checks the schema, asks to be told of changes and takes the first snapshot.
    pub(super) async fn establish(&self) -> Result<Session, ConnectError> {
        let options = &self.options;
        let endpoint = || self.endpoint.clone();
        let after = options.connect_timeout;
        let stream = timeout(after, self.endpoint.open())
            .await
            .map_err(|_| ConnectError::TimedOut { endpoint: endpoint(), after })?
            .map_err(|source| ConnectError::Unreachable { endpoint: endpoint(), source })?;
        let mut session = Session::new(stream, options.limits, options.probe_interval);
        self.check_schema(&mut session).await?;
        if !self.monitor.is_empty() {
            self.start_monitor(&mut session).await?;
        }
        Ok(session)
    }

    async fn check_schema(&self, session: &mut Session) -> Result<(), ConnectError> {
        let method = "get_schema";
        let schema = session
            .call(method, [self.monitor.database()], |schema| {
                serde_json::from_str::<Schema>(schema.get())
            })
            .await
            .map_err(|source| self.failed(source))?
            .map_err(|source| self.refused(method, source))?
            .map_err(ConnectError::MalformedSchema)?;
        Ok(self.monitor.check(&schema)?)
    }

    /// `monitor_cond` (ovsdb-server(7), section 4.1.12), or `monitor` (RFC 7047 section 4.1.5)
    /// where the server has no other.
    async fn start_monitor(&self, session: &mut Session) -> Result<(), ConnectError> {
        let mut method = "monitor_cond";
        let mut answer = self.monitor_by(session, method).await?;
        if answer.as_ref().is_err_and(is_unknown_method) {
            method = "monitor";
            answer = self.monitor_by(session, method).await?;
        }
        Ok(answer.map_err(|source| self.refused(method, source))??)
    }

    async fn monitor_by(
        &self,
        session: &mut Session,
        method: &str,
    ) -> Result<Result<Result<(), FoldError>, RpcError>, ConnectError> {
        let params = (self.monitor.database(), MONITOR_ID, &self.monitor);
        session
            .call(method, params, |snapshot| {
                let snapshot = serde_json::from_str(snapshot.get())?;
                self.write().replace(snapshot)
            })
            .await
            .map_err(|source| self.failed(source))
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

    /// Takes a notification.
    fn take(&self, method: &str, params: &RawValue) -> Result<(), SessionError> {
        match method {
            // Both have a monitor id first; what differs is inside (RFC 7047 section 4.1.6,
            // ovsdb-server(7), section 4.1.14).
            "update" | "update2" => {
                let (_, updates): (IgnoredAny, TableUpdates<'_>) =
                    serde_json::from_str(params.get()).map_err(FoldError::from)?;
                Ok(self.write().fold(updates)?)
            }
            "monitor_canceled" => Err(SessionError::MonitorCanceled),
            other => {
                tracing::debug!(method = other, "ignored a notification");
                Ok(())
            }
        }
    }

    fn failed(&self, source: SessionError) -> ConnectError {
        ConnectError::Failed { endpoint: self.endpoint.clone(), source }
    }

    fn refused(&self, method: &'static str, source: RpcError) -> ConnectError {
        ConnectError::Refused { endpoint: self.endpoint.clone(), method, source }
    }
}

fn is_unknown_method(error: &RpcError) -> bool {
    error.kind == ErrorKind::UnknownMethod
}
