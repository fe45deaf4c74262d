//! Restarts, kills and losses of everything around a port.

use anyhow::{Context, Result, bail, ensure};
use lab::{Daemon, Lab, Signal, wait_for};

use crate::stage::{
    self, PATIENCE, PROGRAM, has_interface, interface, our_links, our_ports, ping, ports_of, reach,
    start_daemon, wait_gone, wait_ready,
};

#[test]
fn a_restarted_container_keeps_its_mac_and_is_reached_at_once() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let client = lab.run_container("client", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let before = wait_ready(&lab, &web)?;
    wait_ready(&lab, &client)?;
    ping(&lab, "client", "10.0.0.1")?;
    let mac = interface(&lab, "web", "eth1")?["address"].clone();

    lab.docker(&["restart", "web"])?;
    let after = wait_for("the port of the new start", PATIENCE, || {
        let port = wait_ready(&lab, &web)?;
        Ok((port != before).then_some(port))
    })?;
    ping(&lab, "client", "10.0.0.1")?;
    ensure!(interface(&lab, "web", "eth1")?["address"] == mac);
    ensure!(ports_of(&lab, &web)? == [after], "the old port is gone");
    wait_for("the old link to go", PATIENCE, || Ok((our_links(&lab)?.len() == 2).then_some(())))
}

#[test]
fn ports_of_containers_that_went_while_the_daemon_was_dead_are_removed() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let gone = lab.run_container("gone", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let stays = lab.run_container("stays", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &gone)?;
    let kept = wait_ready(&lab, &stays)?;

    daemon.kill9()?;
    lab.docker(&["rm", "-f", "gone"])?;
    ensure!(ports_of(&lab, &gone)?.len() == 1, "the row is stale now");

    let _daemon = start_daemon(&lab)?;
    wait_gone(&lab, &gone)?;
    ensure!(ports_of(&lab, &stays)? == [kept], "what runs is untouched");
    ensure!(our_links(&lab)?.len() == 1);
    Ok(())
}

#[test]
fn a_container_that_has_the_id_of_another_for_its_name_is_not_taken_for_that_one() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let gone = lab.run_container("gone", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &gone)?;
    daemon.kill9()?;
    lab.docker(&["rm", "-f", "gone"])?;
    // Asked for the id, Docker now answers with this one.
    let other = lab.run_container(&gone, &[("ovs.ip_address", "10.0.0.2/24")])?;

    let _daemon = start_daemon(&lab)?;
    wait_gone(&lab, &gone)?;
    wait_ready(&lab, &other)?;
    ensure!(our_links(&lab)?.len() == 1);
    Ok(())
}

#[test]
fn a_link_that_vanished_while_the_daemon_was_dead_is_made_anew() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let before = wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    daemon.kill9()?;
    lab.run("ip", &["link", "delete", &before])?;
    let _daemon = start_daemon(&lab)?;
    wait_for("a port under a new name", PATIENCE, || {
        let port = wait_ready(&lab, &one)?;
        Ok((port != before).then_some(()))
    })?;
    // Under its old name the port would look healthy, and no packet would pass.
    ping(&lab, "two", "10.0.0.1")
}

/// As it is left when the daemon dies after the port is on the switch and before its other end is configured.
#[test]
fn a_port_whose_interface_was_not_configured_is_finished_by_the_next_start() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let httpd = ["httpd", "-f", "-h", "/www"];
    let labels = [("ovs.ip_address", "10.0.0.1/24")];
    let web = lab.run_container_with("web", &labels, &["--network=none"], &httpd)?;
    let client = lab.run_container("client", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &web)?;
    wait_ready(&lab, &client)?;
    daemon.kill9()?;
    for harm in [
        ["ip", "link", "set", "eth1", "down"].as_slice(),
        &["ip", "address", "flush", "dev", "eth1"],
        &["ethtool", "-K", "eth1", "tx", "on"],
    ] {
        lab.run_in_netns_of("web", harm[0], &harm[1..])?;
    }
    let _daemon = start_daemon(&lab)?;
    reach(&lab, "client", "10.0.0.1")?;
    ensure!(wait_ready(&lab, &web)? == port, "the port stays");
    // TCP needs checksums that somebody has computed.
    lab.exec("client", &["timeout", "5", "wget", "-qO-", "http://10.0.0.1/"])?;
    Ok(())
}

#[test]
fn a_port_whose_interface_cannot_be_configured_leaves_nothing_and_is_tried_again() -> Result<()> {
    let lab = Lab::start()?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.gateway", "10.0.0.254")];
    let id = lab.run_container("web", &labels)?;
    // So the kernel refuses the gateway, which nobody can tell by the labels.
    lab.run_in_netns_of("web", "ip", &["rule", "add", "to", "10.0.0.254", "prohibit"])?;
    let daemon = start_daemon(&lab)?;
    daemon.wait_log("will try again: eth1: cannot add route default via 10.0.0.254", PATIENCE)?;
    wait_for("nothing to be left of a try", PATIENCE, || {
        let nothing = ports_of(&lab, &id)?.is_empty()
            && our_links(&lab)?.is_empty()
            && !has_interface(&lab, "web", "eth1")?;
        Ok(nothing.then_some(()))
    })?;

    lab.run_in_netns_of("web", "ip", &["rule", "delete", "to", "10.0.0.254", "prohibit"])?;
    wait_ready(&lab, &id)?;
    ensure!(our_links(&lab)?.len() == 1);
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &id)
}

/// The boundaries between steps at which the daemon is killed. More than an attach, a restart and a
/// detach have together, so that the last ones are never reached: then the scenario was complete.
const BOUNDARIES: u32 = 30;

#[test]
fn killed_between_any_two_steps_the_next_start_puts_all_right() -> Result<()> {
    let lab = Lab::start()?;
    let daemon = start_daemon(&lab)?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &peer)?;
    daemon.kill9()?;
    for boundary in 1..=BOUNDARIES {
        let died = die_at(&lab, boundary).with_context(|| format!("boundary {boundary}"))?;
        if !died {
            ensure!(boundary > 10, "only {boundary} boundaries were reached");
            return Ok(());
        }
    }
    bail!("the scenario has more than {BOUNDARIES} boundaries")
}

/// Starts, restarts and removes a container under a daemon that kills itself at a boundary; then lets
/// a sound one take over, wherever that was. Whether the boundary was reached.
fn die_at(lab: &Lab, boundary: u32) -> Result<bool> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--docker", &docker, "--ovsdb", &ovsdb];
    let number = boundary.to_string();
    let doomed = lab.spawn(PROGRAM.as_ref(), &args, &[("FAILPOINT", &number)])?;
    doomed.wait_log("looking at all labelled containers", PATIENCE)?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let mut runs = true;
    let mut lives = survives(&doomed, || has_one_ready(lab, &id))?;
    if lives {
        let before = wait_ready(lab, &id)?;
        lab.docker(&["restart", "web"])?;
        lives = survives(&doomed, || {
            Ok(has_one_ready(lab, &id)? && ports_of(lab, &id)? != [before.clone()])
        })?;
    }
    if lives {
        lab.docker(&["rm", "-f", "web"])?;
        runs = false;
        lives =
            survives(&doomed, || Ok(ports_of(lab, &id)?.is_empty() && our_links(lab)?.len() == 1))?;
    }
    drop(doomed);

    let sound = start_daemon(lab)?;
    if runs {
        wait_for("the container to be reached", PATIENCE, || {
            wait_ready(lab, &id)?;
            ping(lab, "peer", "10.0.0.1").map(Some)
        })?;
        lab.docker(&["rm", "-f", "web"])?;
    }
    wait_gone(lab, &id)?;
    ensure!(our_ports(lab)?.len() == 1 && our_links(lab)?.len() == 1, "only the peer has a port");
    ping(lab, "peer", "10.0.0.2")?;
    sound.kill9()?;
    Ok(!lives)
}

/// Waits until something is done or the daemon is dead; whether it lives.
fn survives(daemon: &Daemon, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    wait_for("an end of this kind or the other", PATIENCE, || {
        if !daemon.is_running()? {
            return Ok(Some(false));
        }
        Ok(done()?.then_some(true))
    })
}

/// Whether a container has one port that forwards, now.
fn has_one_ready(lab: &Lab, id: &str) -> Result<bool> {
    let ports = ports_of(lab, id)?;
    let [port] = ports.as_slice() else { return Ok(false) };
    Ok(lab.vsctl(&["get", "interface", port, "ofport"])?.parse::<u32>().is_ok_and(|port| port > 0))
}

#[test]
fn a_daemon_that_starts_before_everything_else_waits_if_asked() -> Result<()> {
    let lab = Lab::start()?;
    lab.ovsdb_server().stop()?;
    lab.dockerd().stop()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--wait-for-services", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    daemon.wait_log("waiting: no OVSDB socket", PATIENCE)?;
    lab.ovsdb_server().start()?;
    daemon.wait_log("waiting: no Docker socket", PATIENCE)?;
    lab.dockerd().start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    ensure!(daemon.log().matches("waiting:").count() == 2, "each is said once: {}", daemon.log());
    Ok(())
}

#[test]
fn restarting_the_daemon_writes_nothing_and_loses_no_packet() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    ping(&lab, "one", "10.0.0.2")?;
    let dump = || lab.run("ovsdb-client", &["dump", &lab.ovsdb_endpoint(), "Port"]);
    let before = dump()?;
    let pings = stage::pings(&lab, "one", "10.0.0.2")?;
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.wait_exit(PATIENCE)?.success(), "SIGTERM is an orderly end");
    let daemon = start_daemon(&lab)?;
    daemon.wait_log("looking at all labelled containers containers=2", PATIENCE)?;
    pings.wait_exit(PATIENCE)?;
    ensure!(pings.log().contains(" 0% packet loss"), "{}", pings.log());
    ensure!(dump()? == before);
    for step in ["add-", "del-", "set-"] {
        ensure!(!daemon.log().contains(&format!(" INFO {step}")), "{}", daemon.log());
    }
    Ok(())
}

#[test]
fn a_restart_of_ovsdb_is_survived() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let kept = wait_ready(&lab, &one)?;
    lab.ovsdb_server().kill9()?;
    daemon.wait_log("lost OVSDB", PATIENCE)?;
    // Comes while the database is away.
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    lab.ovsdb_server().start()?;
    wait_ready(&lab, &two)?;
    ensure!(ports_of(&lab, &one)? == [kept]);
    ping(&lab, "one", "10.0.0.2")
}

#[test]
fn a_restart_of_docker_is_survived() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &one)?;
    // Its containers die with it, and it tells nobody.
    lab.dockerd().restart()?;
    daemon.wait_log("lost Docker's events", PATIENCE)?;
    wait_gone(&lab, &one)?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &two).map(drop)
}

#[test]
fn with_live_restore_what_runs_stays_and_what_died_meanwhile_goes() -> Result<()> {
    let lab = Lab::builder().dockerd_arg("--live-restore").start()?;
    let daemon = start_daemon(&lab)?;
    let stays = lab.run_container("stays", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let dies = lab.run_container("dies", &[("ovs.ip_address", "10.0.0.3/24")])?;
    let kept = wait_ready(&lab, &stays)?;
    wait_ready(&lab, &peer)?;
    wait_ready(&lab, &dies)?;
    let pid = lab.container_pid("dies")?.to_string();
    let pinged = lab.container_pid("stays")?.to_string();
    // Not by `docker exec`, which ends with dockerd.
    let enter = ["--target", &pinged, "--net", "busybox", "ping"];
    let ping = ["-q", "-i", "0.01", "-c", "300", "-W", "1", "10.0.0.2"];
    let pings = lab.spawn("nsenter".as_ref(), &[enter.as_slice(), &ping].concat(), &[])?;

    lab.dockerd().kill9()?;
    daemon.wait_log("lost Docker's events", PATIENCE)?;
    lab.run("kill", &["-9", &pid])?;
    lab.dockerd().start()?;
    wait_gone(&lab, &dies)?;
    ensure!(ports_of(&lab, &stays)? == [kept]);
    pings.wait_exit(PATIENCE)?;
    ensure!(pings.log().contains(" 0% packet loss"), "{}", pings.log());
    Ok(())
}

#[test]
fn a_port_that_somebody_deletes_comes_back() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    lab.vsctl(&["del-port", &port])?;
    wait_ready(&lab, &one)?;
    ping(&lab, "one", "10.0.0.2")
}

#[test]
fn after_a_reboot_open_vswitch_itself_can_remove_our_ports() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &web)?;
    lab.vsctl(&[
        "add-port",
        "ovsbr0",
        "theirs",
        "--",
        "set",
        "interface",
        "theirs",
        "type=internal",
    ])?;
    daemon.kill9()?;
    lab.run("/usr/share/openvswitch/scripts/ovs-ctl", &["delete-transient-ports"])?;
    ensure!(our_ports(&lab)?.is_empty());
    ensure!(lab.vsctl(&["list-ports", "ovsbr0"])? == "theirs");
    let _daemon = start_daemon(&lab)?;
    wait_ready(&lab, &web).map(drop)
}

#[test]
fn ports_of_others_are_never_touched() -> Result<()> {
    let lab = Lab::start()?;
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    lab.run("ip", &["link", "add", "theirs", "type", "veth", "peer", "name", "theirs2"])?;
    // A row as ovs-docker writes it, for a container that does not exist.
    let id = "external_ids:container_id=".to_owned() + &"ab".repeat(32);
    lab.vsctl(&["add-port", "ovsbr0", "theirs", "--", "set", "interface", "theirs", &id])?;
    let row = || {
        let columns = "--columns=_uuid,name,external_ids";
        lab.vsctl(&[columns, "list", "interface", "theirs"])
    };
    let before = row()?;
    let daemon = start_daemon(&lab)?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &web)?;
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &web)?;
    ensure!(row()? == before);
    ensure!(lab.ip_json(&["link", "show", "dev", "theirs"]).is_ok());
    ensure!(our_ports(&lab)?.is_empty());
    ensure!(!daemon.log().contains("theirs"));
    Ok(())
}
