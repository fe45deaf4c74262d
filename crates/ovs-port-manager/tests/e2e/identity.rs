//! A row, a link and a name know each other: whichever mark somebody changes, the others restore it.

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};

use crate::stage::{self, PATIENCE, ping, start_daemon, wait_ready};

/// Ways to change the marks of a port; PORT is its name. Each is `ovs-vsctl` or `ip`, with its arguments.
const HARMS: &[&str] = &[
    "ovs-vsctl --no-wait set interface PORT external_ids=iface-id=vm1",
    "ovs-vsctl --no-wait clear interface PORT external_ids",
    "ovs-vsctl --no-wait remove interface PORT external_ids owner",
    "ovs-vsctl --no-wait set interface PORT external_ids:owner=me",
    "ovs-vsctl --no-wait set interface PORT external_ids:container_id=vm1",
    "ovs-vsctl --no-wait set interface PORT external_ids:container_id=OTHER",
    "ovs-vsctl --no-wait set interface PORT external_ids:container_iface=eth9",
    "ovs-vsctl --no-wait remove interface PORT external_ids container_iface",
    "ovs-vsctl --no-wait set interface PORT external_ids:container_start=then",
    "ovs-vsctl --no-wait set interface PORT external_ids:container_name=theirs",
    "ovs-vsctl --no-wait set interface PORT external_ids:ip_address=10.9.9.9/8",
    "ovs-vsctl --no-wait del-port PORT -- add-port ovsbr0 PORT",
    "ip link set PORT alias theirs",
    "ip link set PORT alias ovs-port-manager~container=OTHER~iface=eth1~start=then",
];

struct Stage {
    lab: Lab,
    /// The id of container `web`.
    id: String,
    port: String,
}

impl Stage {
    fn start() -> Result<(Self, Daemon)> {
        let lab = Lab::start()?;
        let daemon = start_daemon(&lab)?;
        let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.vlan", "7")];
        let id = lab.run_container("web", &labels)?;
        let labels = [("ovs.ip_address", "10.0.0.2/24"), ("ovs.vlan", "7")];
        let peer = lab.run_container("peer", &labels)?;
        let port = wait_ready(&lab, &id)?;
        wait_ready(&lab, &peer)?;
        Ok((Self { lab, id, port }, daemon))
    }

    fn harm(&self, harm: &str) -> Result<()> {
        let words = harm.split(' ').map(|word| {
            let word = word.replace("PORT", &self.port).replace("OTHER", &"0b".repeat(32));
            word.replace('~', " ")
        });
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (program, args) = words.split_first().context("no words")?;
        self.lab.run(program, args).map(drop)
    }

    /// Waits until all marks of the one port of `web` are whole, and nothing was lost.
    fn wait_marked(&self, daemon: &Daemon) -> Result<()> {
        let Self { lab, id, port } = self;
        let whole = wait_for("all marks", PATIENCE, || {
            // Whether a value is in quotes depends on what it begins with.
            let ids = lab.vsctl(&["get", "interface", port, "external_ids"])?.replace('"', "");
            for mark in [
                &format!("container_id={id}") as &str,
                "container_iface=eth1",
                "container_name=web",
                "container_start=2",
                "ip_address=10.0.0.1/24",
                "owner=ovs-port-manager",
            ] {
                ensure!(ids.contains(mark), "{mark}: {ids}");
            }
            ensure!(lab.vsctl(&["get", "port", port, "tag"])? == "7");
            let alias = format!("ovs-port-manager container={id} iface=eth1 start=2");
            let links = stage::our_links(lab)?;
            ensure!(links.iter().filter(|link| link.starts_with(&alias)).count() == 1, "{links:?}");
            ensure!(links.len() == 2 && stage::our_ports(lab)?.len() == 2);
            ping(lab, "peer", "10.0.0.1")?;
            Ok(Some(()))
        });
        whole.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
        ensure!(wait_ready(lab, id)? == *port, "the port stays");
        Ok(())
    }
}

#[test]
fn any_mark_that_is_changed_is_restored_by_the_others() -> Result<()> {
    let (stage, daemon) = Stage::start()?;
    for harm in HARMS {
        stage.harm(harm)?;
        stage.wait_marked(&daemon).context(*harm)?;
    }
    Ok(())
}

#[test]
fn a_mark_that_is_changed_while_no_daemon_runs_is_restored_when_one_starts() -> Result<()> {
    let (stage, mut daemon) = Stage::start()?;
    for harm in HARMS {
        daemon.signal(Signal::TERM)?;
        daemon.wait_exit(PATIENCE)?;
        stage.harm(harm)?;
        daemon = start_daemon(&stage.lab)?;
        stage.wait_marked(&daemon).context(*harm)?;
    }
    Ok(())
}

#[test]
fn a_port_whose_marks_were_wiped_goes_with_its_container() -> Result<()> {
    let (stage, daemon) = Stage::start()?;
    stage.harm(HARMS.first().context("no harm")?)?;
    stage.lab.docker(&["rm", "-f", "web"])?;
    let gone = |port: &str| -> Result<Option<()>> {
        let ports = stage.lab.vsctl(&["list-ports", "ovsbr0"])?;
        ensure!(!ports.contains(port), "{ports}");
        Ok(Some(()))
    };
    let result = wait_for("the row to go", PATIENCE, || gone(&stage.port));
    result.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;

    // While nobody looks, a container ends whose row has lost its owner.
    let id = stage.lab.run_container("next", &[("ovs.ip_address", "10.0.0.3/24")])?;
    let port = wait_ready(&stage.lab, &id)?;
    daemon.signal(Signal::TERM)?;
    daemon.wait_exit(PATIENCE)?;
    stage.lab.vsctl(&["--no-wait", "set", "interface", &port, "external_ids:owner=me"])?;
    stage.lab.vsctl(&["--no-wait", "add-port", "ovsbr0", "theirs"])?;
    stage.lab.docker(&["rm", "-f", "next"])?;
    let daemon = start_daemon(&stage.lab)?;
    let result = wait_for("the row to go", PATIENCE, || gone(&port));
    result.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
    ensure!(stage.lab.vsctl(&["list-ports", "ovsbr0"])?.contains("theirs"));
    Ok(())
}
