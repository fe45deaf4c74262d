//! The container image, made by `make image` and started by the compose file that is shipped with it.
//!
//! The binary in it is the one of `make dist`, optimized and static, and not the test profile's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};

use crate::stage::{
    PATIENCE, compose, has_program, id_of, make, reach, shipped, wait_gone, wait_ports,
};

const COMPOSE_FILE: &str = "packaging/docker/compose.yaml";
const IMAGE: &str = "ovs-port-manager:latest";
/// The daemon's container, as the compose file names it.
const DAEMON: &str = "ovs-port-manager";
const MOST_BYTES: u64 = 12_000_000;

/// The capabilities of the compose file, and what cannot be done without each.
const CAPABILITIES: [(&str, &str); 5] = [
    ("NET_ADMIN", "make links (net_admin)"),
    ("NET_BROADCAST", "hear of changes inside containers (net_broadcast)"),
    ("NET_RAW", "announce addresses (net_raw)"),
    ("SYS_ADMIN", "enter network namespaces (sys_admin)"),
    ("SYS_PTRACE", "open the namespaces of other users' processes (sys_ptrace)"),
];

/// A lab whose engine has the image, and whose sockets are where a machine has them.
fn start() -> Result<Lab> {
    let lab = Lab::start()?;
    let docker = lab.docker_endpoint();
    make(&["image", &format!("IMAGE={IMAGE}")], &[("DOCKER_HOST", &docker)])?;
    let ovsdb = lab.ovsdb_endpoint();
    let socket = docker.strip_prefix("unix://").context("a path")?;
    let folder = Path::new(ovsdb.strip_prefix("unix:").context("a path")?);
    let folder = folder.parent().and_then(Path::to_str).context("a folder")?;
    // The lab has a /run of its own.
    lab.run("ln", &["-s", socket, "/run/docker.sock"])?;
    lab.run("ln", &["-s", folder, "/run/openvswitch"])?;
    Ok(lab)
}

fn up(lab: &Lab) -> Result<()> {
    compose(lab, &shipped(COMPOSE_FILE), &["up", "-d"])?;
    wait_at_work(lab)
}

fn wait_at_work(lab: &Lab) -> Result<()> {
    wait_for("the daemon to be at work", PATIENCE, || {
        let log = lab.run("sh", &["-c", &format!("docker logs {DAEMON} 2>&1")])?;
        ensure!(log.contains("following Docker's events"), "{log}");
        Ok(Some(()))
    })
}

#[test]
fn started_by_its_compose_file_it_attaches_restarts_and_detaches_containers() -> Result<()> {
    let lab = start()?;
    let size = lab.docker(&["image", "inspect", "--format={{.Size}}", IMAGE])?;
    println!("{IMAGE}: {size} bytes");
    ensure!(size.parse::<u64>()? <= MOST_BYTES, "{size} bytes");
    up(&lab)?;

    // IPv6 takes a setting below /proc/sys, which is read-only in the daemon's container.
    let mounts = lab.run("cat", &[&format!("/proc/{}/mounts", lab.container_pid(DAEMON)?)])?;
    ensure!(mounts.lines().any(|it| it.starts_with("proc /proc/sys proc ro")), "{mounts}");
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24,fd00::1/64")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24,fd00::2/64")])?;
    wait_ports(&lab, &one, 1)?;
    wait_ports(&lab, &two, 1)?;
    reach(&lab, "one", "10.0.0.2")?;
    reach(&lab, "one", "fd00::2")?;
    // It answers with 3 as long as a port is not ready.
    wait_for("two ready ports", PATIENCE, || {
        let status = lab.docker(&["exec", DAEMON, "/ovs-port-manager", "status"])?;
        ensure!(status.matches(" ready ").count() == 2, "{status}");
        Ok(Some(()))
    })?;

    lab.docker(&["restart", "two"])?;
    wait_ports(&lab, &two, 1)?;
    reach(&lab, "one", "10.0.0.2")?;
    lab.docker(&["kill", "two"])?;
    wait_gone(&lab, &two)?;

    // The daemon's own end takes no port away; its return puts right what has changed meanwhile.
    compose(&lab, &shipped(COMPOSE_FILE), &["stop"])?;
    wait_ports(&lab, &one, 1)?;
    lab.docker(&["start", "two"])?;
    compose(&lab, &shipped(COMPOSE_FILE), &["start"])?;
    wait_ports(&lab, &two, 1)?;
    reach(&lab, "one", "10.0.0.2")?;
    compose(&lab, &shipped(COMPOSE_FILE), &["down"])?;
    Ok(())
}

#[test]
fn its_container_has_the_named_capabilities_and_no_other_privilege() -> Result<()> {
    /// `net_broadcast`, `net_admin`, `net_raw`, `sys_ptrace` and `sys_admin` (linux/capability.h).
    const NEEDED: u64 = 1 << 11 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21;
    let lab = start()?;
    up(&lab)?;
    let inspected = lab.docker(&["inspect", DAEMON])?;
    let inspected: serde_json::Value = serde_json::from_str(&inspected)?;
    let host = &inspected[0]["HostConfig"];
    ensure!(host["Privileged"] == false && host["ReadonlyRootfs"] == true, "{host}");
    let status = format!("/proc/{}/status", lab.container_pid(DAEMON)?);
    let status = lab.run("cat", &[&status])?;
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        found.with_context(|| format!("no {name} in {status}"))
    };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        ensure!(u64::from_str_radix(line(set)?, 16)? == NEEDED, "{status}");
    }
    // The filter of system calls that Docker has for everybody.
    ensure!(line("NoNewPrivs")? == "1" && line("Seccomp")? == "2", "{status}");
    ensure!(!id_of(&lab, DAEMON)?.is_empty());
    Ok(())
}

#[test]
fn without_any_one_of_the_capabilities_it_names_the_missing_one() -> Result<()> {
    let lab = start()?;
    let text = fs::read_to_string(shipped(COMPOSE_FILE))?;
    let list = text.lines().find(|line| line.contains("cap_add:")).context("no cap_add")?;
    for (capability, reason) in CAPABILITIES {
        let rest: Vec<_> =
            CAPABILITIES.iter().map(|(name, _)| *name).filter(|name| *name != capability).collect();
        let folder = lab.path().join(capability);
        fs::create_dir(&folder)?;
        let file = folder.join("compose.yaml");
        fs::write(&file, text.replace(list, &format!("    cap_add: [{}]", rest.join(", "))))?;
        let run = ["run", "--rm", "-T", "ovs-port-manager"];
        let told = compose(&lab, &file, &run).err();
        let told = told.with_context(|| format!("it starts without {capability}"))?.to_string();
        let expected = format!("ovs-port-manager: not permitted to {reason};");
        ensure!(told.contains(&expected), "without {capability}: {told}");
    }
    Ok(())
}

#[test]
fn make_dist_makes_a_static_program() -> Result<()> {
    let lab = start()?;
    // An image from scratch has no loader and no library: that it answers says all.
    let version = lab.docker(&["run", "--rm", "--network=none", IMAGE, "--version"])?;
    ensure!(version == format!("ovs-port-manager {}", env!("CARGO_PKG_VERSION")), "{version}");
    Ok(())
}

/// The commands of a block of the README.
fn readme(mark: &str) -> Result<String> {
    let readme = fs::read_to_string(shipped("README.md"))?;
    let (_, block) = readme.split_once(&format!("<!-- {mark} -->\n```sh\n")).context("no block")?;
    let (block, _) = block.split_once("```").context("a block without an end")?;
    Ok(block.to_owned())
}

#[test]
fn the_readmes_commands_start_it() -> Result<()> {
    let lab = start()?;
    let attach = |name: &str| -> Result<()> {
        wait_at_work(&lab)?;
        let id = lab.run_container(name, &[("ovs.ip_address", "10.0.0.1/24")])?;
        wait_ports(&lab, &id, 1)?;
        lab.docker(&["rm", "--force", name])?;
        wait_gone(&lab, &id)
    };
    lab.run("sh", &["-euc", &readme("image")?])?;
    attach("by-run")?;
    lab.docker(&["rm", "--force", DAEMON])?;

    let block = readme("compose")?;
    let plug_in = if has_program(&lab) { "docker-compose" } else { "docker compose" };
    let folder = shipped(".").canonicalize()?;
    let block = block.replace("docker compose", plug_in);
    lab.run("sh", &["-euc", &format!("cd {}\n{block}", folder.display())])?;
    attach("by-compose")
}
