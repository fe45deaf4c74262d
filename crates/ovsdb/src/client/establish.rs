//! Makes a connection: the server's place in its cluster, the schema, the monitor, the first
//! snapshot.

use std::sync::atomic::Ordering;

use serde_json::value::RawValue;
use tokio::time::timeout;

use super::following::Wanted;
use super::{ConnectError, MONITOR_ID, Shared};
use crate::monitor::{CondRequests, Requests};
use crate::replica::Replica;
use crate::reply::{ErrorKind, RpcError};
use crate::schema::Schema;
use crate::server_db::{self, Database, Progress, Role};
use crate::session::{Session, SessionError};
use crate::update::{FoldError, TableUpdates};
use crate::value::UuidText;

/// The id of the monitor of the database `_Server`.
pub(super) const SERVER_MONITOR_ID: &str = "server";

/// A connection with a live replica.
pub(super) struct Connection {
    pub(super) session: Session,
    /// What the server says of itself, if it is a member of a cluster.
    pub(super) databases: Option<Replica>,
}

/// What a server answered: a result that could be read or not, or an error.
type Answer<T> = Result<Result<T, FoldError>, RpcError>;

/// The result of `monitor_cond_since` (ovsdb-server(7), section 4.1.15): whether the server knows
/// the transaction asked for, its last one, and the changes since or else a snapshot.
type Since<'a> = (bool, UuidText, TableUpdates<'a>);

impl Shared {
    /// Tries all endpoints once.
    pub(super) async fn establish_any(&self) -> Result<Connection, ConnectError> {
        let mut result = Err(ConnectError::NoEndpoint);
        for index in 0..self.endpoints.len() {
            self.current.store(index, Ordering::Relaxed);
            result = self.establish().await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Connects, checks the schema, asks to be told of changes and takes the first snapshot.
    pub(super) async fn establish(&self) -> Result<Connection, ConnectError> {
        let options = &self.options;
        let endpoint = || self.endpoint().clone();
        let after = options.connect_timeout;
        let stream = timeout(after, self.endpoint().open())
            .await
            .map_err(|_| ConnectError::TimedOut { endpoint: endpoint(), after })?
            .map_err(|source| ConnectError::Unreachable { endpoint: endpoint(), source })?;
        let mut session = Session::new(stream, options.limits, options.probe_interval);
        let mut databases = None;
        // Where there is one server and any will do, its place in a cluster changes nothing.
        if options.leader_only || self.endpoints.len() > 1 {
            databases = self.check_role(&mut session).await?;
        }
        self.check_schema(&mut session).await?;
        let wanted = self.following.wanted();
        if !wanted.monitor.is_empty() {
            self.start_monitor(&mut session, &wanted).await?;
        }
        Ok(Connection { session, databases })
    }

    /// Asks a server about its place in its cluster. It will tell changes of that.
    async fn check_role(&self, session: &mut Session) -> Result<Option<Replica>, ConnectError> {
        let monitor = server_db::monitor();
        let mut databases = monitor.empty_replica();
        // RFC 7047's own method: it is only a few rows, and every server knows it.
        let params = (server_db::NAME, SERVER_MONITOR_ID, Requests(&monitor));
        let answer = session
            .call("monitor", params, |snapshot| {
                databases.replace(serde_json::from_str(snapshot.get())?)
            })
            .await
            .map_err(|source| self.failed(source))?;
        match answer {
            Ok(result) => result?,
            // A server that is too old to have this database is too old for clusters.
            Err(error) => {
                tracing::debug!(%error, "the server has no database _Server");
                return Ok(None);
            }
        }
        let role = self.accept(&databases).map_err(|reason| {
            let endpoint = self.endpoint().clone();
            match reason {
                SessionError::NotLeader => ConnectError::NotLeader { endpoint },
                SessionError::Behind => ConnectError::Behind { endpoint },
                _ => ConnectError::Detached { endpoint },
            }
        })?;
        match role {
            Role::Alone => {
                let cancel = session.call("monitor_cancel", [SERVER_MONITOR_ID], |_| ());
                let answer = cancel.await.map_err(|source| self.failed(source))?;
                answer.map_err(|source| self.refused("monitor_cancel", source))?;
                Ok(None)
            }
            _ => {
                // Else the server hangs up on us whenever a database comes or goes
                // (ovsdb-server(7), section 4.1.16). Ours we watch, and others don't matter.
                let aware = session.call("set_db_change_aware", [true], |_| ());
                let answer = aware.await.map_err(|source| self.failed(source))?;
                answer.map_err(|source| self.refused("set_db_change_aware", source))?;
                Ok(Some(databases))
            }
        }
    }

    /// What the server is to our database, if it will do. One that does not name it will say so to `get_schema`.
    pub(super) fn accept(&self, databases: &Replica) -> Result<Role, SessionError> {
        let mut rows = databases.table::<Database>().iter();
        let Some(database) = rows.find(|row| row.name == self.database) else {
            return Ok(Role::Alone);
        };
        match Role::of(database) {
            Role::Detached => Err(SessionError::Detached),
            Role::Follower if self.options.leader_only => Err(SessionError::NotLeader),
            role @ (Role::Alone | Role::Leader | Role::Follower) => {
                let progress = Progress::of(database);
                let keeps_up = progress.is_none_or(|progress| self.following.keeps_up(progress));
                if keeps_up { Ok(role) } else { Err(SessionError::Behind) }
            }
        }
    }

    async fn check_schema(&self, session: &mut Session) -> Result<(), ConnectError> {
        let method = "get_schema";
        let schema = session
            .call(method, [&self.database], |schema| serde_json::from_str::<Schema>(schema.get()))
            .await
            .map_err(|source| self.failed(source))?
            .map_err(|source| self.refused(method, source))?
            .map_err(ConnectError::MalformedSchema)?;
        Ok(self.following.wanted().monitor.check(&schema)?)
    }

    /// `monitor_cond_since`, where the server has it; else `monitor_cond` (ovsdb-server(7),
    /// sections 4.1.15 and 4.1.12); else `monitor` (RFC 7047 section 4.1.5), without filters.
    async fn start_monitor(
        &self,
        session: &mut Session,
        wanted: &Wanted,
    ) -> Result<(), ConnectError> {
        let mut method = "monitor_cond_since";
        let mut answer = self.monitor_since(session, wanted).await?;
        if is_unknown_method(&answer) {
            method = "monitor_cond";
            let requests = CondRequests(&wanted.monitor);
            let params = (&self.database, MONITOR_ID, requests);
            let call = session.call(method, params, |snapshot| self.replace_by(snapshot));
            answer = call.await.map_err(|source| self.failed(source))?;
        }
        if is_unknown_method(&answer) {
            method = "monitor";
            let params = (&self.database, MONITOR_ID, Requests(&wanted.monitor));
            let call = session.call(method, params, |snapshot| self.replace_by(snapshot));
            answer = call.await.map_err(|source| self.failed(source))?;
        }
        answer.map_err(|source| self.refused(method, source))??;
        self.following.acknowledge(wanted.version);
        Ok(())
    }

    async fn monitor_since(
        &self,
        session: &mut Session,
        wanted: &Wanted,
    ) -> Result<Answer<()>, ConnectError> {
        let since = wanted.since.unwrap_or_default();
        let requests = CondRequests(&wanted.monitor);
        let params = (&self.database, MONITOR_ID, requests, since.to_string());
        // If it does not come to the end, the next connection starts over.
        self.following.set_last(None);
        let call = session.call("monitor_cond_since", params, |result| {
            let (found, UuidText(last), updates): Since<'_> = serde_json::from_str(result.get())?;
            tracing::debug!(%since, found, %last, "the OVSDB server follows up");
            if found {
                self.fold(updates)?;
            } else {
                self.replace(updates)?;
            }
            self.following.set_last(Some(last));
            Ok(())
        });
        call.await.map_err(|source| self.failed(source))
    }

    fn replace_by(&self, snapshot: &RawValue) -> Result<(), FoldError> {
        self.replace(serde_json::from_str(snapshot.get())?)
    }

    fn failed(&self, source: SessionError) -> ConnectError {
        ConnectError::Failed { endpoint: self.endpoint().clone(), source }
    }

    fn refused(&self, method: &'static str, source: RpcError) -> ConnectError {
        ConnectError::Refused { endpoint: self.endpoint().clone(), method, source }
    }
}

fn is_unknown_method<T>(answer: &Answer<T>) -> bool {
    let unknown = |error: &RpcError| error.kind == ErrorKind::UnknownMethod;
    answer.as_ref().is_err_and(unknown)
}
