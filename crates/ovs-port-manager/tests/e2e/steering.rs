//! The daemon's own life: resync, signals, its end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};
use serde_json::Value;

use crate::stage::{self, PATIENCE, PROGRAM, our_links, our_ports, wait_ready};

fn start_with(lab: &Lab, options: &[&str]) -> Result<Daemon> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = [&["run", "-v", "--docker", &docker, "--ovsdb", &ovsdb], options].concat();
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    daemon.wait_log("looking at all labelled containers", PATIENCE)?;
    Ok(daemon)
}

#[test]
fn a_resync_with_nothing_to_do_changes_nothing() -> Result<()> {
    let lab = Lab::start()?;
    let daemon = start_with(&lab, &["--resync-interval", "1"])?;
    let id = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.vlan", "7")])?;
    let other =
        lab.run_container("two", &[("ovs.ip_address", "fd00::2/64"), ("ovs.mtu", "1400")])?;
    wait_ready(&lab, &id)?;
    wait_ready(&lab, &other)?;
    // Everything that this program writes, with the versions of the rows.
    let database = || -> Result<_> {
        let select = |table, columns| {
            format!(r#"{{"op":"select","table":"{table}","where":[],"columns":[{columns}]}}"#)
        };
        let bridges = select("Bridge", r#""_uuid","_version""#);
        let ports = select("Port", r#""_uuid","_version""#);
        // ovs-vswitchd itself writes statistics there, and so new versions.
        let interfaces = select("Interface", r#""_uuid","name","type","external_ids","ofport""#);
        let all = format!(r#"["Open_vSwitch",{bridges},{ports},{interfaces}]"#);
        let told = lab.run("ovsdb-client", &["transact", &lab.ovsdb_endpoint(), &all])?;
        let tables: Vec<Value> = serde_json::from_str(&told)?;
        // The server gives rows in any order.
        let rows = tables.iter().flat_map(|table| table["rows"].as_array().into_iter().flatten());
        Ok(rows.map(ToString::to_string).collect::<BTreeSet<_>>())
    };
    let kernel = || -> Result<_> {
        let inside = |name| lab.container_ip_json(name, &["addr", "show"]);
        // Counters and timers aside, which `addr` does not show.
        Ok((lab.ip_json(&["addr", "show"])?, inside("one")?, inside("two")?))
    };
    let resyncs = || daemon.log().matches("looking at everything").count();
    // IPv6 finishes its duplicate address detection some time after a link is up.
    wait_for("the kernel to settle", PATIENCE, || {
        Ok((!format!("{:?}", kernel()?).contains("tentative")).then_some(()))
    })?;
    let (rows, links, begun) = (database()?, kernel()?, resyncs());
    wait_for("three more resyncs", PATIENCE, || Ok((resyncs() >= begun + 3).then_some(())))?;
    let after = database()?;
    ensure!(after == rows, "OVSDB was written to:\n{rows:?}\n{after:?}");
    ensure!(kernel()? == links, "the kernel was asked for changes");
    Ok(())
}

#[test]
fn sighup_rereads_the_configuration() -> Result<()> {
    let lab = Lab::start()?;
    let file = lab.path().join("config.yaml");
    fs::write(&file, "default_bridge: br1\n")?;
    let daemon = start_with(&lab, &["--config", &file.display().to_string()])?;
    let first = lab.run_container("first", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let port = wait_ready(&lab, &first)?;
    ensure!(lab.vsctl(&["port-to-br", &port])? == "br1");

    fs::write(&file, "default_brigde: br2\n")?;
    daemon.signal(Signal::HUP)?;
    daemon.wait_log("the old one stays in force", PATIENCE)?;
    // Nor does it change for what others could have written.
    fs::write(&file, "default_bridge: br3\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    daemon.signal(Signal::HUP)?;
    daemon
        .wait_log("it may be changed by others than its owner (mode 0666): sudo chmod", PATIENCE)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    fs::write(&file, "default_bridge: br2\nlog_format: json\n")?;
    daemon.signal(Signal::HUP)?;
    daemon.wait_log("the new value of log_format takes effect at the next start", PATIENCE)?;

    let second = lab.run_container("second", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &second)?;
    ensure!(lab.vsctl(&["port-to-br", &port])? == "br2");
    wait_for("the first to follow", PATIENCE, || {
        let port = wait_ready(&lab, &first)?;
        Ok((lab.vsctl(&["port-to-br", &port])? == "br2").then_some(()))
    })?;
    stage::ping(&lab, "first", "10.0.0.2")
}

#[test]
fn ports_go_with_the_daemon_if_asked() -> Result<()> {
    let lab = Lab::start()?;
    let daemon = start_with(&lab, &["--detach-on-exit"])?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit(PATIENCE)?.success());
    ensure!(our_ports(&lab)?.is_empty() && our_links(&lab)?.is_empty());
    ensure!(!stage::has_interface(&lab, "web", "eth1")?);
    Ok(())
}

#[test]
fn a_second_instance_stands_by_and_takes_over_without_a_lost_packet() -> Result<()> {
    let lab = Lab::start()?;
    let first = start_with(&lab, &[])?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    stage::ping(&lab, "one", "10.0.0.2")?;

    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "-v", "--docker", &docker, "--ovsdb", &ovsdb];
    let second = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    second.wait_log("standing by", PATIENCE)?;
    let three = lab.run_container("three", &[("ovs.ip_address", "10.0.0.3/24")])?;
    wait_ready(&lab, &three)?;
    ensure!(!second.log().contains("planned"), "{}", second.log());

    let pings = stage::pings(&lab, "one", "10.0.0.2")?;
    first.kill9()?;
    second.wait_log("looking at all labelled containers containers=3", PATIENCE)?;
    pings.wait_exit(PATIENCE)?;
    ensure!(pings.log().contains(" 0% packet loss"), "{}", pings.log());
    let four = lab.run_container("four", &[("ovs.ip_address", "10.0.0.4/24")])?;
    wait_ready(&lab, &four)?;
    stage::ping(&lab, "four", "10.0.0.1")
}

#[test]
fn whichever_instance_gets_the_lock_after_a_restart_of_ovsdb_nothing_is_lost() -> Result<()> {
    let lab = Lab::start()?;
    let _first = start_with(&lab, &[])?;
    let stays = lab.run_container("stays", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let kept = wait_ready(&lab, &stays)?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "-v", "--docker", &docker, "--ovsdb", &ovsdb];
    let second = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    second.wait_log("standing by", PATIENCE)?;

    for round in 2..6 {
        let before = lab.run_container("before", &[("ovs.ip_address", "10.0.0.2/24")])?;
        wait_ready(&lab, &before)?;
        lab.ovsdb_server().kill9()?;
        lab.docker(&["rm", "-f", "before"])?;
        let name = format!("during{round}");
        let address = format!("10.0.1.{round}/24");
        let during = lab.run_container(&name, &[("ovs.ip_address", &address)])?;
        lab.ovsdb_server().start()?;
        wait_ready(&lab, &during)?;
        stage::wait_gone(&lab, &before)?;
        ensure!(stage::ports_of(&lab, &stays)? == [kept.as_str()], "what runs is untouched");
        lab.docker(&["rm", "-f", &name])?;
        stage::wait_gone(&lab, &during)?;
    }
    ensure!(our_links(&lab)?.len() == 1 && our_ports(&lab)?.len() == 1);
    Ok(())
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_and_that_it_lives() -> Result<()> {
    let lab = Lab::start()?;
    let path = lab.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--docker", &docker, "--ovsdb", &ovsdb];
    let notify = path.display().to_string();
    let env = [("NOTIFY_SOCKET", notify.as_str()), ("WATCHDOG_USEC", "200000")];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &env)?;
    let mut heard = String::new();
    let mut hear = |wanted: &str| -> Result<()> {
        while !heard.contains(wanted) {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer)?;
            heard.push_str(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()));
        }
        heard.clear();
        Ok(())
    };
    hear("READY=1")?;
    hear("WATCHDOG=1")?;
    hear("WATCHDOG=1")?;
    daemon.signal(Signal::TERM)?;
    hear("STOPPING=1")
}
