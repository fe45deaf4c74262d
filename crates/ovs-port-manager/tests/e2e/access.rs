//! Who gets what: one holder for each address, pools, policy, labels of images.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};
use serde_json::Value;

use crate::stage::{self, PATIENCE, has_interface, interface, reach, wait_gone, wait_ready};

/// A lab with the daemon running under a configuration file.
fn start_configured(yaml: &str) -> Result<(Lab, Daemon)> {
    let lab = Lab::start()?;
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, yaml)?;
    let daemon = stage::start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    Ok((lab, daemon))
}

/// The first IPv4 address of a container's eth1.
fn address(lab: &Lab, container: &str) -> Result<String> {
    let eth1 = interface(lab, container, "eth1")?;
    let all = eth1.get("addr_info").and_then(Value::as_array).context("no addresses")?;
    let inet = all.iter().find(|info| info.get("family").is_some_and(|family| family == "inet"));
    let local = inet.and_then(|info| info.get("local")?.as_str()).context("no IPv4 address")?;
    Ok(local.to_owned())
}

#[test]
fn a_duplicate_address_is_refused_and_granted_once_its_holder_has_stopped() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let labels = [("ovs.ip_address", "10.0.0.1/24")];
    let first = lab.run_container("first", &labels)?;
    wait_ready(&lab, &first)?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &peer)?;
    let second = lab.run_container("second", &labels)?;
    daemon.wait_log(
        &format!("10.0.0.1 on ovsbr0 is held by eth1 of container first ({})", &first[..12]),
        PATIENCE,
    )?;
    ensure!(!has_interface(&lab, "second", "eth1")?);
    // In another VLAN it is another address.
    let other = lab.run_container("other", &[labels[0], ("ovs.vlan", "7")])?;
    wait_ready(&lab, &other)?;

    // The holder is known after the daemon has been away, by its row.
    drop(daemon);
    let daemon = stage::start_daemon(&lab)?;
    daemon.wait_log("held by eth1 of container first", PATIENCE)?;
    ensure!(stage::ports_of(&lab, &second)?.is_empty());
    reach(&lab, "peer", "10.0.0.1")?;

    lab.docker(&["stop", "first"])?;
    wait_ready(&lab, &second)?;
    reach(&lab, "peer", "10.0.0.1")?;
    lab.docker(&["start", "first"])?;
    daemon.wait_log("held by eth1 of container second", PATIENCE)?;
    wait_gone(&lab, &first)
}

#[test]
fn of_many_that_want_one_address_at_once_one_gets_it() -> Result<()> {
    let lab = Lab::start()?;
    let labels = [("ovs.ip_address", "10.0.0.1/24")];
    let ids: Vec<_> = (0..5)
        .map(|number| lab.run_container(&format!("web{number}"), &labels))
        .collect::<Result<_>>()?;
    let _daemon = stage::start_daemon(&lab)?;
    let mut left: HashSet<_> = ids.into_iter().collect();
    // Each in turn, until all have had it.
    while !left.is_empty() {
        let holder = wait_for("a holder", PATIENCE, || {
            let mut holders = Vec::new();
            for id in &left {
                if !stage::ports_of(&lab, id)?.is_empty() {
                    holders.push(id.clone());
                }
            }
            ensure!(holders.len() < 2, "two holders: {holders:?}");
            Ok(holders.pop())
        })?;
        wait_ready(&lab, &holder)?;
        ensure!(stage::our_ports(&lab)?.len() == 1);
        lab.docker(&["rm", "-f", &holder])?;
        left.remove(&holder);
    }
    Ok(())
}

#[test]
fn a_pool_of_five_serves_five_of_six_and_the_sixth_after_one_was_removed() -> Result<()> {
    let (lab, daemon) = start_configured(
        "pools:\n  - prefix: 10.0.0.0/24\n    range: 10.0.0.11-10.0.0.15\n    gateway: 10.0.0.254\n",
    )?;
    let labels = [("ovs.ip_address", "auto")];
    let mut ids = Vec::new();
    for number in 1..=5 {
        let id = lab.run_container(&format!("web{number}"), &labels)?;
        wait_ready(&lab, &id)?;
        ids.push(id);
    }
    let given: HashSet<_> =
        (1..=5).map(|number| address(&lab, &format!("web{number}"))).collect::<Result<_>>()?;
    let pool: HashSet<_> = (11..=15).map(|last| format!("10.0.0.{last}")).collect();
    ensure!(given == pool, "{given:?}");
    let sixth = lab.run_container("web6", &labels)?;
    daemon.wait_log("all addresses of the pool 10.0.0.11-10.0.0.15 are taken", PATIENCE)?;
    ensure!(!has_interface(&lab, "web6", "eth1")?);

    // The addresses are kept where the daemon finds them again.
    let before = address(&lab, "web1")?;
    drop(daemon);
    let daemon = stage::start_daemon_with(
        &lab,
        &["--config", &lab.path().join("configuration.yaml").display().to_string()],
    )?;
    let third = address(&lab, "web3")?;
    lab.docker(&["stop", "web3"])?;
    wait_for("the end of its port", PATIENCE, || {
        Ok((stage::our_ports(&lab)?.len() == 4).then_some(()))
    })?;
    // It is kept for the container, which still exists.
    let kept = format!("ovs-port-manager:lease:-:{third}");
    ensure!(lab.vsctl(&["get", "bridge", "ovsbr0", "external_ids"])?.contains(&kept));
    lab.docker(&["start", "web3"])?;
    wait_ready(&lab, &ids[2])?;
    ensure!(address(&lab, "web3")? == third);
    lab.docker(&["stop", "web3"])?;
    lab.docker(&["rm", "web3"])?;
    wait_ready(&lab, &sixth)?;
    ensure!(address(&lab, "web6")? == third);
    ensure!(address(&lab, "web1")? == before);
    // Another one is removed while the daemon is away, and what others keep there is left alone.
    lab.vsctl(&["set", "bridge", "ovsbr0", "external_ids:theirs=1"])?;
    drop(daemon);
    let fifth = address(&lab, "web5")?;
    lab.docker(&["rm", "-f", "web5"])?;
    let _daemon = stage::start_daemon_with(
        &lab,
        &["--config", &lab.path().join("configuration.yaml").display().to_string()],
    )?;
    wait_for("the address to be free", PATIENCE, || {
        let ids = lab.vsctl(&["get", "bridge", "ovsbr0", "external_ids"])?;
        ensure!(ids.contains("theirs"), "{ids}");
        Ok((!ids.contains(&fifth)).then_some(()))
    })?;
    lab.docker(&["restart", "web1"])?;
    wait_for("the same address again", PATIENCE, || {
        Ok(address(&lab, "web1").is_ok_and(|now| now == before).then_some(()))
    })?;
    reach(&lab, "web6", &before)
}

#[test]
fn policy_refuses_a_vlan_to_one_compose_project() -> Result<()> {
    let (lab, daemon) = start_configured(
        "policy:\n  - rule: shop\n    compose_project: shop\n    vlans: 0,10\n  - rule: others\n",
    )?;
    let shop = ("com.docker.compose.project", "shop");
    let run = |name: &str, address: &str, labels: &[(&str, &str)]| {
        let labels = [&[("ovs.ip_address", address)], labels].concat();
        lab.run_container(name, &labels)
    };
    run("refused", "10.0.0.1/24", &[shop, ("ovs.vlan", "20")])?;
    let good = run("good", "10.0.0.2/24", &[shop, ("ovs.vlan", "10")])?;
    let free = run("free", "10.0.0.3/24", &[("ovs.vlan", "20")])?;
    let untagged = run("untagged", "10.0.0.4/24", &[shop])?;
    wait_ready(&lab, &good)?;
    wait_ready(&lab, &free)?;
    // Without a VLAN, it must not reach them all.
    let port = wait_ready(&lab, &untagged)?;
    ensure!(lab.vsctl(&["get", "port", &port, "trunks"])? == "[0]");
    daemon.wait_log("the policy's rule 'shop' does not allow VLAN 20", PATIENCE)?;
    ensure!(!has_interface(&lab, "refused", "eth1")?);
    let log = daemon.log();
    let of_it = |line: &&str| line.contains("WARN") && line.contains("name=\"refused\"");
    let told: Vec<_> = log.lines().filter(of_it).collect();
    ensure!(told.len() == 1, "told once: {told:?}");
    Ok(())
}

#[test]
fn labels_of_an_image_do_not_count_unless_the_configuration_says_so() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let change = |label: &str| format!("LABEL {label}");
    lab.docker(&["create", "--name", "template", lab::IMAGE])?;
    let (vlan, address) = (change("ovs.vlan=20"), change("ovs.ip_address=10.0.0.66/24"));
    lab.docker(&["commit", "--change", &vlan, "template", "some"])?;
    lab.docker(&["commit", "--change", &vlan, "--change", &address, "template", "all"])?;
    let run = |name: &str, image: &str, options: &[&str]| {
        let args = ["run", "--detach", "--name", name, "--stop-signal=KILL", "--network=none"];
        lab.docker(&[args.as_slice(), options, &[image]].concat())
    };
    let own = ["--label", "ovs.ip_address=10.0.0.1/24"];
    let some = run("some", "some", &own)?;
    let port = wait_ready(&lab, &some)?;
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "[]");
    daemon.wait_log("labels of its image do not count: ovs.vlan", PATIENCE)?;
    run("all", "all", &[])?;
    daemon.wait_log("labels of its image are ignored (ovs.ip_address, ovs.vlan)", PATIENCE)?;
    ensure!(!has_interface(&lab, "all", "eth1")?);
    // What the run gives wins over the image.
    let mixed = run("mixed", "all", &["--label", "ovs.ip_address=10.0.0.2/24"])?;
    let port = wait_ready(&lab, &mixed)?;
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "[]");

    drop(daemon);
    let _daemon = stage::start_daemon_with(&lab, &["--image-labels", "trust"])?;
    wait_for("the image's labels to count", PATIENCE, || {
        let port = wait_ready(&lab, &some)?;
        Ok((lab.vsctl(&["get", "port", &port, "tag"])? == "20").then_some(()))
    })
}

#[test]
fn a_port_that_a_changed_policy_no_longer_allows_goes() -> Result<()> {
    let (lab, daemon) = start_configured("policy: []\n")?;
    let tagged = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.vlan", "20")];
    let tagged = lab.run_container("tagged", &tagged)?;
    let plain = lab.run_container("plain", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &tagged)?;
    wait_ready(&lab, &plain)?;

    let file = lab.path().join("configuration.yaml");
    fs::write(file, "policy:\n  - rule: everybody\n    vlans: \"0\"\n")?;
    daemon.signal(Signal::HUP)?;
    wait_gone(&lab, &tagged)?;
    ensure!(!has_interface(&lab, "tagged", "eth1")?);
    ensure!(has_interface(&lab, "plain", "eth1")?);
    ensure!(stage::our_ports(&lab)?.len() == 1);
    Ok(())
}
