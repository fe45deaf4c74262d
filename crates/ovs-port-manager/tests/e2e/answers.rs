//! What the commands answer about containers that stand in all ways.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use expect_test::expect;
use lab::{Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, has_interface, wait_ready};

/// Runs a command of the program inside a lab.
fn ask(lab: &Lab, args: &[&str]) -> Result<Output> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let neighbours = ["--docker", &docker, "--ovsdb", &ovsdb];
    Ok(lab.command(PROGRAM).args(args).args(neighbours).output()?)
}

/// What a command says, with its exit status, and what differs from run to run put in other words.
pub(crate) fn told(lab: &Lab, args: &[&str]) -> Result<String> {
    let output = ask(lab, args)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().context("it was killed")?;
    let text = format!("{}{}[{status}]\n", text(&output.stdout), text(&output.stderr));
    let mut lines: Vec<_> = text.lines().map(|line| format!("{}\n", plain(line))).collect();
    // How often something was tried again, say.
    lines.dedup();
    Ok(lines.concat())
}

/// A line without what differs from run to run: ids, names of ports, times, counters.
fn plain(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(['(', ')', ',', ';', ':']);
        let hexadecimal = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kind = if hexadecimal && [12, 64].contains(&bare.len()) {
            "ID"
        } else if bare.ends_with("_l") && bare.len() == 15 {
            "PORT"
        } else if bare.starts_with("20") && bare.ends_with('Z') {
            "TIME"
        } else if bare.ends_with(['s', 'h', 'm'])
            && bare.trim_end_matches(['s', 'm', 'h']).parse::<u32>().is_ok()
        {
            "DURATION"
        } else if bare.strip_suffix('K').is_some_and(|number| number.parse::<f64>().is_ok())
            || bare.parse::<f64>().is_ok_and(|number| number > 20.0)
        {
            "NUMBER"
        } else {
            bare
        };
        words.push(if kind == bare { word.to_owned() } else { word.replace(bare, kind) });
    }
    // Counters, which may still be zero.
    if let Some(up) = words.iter().position(|word| word == "up") {
        let counters = words.iter_mut().skip(up + 1).take(2);
        counters.filter(|it| it.parse::<u64>().is_ok()).for_each(|it| "NUMBER".clone_into(it));
    }
    // What a step took.
    let took = words.iter().position(|word| word.starts_with("ms)"));
    if let Some(number) = took.and_then(|at| words.get_mut(at.saturating_sub(1))) {
        "(NUMBER".clone_into(number);
    }
    // The columns' widths differ, too; and what is due may be so at once.
    let line = words.join(" ").replace("next try now", "next try in DURATION");
    // What the parts of an attach took.
    let Some((before, parts)) = line.split_once(", attached in ") else { return line };
    let number =
        |it: &&str| it.contains("NUMBER") || it.trim_end_matches(',').parse::<f64>().is_ok();
    let kept: Vec<_> = parts.split(' ').filter(|it| !number(it)).collect();
    format!("{before}, attached in {}", kept.join(" "))
}

/// A container of each kind: healthy, mistaken, refused, and one whose interface exists already.
pub(crate) fn populate(lab: &Lab) -> Result<String> {
    let healthy = lab.run_container_with(
        "healthy",
        &[
            ("ovs.ip_address", "10.0.0.1/24,fd00::1/64"),
            ("ovs.vlan", "100"),
            ("com.docker.compose.service", "shop"),
        ],
        &["--network=none"],
        &[],
    )?;
    lab.run_container("mistaken", &[("ovs.ip_address", "10.0.0.2/24"), ("ovs.mtu", "abc")])?;
    let labels = [("ovs.ip_address", "10.0.0.3/24")];
    lab.run_container_with("refused", &labels, &["--network=host"], &[])?;
    lab.docker(&["network", "create", "--subnet=172.30.0.0/24", "inner"])?;
    let labels = [("ovs.ip_address", "10.0.0.4/24"), ("ovs.interface", "eth0")];
    lab.run_container_with("retrying", &labels, &["--network=inner"], &[])?;
    Ok(healthy)
}

#[test]
fn status_and_explain_tell_how_each_container_stands() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let healthy = populate(&lab)?;
    wait_ready(&lab, &healthy)?;
    daemon.wait_log("exists in the container already", PATIENCE)?;
    daemon.wait_log("host's network namespace", PATIENCE)?;
    daemon.wait_log("port is ready", PATIENCE)?;
    expect![[r#"
        CONTAINER INTERFACE BRIDGE SETTINGS ADDRESSES MAC PORT OFPORT LINK RX TX PHASE SINCE
        healthy eth1 ovsbr0 tag=100 10.0.0.1/24,fd00::1/64 b6:a6:06:3a:bc:2a PORT 1 up NUMBER NUMBER ready DURATION
        mistaken - - - - - - - - - - mistaken DURATION
        ovs.mtu=abc: not a number between NUMBER and NUMBER
        refused - - - - - - - - - - refused DURATION
        it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)
        retrying eth0 ovsbr0 - 10.0.0.4/24 06:61:ad:5b:88:c5 - - - - - retrying DURATION
        eth0: interface eth0 exists in the container already and is not ours; choose another name with ovs.interface; next try in DURATION
        [3]
    "#]].assert_eq(&told(&lab, &["status"])?);
    expect![[r#"
        healthy (ID), running since TIME

        labels:
        ovs.ip_address=10.0.0.1/24,fd00::1/64
        ovs.vlan=100

        INTERFACE PROPERTY DESIRED OBSERVED
        eth1 bridge ovsbr0 ovsbr0
        eth1 port one of ours PORT
        eth1 setting tag=100 tag=100
        eth1 addresses 10.0.0.1/24,fd00::1/64 10.0.0.1/24,fd00::1/64,fe80::b4a6:6ff:fe3a:bc2a/64
        eth1 routes none 10.0.0.0/24 dev,fd00::/64 dev metric 256,fe80::/64 dev metric NUMBER
        eth1 mac b6:a6:06:3a:bc:2a b6:a6:06:3a:bc:2a
        eth1 mtu any NUMBER
        eth1 state up up

        to do:
        nothing

        daemon:
        eth1: ready since DURATION, attached in ms: docker netlink ovsdb ready

        steps taken lately:
        TIME add-br ovsbr0 datapath_type=netdev (NUMBER ms)
        TIME add-link PORT peer=eth1 mac=b6:a6:06:3a:bc:2a address=10.0.0.1/24 address=fd00::1/64 tx-checksum=off (NUMBER ms)
        TIME add-port ovsbr0 PORT tag=100 (NUMBER ms)
        [0]
    "#]].assert_eq(&told(&lab, &["explain", "healthy"])?);
    expect![[r#"
        mistaken (ID), running since TIME

        labels:
        ovs.ip_address=10.0.0.2/24
        ovs.mtu=abc

        not attached:
        ovs.mtu=abc: not a number between NUMBER and NUMBER

        to do:
        nothing

        daemon:
        mistaken since DURATION: ovs.mtu=abc: not a number between NUMBER and NUMBER
        [3]
    "#]]
    .assert_eq(&told(&lab, &["explain", "mistaken"])?);
    expect![[r#"
        refused (ID), running since TIME

        labels:
        ovs.ip_address=10.0.0.3/24

        not attached:
        it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)

        to do:
        nothing

        daemon:
        refused since DURATION: it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)
        [3]
    "#]].assert_eq(&told(&lab, &["explain", "refused"])?);
    expect![[r#"
        retrying (ID), running since TIME

        labels:
        ovs.interface=eth0
        ovs.ip_address=10.0.0.4/24

        INTERFACE PROPERTY DESIRED OBSERVED
        eth0 bridge ovsbr0 -
        eth0 port one of ours -
        eth0 addresses 10.0.0.4/24 -
        eth0 routes none -
        eth0 mac 06:61:ad:5b:88:c5 -
        eth0 mtu any -
        eth0 state up -

        to do:
        add-link PORT peer=eth0 mac=06:61:ad:5b:88:c5 address=10.0.0.4/24 tx-checksum=off
        add-port ovsbr0 PORT

        daemon:
        eth0: retrying since DURATION: eth0: interface eth0 exists in the container already and is not ours; choose another name with ovs.interface; next try in DURATION

        steps taken lately:
        TIME add-link PORT peer=eth0 mac=06:61:ad:5b:88:c5 address=10.0.0.4/24 tx-checksum=off (NUMBER ms): failed: interface eth0 exists in the container already and is not ours; choose another name with ovs.interface
        [3]
    "#]].assert_eq(&told(&lab, &["explain", "retrying"])?);
    expect![[r#"
        ovs-port-manager: Docker knows no container nobody; docker ps -a lists them
        [1]
    "#]]
    .assert_eq(&told(&lab, &["explain", "nobody"])?);
    expect![[r#"
        ovs-port-manager: Docker knows no container ../../v1.40/info; docker ps -a lists them
        [1]
    "#]]
    .assert_eq(&told(&lab, &["explain", "../../v1.40/info"])?);
    let json = ask(&lab, &["status", "--output", "json"])?;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    let row = &json["ports"][0];
    ensure!(row["service"] == "shop" && row["phase"] == "ready" && row["link"] == "up", "{row}");
    ensure!(row["container"] == healthy && row["counters"]["tx_packets"].is_u64(), "{row}");
    Ok(())
}

#[test]
fn without_a_daemon_status_and_plan_ask_docker_and_open_vswitch() -> Result<()> {
    let lab = Lab::start()?;
    let healthy = populate(&lab)?;
    expect![[r#"
        no daemon at /run/ovs-port-manager/control.sock: it does not run, or has another control socket (--control-socket); this is what Docker and Open vSwitch say
        CONTAINER INTERFACE BRIDGE SETTINGS ADDRESSES MAC PORT OFPORT LINK RX TX PHASE SINCE
        healthy eth1 ovsbr0 tag=100 10.0.0.1/24,fd00::1/64 b6:a6:06:3a:bc:2a - - - - - missing -
        mistaken - - - - - - - - - - mistaken -
        ovs.mtu=abc: not a number between NUMBER and NUMBER
        refused - - - - - - - - - - refused -
        it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)
        retrying eth0 ovsbr0 - 10.0.0.4/24 06:61:ad:5b:88:c5 - - - - - missing -
        [3]
    "#]].assert_eq(&told(&lab, &["status"])?);
    expect![[r#"
        healthy (ID):
        add-br ovsbr0 datapath_type=netdev
        add-link PORT peer=eth1 mac=b6:a6:06:3a:bc:2a address=10.0.0.1/24 address=fd00::1/64 tx-checksum=off
        add-port ovsbr0 PORT tag=100
        mistaken (ID):
        not attached: ovs.mtu=abc: not a number between NUMBER and NUMBER
        refused (ID):
        not attached: it shares the host's network namespace, where no interface of a container may be made; start it with a network of its own (--network none, say)
        retrying (ID):
        add-br ovsbr0 datapath_type=netdev
        add-link PORT peer=eth0 mac=06:61:ad:5b:88:c5 address=10.0.0.4/24 tx-checksum=off
        add-port ovsbr0 PORT
        6 steps for 4 containers
        [3]
    "#]].assert_eq(&told(&lab, &["plan"])?);
    ensure!(!has_interface(&lab, "healthy", "eth1")?, "a plan does nothing");
    lab.docker(&["rm", "-f", "mistaken", "refused", "retrying"])?;
    let daemon = stage::start_daemon(&lab)?;
    wait_ready(&lab, &healthy)?;
    daemon.wait_log("port is ready", PATIENCE)?;
    drop(daemon);
    expect![[r#"
        no daemon at /run/ovs-port-manager/control.sock: it does not run, or has another control socket (--control-socket); this is what Docker and Open vSwitch say
        CONTAINER INTERFACE BRIDGE SETTINGS ADDRESSES MAC PORT OFPORT LINK RX TX PHASE SINCE
        healthy eth1 ovsbr0 tag=100 10.0.0.1/24,fd00::1/64 b6:a6:06:3a:bc:2a PORT 1 up NUMBER NUMBER ready -
        [0]
    "#]].assert_eq(&told(&lab, &["status"])?);
    expect![[r#"
        nothing to do for 1 container
        [0]
    "#]]
    .assert_eq(&told(&lab, &["plan"])?);
    // What is out of place shows up.
    lab.run_in_netns_of("healthy", "ip", &["link", "set", "eth1", "mtu", "1400"])?;
    lab.run_in_netns_of("healthy", "ip", &["addr", "del", "10.0.0.1/24", "dev", "eth1"])?;
    expect![[r#"
        healthy (ID):
        set-link PORT peer=eth1 address=10.0.0.1/24
        1 step for 1 container
        [3]
    "#]]
    .assert_eq(&told(&lab, &["plan"])?);
    lab.docker(&["kill", "healthy"])?;
    wait_for("its link to go", PATIENCE, || Ok(stage::our_links(&lab)?.is_empty().then_some(())))?;
    expect![[r#"
        healthy (ID):
        del-port ovsbr0 PORT
        1 step for 1 container
        [3]
    "#]]
    .assert_eq(&told(&lab, &["plan"])?);
    Ok(())
}

#[test]
fn commands_without_their_neighbours_say_so_in_a_line() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    for command in [&["status"][..], &["plan"], &["explain", "web"]] {
        let told = told(&lab, command)?;
        ensure!(told.starts_with("ovs-port-manager: no Docker socket at"), "{command:?}: {told}");
        ensure!(told.ends_with("[1]\n") && told.lines().count() == 2, "{command:?}: {told}");
    }
    Ok(())
}
