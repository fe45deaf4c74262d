//! A hostile container beside twenty good ones, for a while: what the good ones notice of it, and the host. Run by
//! `make hostile`.
//!
//! It has `NET_ADMIN` and `NET_RAW` and tries all that `hostile.py` has. Somebody else on the host holds a thousand idle
//! connections to the daemon's HTTP port, and scrapes its metrics without a pause.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};
use serde_json::Value;

use crate::check::CONVERGENCE;
use crate::ping::Pings;

/// The daemon under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");
/// Where it serves.
const HTTP: &str = "127.0.0.1:9472";
/// Good containers that stay.
const GOOD: u32 = 20;
/// How long the hostile one does the same.
const PHASE: Duration = Duration::from_secs(15);
/// Lines in a minute that a hostile container may cause in the log, whatever it does.
const LINES: f64 = 60.0;

/// Holds connections to the HTTP port and scrapes it, until it is ended.
const CROWD: &str = "import socket, sys, time
address = ('127.0.0.1', int(sys.argv[1]))
held = []
while True:
    try:
        if len(held) < 1000: held.append(socket.create_connection(address, 1))
        else: held = [one for one in held if one.fileno() >= 0][-999:]
        with socket.create_connection(address, 1) as scrape:
            scrape.settimeout(1)
            scrape.send(b'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
            while scrape.recv(65536): pass
    except OSError: time.sleep(0.01)";

/// What was measured while something went on.
struct Measured {
    /// From a container's event to its port, in milliseconds, sorted.
    attach: Vec<f64>,
    lost: usize,
    lines: f64,
    memory: u64,
}

pub(crate) fn run(minutes: f64) -> Result<()> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let socket = lab.path().join("control.sock");
    let control = socket.display().to_string();
    let args = ["run", "--docker", &docker, "--ovsdb", &ovsdb, "--control-socket", &control];
    let more = ["--port-security", "ovsbr0", "--http", HTTP, "--log-level", "info"];
    let daemon = lab.spawn(Path::new(PROGRAM), &[&args[..], &more].concat(), &[])?;
    daemon.wait_log("following Docker's events", CONVERGENCE)?;
    lab.run_container("peer", &[("ovs.ip_address", "10.0.0.1/24,fd00::1/64")])?;
    let mut pids = Vec::new();
    for number in 0..GOOD {
        let (name, address) = (format!("good{number}"), format!("10.0.0.{}/24", 10 + number));
        lab.run_container(&name, &[("ovs.ip_address", &address)])?;
        pids.push(lab.container_pid(&name)?);
        wait_ready(&lab, &name)?;
    }
    let pings = Pings::start(&lab, &pids, "10.0.0.1")?;
    pings.wait_answers(10)?;

    let quiet = measure(&lab, &daemon, &pings, Duration::from_secs(60))?;
    let caps = ["--network=none", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW"];
    let labels = [("ovs.ip_address", "10.0.0.66/24,fd00::66/64"), ("ovs.gateway", "10.0.0.1")];
    lab.run_container_with("hostile", &labels, &caps, &[])?;
    wait_ready(&lab, "hostile")?;
    let script = lab.path().join("hostile.py");
    fs::write(&script, include_str!("hostile.py"))?;
    let target = format!("--target={}", lab.container_pid("hostile")?);
    let (script, phase) = (script.display().to_string(), PHASE.as_secs().to_string());
    let attack = [&target, "--net", "/usr/bin/python3", &script, &phase];
    let _attack = lab.spawn(Path::new("nsenter"), &attack, &[])?;
    let port = HTTP.rsplit(':').next().unwrap_or_default();
    let _crowd = lab.spawn(Path::new("/usr/bin/python3"), &["-c", CROWD, port], &[])?;
    let hostile = measure(&lab, &daemon, &pings, Duration::from_secs_f64(minutes * 60.0))?;
    pings.wait_answers(10)?;

    println!("| | quiet | beside a hostile one |\n| --- | --- | --- |");
    for (what, percent) in [("attach, median (ms)", 50), ("attach, p99 (ms)", 99)] {
        println!("| {what} | {:.1} | {:.1} |", quiet.attach(percent)?, hostile.attach(percent)?);
    }
    println!("| containers attached | {} | {} |", quiet.attach.len(), hostile.attach.len());
    println!("| packets lost | {} | {} |", quiet.lost, hostile.lost);
    println!("| log lines a minute | {:.0} | {:.0} |", quiet.lines, hostile.lines);
    println!("| memory (kB) | {} | {} |", quiet.memory, hostile.memory);
    let caused = hostile.lines - hostile.of_good(minutes);
    println!("log lines a minute that the hostile one causes: {caused:.0}");
    if caused > LINES {
        println!("{}", daemon.log());
    }
    ensure!(caused <= LINES, "{caused:.0} log lines a minute");
    ensure!(hostile.lost == 0, "the good ones lost {} packets", hostile.lost);
    Ok(())
}

impl Measured {
    fn attach(&self, percent: usize) -> Result<f64> {
        let at = (self.attach.len() * percent).div_ceil(100).saturating_sub(1);
        self.attach.get(at).copied().context("nothing was attached")
    }

    /// The lines a minute that the good ones cause: each that comes and goes has six.
    fn of_good(&self, minutes: f64) -> f64 {
        6.0 * self.attach.len() as f64 / minutes
    }
}

/// Starts and ends one good container after the other for a while.
fn measure(lab: &Lab, daemon: &Daemon, pings: &Pings, time: Duration) -> Result<Measured> {
    let (lines, lost) = (daemon.log().lines().count(), pings.lost());
    let begun = Instant::now();
    let mut attach = Vec::new();
    while begun.elapsed() < time {
        lab.run_container("passing", &[("ovs.ip_address", "10.0.0.9/24")])?;
        attach.push(wait_ready(lab, "passing")?);
        lab.exec("passing", &["ping", "-c", "1", "-W", "5", "10.0.0.1"])?;
        lab.docker(&["rm", "-f", "passing"])?;
    }
    attach.sort_by(f64::total_cmp);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(Measured {
        attach,
        lost: pings.lost() - lost,
        lines: (daemon.log().lines().count() - lines) as f64 / minutes,
        memory: memory.trim().trim_end_matches(" kB").parse()?,
    })
}

/// Waits until a container's port is ready; what it took from its event on, in milliseconds.
fn wait_ready(lab: &Lab, name: &str) -> Result<f64> {
    let socket = lab.path().join("control.sock").display().to_string();
    let ports = ["-s", "--unix-socket", &socket, "http://localhost/api/v1/ports"];
    wait_for(&format!("the port of {name}"), CONVERGENCE, || {
        let shown = lab.run("curl", &ports)?;
        let rows: Value = serde_json::from_str(&shown).with_context(|| shown.clone())?;
        let rows = rows.get("ports").and_then(Value::as_array).context("no ports")?;
        let row = rows.iter().find(|row| row.get("name").is_some_and(|it| it == name));
        let ready = row.filter(|row| row.get("phase").is_some_and(|phase| phase == "ready"));
        Ok(ready.and_then(|row| row.get("latency")?.get("total")?.as_f64()))
    })
}
