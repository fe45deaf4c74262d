//! What `doctor` says of a machine in good and in bad order.

use std::fs;

use anyhow::{Result, ensure};
use expect_test::{Expect, expect};
use lab::{Lab, wait_for};

use crate::answers::told;
use crate::stage::{self, PATIENCE, PROGRAM, wait_ready};

/// What it says, without what differs from machine to machine.
fn doctor(lab: &Lab) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let told = told(lab, &["doctor"])?
        .replace(kernel.trim(), "KERNEL")
        .replace(&lab.path().display().to_string(), "LAB")
        .replace("datapath_type system", "datapath_type netdev");
    let version = |line: &str| match line.rsplit_once("version ") {
        Some((before, _))
            if line.starts_with("ok docker") || line.starts_with("ok open vswitch") =>
        {
            format!("{before}version VERSION\n")
        }
        _ => format!("{line}\n"),
    };
    // Which datapath there is, is the machine's.
    ensure!(told.contains("ok datapath "), "{told}");
    Ok(told.lines().filter(|line| !line.starts_with("ok datapath ")).map(version).collect())
}

fn check(lab: &Lab, expected: &Expect) -> Result<()> {
    expected.assert_eq(&doctor(lab)?);
    Ok(())
}

#[test]
fn a_machine_in_good_order_has_only_ok_lines() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    wait_for("the daemon's readiness", PATIENCE, || {
        Ok(told(&lab, &["status"])?.contains(" ready ").then_some(()))
    })?;
    check(
        &lab,
        &expect![[r#"
        ABOUT FOUND
        ok capabilities this user has net_broadcast, net_admin, net_raw, sys_ptrace, sys_admin
        ok kernel KERNEL tells what happens inside containers
        ok kernel has IPv6
        ok docker unix://LAB/docker.sock answers, version VERSION
        ok open vswitch unix:LAB/ovs/db.sock answers, Open vSwitch version VERSION
        ok open vswitch ovs-vswitchd runs
        ok bridge ovsbr0, datapath_type netdev
        ok daemon version 0.1.0 runs; interfaces: 1
        ok stale no rows and links of ours without their containers
        ok others no ports for containers that somebody else has made
        [0]
    "#]],
    )
}

#[test]
fn each_thing_that_is_missing_is_told_with_what_to_do() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    check(
        &lab,
        &expect![[r#"
            ABOUT FOUND
            ok capabilities this user has net_broadcast, net_admin, net_raw, sys_ptrace, sys_admin
            ok kernel KERNEL tells what happens inside containers
            ok kernel has IPv6
            problem docker no Docker socket at LAB/docker.sock: is Docker running? Start it (systemctl start docker), or say where it listens (--docker unix:///PATH; DOCKER_HOST and contexts of the docker command are not used; Podman's is unix:///run/podman/podman.sock)
            ok open vswitch unix:LAB/ovs/db.sock answers, Open vSwitch version VERSION
            problem open vswitch ovs-vswitchd does not run: ports are in the database and forward nothing
            start it (systemctl start openvswitch-switch)
            ok bridge ovsbr0 is not there; the first container makes it
            warning daemon no daemon at /run/ovs-port-manager/control.sock: it does not run, or has another control socket (--control-socket)
            containers get no ports until it runs (ovs-port-manager run)
            [3]
        "#]],
    )?;
    let mut command = lab.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "doctor"]);
    let output = command.args(["--ovsdb", &lab.ovsdb_endpoint()]).output()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let told = String::from_utf8(output.stdout)?;
    for part in [
        "this user lacks net_broadcast (to hear of changes inside containers)",
        "permission denied on OVSDB's socket",
    ] {
        ensure!(told.contains(part), "{told}");
    }
    Ok(())
}

#[test]
fn what_is_left_over_and_what_others_have_made_is_told() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    drop(daemon);
    lab.docker(&["kill", "web"])?;
    wait_for("its link to go", PATIENCE, || Ok(stage::our_links(&lab)?.is_empty().then_some(())))?;
    let theirs = lab.run_container("theirs", &[])?;
    for (port, container) in [("living", theirs.as_str()), ("dead", "nobody")] {
        lab.run("ip", &["link", "add", port, "type", "veth", "peer", "name", &format!("{port}2")])?;
        let ids = [
            &format!("external_ids:container_id={container}"),
            "external_ids:container_iface=eth1",
        ];
        let add = ["add-port", "ovsbr0", port, "--", "set", "interface", port];
        lab.vsctl(&[add.as_slice(), &ids].concat())?;
    }
    lab.vsctl(&["add-port", "ovsbr0", "lost"])?;
    lab.run("ip", &["link", "add", "uplink", "type", "veth", "peer", "name", "uplink2"])?;
    lab.run("ip", &["link", "set", "uplink", "up"])?;
    lab.vsctl(&["add-port", "ovsbr0", "uplink"])?;
    check(
        &lab,
        &expect![[r#"
        ABOUT FOUND
        ok capabilities this user has net_broadcast, net_admin, net_raw, sys_ptrace, sys_admin
        ok kernel KERNEL tells what happens inside containers
        ok kernel has IPv6
        ok docker unix://LAB/docker.sock answers, version VERSION
        ok open vswitch unix:LAB/ovs/db.sock answers, Open vSwitch version VERSION
        ok open vswitch ovs-vswitchd runs
        ok bridge ovsbr0, datapath_type netdev
        warning port uplink of bridge ovsbr0 has no link: nothing passes there
        look at its cable, or at what is at its other end
        warning port ovs-vswitchd cannot use lost: could not open network device lost (No such device)
        if nobody needs it: ovs-vsctl del-port lost
        warning daemon no daemon at /run/ovs-port-manager/control.sock: it does not run, or has another control socket (--control-socket)
        containers get no ports until it runs (ovs-port-manager run)
        warning stale of ours, for container ID: del-port ovsbr0 PORT
        the daemon does it when it runs
        warning others dead, eth1 of container nobody, which does not run
        nobody clears it away: ovs-vsctl del-port dead
        ok others living, eth1 of container ID, which runs; it is left alone
        [0]
    "#]],
    )
}

/// What it says when it is started by another program.
fn doctor_by(lab: &Lab, program: &str, args: &[&str]) -> Result<String> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let doctor = [PROGRAM, "doctor", "--docker", &docker, "--ovsdb", &ovsdb];
    let output = lab.command(program).args(args).args(doctor).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(3), "{output:?}");
    Ok(told)
}

#[test]
fn without_the_hosts_processes_that_is_told_and_no_port_is_to_be_deleted() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    let unshare = ["--pid", "--fork", "--mount-proc"];
    let told = doctor_by(&lab, "unshare", &unshare)?;
    ensure!(told.contains("the processes of Docker are not to be seen from here"), "{told}");
    ensure!(told.contains("--pid host") && !told.contains("--network host"), "{told}");
    ensure!(!told.contains("del-port"), "{told}");

    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let run = [PROGRAM, "run", "--http=none", "--docker", &docker, "--ovsdb", &ovsdb];
    let args = [unshare.as_slice(), &run].concat();
    let blind = lab.spawn("unshare".as_ref(), &args, &[])?;
    blind.wait_log("not to be seen from here, so no container can be attached", PATIENCE)?;
    ensure!(blind.log().contains("docker run --pid host"), "{}", blind.log());
    Ok(())
}

#[test]
fn in_another_network_namespace_that_is_told_and_no_port_is_to_be_deleted() -> Result<()> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let run = [PROGRAM, "run", "-v", "--http=none", "--docker", &docker, "--ovsdb", &ovsdb];
    let astray = lab.spawn("unshare".as_ref(), &[&["--net"], run.as_slice()].concat(), &[])?;
    astray.wait_log("this is not the network namespace of Open vSwitch", PATIENCE)?;
    ensure!(astray.log().contains("docker run --network host"), "{}", astray.log());
    astray.wait_log("looking at all labelled containers", PATIENCE)?;
    lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    astray.wait_log("ovs-vswitchd cannot use port", PATIENCE)?;

    let without_processes = ["--pid", "--fork", "--mount-proc", "--net"];
    for (unshare, told) in [
        (&["--net"][..], doctor_by(&lab, "unshare", &["--net"])?),
        (&without_processes, doctor_by(&lab, "unshare", &without_processes)?),
    ] {
        ensure!(told.contains("this is not the network namespace of Open vSwitch"), "{told}");
        ensure!(told.contains("--network host"), "{unshare:?}: {told}");
        ensure!(!told.contains("del-port"), "{unshare:?}: {told}");
    }
    // From where it belongs, the port is known to be one of ours.
    let told = doctor(&lab)?;
    ensure!(told.contains("it is one of ours"), "{told}");
    ensure!(!told.contains("if nobody needs it"), "{told}");
    Ok(())
}
