//! When ports became ready and when they went, by a monitor of the switch's database.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::jsonrpc::JsonRpc;

/// Follows the Interface rows that name a container.
pub(crate) struct PortWatch {
    shared: Arc<(Mutex<Noted>, Condvar)>,
}

#[derive(Default)]
struct Noted {
    /// Row, container and name.
    rows: HashMap<String, (String, String)>,
    /// When a container's port got its OpenFlow number.
    ready: HashMap<String, SystemTime>,
    /// When a row went last.
    gone: Option<SystemTime>,
}

impl PortWatch {
    pub(crate) fn start(socket: &Path) -> Result<Self> {
        let mut ovsdb = JsonRpc::connect(socket)?;
        let columns = r#"{"Interface":{"columns":["name","ofport","external_ids"]}}"#;
        let first = ovsdb.call("monitor", &format!(r#"["Open_vSwitch",0,{columns}]"#))?;
        let shared = Arc::<(Mutex<Noted>, Condvar)>::default();
        lock(&shared).take(&first);
        let noted = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok(message) = ovsdb.next() {
                if let Some(updates) = message.pointer("/params/1") {
                    lock(&noted).take(updates);
                    noted.1.notify_all();
                }
            }
        });
        Ok(Self { shared })
    }

    /// When the last of these was ready.
    pub(crate) fn wait_ready<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        patience: Duration,
    ) -> Result<SystemTime> {
        let ids: HashSet<&str> = ids.into_iter().collect();
        let unready = |noted: &Noted| ids.iter().any(|id| !noted.ready.contains_key(*id));
        let noted = self.wait_while(patience, unready);
        let missing = ids.iter().filter(|id| !noted.ready.contains_key(**id)).count();
        ensure!(missing == 0, "{missing} of {} ports were never ready", ids.len());
        ids.iter().filter_map(|id| noted.ready.get(*id)).max().copied().context("no port")
    }

    /// When the last row of these went.
    pub(crate) fn wait_gone<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        patience: Duration,
    ) -> Result<SystemTime> {
        let ids: HashSet<&str> = ids.into_iter().collect();
        let left = |noted: &Noted| noted.rows.values().any(|(id, _)| ids.contains(id.as_str()));
        let noted = self.wait_while(patience, left);
        ensure!(!left(&noted), "not all ports went");
        noted.gone.context("no row went")
    }

    /// The names of a container's ports.
    pub(crate) fn names(&self, id: &str) -> Vec<String> {
        let noted = lock(&self.shared);
        noted.rows.values().filter(|(of, _)| of == id).map(|(_, name)| name.clone()).collect()
    }

    /// Forgets when ports were ready.
    pub(crate) fn forget(&self) {
        lock(&self.shared).ready.clear();
    }

    fn wait_while(
        &self,
        patience: Duration,
        mut condition: impl FnMut(&Noted) -> bool,
    ) -> MutexGuard<'_, Noted> {
        let noted = lock(&self.shared);
        let waited = self.shared.1.wait_timeout_while(noted, patience, |noted| condition(noted));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Noted {
    fn take(&mut self, updates: &Value) {
        let now = SystemTime::now();
        let rows = updates.get("Interface").and_then(Value::as_object);
        for (uuid, update) in rows.into_iter().flatten() {
            let Some(new) = update.get("new") else {
                if self.rows.remove(uuid).is_some() {
                    self.gone = Some(now);
                }
                continue;
            };
            let Some(id) = container_id(new) else { continue };
            let name = new.get("name").and_then(Value::as_str).unwrap_or_default();
            self.rows.insert(uuid.clone(), (id.to_owned(), name.to_owned()));
            if new.get("ofport").and_then(Value::as_i64).is_some_and(|port| port > 0) {
                self.ready.entry(id.to_owned()).or_insert(now);
            }
        }
    }
}

/// `external_ids` is `["map", [[key, value], …]]` (RFC 7047, section 5.1).
fn container_id(row: &Value) -> Option<&str> {
    let pairs = row.pointer("/external_ids/1")?.as_array()?;
    pairs
        .iter()
        .find(|pair| pair.get(0).and_then(Value::as_str) == Some("container_id"))?
        .get(1)?
        .as_str()
}

fn lock(shared: &(Mutex<Noted>, Condvar)) -> MutexGuard<'_, Noted> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}
