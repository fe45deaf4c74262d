//! What Docker says otherwise while a container runs, and proxies before its socket.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};

use crate::filter::Filter;
use crate::stage::{self, PATIENCE, has_interface, interface, reach, wait_gone, wait_ready};

fn recorded(lab: &Lab, id: &str) -> Result<String> {
    let id = format!("external_ids:container_id={id}");
    let ids = lab.vsctl(&["--bare", "--columns=external_ids", "find", "interface", &id])?;
    let name = ids.split_whitespace().find_map(|pair| pair.strip_prefix("container_name="));
    Ok(name.context("no name")?.to_owned())
}

fn mac(lab: &Lab, container: &str) -> Result<String> {
    let eth1 = interface(lab, container, "eth1")?;
    let address = eth1.get("address").and_then(serde_json::Value::as_str);
    Ok(address.context("no MAC address")?.to_owned())
}

#[test]
fn a_rename_reaches_rows_leases_log_and_status_at_once_and_changes_nothing_else() -> Result<()> {
    let lab = Lab::start()?;
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, "pools: [{prefix: 10.0.0.0/24, range: 10.0.0.11-10.0.0.11}]\n")?;
    let file = file.display().to_string();
    let daemon = stage::start_daemon_with(&lab, &["--config", &file])?;
    let pooled = lab.run_container("before", &[("ovs.ip_address", "auto")])?;
    // Its MAC address is made from its name.
    let bare = lab.run_container("bare", &[("ovs.ip_address", "none")])?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let ports = [wait_ready(&lab, &pooled)?, wait_ready(&lab, &bare)?];
    wait_ready(&lab, &peer)?;
    let macs = [mac(&lab, "before")?, mac(&lab, "bare")?];
    let pings = stage::pings(&lab, "peer", "10.0.0.11")?;

    lab.docker(&["rename", "before", "after"])?;
    lab.docker(&["rename", "bare", "bared"])?;
    wait_for("the new names", PATIENCE, || {
        let names = (recorded(&lab, &pooled)?, recorded(&lab, &bare)?);
        Ok((names == ("after".to_owned(), "bared".to_owned())).then_some(()))
    })?;
    let leases = lab.vsctl(&["get", "bridge", "ovsbr0", "external_ids"])?;
    ensure!(leases.contains(&format!("{pooled} eth1 after")), "{leases}");
    ensure!(ports == [wait_ready(&lab, &pooled)?, wait_ready(&lab, &bare)?]);
    ensure!(macs == [mac(&lab, "after")?, mac(&lab, "bared")?]);
    pings.wait_exit(PATIENCE)?;
    ensure!(pings.log().contains(" 0% packet loss"), "{}", pings.log());
    // A conflict names the holder as it is called now, also after a restart of the daemon.
    for round in 0..2 {
        let late = format!("late{round}");
        lab.run_container(&late, &[("ovs.ip_address", "10.0.0.11/24")])?;
        daemon.wait_log("is held by eth1 of container after", PATIENCE)?;
        lab.docker(&["rm", "-f", &late])?;
    }
    ensure!(!daemon.log().contains("is held by eth1 of container before"));
    drop(daemon);
    let daemon = stage::start_daemon_with(&lab, &["--config", &file])?;
    daemon.wait_log("name=\"bared\"", PATIENCE)?;
    ensure!(macs == [mac(&lab, "after")?, mac(&lab, "bared")?]);
    ensure!(!daemon.log().contains("name=\"bare\""), "{}", daemon.log());
    Ok(())
}

#[test]
fn a_rule_by_name_decides_anew_at_once_when_a_container_is_renamed() -> Result<()> {
    let lab = Lab::start()?;
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, "policy: [{rule: web, container: \"web*\"}]\n")?;
    let daemon = stage::start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    let web = lab.run_container("web1", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let other = lab.run_container("other", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &web)?;
    daemon.wait_log("no rule of the configuration's policy is for this container", PATIENCE)?;
    lab.docker(&["rename", "other", "web2"])?;
    wait_ready(&lab, &other)?;
    reach(&lab, "web1", "10.0.0.2")?;
    lab.docker(&["rename", "web1", "old"])?;
    wait_gone(&lab, &web)?;
    ensure!(!has_interface(&lab, "old", "eth1")?);
    let told = |line: &str| line.contains("WARN") && line.contains("name=\"old\"");
    ensure!(daemon.log().lines().any(told), "{}", daemon.log());
    Ok(())
}

#[test]
fn a_proxy_that_refuses_events_is_named_and_costs_ever_fewer_resyncs() -> Result<()> {
    let lab = Lab::start()?;
    let rule = ("/events", "403 Forbidden", "nothing to see here");
    let filter = Filter::start(lab.path().join("filter.sock"), &lab.docker_endpoint(), &[rule])?;
    let daemon = stage::start_daemon_before(&lab, &filter.endpoint(), &[])?;
    daemon.wait_log("status 403: nothing to see here; if a proxy stands before", PATIENCE)?;
    // Containers are attached all the same, at each resync.
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    wait_for("some more tries", PATIENCE, || Ok((filter.answered() >= 6).then_some(())))?;
    let lost =
        |log: &str| log.lines().filter(|line| line.contains("lost Docker's events, ")).count();
    ensure!(lost(&daemon.log()) == 1, "said once: {}", daemon.log());
    filter.set(&[]);
    let next = lab.run_container("next", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &next)?;
    Ok(())
}
