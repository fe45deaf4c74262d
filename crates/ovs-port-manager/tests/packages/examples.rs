//! Each project below `examples/`, started by Docker Compose as it is, and pinged in.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab};
use serde_json::Value;

use crate::stage::{PATIENCE, compose, id_of, reach, shipped, start_daemon, wait_gone, wait_ports};

/// An example that runs in a lab of its own.
struct Example {
    lab: Lab,
    name: &'static str,
    services: &'static [(&'static str, usize)],
    daemon: Daemon,
}

impl Example {
    /// Starts it, and waits for the ports of its services: so many for each.
    fn start(name: &'static str, services: &'static [(&'static str, usize)]) -> Result<Self> {
        let lab = Lab::start()?;
        let daemon = start_daemon(&lab)?;
        let example = Self { lab, name, services, daemon };
        example.compose(&["up", "-d"])?;
        for (service, ports) in services {
            wait_ports(&example.lab, &id_of(&example.lab, &example.container(service)?)?, *ports)
                .with_context(|| format!("{name}: {service}\n{}", example.daemon.log()))?;
        }
        Ok(example)
    }

    fn compose(&self, args: &[&str]) -> Result<String> {
        let file = shipped("examples").join(self.name).join("compose.yaml");
        compose(&self.lab, &file, args)
    }

    /// The container of a service.
    fn container(&self, service: &str) -> Result<String> {
        self.compose(&["ps", "-q", service])
    }

    fn reach(&self, from: &str, to: &str) -> Result<()> {
        reach(&self.lab, &self.container(from)?, to)
    }

    /// Three pings, none of which may be answered.
    fn not_reach(&self, from: &str, to: &str) -> Result<()> {
        let pings = ["ping", "-c", "3", "-i", "0.2", "-W", "1", to];
        let answer = self.lab.exec(&self.container(from)?, &pings);
        let told = answer.err().with_context(|| format!("{from} reaches {to}"))?.to_string();
        ensure!(told.contains("100% packet loss"), "{told}");
        Ok(())
    }

    fn interface(&self, service: &str, name: &str) -> Result<Value> {
        let shown =
            self.lab.container_ip_json(&self.container(service)?, &["link", "show", name])?;
        shown.as_array().and_then(|links| links.first()).cloned().context("no such interface")
    }

    /// Takes it down, and waits until nothing of it is left.
    fn end(self) -> Result<()> {
        let ids = self.services.iter().map(|(service, _)| self.container(service));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        self.compose(&["down", "--timeout", "0"])?;
        ids.iter().try_for_each(|id| wait_gone(&self.lab, id))?;
        ensure!(!self.daemon.log().contains(" WARN "), "{}", self.daemon.log());
        Ok(())
    }
}

#[test]
fn each_example_has_a_test() -> Result<()> {
    let folders = fs::read_dir(shipped("examples"))?.filter_map(Result::ok);
    let folders = folders.filter(|entry| entry.path().is_dir());
    let names: BTreeSet<_> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let tested = ["dual-stack", "gateway", "interfaces", "vlans"].map(str::to_owned);
    ensure!(names == BTreeSet::from(tested), "{names:?}");
    Ok(())
}

#[test]
fn gateway() -> Result<()> {
    let example = Example::start("gateway", &[("web", 1), ("client", 1)])?;
    example.reach("client", "192.168.1.100")?;
    let page = ["timeout", "5", "wget", "-qO-", "http://192.168.1.100/"];
    let page = example.lab.exec(&example.container("client")?, &page)?;
    ensure!(page == lab::WWW_TEXT, "{page}");
    // As the file's comment says.
    let address = ["address", "add", "192.168.1.1/24", "dev", "ovsbr0"];
    example.lab.run("ip", &address)?;
    example.lab.run("ip", &["link", "set", "ovsbr0", "up"])?;
    example.lab.run("ip", &["address", "add", "203.0.113.1/32", "dev", "lo"])?;
    for service in ["web", "client"] {
        example.reach(service, "192.168.1.1")?;
        // Beyond the gateway: by the default route.
        example.reach(service, "203.0.113.1")?;
    }
    example.end()
}

#[test]
fn vlans() -> Result<()> {
    let services = &[("red", 1), ("red-db", 1), ("blue", 1), ("blue-db", 1)];
    let example = Example::start("vlans", services)?;
    example.reach("red", "10.0.0.2")?;
    example.reach("blue", "10.0.0.3")?;
    example.not_reach("red", "10.0.0.3")?;
    example.not_reach("blue", "10.0.0.2")?;
    example.end()
}

#[test]
fn dual_stack() -> Result<()> {
    let example = Example::start("dual-stack", &[("web", 1), ("client", 1)])?;
    example.reach("client", "10.1.0.1")?;
    example.reach("client", "fd00:1::1")?;
    for service in ["web", "client"] {
        ensure!(example.interface(service, "eth1")?["mtu"] == 1400);
    }
    let page = ["timeout", "5", "wget", "-qO-", "http://[fd00:1::1]/"];
    let page = lab::wait_for("the page", PATIENCE, || {
        Ok(example.lab.exec(&example.container("client")?, &page).ok())
    })?;
    ensure!(page == lab::WWW_TEXT, "{page}");
    example.end()
}

#[test]
fn interfaces() -> Result<()> {
    let services = &[("proxy", 2), ("client", 1), ("database", 1)];
    let example = Example::start("interfaces", services)?;
    example.reach("client", "10.2.0.1")?;
    example.reach("proxy", "10.2.0.2")?;
    example.reach("proxy", "10.3.0.2")?;
    for (bridge, ports) in [("ovsfront", 2), ("ovsback", 2)] {
        let listed = example.lab.vsctl(&["list-ports", bridge])?;
        ensure!(listed.lines().count() == ports, "{bridge}: {listed}");
    }
    example.end()
}
