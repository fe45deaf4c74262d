//! Trunks and native VLANs, seen from inside a container that takes the VLANs apart.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, ping, reach, wait_ready};

/// A switch of the container's own, in its network namespace, with a sub-interface `vlanN` of eth1 for each VLAN.
/// (The kernel's own sub-interfaces need the module 8021q, which is not everywhere.)
struct SubInterfaces {
    // Dropped before its database.
    _vswitchd: Daemon,
    _ovsdb_server: Daemon,
}

impl SubInterfaces {
    fn make(lab: &Lab, container: &str, vlans: &[u16]) -> Result<Self> {
        let folder = lab.path().join(format!("switch-of-{container}"));
        fs::create_dir(&folder)?;
        let folder = folder.display().to_string();
        let (database, socket) = (format!("{folder}/conf.db"), format!("{folder}/db.sock"));
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        lab.run("ovsdb-tool", &["create", &database, schema])?;
        let target = format!("--target={}", lab.container_pid(container)?);
        let rundir = format!("OVS_RUNDIR={folder}");
        let spawn = |program: &[&str]| {
            let inside = [target.as_str(), "--net", "--", "env", &rundir];
            lab.spawn(Path::new("nsenter"), &[inside.as_slice(), program].concat(), &[])
        };
        let remote = format!("--remote=punix:{socket}");
        let ovsdb_server = spawn(&["ovsdb-server", &database, &remote, "--pidfile"])?;
        let database = format!("--db=unix:{socket}");
        let vsctl =
            |args: &[&str]| lab.run("ovs-vsctl", &[&["--timeout=20", &database], args].concat());
        wait_for("the inner database", PATIENCE, || {
            Ok(vsctl(&["--no-wait", "init"]).is_ok().then_some(()))
        })?;
        let socket = format!("unix:{socket}");
        let vswitchd = spawn(&["ovs-vswitchd", &socket, "--disable-system", "--pidfile"])?;
        vsctl(&["add-br", "inner", "--", "set", "bridge", "inner", "datapath_type=netdev"])?;
        vsctl(&["add-port", "inner", "eth1"])?;
        for vlan in vlans {
            let (name, tag) = (format!("vlan{vlan}"), format!("tag={vlan}"));
            let internal = ["--", "set", "interface", &name, "type=internal"];
            vsctl(&[["add-port", "inner", &name, &tag].as_slice(), &internal].concat())?;
            let address = format!("10.0.{vlan}.1/24");
            let ip = |args: &[&str]| lab.run_in_netns_of(container, "ip", args);
            ip(&["address", "add", &address, "dev", &name])?;
            ip(&["link", "set", &name, "up"])?;
        }
        Ok(Self { _vswitchd: vswitchd, _ovsdb_server: ovsdb_server })
    }
}

/// A peer in each VLAN: `peerN` with the address `10.0.N.2`.
fn peers(lab: &Lab, vlans: &[u16]) -> Result<()> {
    for vlan in vlans {
        let (name, address) = (format!("peer{vlan}"), format!("10.0.{vlan}.2/24"));
        let labels = [("ovs.ip_address", address.as_str()), ("ovs.vlan", &vlan.to_string())];
        let id = lab.run_container(&name, &labels)?;
        wait_ready(lab, &id)?;
    }
    Ok(())
}

/// What `tcpdump` sees on a container's eth1 of one ping, link-level headers included.
fn seen(lab: &Lab, container: &str, from: &str, to: &str) -> Result<String> {
    let target = format!("--target={}", lab.container_pid(container)?);
    let filter = ["-i", "eth1", "-e", "-n", "-l", "-c", "2", "icmp or (vlan and icmp)"];
    let args = [&[target.as_str(), "--net", "--", "tcpdump"], filter.as_slice()].concat();
    let tcpdump = lab.spawn(Path::new("nsenter"), &args, &[])?;
    tcpdump.wait_log("listening on eth1", PATIENCE)?;
    reach(lab, from, to)?;
    tcpdump.wait_log("2 packets captured", PATIENCE)?;
    Ok(tcpdump.log())
}

#[test]
fn a_trunk_carries_its_vlans_into_sub_interfaces_and_no_other() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [("ovs.ip_address", "none"), ("ovs.trunks", "10,20"), ("ovs.vlan_mode", "trunk")];
    let id = lab.run_container("router", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(lab.vsctl(&["get", "port", &port, "trunks"])? == "[10, 20]");
    ensure!(lab.vsctl(&["get", "port", &port, "vlan_mode"])? == "trunk");
    peers(&lab, &[10, 20, 30])?;
    let _inside = SubInterfaces::make(&lab, "router", &[10, 20, 30])?;
    reach(&lab, "peer10", "10.0.10.1")?;
    reach(&lab, "peer20", "10.0.20.1")?;
    ensure!(ping(&lab, "peer30", "10.0.30.1").is_err(), "VLAN 30 is not of the trunk");
    ensure!(ping(&lab, "peer10", "10.0.20.1").is_err(), "the VLANs are apart");

    // What somebody changes is put right.
    lab.vsctl(&["set", "port", &port, "trunks=30"])?;
    wait_for("the trunks to be put right", PATIENCE, || {
        Ok((lab.vsctl(&["get", "port", &port, "trunks"])? == "[10, 20]").then_some(()))
    })?;
    lab.vsctl(&["clear", "port", &port, "vlan_mode"])?;
    wait_for("the mode to be put right", PATIENCE, || {
        Ok((lab.vsctl(&["get", "port", &port, "vlan_mode"])? == "trunk").then_some(()))
    })
}

#[test]
fn frames_of_a_native_tagged_vlan_have_their_tag() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [
        ("ovs.ip_address", "none"),
        ("ovs.vlan", "10"),
        ("ovs.trunks", "20"),
        ("ovs.vlan_mode", "native-tagged"),
    ];
    let id = lab.run_container("router", &labels)?;
    wait_ready(&lab, &id)?;
    peers(&lab, &[10, 20])?;
    let _inside = SubInterfaces::make(&lab, "router", &[10, 20])?;
    let told = seen(&lab, "router", "peer10", "10.0.10.1")?;
    ensure!(told.contains("vlan 10,"), "{told}");
    reach(&lab, "peer20", "10.0.20.1")
}

#[test]
fn frames_of_a_native_untagged_vlan_have_none() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [
        ("ovs.ip_address", "10.0.10.1/24"),
        ("ovs.vlan", "10"),
        ("ovs.trunks", "20"),
        ("ovs.vlan_mode", "native-untagged"),
        ("ovs.ofport_request", "77"),
    ];
    let id = lab.run_container("router", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(lab.vsctl(&["get", "interface", &port, "ofport"])? == "77");
    peers(&lab, &[10])?;
    let told = seen(&lab, "router", "peer10", "10.0.10.1")?;
    ensure!(!told.contains("vlan"), "{told}");
    Ok(())
}
