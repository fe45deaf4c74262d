//! The peer: the script `ovs-docker` of Open vSwitch, called at the same event.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::floor::encoded;
use crate::http::Connection;

/// Calls `ovs-docker add-port` for every container that starts with a label of this name.
pub(crate) fn follow(docker: &Path, label: &str) -> Result<()> {
    let mut events = Connection::open(docker)?;
    let filters = format!(r#"{{"event":["start"],"label":["{label}"]}}"#);
    events.stream(&format!("/v1.41/events?filters={}", encoded(&filters)))?;
    println!("following");
    while let Some(text) = events.chunk()? {
        let event: Value = serde_json::from_slice(&text)?;
        let id = event.get("id").and_then(Value::as_str).context("no id")?;
        let address =
            event.pointer("/Actor/Attributes").and_then(|labels| labels.get(label)?.as_str());
        add_port(id, address.context("no address")?)?;
    }
    Ok(())
}

/// Calls it for containers that run, one after the other, as it is meant to be used.
pub(crate) fn burst(docker: &Path, label: &str) -> Result<()> {
    let mut docker = Connection::open(docker)?;
    let running: Vec<Value> =
        serde_json::from_slice(&docker.request("GET", "/v1.41/containers/json", "")?)?;
    for container in running {
        let address = container.get("Labels").and_then(|labels| labels.get(label)?.as_str());
        let id = container.get("Id").and_then(Value::as_str).context("no id")?;
        if let Some(address) = address {
            add_port(id, address)?;
        }
    }
    println!("done");
    Ok(())
}

fn add_port(id: &str, address: &str) -> Result<()> {
    let address = format!("--ipaddress={address}");
    let status =
        Command::new("ovs-docker").args(["add-port", "ovsbr0", "eth1", id, &address]).status();
    let status = status.context("cannot start ovs-docker (package openvswitch-switch)")?;
    ensure!(status.success(), "ovs-docker failed: {status}");
    Ok(())
}
