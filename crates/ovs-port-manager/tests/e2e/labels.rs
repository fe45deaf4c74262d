//! What must not be attached is not, and holds up nobody.

use anyhow::{Result, ensure};

use crate::stage::{self, PATIENCE, has_interface, wait_gone, wait_ready};

/// Labels with a mistake, and what the log says of it.
const MISTAKES: &[(&[(&str, &str)], &str)] = &[
    (&[("ovs.bridge", "ovsbr0")], "ovs.ip_address: missing"),
    (&[("ovs.ip_address", "")], "ovs.ip_address=: not an address with prefix length"),
    (&[("ovs.ip_address", "10.0.0.1")], "no prefix length; write 10.0.0.1/24, say"),
    (&[("ovs.ip_address", "10.0.0.1/33")], "not an address with prefix length"),
    (&[("ovs.ip_address", "10.0.0.0/24")], "network"),
    (&[("ovs.ip_address", "10.0.0.1/24,10.0.0.1/24")], "given twice"),
    (&[GOOD, ("ovs.bridge", "no such/bridge")], "ovs.bridge=no such/bridge: not an interface name"),
    (&[GOOD, ("ovs.gateway", "10.0.1.1")], "10.0.1.1 lies outside 10.0.0.0/24"),
    (&[GOOD, ("ovs.gateway", "10.0.0.1/24")], "ovs.gateway=10.0.0.1/24: not an address"),
    (&[GOOD, ("ovs.mtu", "abc")], "ovs.mtu=abc: not a number between 68 and 65535"),
    (&[GOOD, ("ovs.mtu", "67")], "ovs.mtu=67: not a number between 68 and 65535"),
    (&[("ovs.ip_address", "fd00::1/64"), ("ovs.mtu", "1000")], "too small for IPv6"),
    (&[GOOD, ("ovs.mac_address", "ff:ff:ff:ff:ff:ff")], "not a unicast MAC address"),
    (&[GOOD, ("ovs.vlan", "0")], "ovs.vlan=0: not a number between 1 and 4094"),
    (&[GOOD, ("ovs.vlan", "4095")], "ovs.vlan=4095: not a number between 1 and 4094"),
    (&[GOOD, ("ovs.vlan", "-1")], "ovs.vlan=-1: not a number between 1 and 4094"),
    (&[GOOD, ("ovs.interface", "a-name-that-is-too-long")], "not an interface name"),
    (&[GOOD, ("ovs.interface", "lo")], "every container has a 'lo' already"),
    (&[GOOD, ("ovs.ip_adress", "x")], "did you mean ovs.ip_address?"),
    (&[("ovs.mtu", "1\nINFO all is well"), GOOD], r"ovs.mtu=1\nINFO all is well: not a number"),
];

const GOOD: (&str, &str) = ("ovs.ip_address", "10.0.0.1/24");

#[test]
fn every_kind_of_mistake_attaches_nothing_and_delays_nobody() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    for (number, (labels, _)) in MISTAKES.iter().enumerate() {
        lab.run_container(&format!("bad{number}"), labels)?;
    }
    let good = lab.run_container("good", &[("ovs.ip_address", "10.0.0.100/24")])?;
    wait_ready(&lab, &good)?;
    for (number, (labels, told)) in MISTAKES.iter().enumerate() {
        let name = format!("name=\"bad{number}\"");
        daemon.wait_log(&name, PATIENCE)?;
        let log = daemon.log();
        let warnings: Vec<_> =
            log.lines().filter(|line| line.contains("WARN") && line.contains(&name)).collect();
        ensure!(warnings.len() == 1, "{labels:?}: told once: {warnings:?}");
        ensure!(warnings[0].contains(told), "{labels:?}: {}", warnings[0]);
        ensure!(!has_interface(&lab, &format!("bad{number}"), "eth1")?, "{labels:?}");
    }
    ensure!(stage::our_ports(&lab)?.len() == 1);
    ensure!(lab.vsctl(&["list-br"])? == "ovsbr0", "no bridge was made for a mistake");

    // Told again at the next start, and not in between.
    lab.docker(&["restart", "bad0"])?;
    lab::wait_for("a second warning", PATIENCE, || {
        let warned = |line: &&str| line.contains("WARN") && line.contains("name=\"bad0\"");
        Ok((daemon.log().lines().filter(warned).count() == 2).then_some(()))
    })
}

#[test]
fn the_namespaces_of_the_host_and_of_other_containers_are_refused() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let owner = lab.run_container("owner", &[])?;
    let labels = [("ovs.ip_address", "10.0.0.1/24")];
    lab.run_container_with("host", &labels, &["--network=host"], &[])?;
    let shared = format!("--network=container:{owner}");
    lab.run_container_with("guest", &labels, &[&shared], &[])?;
    daemon.wait_log("it shares the host's network namespace", PATIENCE)?;
    daemon.wait_log(&format!("it shares the network namespace of container {owner}"), PATIENCE)?;
    ensure!(stage::our_ports(&lab)?.is_empty() && stage::our_links(&lab)?.is_empty());
    ensure!(!has_interface(&lab, "owner", "eth1")?);
    let links = lab.ip_json(&["link", "show"])?;
    ensure!(!links.to_string().contains("\"eth1\""), "{links}");
    Ok(())
}

#[test]
fn an_interface_that_exists_already_is_refused_and_kept() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    lab.docker(&["network", "create", "--subnet=172.30.0.0/24", "inner"])?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.interface", "eth0")];
    let id = lab.run_container_with("web", &labels, &["--network=inner"], &[])?;
    daemon.wait_log("interface eth0 exists in the container already", PATIENCE)?;
    let addresses = stage::interface(&lab, "web", "eth0")?["addr_info"].to_string();
    ensure!(addresses.contains("172.30.0.") && !addresses.contains("10.0.0.1"), "{addresses}");
    wait_gone(&lab, &id)
}

#[test]
fn a_port_of_somebody_else_for_the_same_interface_is_reported() -> Result<()> {
    let lab = lab::Lab::start()?;
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    lab.run("ip", &["link", "add", "theirs", "type", "veth", "peer", "name", "theirs2"])?;
    let ids = [&format!("external_ids:container_id={id}"), "external_ids:container_iface=eth1"];
    let add = ["add-port", "ovsbr0", "theirs", "--", "set", "interface", "theirs"];
    lab.vsctl(&[add.as_slice(), &ids].concat())?;
    let daemon = stage::start_daemon(&lab)?;
    daemon.wait_log("port theirs was made for this container by somebody else", PATIENCE)?;
    ensure!(stage::ports_of(&lab, &id)? == ["theirs"]);
    ensure!(!has_interface(&lab, "web", "eth1")?);
    Ok(())
}
