//! A lab with the daemon in it, and the questions that the tests ask.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};
use serde_json::Value;

/// More than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");

/// Starts the daemon in a lab and waits until it follows Docker's events.
pub(crate) fn start_daemon(lab: &Lab) -> Result<Daemon> {
    start_daemon_with(lab, &[])
}

/// Like [`start_daemon`], with further options.
pub(crate) fn start_daemon_with(lab: &Lab, options: &[&str]) -> Result<Daemon> {
    start_daemon_before(lab, &lab.docker_endpoint(), options)
}

/// The same, with another socket in the place of Docker's.
pub(crate) fn start_daemon_before(lab: &Lab, docker: &str, options: &[&str]) -> Result<Daemon> {
    let ovsdb = lab.ovsdb_endpoint();
    let args = ["run", "-v", "--docker", docker, "--ovsdb", &ovsdb];
    let args = [args.as_slice(), options].concat();
    let daemon = lab.spawn(Path::new(PROGRAM), &args, &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    Ok(daemon)
}

/// A lab with the daemon running.
pub(crate) fn start() -> Result<(Lab, Daemon)> {
    let lab = Lab::start()?;
    let daemon = start_daemon(&lab)?;
    Ok((lab, daemon))
}

/// A lab with the daemon running, with further options.
pub(crate) fn start_with(options: &[&str]) -> Result<(Lab, Daemon)> {
    let lab = Lab::start()?;
    let daemon = start_daemon_with(&lab, options)?;
    Ok((lab, daemon))
}

/// The ports whose Interface bears a container's id.
pub(crate) fn ports_of(lab: &Lab, container_id: &str) -> Result<Vec<String>> {
    let wanted = format!("external_ids:container_id={container_id}");
    let names = lab.vsctl(&["--bare", "--columns=name", "find", "interface", &wanted])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// Waits until a container has one port that forwards; returns the port's name.
pub(crate) fn wait_ready(lab: &Lab, container_id: &str) -> Result<String> {
    wait_for("a port that forwards", PATIENCE, || {
        let ports = ports_of(lab, container_id)?;
        let [port] = ports.as_slice() else {
            return Ok(None);
        };
        Ok(forwards(lab, port)?.then(|| port.clone()))
    })
}

/// Waits until an interface of a container has a port that forwards; returns the port's name.
pub(crate) fn wait_interface(lab: &Lab, container_id: &str, interface: &str) -> Result<String> {
    let id = format!("external_ids:container_id={container_id}");
    let iface = format!("external_ids:container_iface={interface}");
    wait_for(&format!("a port for {interface} that forwards"), PATIENCE, || {
        let port = lab.vsctl(&["--bare", "--columns=name", "find", "interface", &id, &iface])?;
        Ok((!port.is_empty() && forwards(lab, &port)?).then_some(port))
    })
}

fn forwards(lab: &Lab, port: &str) -> Result<bool> {
    let ofport = lab.vsctl(&["get", "interface", port, "ofport"])?;
    Ok(ofport.parse::<u32>().is_ok_and(|number| number > 0))
}

/// Waits until a container has neither port nor link.
pub(crate) fn wait_gone(lab: &Lab, container_id: &str) -> Result<()> {
    wait_for("its port and link to go", PATIENCE, || {
        let ports = ports_of(lab, container_id)?;
        let links = our_links(lab)?.into_iter().filter(|alias| alias.contains(container_id));
        ensure!(ports.is_empty() && links.count() == 0, "ports: {ports:?}");
        Ok(Some(()))
    })
}

/// The aliases of all links of the lab that bear our mark.
pub(crate) fn our_links(lab: &Lab) -> Result<Vec<String>> {
    let links = lab.ip_json(&["link", "show"])?;
    let aliases = links.as_array().context("no array of links")?.iter();
    let aliases = aliases.filter_map(|link| link["ifalias"].as_str().map(str::to_owned));
    Ok(aliases.filter(|alias| alias.starts_with("ovs-port-manager ")).collect())
}

/// All ports with our mark of ownership.
pub(crate) fn our_ports(lab: &Lab) -> Result<Vec<String>> {
    let owner = "external_ids:owner=ovs-port-manager";
    let names = lab.vsctl(&["--bare", "--columns=name", "find", "interface", owner])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// An interface inside a container, as `ip -j addr` shows it.
pub(crate) fn interface(lab: &Lab, container: &str, name: &str) -> Result<Value> {
    let shown = lab.container_ip_json(container, &["addr", "show", "dev", name])?;
    shown.as_array().and_then(|links| links.first()).cloned().context("no such interface")
}

/// Whether an interface exists inside a container.
pub(crate) fn has_interface(lab: &Lab, container: &str, name: &str) -> Result<bool> {
    let links = lab.container_ip_json(container, &["link", "show"])?;
    let links = links.as_array().context("no array of links")?;
    Ok(links.iter().any(|link| link["ifname"] == name))
}

/// One ping from a container, answered within a second.
pub(crate) fn ping(lab: &Lab, from: &str, to: &str) -> Result<()> {
    lab.exec(from, &["ping", "-c", "1", "-W", "1", to]).map(drop)
}

/// Waits until a ping from a container is answered.
pub(crate) fn reach(lab: &Lab, from: &str, to: &str) -> Result<()> {
    wait_for(&format!("{from} to reach {to}"), PATIENCE, || Ok(ping(lab, from, to).ok()))
}

/// Two hundred pings from a container, one every 10 ms, with a summary at their end.
pub(crate) fn pings(lab: &Lab, from: &str, to: &str) -> Result<Daemon> {
    let args = ["exec", from, "ping", "-q", "-i", "0.01", "-c", "200", "-W", "1", to];
    lab.spawn(Path::new("docker"), &args, &[("DOCKER_HOST", &lab.docker_endpoint())])
}
