//! Port security: a container that sends what is not its own is not heard; good traffic passes.

use std::fs;

use anyhow::{Result, ensure};
use lab::{Lab, Signal, wait_for};

use crate::frames;
use crate::stage::{self, PATIENCE, ping, reach, wait_gone, wait_ready};

const SECURED: [&str; 2] = ["--port-security", "ovsbr0"];

fn ip(lab: &Lab, container: &str, command: &str) -> Result<String> {
    lab.run_in_netns_of(container, "ip", &command.split(' ').collect::<Vec<_>>())
}

fn flows(lab: &Lab) -> Result<String> {
    let cookie = "cookie=0x6f76732d706f7274/-1";
    lab.run("ovs-ofctl", &["-O", "OpenFlow13", "dump-flows", "ovsbr0", cookie])
}

/// A victim, a peer and one that will spoof, all on a secured bridge.
fn start() -> Result<(Lab, lab::Daemon, String)> {
    let (lab, daemon) = stage::start_with(&SECURED)?;
    for (name, number) in [("victim", 1), ("peer", 2)] {
        let address = format!("10.0.0.{number}/24,fd00::{number}/64");
        let id = lab.run_container(name, &[("ovs.ip_address", &address)])?;
        wait_ready(&lab, &id)?;
    }
    let spoofer = lab.run_container("spoofer", &[("ovs.ip_address", "10.0.0.3/24,fd00::3/64")])?;
    wait_ready(&lab, &spoofer)?;
    reach(&lab, "spoofer", "10.0.0.2")?;
    reach(&lab, "spoofer", "fd00::2")?;
    Ok((lab, daemon, spoofer))
}

/// Whether a ping from this address is answered.
fn passes(lab: &Lab, container: &str, source: &str, to: &str) -> bool {
    lab.exec(container, &["ping", "-c", "2", "-W", "1", "-I", source, to]).is_ok()
}

#[test]
fn spoofed_addresses_are_dropped_and_good_traffic_passes() -> Result<()> {
    let (lab, daemon, spoofer) = start()?;
    // A second address, that nobody gave it: answers to it would reach it.
    for (address, own, to) in
        [("10.0.0.9/32", "10.0.0.3", "10.0.0.2"), ("fd00::9/128 nodad", "fd00::3", "fd00::2")]
    {
        ip(&lab, "spoofer", &format!("address add {address} dev eth1"))?;
        let source = address.split('/').next().unwrap_or_default();
        ensure!(!passes(&lab, "spoofer", source, to), "{source} is not its own");
        wait_for("its own address to pass", PATIENCE, || {
            Ok(passes(&lab, "spoofer", own, to).then_some(()))
        })?;
    }
    // On a bridge without port security the same passes.
    for (name, address) in [("free", "10.0.0.3/24"), ("other", "10.0.0.2/24")] {
        let labels = [("ovs.ip_address", address), ("ovs.bridge", "ovsbr1")];
        let id = lab.run_container(name, &labels)?;
        wait_ready(&lab, &id)?;
    }
    ip(&lab, "free", "address add 10.0.0.9/32 dev eth1")?;
    wait_for("a foreign address to pass", PATIENCE, || {
        Ok(passes(&lab, "free", "10.0.0.9", "10.0.0.2").then_some(()))
    })?;

    // Another MAC address, as long as the daemon has not put it right.
    daemon.signal(Signal::STOP)?;
    let mac = stage::interface(&lab, "spoofer", "eth1")?["address"].clone();
    ip(&lab, "spoofer", "link set eth1 address 02:00:00:00:00:99")?;
    ensure!(ping(&lab, "spoofer", "10.0.0.2").is_err(), "the MAC address is not its own");
    daemon.signal(Signal::CONT)?;
    let mac = mac.as_str().unwrap_or_default();
    ip(&lab, "spoofer", &format!("link set eth1 address {mac}"))?;
    reach(&lab, "spoofer", "10.0.0.2")?;

    let before = flows(&lab)?.lines().count();
    lab.docker(&["rm", "-f", "spoofer"])?;
    wait_gone(&lab, &spoofer)?;
    wait_for("its flows to go", PATIENCE, || {
        let flows = flows(&lab)?;
        Ok((flows.lines().count() < before && !flows.contains("10.0.0.3")).then_some(()))
    })
}

#[test]
fn an_arp_answer_for_another_address_does_not_reach_its_peers() -> Result<()> {
    let (lab, _daemon, _) = start()?;
    // It would answer for the victim's address.
    ip(&lab, "spoofer", "address add 10.0.0.9/24 dev eth1")?;
    lab.run_in_netns_of(
        "spoofer",
        "sh",
        &["-c", "echo 1 > /proc/sys/net/ipv4/conf/eth1/arp_accept"],
    )?;
    ensure!(ping(&lab, "peer", "10.0.0.9").is_err());
    let neighbours = ip(&lab, "peer", "neighbour show 10.0.0.9")?;
    ensure!(!neighbours.contains("lladdr"), "{neighbours}");
    reach(&lab, "peer", "10.0.0.3")
}

#[test]
fn a_port_without_vlans_sends_into_none_and_a_trunk_into_its_own() -> Result<()> {
    let (lab, _daemon) = stage::start_with(&SECURED)?;
    let address = |address| ("ovs.ip_address", address);
    for (name, labels) in [
        ("untagged", &[address("10.0.0.1/24")] as &[_]),
        ("trunk", &[address("10.0.0.2/24"), ("ovs.trunks", "7,9")]),
        ("peer", &[address("10.0.0.3/24"), ("ovs.vlan", "7")]),
        ("other", &[address("10.0.0.3/24"), ("ovs.vlan", "8")]),
    ] {
        let id = lab.run_container(name, labels)?;
        wait_ready(&lab, &id)?;
    }
    let (peer, other) =
        (frames::listen(&lab, "peer", "arp")?, frames::listen(&lab, "other", "arp")?);
    let ask = |from: &str, own: u8, target: u8| {
        let mac = frames::mac(&lab, from)?;
        let frame = frames::arp(mac, [10, 0, 0, own].into(), [10, 9, 9, target].into());
        frames::send(&lab, from, &[7, 8].map(|vlan| frames::tagged(&frame, vlan)))
    };
    ask("untagged", 1, 1)?;
    wait_for("the trunk's frame", PATIENCE, || {
        ask("trunk", 2, 2)?;
        Ok(peer.log().contains("who-has 10.9.9.2").then_some(()))
    })?;
    // What the other one would hear goes first through the same queues.
    ask("untagged", 1, 1)?;
    let seen = peer.log().matches("who-has 10.9.9.2").count();
    wait_for("one more", PATIENCE, || {
        ask("trunk", 2, 2)?;
        Ok((peer.log().matches("who-has 10.9.9.2").count() > seen).then_some(()))
    })?;
    ensure!(!peer.log().contains("who-has 10.9.9.1"), "{}", peer.log());
    ensure!(!other.log().contains("who-has"), "{}", other.log());
    Ok(())
}

#[test]
fn flows_come_back_after_a_restart_of_the_switch_and_stale_ones_go_after_one_of_the_daemon()
-> Result<()> {
    let (lab, daemon, spoofer) = start()?;
    ip(&lab, "spoofer", "address add 10.0.0.9/32 dev eth1")?;
    let count = flows(&lab)?.lines().count();
    lab.vswitchd().restart()?;
    wait_for("all flows", PATIENCE, || Ok((flows(&lab)?.lines().count() == count).then_some(())))?;
    reach(&lab, "spoofer", "10.0.0.2")?;
    ensure!(!passes(&lab, "spoofer", "10.0.0.9", "10.0.0.2"));
    let metrics = lab.run("curl", &["-fsS", "http://127.0.0.1:9472/metrics"])?;
    let attached = "ovs_port_manager_attach_seconds_count{part=\"total\"} 3\n";
    ensure!(metrics.contains(attached), "each was attached once: {metrics}");

    drop(daemon);
    ensure!(flows(&lab)?.lines().count() == count, "they stay while the daemon is away");
    ensure!(!passes(&lab, "spoofer", "10.0.0.9", "10.0.0.2"));
    lab.docker(&["rm", "-f", "spoofer"])?;
    let _daemon = stage::start_daemon_with(&lab, &SECURED)?;
    wait_gone(&lab, &spoofer)?;
    wait_for("the stale flows to go", PATIENCE, || {
        Ok((!flows(&lab)?.contains("10.0.0.3")).then_some(()))
    })?;
    reach(&lab, "victim", "10.0.0.2")
}

#[test]
fn a_bridge_that_is_no_longer_secured_lets_everything_pass() -> Result<()> {
    let lab = Lab::start()?;
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, "port_security: ovsbr0\n")?;
    let daemon = stage::start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    for (name, address) in [("spoofer", "10.0.0.3/24"), ("peer", "10.0.0.2/24")] {
        let id = lab.run_container(name, &[("ovs.ip_address", address)])?;
        wait_ready(&lab, &id)?;
    }
    reach(&lab, "spoofer", "10.0.0.2")?;
    ip(&lab, "spoofer", "address add 10.0.0.9/32 dev eth1")?;
    ensure!(!passes(&lab, "spoofer", "10.0.0.9", "10.0.0.2"));

    fs::write(&file, "default_bridge: ovsbr0\n")?;
    daemon.signal(Signal::HUP)?;
    wait_for("a foreign address to pass", PATIENCE, || {
        Ok(passes(&lab, "spoofer", "10.0.0.9", "10.0.0.2").then_some(()))
    })?;

    fs::write(&file, "port_security: ovsbr0\n")?;
    daemon.signal(Signal::HUP)?;
    wait_for("it to be dropped again", PATIENCE, || {
        Ok((!passes(&lab, "spoofer", "10.0.0.9", "10.0.0.2")).then_some(()))
    })?;
    reach(&lab, "spoofer", "10.0.0.2")
}
