//! Starts the stand-in for Docker and tells it what to do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Daemon, Lab};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::Connection;

/// A container that is none.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StandIn {
    pub(crate) id: String,
    /// Its process, as numbered inside the lab.
    pub(crate) pid: u32,
}

pub(crate) struct Engine {
    socket: PathBuf,
    _process: Daemon,
}

impl Engine {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let socket = lab.path().join("stand-in.sock");
        let own = std::env::current_exe()?;
        let path = socket.display().to_string();
        let process = lab.spawn(&own, &["engine", &path, &lab.cgroup()?], &[])?;
        process.wait_log("listening", Duration::from_secs(10))?;
        Ok(Self { socket, _process: process })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Makes stand-ins, whose address is in a label of this name. They have not started yet.
    pub(crate) fn create(&self, count: usize, label: &str) -> Result<Vec<StandIn>> {
        let made = self.tell("POST", "/lab/create", &json!({"count": count, "label": label}))?;
        Ok(serde_json::from_value(made)?)
    }

    /// Starts them, with an event for each; returns the events' times in nanoseconds.
    pub(crate) fn start_all(&self, which: &[StandIn]) -> Result<Vec<u64>> {
        times(self.tell("POST", "/lab/start", &ids(which))?)
    }

    /// Lets them run without a word.
    pub(crate) fn let_run(&self, which: &[StandIn]) -> Result<()> {
        self.tell("POST", "/lab/let-run", &ids(which)).map(drop)
    }

    /// Ends them, with an event for each; returns the events' times in nanoseconds.
    pub(crate) fn stop_all(&self, which: &[StandIn]) -> Result<Vec<u64>> {
        times(self.tell("POST", "/lab/stop", &ids(which))?)
    }

    /// How many inspections have been asked for.
    pub(crate) fn inspections(&self) -> Result<u64> {
        self.tell("GET", "/lab/inspections", &Value::Null)?.as_u64().context("no number")
    }

    fn tell(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut connection = Connection::open(&self.socket)?;
        let answer = connection.request(method, path, &body.to_string())?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn ids(which: &[StandIn]) -> Value {
    json!({ "ids": which.iter().map(|stand_in| &stand_in.id).collect::<Vec<_>>() })
}

fn times(mut told: Value) -> Result<Vec<u64>> {
    Ok(serde_json::from_value(told.get_mut("times").map(Value::take).unwrap_or_default())?)
}
