//! One instance acts at a time: what the others remember, and what they make when they lead no more.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::{Lab, Signal, wait_for};

use crate::stage::{self, PATIENCE, has_interface, interface, wait_ready};

/// The lock that the leader has.
const LOCK: &str = "ovs_port_manager";

#[test]
fn a_standby_keeps_nothing_of_containers_that_come_and_go() -> Result<()> {
    let lab = Lab::start()?;
    let first = stage::start_daemon(&lab)?;
    let standing = lab.run_container("standing", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &standing)?;
    let second = stage::start_daemon(&lab)?;
    second.wait_log("standing by", PATIENCE)?;
    let mut ended = Vec::new();
    for number in 2..6 {
        let address = format!("10.0.0.{number}/24");
        let id = lab.run_container("passing", &[("ovs.ip_address", address.as_str())])?;
        wait_ready(&lab, &id)?;
        lab.docker(&["rm", "-f", "passing"])?;
        stage::wait_gone(&lab, &id)?;
        ended.push(id);
    }
    drop(first);
    // One that comes after the take-over is looked at after those that were looked at then.
    second.wait_log("looking at all labelled containers", PATIENCE)?;
    let late = lab.run_container("late", &[("ovs.ip_address", "10.0.0.9/24")])?;
    wait_ready(&lab, &late)?;
    let log = second.log();
    // A look tells what it has planned.
    let looked = |id: &str| log.contains(&id[..12]);
    ensure!(looked(&standing) && looked(&late), "what is there is looked at");
    ensure!(!ended.iter().any(|id| looked(id)), "what has gone is not");
    Ok(())
}

#[test]
fn an_instance_that_has_lost_the_lock_makes_no_link() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let port = wait_ready(&lab, &web)?;
    // The look that follows from the loss asks Docker, which does not answer before the lock is another's.
    lab.dockerd().signal(Signal::STOP)?;
    lab.vsctl(&["del-port", &port])?;
    lab.run("ip", &["link", "del", &port])?;
    let args = ["steal", &lab.ovsdb_endpoint(), LOCK];
    let thief = lab.spawn(Path::new("ovsdb-client"), &args, &[])?;
    thief.wait_log("locked", PATIENCE)?;
    lab.dockerd().signal(Signal::CONT)?;
    daemon.wait_log("another instance is at work", PATIENCE)?;
    ensure!(stage::our_links(&lab)?.is_empty(), "it has made a link");
    ensure!(stage::our_ports(&lab)?.is_empty());
    // With the lock, it makes up for it.
    drop(thief);
    wait_ready(&lab, &web).map(drop)
}

#[test]
fn a_link_that_another_instance_left_is_found_and_replaced() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let port = wait_ready(&lab, &web)?;
    let start = lab.vsctl(&["get", "interface", &port, "external_ids:container_start"])?;
    let alias =
        format!("ovs-port-manager container={web} iface=eth1 start={}", start.trim_matches('"'));
    let pid = lab.container_pid("web")?.to_string();
    // While the daemon does not run, so that it cannot come in between.
    daemon.signal(Signal::STOP)?;
    lab.vsctl(&["del-port", &port])?;
    lab.run("ip", &["link", "del", &port])?;
    lab.run(
        "ip",
        &["link", "add", "another_l", "type", "veth", "peer", "name", "eth1", "netns", &pid],
    )?;
    lab.run("ip", &["link", "set", "another_l", "alias", &alias, "up"])?;
    ensure!(has_interface(&lab, "web", "eth1")?);
    daemon.signal(Signal::CONT)?;
    let port = wait_for("a port of a link of its own", PATIENCE, || {
        let port = wait_ready(&lab, &web)?;
        Ok((port != "another_l").then_some(port))
    })?;
    ensure!(stage::our_links(&lab)?.len() == 1, "the other's link is gone");
    let eth1 = interface(&lab, "web", "eth1")?;
    let addresses = eth1.get("addr_info").and_then(|it| it.as_array()).context("no addresses")?;
    ensure!(addresses.iter().any(|address| address["local"] == "10.0.0.1"), "{port}");
    Ok(())
}
