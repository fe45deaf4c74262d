//! What is done to a port's traffic: limited, copied. Measured by `iperf3`, seen by `tcpdump`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};
use serde_json::Value;

use crate::stage::{self, PATIENCE, reach, wait_gone, wait_ready};

/// Rows of a table that bear our mark.
fn our_rows(lab: &Lab, table: &str) -> Result<Vec<String>> {
    let owner = "external_ids:owner=ovs-port-manager";
    let rows = lab.vsctl(&["--bare", "--columns=_uuid", "find", table, owner])?;
    Ok(rows.split_whitespace().map(str::to_owned).collect())
}

/// A program in a container's network namespace, in the background.
fn spawn_in(lab: &Lab, container: &str, program: &[&str]) -> Result<Daemon> {
    let target = format!("--target={}", lab.container_pid(container)?);
    let args = [&[target.as_str(), "--net", "--"], program].concat();
    lab.spawn(Path::new("nsenter"), &args, &[])
}

/// Millions of bits in a second that TCP brings from one container to another, after its start.
fn throughput(lab: &Lab, from: &str, to: &str, address: &str) -> Result<f64> {
    let server = spawn_in(lab, to, &["iperf3", "--server", "--one-off", "--forceflush"])?;
    server.wait_log("Server listening", PATIENCE)?;
    let args = ["--client", address, "--time=6", "--omit=2", "--json"];
    let report: Value = serde_json::from_str(&lab.run_in_netns_of(from, "iperf3", &args)?)?;
    let bits = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(bits.context("no rate in iperf3's report")? / 1e6)
}

fn ensure_within_20_percent(measured: f64, asked: f64) -> Result<()> {
    println!("asked {asked} Mb/s, measured {measured:.1} Mb/s");
    ensure!((measured / asked - 1.0).abs() < 0.2, "asked {asked} Mb/s, measured {measured} Mb/s");
    Ok(())
}

#[test]
fn what_is_sent_to_a_container_is_limited() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.egress_rate", "20M")];
    let id = lab.run_container("web", &labels)?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &id)?;
    wait_ready(&lab, &peer)?;
    reach(&lab, "peer", "10.0.0.1")?;
    ensure_within_20_percent(throughput(&lab, "peer", "web", "10.0.0.1")?, 20.0)?;
    let other_way = throughput(&lab, "web", "peer", "10.0.0.2")?;
    ensure!(other_way > 40.0, "the other way is free: {other_way}");

    // What somebody changes or takes away is put right.
    let [qos] = our_rows(&lab, "qos")?.try_into().ok().context("not one QoS row")?;
    lab.vsctl(&["set", "qos", &qos, "other_config:max-rate=1000"])?;
    let max_rate = || lab.vsctl(&["--bare", "--columns=other_config", "list", "qos"]);
    wait_for("the rate to be put right", PATIENCE, || {
        Ok((max_rate()? == "max-rate=20000000").then_some(()))
    })?;
    lab.vsctl(&["clear", "port", &port, "qos"])?;
    wait_for("one QoS row that the port has", PATIENCE, || {
        let rows = our_rows(&lab, "qos")?;
        Ok((rows.len() == 1 && lab.vsctl(&["get", "port", &port, "qos"])? == rows[0]).then_some(()))
    })?;
    lab.vsctl(&["del-port", &port])?;
    wait_for("another port and one QoS row", PATIENCE, || {
        let ports = stage::ports_of(&lab, &id)?;
        Ok((ports.len() == 1 && ports[0] != port && our_rows(&lab, "qos")?.len() == 1)
            .then_some(()))
    })?;
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &id)?;
    ensure!(our_rows(&lab, "qos")?.is_empty());
    Ok(())
}

#[test]
fn what_a_container_sends_is_limited() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [
        ("ovs.ip_address", "10.0.0.1/24"),
        ("ovs.ingress_rate", "20M"),
        ("ovs.ingress_burst", "16M"),
    ];
    let id = lab.run_container("web", &labels)?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &id)?;
    wait_ready(&lab, &peer)?;
    ensure!(lab.vsctl(&["get", "interface", &port, "ingress_policing_rate"])? == "20000");
    reach(&lab, "peer", "10.0.0.1")?;
    ensure_within_20_percent(throughput(&lab, "web", "peer", "10.0.0.2")?, 20.0)?;
    let other_way = throughput(&lab, "peer", "web", "10.0.0.1")?;
    ensure!(other_way > 40.0, "the other way is free: {other_way}");

    lab.vsctl(&["set", "interface", &port, "ingress_policing_rate=1"])?;
    wait_for("the rate to be put right", PATIENCE, || {
        let rate = lab.vsctl(&["get", "interface", &port, "ingress_policing_rate"])?;
        Ok((rate == "20000").then_some(()))
    })
}

#[test]
fn rows_beside_a_port_do_not_outlive_it_while_the_daemon_is_away() -> Result<()> {
    let options = ["--mirror-ports", "tap0"];
    let (lab, daemon) = stage::start_with(&options)?;
    add_tap(&lab)?;
    let labels =
        [("ovs.ip_address", "10.0.0.1/24"), ("ovs.egress_rate", "20M"), ("ovs.mirror", "tap0")];
    let id = lab.run_container("web", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(our_rows(&lab, "qos")?.len() == 1 && our_rows(&lab, "mirror")?.len() == 1);
    drop(daemon);
    lab.vsctl(&["del-port", &port])?;
    lab.docker(&["rm", "-f", "web"])?;
    ensure!(our_rows(&lab, "qos")?.len() == 1 && our_rows(&lab, "mirror")?.len() == 1);
    let foreign = lab.vsctl(&["create", "qos", "type=linux-htb"])?;
    let _daemon = stage::start_daemon_with(&lab, &options)?;
    wait_for("the rows to go", PATIENCE, || {
        Ok((our_rows(&lab, "qos")?.is_empty() && our_rows(&lab, "mirror")?.is_empty())
            .then_some(()))
    })?;
    ensure!(lab.vsctl(&["--bare", "--columns=_uuid", "list", "qos"])? == foreign);
    Ok(())
}

/// Adds the port that mirrors may lead to.
fn add_tap(lab: &Lab) -> Result<()> {
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    let internal = ["--", "set", "interface", "tap0", "type=internal"];
    lab.vsctl(&[&["add-port", "ovsbr0", "tap0"], internal.as_slice()].concat())?;
    lab.run("ip", &["link", "set", "tap0", "up"])?;
    Ok(())
}

#[test]
fn a_mirror_shows_what_a_container_sends_and_gets() -> Result<()> {
    let (lab, daemon) = stage::start_with(&["--mirror-ports", "tap0"])?;
    add_tap(&lab)?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.mirror", "tap0")];
    let id = lab.run_container("web", &labels)?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let thief = [("ovs.ip_address", "10.0.0.3/24"), ("ovs.mirror", "ovsbr0")];
    lab.run_container("thief", &thief)?;
    let port = wait_ready(&lab, &id)?;
    wait_ready(&lab, &peer)?;
    daemon.wait_log("the configuration allows no mirror to ovsbr0", PATIENCE)?;
    reach(&lab, "peer", "10.0.0.1")?;

    let seen = |pings: &str| -> Result<String> {
        let args = ["-i", "tap0", "-n", "-l", "-c", "2", "icmp"];
        let tcpdump = lab.spawn(Path::new("tcpdump"), &args, &[])?;
        tcpdump.wait_log("listening on tap0", PATIENCE)?;
        lab.exec("peer", &["ping", "-c", "2", "-W", "1", pings])?;
        tcpdump.wait_log("2 packets captured", PATIENCE)?;
        Ok(tcpdump.log())
    };
    let told = seen("10.0.0.1")?;
    ensure!(told.contains("10.0.0.2 > 10.0.0.1: ICMP echo request"), "{told}");
    ensure!(told.contains("10.0.0.1 > 10.0.0.2: ICMP echo reply"), "{told}");

    let [mirror] = our_rows(&lab, "mirror")?.try_into().ok().context("not one Mirror row")?;
    lab.vsctl(&["clear", "mirror", &mirror, "output_port"])?;
    wait_for("another mirror", PATIENCE, || {
        let rows = our_rows(&lab, "mirror")?;
        Ok((rows.len() == 1 && rows[0] != mirror).then_some(()))
    })?;
    seen("10.0.0.1")?;
    ensure!(stage::ports_of(&lab, &id)? == [port]);
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &id)?;
    ensure!(our_rows(&lab, "mirror")?.is_empty());
    Ok(())
}
