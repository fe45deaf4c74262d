//! The floor: the least that anybody could do for a container to get its port, by hand and without any
//! logic. What it finds it believes, and nothing is ever looked at again.
//!
//! One inspection, one netlink batch on a thread of its own, one transaction.

mod netlink;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::http::Connection;
use crate::jsonrpc::JsonRpc;
use netlink::{Link, Netlink};

pub(crate) struct Floor {
    docker: Connection,
    ovsdb: JsonRpc,
    label: String,
    /// What tells the names of this run's ports from those of any other.
    salt: u32,
    made: u32,
    jobs: Sender<Link>,
    done: Receiver<Result<Vec<Link>>>,
    /// The Port rows of the containers.
    ports: HashMap<String, String>,
}

/// What the floor is started with.
pub(crate) struct Settings {
    pub(crate) docker: PathBuf,
    pub(crate) ovsdb: PathBuf,
    pub(crate) label: String,
}

/// Attaches what runs already in one go, then follows the events for ever.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let Settings { docker, ovsdb, label } = settings;
    let mut events = Connection::open(&docker)?;
    let filters = format!(r#"{{"event":["start","die"],"label":["{label}"]}}"#);
    events.stream(&format!("/v1.41/events?filters={}", encoded(&filters)))?;
    let (jobs, todo) = channel();
    let (finished, done) = channel();
    let (ready, opened) = channel();
    thread::spawn(move || make_links(&todo, &finished, &ready));
    opened.recv()?;
    let mut floor = Floor {
        docker: Connection::open(&docker)?,
        ovsdb: JsonRpc::connect(&ovsdb)?,
        label,
        salt: fastrand::u32(..) & 0xf_ffff,
        made: 0,
        jobs,
        done,
        ports: HashMap::new(),
    };
    let running = floor.docker.request("GET", "/v1.41/containers/json", "")?;
    let running: Vec<Value> = serde_json::from_slice(&running)?;
    let labelled = |container: &&Value| {
        container.pointer("/Labels").is_some_and(|labels| labels.get(&floor.label).is_some())
    };
    let ids: Vec<_> = running
        .iter()
        .filter(labelled)
        .filter_map(|container| container.get("Id")?.as_str())
        .collect();
    floor.attach(&ids)?;
    println!("following");
    loop {
        let (mut started, mut ended) = (Vec::new(), Vec::new());
        loop {
            let text = events.chunk()?.context("no more events")?;
            let event: Value = serde_json::from_slice(&text)?;
            let labelled = event
                .pointer("/Actor/Attributes")
                .is_some_and(|labels| labels.get(&floor.label).is_some());
            if let (true, Some(id)) = (labelled, event.get("id").and_then(Value::as_str)) {
                let which = if event.get("Action").and_then(Value::as_str) == Some("start") {
                    &mut started
                } else {
                    &mut ended
                };
                which.push(id.to_owned());
            }
            if !events.has_more() {
                break;
            }
        }
        floor.attach(&started.iter().map(String::as_str).collect::<Vec<_>>())?;
        floor.detach(&ended)?;
    }
}

impl Floor {
    fn attach(&mut self, ids: &[&str]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in ids {
            let text = self.docker.request("GET", &format!("/v1.41/containers/{id}/json"), "")?;
            let link = self.link(id, &serde_json::from_slice(&text)?).context("an odd answer")?;
            self.jobs.send(link)?;
        }
        let mut links = Vec::new();
        while links.len() < ids.len() {
            links.extend(self.done.recv()??);
        }
        let mut operations = String::new();
        for (number, Link { id, name, .. }) in links.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(
                operations,
                r#"{comma}{{"op":"insert","table":"Port","row":{{"name":"{name}","interfaces":["named-uuid","i{number}"]}},"uuid-name":"p{number}"}},{{"op":"insert","table":"Interface","row":{{"name":"{name}","external_ids":["map",[["container_id","{id}"]]]}},"uuid-name":"i{number}"}}"#
            )?;
        }
        let names: Vec<_> =
            (0..links.len()).map(|number| format!(r#"["named-uuid","p{number}"]"#)).collect();
        write!(operations, r#",{}"#, mutate("insert", &names))?;
        let results = self.ovsdb.transact(&operations)?;
        let uuids =
            results.iter().step_by(2).filter_map(|result| result.pointer("/uuid/1")?.as_str());
        self.ports.extend(links.into_iter().map(|link| link.id).zip(uuids.map(str::to_owned)));
        Ok(())
    }

    /// The kernel removes the links by itself.
    fn detach(&mut self, ids: &[String]) -> Result<()> {
        let ports = ids.iter().filter_map(|id| self.ports.remove(id));
        let ports: Vec<_> = ports.map(|uuid| format!(r#"["uuid","{uuid}"]"#)).collect();
        if ports.is_empty() {
            Ok(())
        } else {
            self.ovsdb.transact(&mutate("delete", &ports)).map(drop)
        }
    }

    fn link(&mut self, id: &str, inspection: &Value) -> Option<Link> {
        self.made += 1;
        let (address, prefix) =
            inspection.pointer("/Config/Labels")?.get(&self.label)?.as_str()?.split_once('/')?;
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        Some(Link {
            id: id.to_owned(),
            pid: inspection.pointer("/State/Pid")?.as_u64()?.try_into().ok()?,
            name: format!("f{:05x}{:04x}_l", self.salt, self.made),
            address: address.octets(),
            prefix: prefix.parse().ok()?,
        })
    }
}

/// The thread in which links are made: all that wait, in one batch.
fn make_links(
    todo: &Receiver<Link>,
    done: &Sender<Result<Vec<Link>>>,
    ready: &Sender<()>,
) -> Result<()> {
    let mut netlink = Netlink::open()?;
    ready.send(())?;
    while let Ok(first) = todo.recv() {
        let links: Vec<_> = std::iter::once(first).chain(todo.try_iter()).collect();
        let made = netlink.make(&links).map(|()| links);
        done.send(made).map_err(|_| anyhow!("nobody waits"))?;
    }
    Ok(())
}

fn mutate(how: &str, ports: &[String]) -> String {
    let ports = ports.join(",");
    format!(
        r#"{{"op":"mutate","table":"Bridge","where":[["name","==","ovsbr0"]],"mutations":[["ports","{how}",["set",[{ports}]]]]}}"#
    )
}

/// Percent-encoding of what JSON has and a URL has not.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
