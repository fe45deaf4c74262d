//! Walks around the policy, each of which ends at a refusal.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, has_interface, reach, wait_ready};

/// A lab with a bridge and the daemon running under a configuration file.
fn start(yaml: &str) -> Result<(Lab, Daemon)> {
    let lab = Lab::start()?;
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    lab.run("ip", &["link", "set", "ovsbr0", "up"])?;
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, yaml)?;
    let daemon = stage::start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    Ok((lab, daemon))
}

/// Runs a container and waits until the log says why it gets nothing.
fn refused(
    lab: &Lab,
    daemon: &Daemon,
    name: &str,
    labels: &[(&str, &str)],
    why: &str,
) -> Result<()> {
    lab.run_container(name, labels)?;
    wait_for(&format!("{why:?} of {name} in the log"), PATIENCE, || {
        let log = daemon.log();
        let mut lines = log.lines().filter(|line| line.contains(&format!("name=\"{name}\"")));
        Ok(lines.any(|line| line.contains("WARN") && line.contains(why)).then_some(()))
    })?;
    ensure!(!has_interface(lab, name, "eth1")?, "{name} has an interface");
    Ok(())
}

#[test]
fn a_rule_that_limits_addresses_refuses_none_unless_it_lists_it() -> Result<()> {
    let (lab, daemon) = start(
        "policy:\n  - rule: dhcp\n    container: dhcp*\n    addresses: [none]\n  - rule: others\n    addresses: [10.0.0.0/24]\n",
    )?;
    let none = ("ovs.ip_address", "none");
    let why = "the policy's rule 'others' does not allow ovs.ip_address=none";
    refused(&lab, &daemon, "walker", &[none], why)?;
    let many = [("ovs.eth1.ip_address", "10.0.0.1/24"), ("ovs.eth2.ip_address", "none")];
    let many = lab.run_container("many", &many)?;
    wait_ready(&lab, &many)?;
    ensure!(!has_interface(&lab, "many", "eth2")?, "each interface is judged");
    let dhcp = lab.run_container("dhcp1", &[none])?;
    wait_ready(&lab, &dhcp)?;
    let given = [("ovs.ip_address", "10.0.0.9/24")];
    let why = "the policy's rule 'dhcp' does not allow address 10.0.0.9/24";
    refused(&lab, &daemon, "dhcp2", &given, why)?;
    for (number, address) in
        ["10.0.1.1/16", "fe80::1/64", "10.0.0.2/24,10.1.0.1/24"].iter().enumerate()
    {
        let why = "the policy's rule 'others' does not allow address";
        refused(&lab, &daemon, &format!("beyond{number}"), &[("ovs.ip_address", address)], why)?;
    }
    let mapped = [("ovs.ip_address", "::ffff:10.0.0.1/120")];
    refused(&lab, &daemon, "mapped", &mapped, "not an address that one host can have")
}

#[test]
fn what_the_host_and_the_configuration_have_is_refused_and_the_hosts_is_granted_once_it_is_free()
-> Result<()> {
    let (lab, daemon) = start(
        "pools:\n  - prefix: 10.0.0.0/24\n    range: 10.0.0.10-10.0.0.12\n    gateway: 10.0.0.254\n",
    )?;
    // The host gets its address while the daemon runs.
    lab.run("ip", &["addr", "add", "10.0.0.1/24", "dev", "ovsbr0"])?;
    lab.vsctl(&[
        "add-port",
        "ovsbr0",
        "vlan7",
        "tag=7",
        "--",
        "set",
        "interface",
        "vlan7",
        "type=internal",
    ])?;
    lab.run("ip", &["addr", "add", "10.7.0.1/24", "dev", "vlan7"])?;
    lab.run("ip", &["addr", "add", "10.0.0.10/32", "dev", "ovsbr0"])?;

    let address = |address| ("ovs.ip_address", address);
    let host = "is that of the host's interface";
    wait_for("the daemon to know of the address", PATIENCE, || {
        // It hears of it at once, but perhaps later than of the container.
        lab.docker(&["rm", "-f", "host"])?;
        Ok(refused(&lab, &daemon, "host", &[address("10.0.0.1/24")], host).ok())
    })?;
    refused(&lab, &daemon, "longer", &[address("10.0.0.1/32")], host)?;
    refused(
        &lab,
        &daemon,
        "tagged",
        &[address("10.7.0.1/24"), ("ovs.vlan", "7")],
        "host's interface vlan7",
    )?;
    refused(
        &lab,
        &daemon,
        "all",
        &[address("10.0.0.255/16")],
        "the broadcast address of 10.0.0.0/24",
    )?;
    refused(
        &lab,
        &daemon,
        "gateway",
        &[address("10.0.0.254/24")],
        "the gateway of the configuration's pool",
    )?;
    let bridge = lab.ip_json(&["link", "show", "dev", "ovsbr0"])?;
    let mac = bridge[0]["address"].as_str().context("no MAC address")?;
    let labels = [address("10.0.0.66/24"), ("ovs.mac_address", mac)];
    refused(&lab, &daemon, "mac", &labels, &format!("MAC address {mac} on ovsbr0 {host}"))?;

    // A pool gives away what is free alone.
    let pooled: Vec<_> = (0..2)
        .map(|number| lab.run_container(&format!("pooled{number}"), &[address("auto")]))
        .collect::<Result<_>>()?;
    for id in &pooled {
        wait_ready(&lab, id)?;
    }
    refused(&lab, &daemon, "pooled2", &[address("auto")], "all addresses of the pool")?;
    reach(&lab, "pooled0", "10.0.0.1")?;

    let longer = lab.docker(&["inspect", "--format={{.Id}}", "longer"])?;
    lab.docker(&["rm", "-f", "host"])?;
    lab.run("ip", &["addr", "del", "10.0.0.1/24", "dev", "ovsbr0"])?;
    wait_ready(&lab, &longer)?;
    // Whoever has it first keeps it.
    lab.run("ip", &["addr", "add", "10.0.0.1/24", "dev", "ovsbr0"])?;
    daemon.signal(lab::Signal::HUP)?;
    refused(&lab, &daemon, "late", &[address("10.0.0.1/24")], host)?;
    wait_ready(&lab, &longer).map(drop)
}

#[test]
fn a_trunk_gets_no_address_that_somebody_has_in_one_of_its_vlans() -> Result<()> {
    let (lab, daemon) = start(
        "port_security: [ovsbr0]\npools:\n  - vlan: 9\n    prefix: 10.9.0.0/24\n    gateway: 10.9.0.1\n",
    )?;
    let tag = ["tag=7", "--", "set", "interface", "vlan7", "type=internal"];
    lab.vsctl(&[&["add-port", "ovsbr0", "vlan7"], tag.as_slice()].concat())?;
    lab.run("ip", &["addr", "add", "10.7.0.1/24", "dev", "vlan7"])?;
    let address = |address| ("ovs.ip_address", address);
    let neighbour = [address("10.8.0.5/24"), ("ovs.vlan", "8")];
    let neighbour = lab.run_container("neighbour", &neighbour)?;
    wait_ready(&lab, &neighbour)?;

    let trunk = ("ovs.trunks", "0,5-10");
    let host = "10.7.0.1 on ovsbr0, VLANs 0,5-10, is that of the host's interface vlan7";
    wait_for("the daemon to know of the address", PATIENCE, || {
        let _ = lab.docker(&["rm", "-f", "host"]);
        Ok(refused(&lab, &daemon, "host", &[address("10.7.0.1/24"), trunk], host).ok())
    })?;
    let gateway = "is the gateway of the configuration's pool 10.9.0.0/24";
    refused(&lab, &daemon, "gateway", &[address("10.9.0.1/24"), trunk], gateway)?;
    let held = "10.8.0.5 on ovsbr0, VLAN 8, is held by eth1 of container neighbour";
    refused(&lab, &daemon, "twin", &[address("10.8.0.5/24"), trunk], held)?;
    lab.docker(&["rm", "-f", "neighbour"])?;
    let twin = lab.docker(&["inspect", "--format={{.Id}}", "twin"])?;
    wait_ready(&lab, twin.trim()).map(drop)
}

#[test]
fn compose_labels_of_an_image_make_no_project() -> Result<()> {
    let (lab, daemon) = start("policy:\n  - rule: shop\n    compose_project: shop\n")?;
    lab.docker(&["create", "--name", "template", lab::IMAGE])?;
    let changes = ["project=shop", "service=web", "container-number=1", "config-hash=0"]
        .map(|label| format!("--change=LABEL com.docker.compose.{label}"));
    let changes: Vec<_> = changes.iter().map(String::as_str).collect();
    lab.docker(&[&["commit"], changes.as_slice(), &["template", "forged"]].concat())?;
    lab.docker(&["commit", changes[0], changes[1], "template", "built"])?;
    let run = |name: &str, image: &str, labels: &[&str]| {
        let mut args =
            vec!["run", "--detach", "--name", name, "--stop-signal=KILL", "--network=none"];
        labels.iter().for_each(|label| args.extend(["--label", label]));
        args.push(image);
        lab.docker(&args)
    };
    run("forged", "forged", &["ovs.ip_address=10.0.0.1/24"])?;
    daemon.wait_log("no rule of the configuration's policy is for this container", PATIENCE)?;
    ensure!(!has_interface(&lab, "forged", "eth1")?);
    // As Compose makes a container of an image that it has built.
    let compose = ["com.docker.compose.project=shop", "com.docker.compose.service=web"];
    let more = ["com.docker.compose.container-number=1", "ovs.ip_address=10.0.0.2/24"];
    let built = run("built", "built", &[compose, more].concat())?;
    wait_ready(&lab, &built)?;
    ensure!(stage::our_ports(&lab)?.len() == 1);
    Ok(())
}
