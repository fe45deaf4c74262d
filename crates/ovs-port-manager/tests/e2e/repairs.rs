//! Everything that is set for a port, changed by somebody else: who notices, and how soon.
//!
//! Each line of the table names a setting, the command that breaks it, and what shows that it is whole again. The test
//! prints how long each took, which is the table of `docs/operations.md`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, wait_ready};

/// Where a command is run.
#[derive(Clone, Copy)]
enum Where {
    /// In the host's network namespace.
    Host,
    /// In the container's.
    Inside,
    /// `ovs-vsctl`, which does not wait for ovs-vswitchd.
    Database,
}
use Where::{Database, Host, Inside};

/// One setting. In the commands, PORT is the name of the port, and ID the id of the container.
struct Setting {
    name: &'static str,
    harm: (Where, &'static str),
    show: (Where, &'static str),
    /// What is shown then.
    has: &'static str,
    /// What is not shown any more.
    lacks: &'static str,
}

const fn setting(
    name: &'static str,
    harm: (Where, &'static str),
    show: (Where, &'static str),
    has: &'static str,
    lacks: &'static str,
) -> Setting {
    Setting { name, harm, show, has, lacks }
}

const HOST_END: (Where, &str) = (Host, "ip -d link show PORT");
const INSIDE: (Where, &str) = (Inside, "ip addr show eth1");

/// The link's two ends.
const LINKS: &[Setting] = &[
    setting("host end: up", (Host, "ip link set PORT down"), HOST_END, "state UP", "state DOWN"),
    setting("host end: MTU", (Host, "ip link set PORT mtu 1300"), HOST_END, "mtu 1400", "1300"),
    setting("host end: alias", (Host, "ip link set PORT alias theirs"), HOST_END, "=ID ", "theirs"),
    setting("host end: no master", (Host, "ip link set PORT master lan"), HOST_END, "UP", "master"),
    setting(
        "host end: no link-local addresses",
        (Host, "ip link set PORT addrgenmode eui64"),
        HOST_END,
        "addrgenmode none",
        "eui64",
    ),
    setting("interface: up", (Inside, "ip link set eth1 down"), INSIDE, "state UP", "state DOWN"),
    setting(
        "interface: MAC",
        (Inside, "ip link set eth1 address 02:00:00:00:00:99"),
        INSIDE,
        "02:00:00:00:00:aa",
        "00:99",
    ),
    setting("interface: MTU", (Inside, "ip link set eth1 mtu 1300"), INSIDE, "mtu 1400", "1300"),
    setting(
        "interface: IPv4 address",
        (Inside, "ip addr del 10.0.0.1/24 dev eth1"),
        INSIDE,
        "10.0.0.1/24",
        "never",
    ),
    setting(
        "interface: IPv6 address",
        (Inside, "ip -6 addr del fd00::1/64 dev eth1"),
        INSIDE,
        "fd00::1/64",
        "never",
    ),
    setting(
        "interface: IPv6 (sysctl)",
        (Inside, "sysctl -q -w net.ipv6.conf.eth1.disable_ipv6=1"),
        INSIDE,
        "fd00::1/64",
        "never",
    ),
    setting(
        "interface: IPv4 route",
        (Inside, "ip route del default"),
        (Inside, "ip route show"),
        "default via 10.0.0.254",
        "never",
    ),
    setting(
        "interface: IPv6 route",
        (Inside, "ip -6 route del default"),
        (Inside, "ip -6 route show"),
        "default via fd00::fe",
        "never",
    ),
    setting(
        "interface: transmit checksums",
        (Inside, "ethtool -K eth1 tx on"),
        (Inside, "ethtool -k eth1"),
        "tx-checksumming: off",
        "tx-checksumming: on",
    ),
];

/// The rows.
const ROWS: &[Setting] = &[
    setting(
        "Port: tag",
        (Database, "set port PORT tag=8"),
        (Database, "get port PORT tag"),
        "7",
        "8",
    ),
    setting(
        "Interface: ingress_policing_rate",
        (Database, "set interface PORT ingress_policing_rate=1"),
        (Database, "get interface PORT ingress_policing_rate"),
        "100000",
        "never",
    ),
];

/// A container with all that can be set, and a daemon that never resyncs by time.
fn stage() -> Result<(Lab, Daemon, String)> {
    let lab = Lab::start()?;
    lab.vsctl(&["add-br", "ovsbr0", "--", "set", "bridge", "ovsbr0", "datapath_type=netdev"])?;
    lab.vsctl(&["add-port", "ovsbr0", "tap0", "--", "set", "interface", "tap0", "type=internal"])?;
    lab.run("ip", &["link", "add", "lan", "type", "bridge"])?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let file = lab.path().join("config.yaml");
    std::fs::write(&file, "mirror_ports: [tap0]\nresync_interval: 0\n")?;
    let file = file.display().to_string();
    let args = ["run", "-v", "--config", &file, "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    let labels = [
        ("ovs.ip_address", "10.0.0.1/24,fd00::1/64"),
        ("ovs.gateway", "10.0.0.254,fd00::fe"),
        ("ovs.mac_address", "02:00:00:00:00:aa"),
        ("ovs.mtu", "1400"),
        ("ovs.vlan", "7"),
        ("ovs.egress_rate", "100M"),
        ("ovs.ingress_rate", "100M"),
        ("ovs.ingress_burst", "10M"),
        ("ovs.ofport_request", "42"),
        ("ovs.mirror", "tap0"),
    ];
    let id = lab.run_container("one", &labels)?;
    let ready = daemon.wait_log("port is ready", PATIENCE);
    ready.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
    Ok((lab, daemon, id))
}

fn run(lab: &Lab, id: &str, port: &str, (place, command): (Where, &str)) -> Result<String> {
    let command = command.replace("PORT", port).replace("ID", id);
    let words: Vec<&str> = command.split(' ').collect();
    let (program, args) = words.split_first().context("no command")?;
    match place {
        Host => lab.run(program, args),
        Inside => lab.run_in_netns_of("one", program, args),
        Database => lab.vsctl(&[&["--no-wait"], words.as_slice()].concat()),
    }
}

/// Harms each setting and waits until it is whole again; returns how long each took.
fn walk(lab: &Lab, daemon: &Daemon, id: &str, settings: &[Setting]) -> Result<()> {
    let port = wait_ready(lab, id)?;
    for Setting { name, harm, show, has, lacks } in settings {
        let has = has.replace("PORT", &port).replace("ID", id);
        let whole = || -> Result<Option<()>> {
            let shown = run(lab, id, &port, *show)?;
            ensure!(shown.contains(&has) && !shown.contains(lacks), "{shown}");
            Ok(Some(()))
        };
        // It was whole before: otherwise nothing would be shown.
        wait_for(&format!("{name} as it was made"), PATIENCE, whole)?;
        let before = daemon.log().len();
        run(lab, id, &port, *harm).with_context(|| format!("{name}: the harm"))?;
        let begun = Instant::now();
        let put_right = || {
            let log = daemon.log();
            let said = log.get(before..).unwrap_or_default();
            Ok((said.contains("set-link ") || said.contains("set-port ")).then_some(()))
        };
        let mended = wait_for(&format!("{name} to be put right"), PATIENCE, put_right)
            .and_then(|()| wait_for(&format!("{name} to be whole"), PATIENCE, whole));
        mended.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
        let took = begun.elapsed();
        println!("{name:40} {took:?}");
        ensure!(took < Duration::from_secs(2), "{name} took {took:?}");
        ensure!(wait_ready(lab, id)? == port, "{name}: the port stays");
    }
    Ok(())
}

#[test]
fn whatever_is_set_of_a_link_is_put_right_at_once() -> Result<()> {
    let (lab, daemon, id) = stage()?;
    walk(&lab, &daemon, &id, LINKS)?;
    let port = wait_ready(&lab, &id)?;
    let addresses = lab.run("ip", &["-6", "addr", "show", &port])?;
    ensure!(!addresses.contains("fe80"), "{addresses}");
    stage::ping(&lab, "one", "10.0.0.1")
}

#[test]
fn whatever_is_set_of_a_row_is_put_right_at_once() -> Result<()> {
    let (lab, daemon, id) = stage()?;
    walk(&lab, &daemon, &id, ROWS)
}
