//! A port's link and rows are moved, exchanged or replaced by somebody else: it comes back as its labels say, and what is
//! somebody else's stays.

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, ping, wait_ready};

/// `one` and `two` in VLAN 7 and `other` in VLAN 8, and a daemon that never resyncs by time.
struct Stage {
    lab: Lab,
    daemon: Daemon,
    ids: [String; 3],
}

impl Stage {
    fn start() -> Result<Self> {
        let lab = Lab::start()?;
        let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
        let args = ["run", "-v", "--resync-interval=0", "--docker", &docker, "--ovsdb", &ovsdb];
        let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
        let run = |name: &str, address: &str, vlan: &str| {
            lab.run_container(name, &[("ovs.ip_address", address), ("ovs.vlan", vlan)])
        };
        let ids = [
            run("one", "10.0.0.1/24", "7")?,
            run("two", "10.0.0.2/24", "7")?,
            run("other", "10.0.0.3/24", "8")?,
        ];
        let stage = Self { lab, daemon, ids };
        stage.wait_whole("the beginning")?;
        Ok(stage)
    }

    /// The names of the ports of `one`, `two` and `other`.
    fn ports(&self) -> Result<[String; 3]> {
        let [one, two, other] = &self.ids;
        let port = |id: &String| wait_ready(&self.lab, id);
        Ok([port(one)?, port(two)?, port(other)?])
    }

    /// Waits until each container has its one port in its VLAN and reaches whom it is to reach.
    fn wait_whole(&self, after: &str) -> Result<()> {
        let Self { lab, daemon, .. } = self;
        let whole = wait_for(&format!("all to be as it should after {after}"), PATIENCE, || {
            let ports = self.ports()?;
            for (port, tag) in ports.iter().zip(["7", "7", "8"]) {
                ensure!(lab.vsctl(&["get", "port", port, "tag"])? == tag, "{port} has another tag");
                ensure!(lab.vsctl(&["port-to-br", port])? == "ovsbr0", "{port} is elsewhere");
                let own = lab.vsctl(&["get", "interface", port, "_uuid"])?;
                let interfaces = lab.vsctl(&["get", "port", port, "interfaces"])?;
                ensure!(interfaces == format!("[{own}]"), "{port} has {interfaces}");
            }
            ensure!(stage::our_ports(lab)?.len() == 3 && stage::our_links(lab)?.len() == 3);
            ping(lab, "two", "10.0.0.1")?;
            ping(lab, "one", "10.0.0.2")?;
            ensure!(ping(lab, "other", "10.0.0.1").is_err(), "a VLAN leaks");
            Ok(Some(()))
        });
        whole.with_context(|| format!("the daemon said:\n{}", daemon.log()))
    }
}

#[test]
fn ports_whose_interfaces_are_exchanged_have_their_own_back() -> Result<()> {
    let stage = Stage::start()?;
    let lab = &stage.lab;
    let before = stage.ports()?;
    let [one, _, other] = &before;
    let row = |port: &str| lab.vsctl(&["get", "interface", port, "_uuid"]);
    let (ours, others) =
        (format!("interfaces={}", row(one)?), format!("interfaces={}", row(other)?));
    lab.vsctl(&["--no-wait", "set", "port", one, &others, "--", "set", "port", other, &ours])?;
    stage.wait_whole("an exchange")?;
    ensure!(stage.ports()? == before, "the ports stay");

    lab.vsctl(&["--no-wait", "add", "port", other, "interfaces", &row(one)?])?;
    stage.wait_whole("an interface in two ports")?;
    ensure!(stage.ports()? == before, "the ports stay");

    let theirs = ["--id=@i", "create", "interface", "name=theirs", "type=internal"];
    let set = ["--", "set", "port", one, "interfaces=@i"];
    lab.vsctl(&[&["--no-wait", "--"], theirs.as_slice(), &set].concat())?;
    stage.wait_whole("somebody else's interface")?;

    let [one, ..] = &stage.ports()?;
    lab.vsctl(&[
        "--no-wait",
        "add-port",
        "ovsbr0",
        "tap7",
        "--",
        "set",
        "interface",
        "tap7",
        "type=internal",
    ])?;
    lab.vsctl(&[
        "--no-wait",
        "set",
        "port",
        "tap7",
        &format!("interfaces={}", row(one)?),
        "tag=8",
    ])?;
    stage.wait_whole("its interface in somebody else's port as well")
}

#[test]
fn a_link_whose_end_in_the_host_is_renamed_or_moved_comes_back() -> Result<()> {
    let stage = Stage::start()?;
    let lab = &stage.lab;
    let [one, ..] = stage.ports()?;
    lab.run("ip", &["link", "set", &one, "down"])?;
    lab.run("ip", &["link", "set", &one, "name", "theirs"])?;
    stage.wait_whole("another name")?;

    let [one, ..] = stage.ports()?;
    let pid = lab.container_pid("other")?.to_string();
    lab.run("ip", &["link", "set", &one, "netns", &pid])?;
    stage.wait_whole("another namespace")
}

/// Columns that no label speaks of, each with what it is set to.
const THEIRS: &[(&str, &str, &str)] = &[
    ("port", "protected", "true"),
    ("port", "bond_mode", "balance-slb"),
    ("port", "lacp", "passive"),
    ("port", "cvlans", "5"),
    ("port", "other_config:priority-tags", "always"),
    ("interface", "options:theirs", "1"),
    ("interface", "lldp:enable", "true"),
    ("interface", "bfd:enable", "true"),
    ("interface", "cfm_mpid", "5"),
    ("interface", "ingress_policing_kpkts_rate", "9"),
    ("interface", "mtu_request", "1450"),
    ("interface", "external_ids:theirs", "1"),
];

#[test]
fn what_others_set_that_no_label_speaks_of_stays() -> Result<()> {
    let stage = Stage::start()?;
    let lab = &stage.lab;
    let [one, ..] = &stage.ports()?;
    for (table, column, value) in THEIRS {
        lab.vsctl(&["--no-wait", "set", table, one, &format!("{column}={value}")])?;
    }
    let mirror = ["--id=@m", "create", "mirror", "name=theirs", "select_all=true"];
    let add = ["--", "add", "bridge", "ovsbr0", "mirrors", "@m"];
    lab.vsctl(&[&["--no-wait", "--"], mirror.as_slice(), &add].concat())?;
    lab.run("ip", &["link", "set", one, "address", "02:00:00:00:00:97"])?;
    lab.run_in_netns_of("one", "ip", &["address", "add", "10.9.0.1/24", "dev", "eth1"])?;

    // What is ours is put right meanwhile.
    lab.vsctl(&["--no-wait", "set", "port", one, "tag=8"])?;
    stage.wait_whole("another tag")?;
    for (table, column, value) in THEIRS {
        let now = lab.vsctl(&["get", table, one, column])?.replace('"', "");
        ensure!(now == *value || now == format!("[{value}]"), "{column} is {now}");
    }
    ensure!(!lab.vsctl(&["find", "mirror", "name=theirs"])?.is_empty(), "their mirror has gone");
    let shown = lab.run("ip", &["link", "show", one])?;
    ensure!(shown.contains("02:00:00:00:00:97"), "{shown}");
    let shown = lab.run_in_netns_of("one", "ip", &["address", "show", "eth1"])?;
    ensure!(shown.contains("10.9.0.1/24"), "{shown}");
    ensure!(&stage.ports()?[0] == one, "the port stays");
    Ok(())
}
