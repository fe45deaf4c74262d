//! What it costs to give containers their network: `make bench`.
//!
//! Three competitors in one run, turn by turn: the daemon; the floor, which is the least that anybody could
//! do; and `ovs-docker`, the script that comes with Open vSwitch. Times are taken where nobody can flatter
//! them: the start is the engine's own time stamp of its event or the moment before a competitor is started,
//! the end is the kernel's notification inside the container, ovs-vswitchd's `ofport` as a monitor of the
//! database sees it, and the first answered ping.
//!
//! `--case NAME` runs one case, `--short` fewer rounds and smaller numbers.

mod cases;
mod engine;
// The one ioctl that the daemon and the floor share.
#[path = "../../src/ethtool.rs"]
#[allow(dead_code, reason = "the daemon uses the rest")]
mod ethtool;
mod floor;
mod http;
mod jsonrpc;
mod measure;
mod peer;
mod picture;
mod report;
mod stage;
mod stats;

use std::env;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use cases::Scale;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["engine", socket, cgroup] => engine::serve(Path::new(socket), cgroup),
        ["floor", docker, ovsdb, label] => floor::run(floor::Settings {
            docker: docker.into(),
            ovsdb: ovsdb.into(),
            label: (*label).to_owned(),
        }),
        ["peer", "follow", docker, label] => peer::follow(Path::new(docker), label),
        ["peer", "burst", docker, label] => peer::burst(Path::new(docker), label),
        _ => benchmark(&words),
    }
}

fn benchmark(words: &[&str]) -> Result<()> {
    let (mut scale, mut only) = (Scale::full(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--short" => scale = Scale::short(),
            "--case" => only.push(*words.next().context("--case needs a name")?),
            // What cargo adds for every benchmark.
            "--bench" => {}
            other => bail!("{other}? usage: [--case NAME]... [--short]; cases: {}", names()),
        }
    }
    if let Some(name) = only.iter().find(|name| !cases::ALL.iter().any(|case| case.0 == **name)) {
        bail!("there is no case {name}; there are {}", names());
    }
    stage::raise_open_files()?;
    let mut lines = Vec::new();
    report::heading();
    for (name, run) in cases::ALL {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let began = Instant::now();
        for line in run(&scale).with_context(|| format!("case {name}"))? {
            report::print(&line);
            lines.push(line);
        }
        eprintln!("case {name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    report::write(&lines, &target.canonicalize().unwrap_or(target).join("bench"))
}

fn names() -> String {
    cases::ALL.map(|(name, _)| name).join(", ")
}
