//! Which bridges labels may create: none in the place of something that is there.

use std::path::Path;

use anyhow::{Result, ensure};
use lab::{Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, has_interface, wait_ready};

/// What `status` says of all containers.
fn status(lab: &Lab) -> Result<String> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let config = lab.path().join("status.yaml");
    std::fs::write(&config, format!("docker: {docker}\novsdb: {ovsdb}\n"))?;
    let program = Path::new(PROGRAM).display().to_string();
    let socket = lab.path().join("control.sock").display().to_string();
    let config = config.display().to_string();
    let args = ["status", "--config", &config, "--control-socket", &socket, "--output", "json"];
    let output = lab.command(&program).args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn start() -> Result<(Lab, lab::Daemon)> {
    let lab = Lab::start()?;
    let socket = lab.path().join("control.sock").display().to_string();
    let daemon = stage::start_daemon_with(&lab, &["--control-socket", &socket])?;
    Ok((lab, daemon))
}

/// Waits until `status` has a text.
fn wait_status(lab: &Lab, text: &str) -> Result<()> {
    wait_for(&format!("{text:?} in the status"), PATIENCE, || {
        Ok(status(lab)?.contains(text).then_some(()))
    })
}

#[test]
fn a_bridge_that_would_take_over_a_link_of_the_host_is_refused_until_that_has_gone() -> Result<()> {
    let (lab, daemon) = start()?;
    lab.run("ip", &["tuntap", "add", "tap0", "mode", "tap"])?;
    lab.run("ip", &["link", "add", "br-lx", "type", "bridge"])?;
    lab.run("ip", &["link", "add", "nic0", "type", "veth", "peer", "name", "nic1"])?;
    let mut ids = Vec::new();
    for (number, name) in ["tap0", "br-lx", "nic0"].into_iter().enumerate() {
        let address = format!("10.0.0.{}/24", number + 1);
        let labels = [("ovs.ip_address", address.as_str()), ("ovs.bridge", name)];
        ids.push(lab.run_container(&format!("on-{name}"), &labels)?);
        let told = format!("bridge {name} cannot be created, as Open vSwitch would take over");
        daemon.wait_log(&told, PATIENCE)?;
        wait_status(&lab, &told)?;
        ensure!(!has_interface(&lab, &format!("on-{name}"), "eth1")?);
        lab.run("ip", &["link", "show", "dev", name])?;
    }
    ensure!(lab.vsctl(&["list-br"])?.is_empty(), "no bridge was made");
    // Its operator takes the tap away: then the name is free.
    lab.run("ip", &["link", "del", "tap0"])?;
    wait_ready(&lab, ids.first().map_or("", String::as_str))?;
    ensure!(lab.vsctl(&["list-br"])? == "tap0");
    Ok(())
}

#[test]
fn a_bridge_that_open_vswitch_cannot_make_is_told_and_removed_again() -> Result<()> {
    let (lab, daemon) = start()?;
    // A name that Open vSwitch keeps for itself.
    let name = "vxlan_sys_4789";
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.bridge", name)];
    lab.run_container("reserved", &labels)?;
    let told = format!("ovs-vswitchd cannot make bridge {name}");
    daemon.wait_log(&told, PATIENCE)?;
    wait_status(&lab, &told)?;
    ensure!(!has_interface(&lab, "reserved", "eth1")?);
    lab.docker(&["rm", "-f", "reserved"])?;
    wait_for("the bridge to go", PATIENCE, || {
        Ok(lab.vsctl(&["list-br"])?.is_empty().then_some(()))
    })?;

    // What an earlier version or a sudden end has left of one goes with the next look at everything, unless
    // somebody uses it.
    let mark = "external_ids:created_by=ovs-port-manager";
    for name in ["vxlan_sys_1", "vxlan_sys_2", "vxlan_sys_3"] {
        let set = ["--", "set", "bridge", name, "datapath_type=netdev"];
        lab.vsctl(&[&["--no-wait", "add-br", name], set.as_slice()].concat())?;
    }
    lab.vsctl(&["--no-wait", "set", "bridge", "vxlan_sys_1", mark])?;
    lab.vsctl(&["--no-wait", "set", "bridge", "vxlan_sys_2", mark])?;
    lab.vsctl(&["--no-wait", "add-port", "vxlan_sys_2", "theirs"])?;
    wait_for("ovs-vswitchd to fail", PATIENCE, || {
        let numbers =
            lab.vsctl(&["--bare", "--columns=ofport", "find", "interface", "type=internal"])?;
        Ok((numbers.matches("-1").count() == 3).then_some(()))
    })?;
    daemon.signal(lab::Signal::HUP)?;
    wait_for("the broken bridge to go", PATIENCE, || {
        Ok((!lab.vsctl(&["list-br"])?.contains("vxlan_sys_1")).then_some(()))
    })?;
    ensure!(lab.vsctl(&["list-br"])? == "vxlan_sys_2\nvxlan_sys_3", "others' stay");
    Ok(())
}

#[test]
fn a_fake_bridge_is_refused_and_its_parent_and_vlan_are_named() -> Result<()> {
    let (lab, daemon) = start()?;
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    lab.vsctl(&["add-br", "fake", "ovsbr0", "100"])?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.bridge", "fake")];
    lab.run_container("faked", &labels)?;
    let told = "fake is a fake bridge, VLAN 100 of ovsbr0, or a port in that VLAN; set ovs.bridge=ovsbr0 and ovs.vlan=100";
    daemon.wait_log(told, PATIENCE)?;
    wait_status(&lab, told)?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.bridge", "ovsbr0"), ("ovs.vlan", "100")];
    let told = lab.run_container("told", &labels)?;
    wait_ready(&lab, &told)?;
    // A port's name is no bridge's, either.
    lab.vsctl(&[
        "add-port",
        "ovsbr0",
        "patchy",
        "--",
        "set",
        "interface",
        "patchy",
        "type=patch",
        "options:peer=x",
    ])?;
    let labels = [("ovs.ip_address", "10.0.0.9/24"), ("ovs.bridge", "patchy")];
    lab.run_container("patched", &labels)?;
    daemon.wait_log("patchy is a port of bridge ovsbr0 and cannot be a bridge", PATIENCE)?;
    Ok(())
}
