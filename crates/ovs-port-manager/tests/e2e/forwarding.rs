//! Ports that ovs-vswitchd has taken and that nevertheless forward nothing, or more than their flow rules allow: what is in
//! the way is told, and that it is over.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};
use serde_json::Value;

use crate::answers::told;
use crate::frames::{arp, heard};
use crate::stage::{self, PATIENCE, ping, reach, wait_ready};

/// An ordinary switch takes over fifteen seconds after a controller has gone (ovs-vswitchd.conf.db(5), `fail_mode`), and
/// that ovs-vswitchd hangs is told after twelve.
const LONG: Duration = Duration::from_secs(60);

/// `one` with 10.0.0.1 and `two` with 10.0.0.2, which reach each other, and the port of `one`.
fn pair(options: &[&str]) -> Result<(Lab, Daemon, String)> {
    let (lab, daemon) = stage::start_with(options)?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    reach(&lab, "one", "10.0.0.2")?;
    wait_phase(&lab, "one", "ready", "")?;
    Ok((lab, daemon, port))
}

/// The phase of a container's interface, and what is said of it.
fn phase(lab: &Lab, name: &str) -> Result<(String, String)> {
    let answer = lab.run("curl", &["-s", "http://127.0.0.1:9472/api/v1/ports"])?;
    let answer: Value = serde_json::from_str(&answer)?;
    let mut rows = answer.get("ports").and_then(Value::as_array).context("no ports")?.iter();
    let row = rows.find(|row| row["name"] == name).context("it has no row")?;
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok((text("phase"), text("error")))
}

/// Waits until a container's interface is in a phase for such a reason.
fn wait_phase(lab: &Lab, name: &str, wanted: &str, why: &str) -> Result<()> {
    wait_phase_for(PATIENCE, lab, name, wanted, why)
}

fn wait_phase_for(
    patience: Duration,
    lab: &Lab,
    name: &str,
    wanted: &str,
    why: &str,
) -> Result<()> {
    wait_for(&format!("{name} to be {wanted}"), patience, || {
        let (phase, reason) = phase(lab, name)?;
        ensure!(phase == wanted && reason.contains(why), "{phase}: {reason}");
        Ok(Some(()))
    })
}

fn readyz(lab: &Lab) -> Result<String> {
    lab.run("curl", &["-s", "http://127.0.0.1:9472/readyz"])
}

fn wait_well(lab: &Lab) -> Result<()> {
    wait_phase(lab, "one", "ready", "")?;
    ensure!(readyz(lab)? == "ready", "{}", readyz(lab)?);
    reach(lab, "one", "10.0.0.2")
}

#[test]
fn a_port_that_an_operator_has_shut_is_blocked_until_it_is_opened() -> Result<()> {
    let (lab, daemon, port) = pair(&[])?;
    for what in ["receive", "forward"] {
        lab.run("ovs-ofctl", &["mod-port", "ovsbr0", &port, &format!("no-{what}")])?;
        let advice = format!("ovs-ofctl mod-port ovsbr0 {port} {what}");
        wait_phase(&lab, "one", "blocked", &advice)?;
        ensure!(ping(&lab, "one", "10.0.0.2").is_err());
        ensure!(phase(&lab, "two")?.0 == "ready");
        ensure!(readyz(&lab)?.contains(&advice), "{}", readyz(&lab)?);
        ensure!(daemon.log().contains(&advice));
        for command in [&["status"][..], &["explain", "one"], &["status", "--control-socket=none"]]
        {
            let told = told(&lab, command)?;
            ensure!(told.contains("blocked") || told.contains("nothing passes"), "{told}");
            ensure!(told.contains("[3]"), "{told}");
        }
        lab.run("sh", &["-c", &advice])?;
        wait_well(&lab)?;
    }
    daemon.wait_log("packets pass again", PATIENCE)
}

#[test]
fn a_port_that_is_set_down_over_openflow_is_set_up_again() -> Result<()> {
    let (lab, _daemon, port) = pair(&[])?;
    lab.run("ovs-ofctl", &["mod-port", "ovsbr0", &port, "down"])?;
    wait_for("its link to be up", PATIENCE, || {
        let link = lab.ip_json(&["link", "show", "dev", &port])?;
        let state = lab.vsctl(&["get", "interface", &port, "admin_state"])?;
        let well = link[0]["operstate"] == "UP" && state == "up";
        ensure!(well, "{link}\n{state}");
        Ok(Some(()))
    })?;
    wait_well(&lab)
}

#[test]
fn a_bridge_without_flows_blocks_its_ports_until_it_has_some() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    lab.vsctl(&["set-fail-mode", "ovsbr0", "secure"])?;
    wait_phase(&lab, "one", "blocked", "ovs-vsctl del-fail-mode ovsbr0")?;
    ensure!(ping(&lab, "one", "10.0.0.2").is_err());
    wait_for("one line for both ports", PATIENCE, || {
        let line =
            |line: &str| line.contains("its fail_mode is secure") && line.contains("ports=2");
        Ok(daemon.log().lines().any(line).then_some(()))
    })?;
    let doctor = told(&lab, &["doctor"])?;
    ensure!(doctor.contains("problem bridge ovsbr0: nothing passes: bridge ovsbr0 has no flows"));
    // An operator's own flows are his affair.
    lab.run("ovs-ofctl", &["add-flow", "ovsbr0", "priority=7,actions=normal"])?;
    wait_well(&lab)?;
    lab.vsctl(&["del-fail-mode", "ovsbr0"])?;
    wait_well(&lab)?;

    lab.run("ovs-ofctl", &["del-flows", "ovsbr0"])?;
    let advice = "ovs-ofctl add-flow ovsbr0 actions=normal";
    wait_phase(&lab, "one", "blocked", advice)?;
    ensure!(ping(&lab, "one", "10.0.0.2").is_err());
    lab.run("sh", &["-c", advice])?;
    wait_well(&lab)
}

/// A controller that does nothing, on a socket.
fn controller(listener: UnixListener) {
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(client));
        }
    });
}

/// Says hello, and answers echo requests (OpenFlow 1.3.5, 7.5.1 and 7.5.2).
fn answer(mut client: UnixStream) -> std::io::Result<()> {
    client.write_all(&[4, 0, 0, 8, 0, 0, 0, 1])?;
    loop {
        let mut header = [0; 8];
        client.read_exact(&mut header)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 8];
        client.read_exact(&mut body)?;
        if header[1] == 2 {
            header[1] = 3;
            client.write_all(&[header.as_slice(), &body].concat())?;
        }
    }
}

#[test]
fn a_controller_that_is_away_is_named_and_one_that_is_there_decides() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    let path = lab.path().join("ovs/controller.sock");
    let target = format!("unix:{}", path.display());
    lab.vsctl(&["set-fail-mode", "ovsbr0", "secure", "--", "set-controller", "ovsbr0", &target])?;
    wait_phase(&lab, "one", "blocked", &format!("its controller {target} is away"))?;
    ensure!(ping(&lab, "one", "10.0.0.2").is_err());
    ensure!(readyz(&lab)?.contains("is away"), "{}", readyz(&lab)?);
    daemon.wait_log("is away", PATIENCE)?;

    // It has made no flows, but could at any time.
    controller(UnixListener::bind(&path)?);
    wait_phase(&lab, "one", "ready", "")?;
    let decides = "(connected: its flows decide what passes)";
    for command in [&["explain", "one"][..], &["doctor"]] {
        let told = told(&lab, command)?;
        ensure!(told.contains(decides), "{told}");
    }
    lab.vsctl(&["del-controller", "ovsbr0", "--", "del-fail-mode", "ovsbr0"])?;
    wait_well(&lab)
}

/// Whether a ping from an address that the container has given itself is answered.
fn spoofs(lab: &Lab) -> bool {
    // It is there already the second time.
    let _ = lab.run_in_netns_of("one", "ip", &["address", "add", "10.0.0.9/32", "dev", "eth1"]);
    lab.exec("one", &["ping", "-c", "1", "-W", "1", "-I", "10.0.0.9", "10.0.0.2"]).is_ok()
}

#[test]
fn a_bridge_that_stands_in_for_its_controller_leaves_guarded_ports_unguarded() -> Result<()> {
    let (lab, daemon, _) = pair(&["--port-security", "ovsbr0"])?;
    ensure!(!spoofs(&lab));
    let target = format!("unix:{}", lab.path().join("ovs/controller.sock").display());
    lab.vsctl(&["set-controller", "ovsbr0", &target])?;
    wait_phase(&lab, "one", "unguarded", "ovs-vsctl set-fail-mode ovsbr0 secure")?;
    ensure!(readyz(&lab)?.contains("unguarded"), "{}", readyz(&lab)?);
    daemon.wait_log("packets pass that its flow rules would drop", PATIENCE)?;
    // That it is so, the switch itself shows, and the packets do.
    wait_for("the flow above all others", LONG, || {
        let flows = lab.run("ovs-appctl", &["bridge/dump-flows", "ovsbr0"])?;
        Ok(flows.contains("priority=15790320,actions=NORMAL").then_some(()))
    })?;
    wait_for("a foreign address to pass", PATIENCE, || Ok(spoofs(&lab).then_some(())))?;

    lab.vsctl(&["del-controller", "ovsbr0"])?;
    wait_well(&lab)?;
    wait_for("its flow rules to hold", PATIENCE, || Ok((!spoofs(&lab)).then_some(())))
}

#[test]
fn flows_of_others_in_the_table_of_the_rules_leave_guarded_ports_unguarded() -> Result<()> {
    let (lab, _daemon, _) = pair(&["--port-security", "ovsbr0"])?;
    ensure!(!spoofs(&lab));
    let flow = "table=200,priority=65535,actions=load:1->NXM_NX_REG15[],resubmit(,0)";
    lab.run("ovs-ofctl", &["add-flow", "ovsbr0", flow])?;
    wait_phase(&lab, "one", "unguarded", "somebody else has flows in table 200")?;
    ensure!(readyz(&lab)?.contains("unguarded"), "{}", readyz(&lab)?);
    ensure!(spoofs(&lab), "it is so");
    lab.run("ovs-ofctl", &["--strict", "del-flows", "ovsbr0", "table=200,priority=65535"])?;
    wait_well(&lab)?;
    ensure!(!spoofs(&lab));
    Ok(())
}

#[test]
fn flows_for_a_controller_that_is_reached_through_the_bridge_leave_arp_unguarded() -> Result<()> {
    let (lab, _daemon, _) = pair(&["--port-security", "ovsbr0"])?;
    let bridge = lab.ip_json(&["link", "show", "dev", "ovsbr0"])?;
    let mac = bridge[0]["address"].as_str().context("no address")?;
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mac = bytes.collect::<Result<Vec<_>, _>>()?.try_into().ok().context("no MAC address")?;
    let forged = [arp(mac, Ipv4Addr::new(10, 0, 0, 99), Ipv4Addr::new(10, 0, 0, 2))];
    let passes =
        || Ok::<_, anyhow::Error>(heard(&lab, "one", "two", &forged)?.contains("10.0.0.99"));
    ensure!(!passes()?, "its flow rules drop it");
    lab.vsctl(&[
        "set-fail-mode",
        "ovsbr0",
        "secure",
        "--",
        "set-controller",
        "ovsbr0",
        "tcp:127.0.0.1:6653",
    ])?;
    let normal = || lab.run("ovs-ofctl", &["add-flow", "ovsbr0", "priority=0,actions=normal"]);
    normal()?;
    let advice = "ovs-vsctl set bridge ovsbr0 other_config:disable-in-band=true";
    wait_phase(&lab, "one", "unguarded", advice)?;
    wait_for("the forged request to pass", PATIENCE, || Ok(passes()?.then_some(())))?;
    lab.run("sh", &["-c", advice])?;
    wait_phase(&lab, "one", "ready", "")?;
    ensure!(!passes()?, "its flow rules drop it again");
    Ok(())
}

#[test]
fn an_ovs_vswitchd_that_hangs_or_does_not_run_is_told_until_it_goes_on() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    lab.vswitchd().stop()?;
    wait_phase(&lab, "one", "blocked", "ovs-vswitchd does not answer")?;
    lab.vswitchd().start()?;
    wait_well(&lab)?;
    lab.vswitchd().signal(Signal::STOP)?;
    wait_phase_for(LONG, &lab, "one", "blocked", "ovs-vswitchd does not answer")?;
    ensure!(readyz(&lab)?.contains("ovs-vswitchd does not answer"), "{}", readyz(&lab)?);
    lab.vswitchd().signal(Signal::CONT)?;
    wait_well(&lab)?;
    daemon.wait_log("packets pass as they should again", PATIENCE)
}

#[test]
fn an_ovs_vswitchd_that_waits_for_flows_is_told() -> Result<()> {
    let (lab, _daemon, _) = pair(&[])?;
    lab.vsctl(&["set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true"])?;
    lab.vswitchd().restart()?;
    wait_phase(&lab, "one", "blocked", "other_config flow-restore-wait")?;
    ensure!(ping(&lab, "one", "10.0.0.2").is_err());
    lab.vsctl(&["remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait"])?;
    wait_well(&lab)
}

#[test]
fn a_spanning_tree_that_holds_a_port_back_is_told() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    lab.vsctl(&["set", "bridge", "ovsbr0", "rstp_enable=true"])?;
    daemon.wait_log("the spanning tree of bridge ovsbr0 (rstp_enable)", PATIENCE)?;
    wait_well(&lab)
}

#[test]
fn what_others_have_set_that_decides_what_passes_is_shown() -> Result<()> {
    let (lab, _daemon, port) = pair(&[])?;
    lab.vsctl(&["set", "port", &port, "protected=true"])?;
    lab.vsctl(&["set", "bridge", "ovsbr0", "stp_enable=true"])?;
    let explained = told(&lab, &["explain", "one"])?;
    for part in ["protected - it reaches no other protected port", "spanning tree - stp_enable"] {
        ensure!(explained.contains(part), "{explained}");
    }
    let doctor = told(&lab, &["doctor"])?;
    ensure!(doctor.contains("ok bridge ovsbr0 has a spanning tree, stp_enable"), "{doctor}");
    Ok(())
}
