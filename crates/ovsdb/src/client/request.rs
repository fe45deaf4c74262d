//! The other requests of the protocol, for what is not a transaction.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Client, MONITOR_ID, State, client_ended};
use crate::filter::Filter;
use crate::monitor::Conditions;
use crate::row::Row;
use crate::schema::Schema;
use crate::session::RequestError;
use crate::table::not_monitored;

/// Why a request other than a transaction has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was not sent, or has no response, or the server refused it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its parameters can't be written as JSON; nothing was sent.
    #[error("cannot encode the request")]
    Encode(#[source] serde_json::Error),
    /// The response is not in the form expected.
    #[error("unexpected form of the response to {method}")]
    Decode {
        /// The request.
        method: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Client {
    /// Sends any request, and reads its result. For extensions that have no method here.
    ///
    /// If the future is dropped, the request is cancelled (RFC 7047 section 4.1.4).
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T, CallError> {
        let in_flight = self.send(method, params).map_err(CallError::Encode)?;
        let result = in_flight.response().await?;
        serde_json::from_str(result.get())
            .map_err(|source| CallError::Decode { method: method.to_owned(), source })
    }

    /// The names of the databases that the server has (RFC 7047 section 4.1.1).
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn list_dbs(&self) -> Result<Vec<String>, CallError> {
        self.call("list_dbs", [(); 0]).await
    }

    /// The schema of a database (RFC 7047 section 4.1.2).
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn get_schema(&self, database: &str) -> Result<Schema, CallError> {
        self.call("get_schema", [database]).await
    }

    /// The UUID that a server has for as long as it runs (ovsdb-server(7), section 4.1.17).
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn get_server_id(&self) -> Result<Uuid, CallError> {
        let id: String = self.call("get_server_id", [(); 0]).await?;
        Uuid::try_parse(&id).map_err(|error| CallError::Decode {
            method: "get_server_id".to_owned(),
            source: serde::de::Error::custom(error),
        })
    }

    /// Asks for a sign of life, and tells how long it took (RFC 7047 section 4.1.11).
    ///
    /// There is no need for it to keep the connection: a silent server is probed all by itself.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn echo(&self) -> Result<Duration, CallError> {
        let start = Instant::now();
        let [] = self.call::<[(); 0]>("echo", [(); 0]).await?;
        Ok(start.elapsed())
    }

    /// Follows from now on the rows that another filter lets pass (ovsdb-server(7), section
    /// 4.1.13). Once it returns, the replica has them, and subscribers were told the difference.
    ///
    /// Without a connection it waits for one. If the future is dropped, the filter holds from the
    /// next connection on at the latest.
    ///
    /// # Errors
    ///
    /// The server is too old to know filters, or refuses this one.
    ///
    /// # Panics
    ///
    /// If the table of `R` is not monitored.
    pub async fn set_filter<R: Row>(&self, filter: Filter<R>) -> Result<(), CallError> {
        let following = &self.shared.following;
        if !following.set_filter(filter) {
            not_monitored::<R>()
        }
        let wanted = following.wanted();
        while !following.is_in_force(wanted.version) {
            // The filters of all tables: this also heals a change that was dropped half-way.
            let params = (MONITOR_ID, MONITOR_ID, Conditions(&wanted.monitor));
            let in_flight = self.send("monitor_cond_change", params);
            match in_flight.map_err(CallError::Encode)?.response().await {
                Ok(_) => following.acknowledge(wanted.version),
                Err(error @ RequestError::Refused(_)) => return Err(error.into()),
                Err(_) => self.connected().await?,
            }
        }
        Ok(())
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Result<(), RequestError> {
        let mut states = self.state();
        let connected = states.wait_for(|state| matches!(state, State::Connected { .. }));
        tokio::select! {
            biased;
            () = self.commands.closed() => {
                let reason = client_ended();
                Err(RequestError::NotConnected { reason })
            }
            // The sender is in `self`.
            _ = connected => Ok(()),
        }
    }
}
