//! How long a container waits for its network: `cargo bench --bench attach`.
//!
//! Times are taken where nobody can flatter them: the start is the engine's own time stamp of its start
//! event, or the moment before the daemon is started; the end is the kernel's notification, inside the
//! container's namespace, that the interface is up with its address, and OVSDB's that the port has its
//! OpenFlow number.

mod watch;

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lab::{Daemon, Lab, wait_for};

use watch::{AddressWatch, PortWatch};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");
const PATIENCE: Duration = Duration::from_secs(30);
/// Containers started one after the other.
const SINGLES: u32 = 20;
/// Containers that run before the daemon starts.
const BURST: u32 = 20;
/// Starts of the daemon with so many containers.
const BURSTS: u32 = 5;

fn main() -> Result<()> {
    // The arguments are those of every benchmark (`--bench`); there is nothing to choose.
    println!("{:<52} {:>4} {:>8} {:>8} {:>8}", "case (milliseconds)", "n", "min", "median", "max");
    single()?;
    burst()
}

/// One container at a time: Docker's start event to a usable interface.
fn single() -> Result<()> {
    let lab = Lab::start()?;
    let ports = PortWatch::start(&lab)?;
    let events = lab.spawn(
        Path::new("docker"),
        &["events", "--filter=event=start", "--format={{.ID}} {{.TimeNano}}"],
        &[("DOCKER_HOST", &lab.docker_endpoint())],
    )?;
    let _daemon = start_daemon(&lab)?;
    let (mut addresses, mut ready) = (Vec::new(), Vec::new());
    // The first creates the bridge and is not counted.
    for number in 0..=SINGLES {
        let id = create(&lab, number)?;
        let usable = thread::scope(|scope| {
            let watched = scope.spawn(|| AddressWatch::of_next_start(&lab, &id)?.wait());
            lab.docker(&["start", &id])?;
            watched.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?
        })?;
        let forwards = ports.wait(&id)?;
        let started = start_event(&events, &id)?;
        if number > 0 {
            addresses.push(usable.duration_since(started)?);
            ready.push(forwards.duration_since(started)?);
        }
    }
    row("one container: start event to address usable", &mut addresses);
    row("one container: start event to port ready", &mut ready);
    Ok(())
}

/// Containers that run already when the daemon starts.
fn burst() -> Result<()> {
    let (mut addresses, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..BURSTS {
        let lab = Lab::start()?;
        let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
        let ports = PortWatch::start(&lab)?;
        let mut containers = HashMap::new();
        for number in 0..BURST {
            let id = create(&lab, number)?;
            lab.docker(&["start", &id])?;
            containers.insert(id.clone(), AddressWatch::of_next_start(&lab, &id)?);
        }
        let began = SystemTime::now();
        let _daemon = start_daemon(&lab)?;
        let ids: Vec<_> = containers.keys().cloned().collect();
        let usable: Result<Vec<_>> = containers.into_values().map(AddressWatch::wait).collect();
        let forwards: Result<Vec<_>> = ids.iter().map(|id| ports.wait(id)).collect();
        let last = |times: Vec<SystemTime>| times.into_iter().max().context("no container");
        addresses.push(last(usable?)?.duration_since(began)?);
        ready.push(last(forwards?)?.duration_since(began)?);
    }
    row(&format!("{BURST} running: daemon's start to all addresses usable"), &mut addresses);
    row(&format!("{BURST} running: daemon's start to all ports ready"), &mut ready);
    Ok(())
}

fn create(lab: &Lab, number: u32) -> Result<String> {
    let label = format!("ovs.ip_address=10.0.0.{}/24", number + 1);
    lab.docker(&["create", "--network=none", "--label", &label, lab::IMAGE, "sleep", "1000000"])
}

fn start_daemon(lab: &Lab) -> Result<Daemon> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let daemon =
        lab.spawn(Path::new(PROGRAM), &["run", "--docker", &docker, "--ovsdb", &ovsdb], &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    Ok(daemon)
}

/// The engine's time stamp of a container's start event.
fn start_event(events: &Daemon, id: &str) -> Result<SystemTime> {
    wait_for("the start event", PATIENCE, || {
        let log = events.log();
        let Some(line) = log.lines().find(|line| line.starts_with(id)) else {
            return Ok(None);
        };
        let stamp = line.split_whitespace().nth(1).context("no time in the event")?;
        Ok(Some(UNIX_EPOCH + Duration::from_nanos(stamp.parse()?)))
    })
}

fn row(case: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let show = |time: Option<&Duration>| {
        time.map_or_else(String::new, |time| format!("{:.2}", time.as_secs_f64() * 1000.0))
    };
    let median = show(times.get(times.len() / 2));
    let (first, last) = (show(times.first()), show(times.last()));
    println!("{case:<52} {:>4} {first:>8} {median:>8} {last:>8}", times.len());
}
