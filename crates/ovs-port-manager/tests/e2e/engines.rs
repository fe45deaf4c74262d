//! Two engines beside one Open vSwitch: neither's ports are taken for stale by the other's daemon.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, wait_ready};

/// Another dockerd in the lab, with the lab's image; where it listens.
fn second_engine(lab: &Lab) -> Result<(Daemon, String)> {
    let folder = lab.path().join("second");
    std::fs::create_dir(&folder)?;
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(at("daemon.json"), "{}\n")?;
    let endpoint = format!("unix://{}", at("docker.sock"));
    let args = [
        format!("--config-file={}", at("daemon.json")),
        format!("--data-root={}", at("docker")),
        format!("--exec-root={}", at("exec")),
        format!("--pidfile={}", at("docker.pid")),
        format!("--host={endpoint}"),
        "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        format!("--cgroup-parent=/{}", lab.cgroup()?),
        "--bridge=none".to_owned(),
        "--iptables=false".to_owned(),
        "--ip6tables=false".to_owned(),
        "--ip-forward=false".to_owned(),
        "--userland-proxy=false".to_owned(),
    ];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let dockerd = lab.spawn(Path::new("dockerd"), &args, &[("container", "lab")])?;
    let load = format!("docker save {} | docker -H {endpoint} load", lab::IMAGE);
    wait_for("the second engine", Duration::from_secs(60), || {
        Ok(lab.run("sh", &["-c", &load]).ok())
    })?;
    Ok((dockerd, endpoint))
}

fn daemon(lab: &Lab, docker: &str) -> Result<Daemon> {
    let ovsdb = lab.ovsdb_endpoint();
    let own = ["--control-socket", "none", "--http", "none"];
    let args = [&["run", "-v", "--docker", docker, "--ovsdb", &ovsdb], own.as_slice()].concat();
    let daemon = lab.spawn(Path::new(PROGRAM), &args, &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    Ok(daemon)
}

fn run(lab: &Lab, docker: &str, name: &str, address: &str) -> Result<String> {
    let label = format!("ovs.ip_address={address}");
    let args = ["run", "--detach", "--stop-signal=KILL", "--network=none", "--label", &label];
    lab.docker(&[&["-H", docker], args.as_slice(), &["--name", name, lab::IMAGE]].concat())
}

/// Waits until a container's port tells which engine it is for.
fn wait_marked(lab: &Lab, daemon: &Daemon, port: &str) -> Result<String> {
    wait_for("the mark of the engine", PATIENCE, || {
        let ids = ["get", "interface", port, "external_ids"];
        let marked = lab.vsctl(&ids)?.contains("container_engine=");
        if !marked {
            // A port that was there before the engine had told is marked by the next look at everything.
            daemon.signal(Signal::HUP)?;
        }
        Ok(marked.then_some(()))
    })?;
    lab.vsctl(&["get", "interface", port, "external_ids:container_engine"])
}

#[test]
fn two_engines_on_one_open_vswitch_do_not_take_each_others_ports() -> Result<()> {
    let lab = Lab::start()?;
    let one = lab.docker_endpoint();
    let (_dockerd, two) = second_engine(&lab)?;
    let first = daemon(&lab, &one)?;
    let web = run(&lab, &one, "web", "10.0.0.1/24")?;
    let web_port = wait_ready(&lab, &web)?;
    let engine = wait_marked(&lab, &first, &web_port)?;
    let id = lab.docker(&["info", "--format={{.ID}}"])?;
    ensure!(engine.contains(&id), "{engine} has no {id}");

    let second = daemon(&lab, &two)?;
    second.wait_log("the instance at work is another engine's", PATIENCE)?;
    let other = run(&lab, &two, "other", "10.0.0.2/24")?;
    drop(first);
    second.wait_log("ports of 1 containers are another engine's and are left alone", PATIENCE)?;
    let other_port = wait_ready(&lab, &other)?;
    ensure!(wait_marked(&lab, &second, &other_port)? != engine);
    // Addresses are one holder's all the same.
    run(&lab, &two, "thief", "10.0.0.1/24")?;
    second.wait_log("10.0.0.1 on ovsbr0 is held by eth1 of container web", PATIENCE)?;
    stage::reach(&lab, "web", "10.0.0.2")?;

    // The first one comes back, and the second goes.
    let first = daemon(&lab, &one)?;
    first.wait_log("the instance at work is another engine's", PATIENCE)?;
    drop(second);
    first.wait_log("ports of 1 containers are another engine's and are left alone", PATIENCE)?;
    let late = run(&lab, &one, "late", "10.0.0.3/24")?;
    wait_ready(&lab, &late)?;
    stage::reach(&lab, "late", "10.0.0.2")?;
    ensure!(stage::ports_of(&lab, &other)? == [other_port]);
    // Its own it still takes away.
    lab.docker(&["rm", "-f", "web"])?;
    stage::wait_gone(&lab, &web)
}

#[test]
fn ports_of_containers_that_were_removed_meanwhile_go_if_they_are_this_engines() -> Result<()> {
    let lab = Lab::start()?;
    let docker = lab.docker_endpoint();
    let first = daemon(&lab, &docker)?;
    let mut ports = Vec::new();
    for (number, name) in ["own", "unmarked", "theirs"].into_iter().enumerate() {
        let id = run(&lab, &docker, name, &format!("10.0.0.{}/24", number + 1))?;
        let port = wait_ready(&lab, &id)?;
        wait_marked(&lab, &first, &port)?;
        ports.push((id, port));
    }
    let [(own, _), (unmarked, earlier), (theirs, foreign)] = ports.as_slice() else {
        anyhow::bail!("{ports:?}")
    };
    drop(first);
    lab.vsctl(&["remove", "interface", earlier, "external_ids", "container_engine"])?;
    lab.vsctl(&["set", "interface", foreign, "external_ids:container_engine=another"])?;
    lab.docker(&["rm", "-f", "own", "unmarked", "theirs"])?;
    let second = daemon(&lab, &docker)?;
    stage::wait_gone(&lab, own)?;
    stage::wait_gone(&lab, unmarked)?;
    second.wait_log("ports of 1 containers are another engine's and are left alone", PATIENCE)?;
    ensure!(stage::ports_of(&lab, theirs)?.len() == 1);
    Ok(())
}
