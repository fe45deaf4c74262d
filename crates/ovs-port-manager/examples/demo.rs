//! The main job, shown: what the README promises, in a private lab. Run by `make demo`.
//!
//! Succeeds only if all of it was seen: two containers attached by their labels, a ping and a web page
//! from one to the other, and the port of a stopped one gone.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);
const README: &str = include_str!("../../../README.md");

fn main() -> Result<()> {
    let program = env::args().nth(1).context("usage: demo PATH-OF-OVS-PORT-MANAGER")?;
    let program = Path::new(&program).canonicalize().with_context(|| program.clone())?;

    say("A private lab: Docker and Open vSwitch in namespaces of their own");
    let lab = Lab::start()?;
    show(&lab, "docker version --format 'Docker Engine {{.Server.Version}}'")?;
    show(&lab, "ovs-vswitchd --version | head -1")?;

    say("The daemon");
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    println!("$ ovs-port-manager run --docker {docker} --ovsdb {ovsdb}");
    let daemon = lab.spawn(&program, &["run", "--docker", &docker, "--ovsdb", &ovsdb], &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;

    say("Two containers, with nothing but labels (from the README)");
    for command in commands()? {
        show(&lab, &command)?;
    }
    let port = wait_attached(&lab, "web", &daemon)?;
    wait_attached(&lab, "client", &daemon)?;

    say("Their ports");
    show(&lab, "ovs-vsctl show")?;
    show(&lab, &format!("ovs-vsctl get interface {port} ofport external_ids"))?;
    show(&lab, "docker exec client ip addr show eth1")?;

    say("A ping from one to the other");
    let pings = show(&lab, "docker exec client ping -c 3 -W 2 192.168.1.100")?;
    ensure!(pings.contains(" 0% packet loss"), "pings were lost");

    say("A page over TCP");
    let page = show(&lab, "docker exec client timeout 5 wget -qO- http://192.168.1.100/")?;
    ensure!(page.contains(lab::WWW_TEXT.trim()), "that was another page");

    say("One stops, and its port is gone");
    show(&lab, "docker stop -t 1 web")?;
    wait_for("the port to go", PATIENCE, || {
        Ok(lab.vsctl(&["port-to-br", &port]).is_err().then_some(()))
    })?;
    show(&lab, "ovs-vsctl show")?;

    say("What the daemon said");
    println!("{}", daemon.log());
    say("All of it was seen. The lab goes now, and leaves nothing.");
    Ok(())
}

fn say(text: &str) {
    println!("\n== {text}");
}

/// Prints a command, runs it in the lab, prints what it said.
fn show(lab: &Lab, command: &str) -> Result<String> {
    println!("$ {command}");
    let output = lab.run("sh", &["-c", command])?;
    println!("{output}");
    Ok(output)
}

/// The commands of the README's block for the demo.
fn commands() -> Result<Vec<String>> {
    let (_, block) =
        README.split_once("<!-- demo -->\n```sh\n").context("no demo in the README")?;
    let (block, _) = block.split_once("```").context("the README's demo has no end")?;
    Ok(block.replace("\\\n", "").lines().map(str::to_owned).collect())
}

/// Waits until a container's port forwards; returns its name.
fn wait_attached(lab: &Lab, container: &str, daemon: &Daemon) -> Result<String> {
    let wanted = format!("external_ids:container_name={container}");
    let ready = wait_for("a port that forwards", PATIENCE, || {
        let found =
            lab.vsctl(&["--bare", "--columns=name,ofport", "find", "interface", &wanted])?;
        let mut words = found.split_whitespace();
        let (name, ofport) = (words.next(), words.next().and_then(|port| port.parse::<u32>().ok()));
        Ok(name.filter(|_| ofport > Some(0)).map(str::to_owned))
    });
    ready.with_context(|| {
        format!("{container} was not attached; the daemon said:\n{}", daemon.log())
    })
}
