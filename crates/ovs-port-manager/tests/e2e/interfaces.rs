//! Several interfaces of one container, each by itself.

use anyhow::{Result, ensure};
use lab::wait_for;

use crate::stage::{self, PATIENCE, has_interface, interface, ping, wait_gone, wait_interface};

/// A router between two bridges: the second interface is named by its labels.
const ROUTER: [(&str, &str); 4] = [
    ("ovs.ip_address", "10.0.1.1/24"),
    ("ovs.eth2.ip_address", "10.0.2.1/24"),
    ("ovs.eth2.bridge", "ovsbr1"),
    ("ovs.eth2.vlan", "7"),
];

#[test]
fn two_interfaces_on_two_bridges() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let router = lab.run_container("router", &ROUTER)?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.1.2/24")])?;
    let labels = [("ovs.ip_address", "10.0.2.2/24"), ("ovs.bridge", "ovsbr1"), ("ovs.vlan", "7")];
    let two = lab.run_container("two", &labels)?;
    let first = wait_interface(&lab, &router, "eth1")?;
    let second = wait_interface(&lab, &router, "eth2")?;
    stage::wait_ready(&lab, &one)?;
    stage::wait_ready(&lab, &two)?;
    ensure!(lab.vsctl(&["port-to-br", &first])? == "ovsbr0");
    ensure!(lab.vsctl(&["port-to-br", &second])? == "ovsbr1");
    ensure!(lab.vsctl(&["get", "port", &second, "tag"])? == "7");
    ping(&lab, "router", "10.0.1.2")?;
    ping(&lab, "router", "10.0.2.2")?;
    ensure!(ping(&lab, "one", "10.0.2.2").is_err(), "the bridges are apart");
    for port in [&first, &second] {
        daemon.wait_log(
            &format!("port is ready container=\"{}\" name=\"router\" port={port}", &router[..12]),
            PATIENCE,
        )?;
    }

    lab.docker(&["restart", "router"])?;
    let (first, second) = (first, second);
    wait_for("new ports", PATIENCE, || {
        let ports = stage::ports_of(&lab, &router)?;
        let new = ports.len() == 2 && !ports.contains(&first) && !ports.contains(&second);
        Ok(new.then_some(()))
    })?;
    wait_interface(&lab, &router, "eth1")?;
    wait_interface(&lab, &router, "eth2")?;
    ping(&lab, "two", "10.0.2.1")?;
    lab.docker(&["stop", "router"])?;
    wait_gone(&lab, &router)
}

#[test]
fn what_is_lost_of_one_interface_is_put_right_and_the_other_is_left_alone() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let id = lab.run_container("router", &ROUTER)?;
    let first = wait_interface(&lab, &id, "eth1")?;
    let second = wait_interface(&lab, &id, "eth2")?;
    lab.run_in_netns_of("router", "ip", &["link", "delete", "eth2"])?;
    wait_for("another eth2", PATIENCE, || {
        let port = wait_interface(&lab, &id, "eth2")?;
        Ok((port != second && has_interface(&lab, "router", "eth2")?).then_some(()))
    })?;
    ensure!(wait_interface(&lab, &id, "eth1")? == first);

    lab.run_in_netns_of("router", "ip", &["address", "delete", "10.0.1.1/24", "dev", "eth1"])?;
    wait_for("the address", PATIENCE, || {
        let addresses = interface(&lab, "router", "eth1")?["addr_info"].to_string();
        Ok(addresses.contains("10.0.1.1").then_some(()))
    })?;
    ensure!(wait_interface(&lab, &id, "eth1")? == first);
    Ok(())
}

#[test]
fn an_interface_that_cannot_be_made_holds_up_no_other() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    lab.docker(&["network", "create", "--subnet=172.30.0.0/24", "inner"])?;
    // Docker has made an eth0 in the container already.
    let labels = [("ovs.eth0.ip_address", "10.0.0.1/24"), ("ovs.eth1.ip_address", "10.0.1.1/24")];
    let id = lab.run_container_with("web", &labels, &["--network=inner"], &[])?;
    wait_interface(&lab, &id, "eth1")?;
    daemon.wait_log("eth0: interface eth0 exists in the container already", PATIENCE)?;
    ensure!(stage::ports_of(&lab, &id)?.len() == 1);
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &id)
}

#[test]
fn two_interfaces_on_one_bridge_are_not_taken_for_each_others_rivals() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let labels = [("ovs.eth1.ip_address", "10.0.0.4/24"), ("ovs.eth2.ip_address", "10.0.1.4/24")];
    let id = lab.run_container("both", &labels)?;
    wait_for("both to be ready", PATIENCE, || {
        let ready = daemon.log().lines().filter(|line| line.contains("port is ready")).count();
        Ok((ready == 2).then_some(()))
    })?;
    ensure!(stage::ports_of(&lab, &id)?.len() == 2);
    ensure!(!daemon.log().contains("another host"), "{}", daemon.log());
    Ok(())
}
