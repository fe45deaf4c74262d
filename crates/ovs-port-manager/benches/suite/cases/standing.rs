//! Ports that are all as they should be: what a resync costs, and what it costs to do nothing.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use lab::{Daemon, Signal, Tap};

use super::Scale;
use crate::measure::{Changes, Usage, cpu};
use crate::report::Line;
use crate::stage::{LABEL, PATIENCE, Stage};
use crate::stats::milliseconds;

/// A daemon that has done nothing for so long has finished.
const QUIET: Duration = Duration::from_millis(300);
const RESYNCS: usize = 9;

/// A daemon with its ports, and all of it idle.
struct Standing {
    daemon: Daemon,
    count: usize,
    _stage: Stage,
}

pub(super) fn run(scale: &Scale) -> Result<Vec<Line>> {
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for count in &scale.standing {
        let (standing, resyncs) = resync(*count)?;
        lines.extend(resyncs);
        all.push(standing);
    }
    // All at once: each process has books of its own.
    let usage = |standing: &Standing| Usage::of(standing.daemon.pid());
    let before = all.iter().map(usage).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    thread::sleep(scale.idle);
    let seconds = began.elapsed().as_secs_f64();
    for (standing, before) in all.iter().zip(before) {
        let after = usage(standing)?;
        let count = standing.count;
        let cpu = 100.0 * (after.cpu - before.cpu).as_secs_f64() / seconds;
        let wakeups = after.wakeups_since(&before) as f64 / seconds;
        let resident = after.resident as f64 / 1e6;
        lines.push(Line::ours("idle: resident memory", count, "MB", vec![resident]));
        lines.push(Line::ours("idle: CPU", count, "%", vec![cpu]));
        lines.push(Line::ours("idle: wake-ups", count, "1/s", vec![wakeups]));
    }
    Ok(lines)
}

fn resync(count: usize) -> Result<(Standing, Vec<Line>)> {
    let stage = Stage::stand_ins()?;
    let engine = stage.engine()?;
    let made = engine.create(count, LABEL)?;
    engine.let_run(&made)?;
    let tap = Tap::start(&stage.lab.path().join("tap.sock"), &stage.lab.ovsdb_endpoint())?;
    let daemon = stage.ours_at(&format!("unix:{}", tap.path().display()))?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    if count > 0 {
        stage.ports.wait_ready(made.iter().map(|stand_in| stand_in.id.as_str()), PATIENCE)?;
    }
    stage.settle()?;
    until_quiet(&daemon)?;

    let changes = Changes::start(&stage.lab)?;
    let (mut times, mut cpus, mut inspections) = (Vec::new(), Vec::new(), Vec::new());
    let (transactions, changed) = (tap.count_sent(TRANSACT), changes.count());
    for _ in 0..RESYNCS {
        let (asked, before) = (engine.inspections()?, cpu(daemon.pid())?);
        let began = Instant::now();
        daemon.signal(Signal::HUP)?;
        let end = until_quiet(&daemon)?;
        times.push(milliseconds(end.duration_since(began)));
        cpus.push(milliseconds(cpu(daemon.pid())? - before));
        inspections.push((engine.inspections()? - asked) as f64);
    }
    let transactions = tap.count_sent(TRANSACT) - transactions;
    let changed = changes.count() - changed;
    let lines = vec![
        Line::ours("resync: time", count, "ms", times),
        Line::ours("resync: CPU", count, "ms CPU", cpus),
        Line::ours("resync: inspections", count, "", inspections),
        Line::ours("resync: transactions", count, "", vec![transactions as f64]),
        Line::ours("resync: changes in the kernel", count, "", vec![changed as f64]),
    ];
    Ok((Standing { daemon, count, _stage: stage }, lines))
}

const TRANSACT: &str = r#""method":"transact""#;

/// Waits until the daemon has been quiet for a while; returns when it last did something.
fn until_quiet(daemon: &Daemon) -> Result<Instant> {
    let (mut used, mut last) = (cpu(daemon.pid())?, Instant::now());
    while last.elapsed() < QUIET {
        thread::sleep(Duration::from_millis(1));
        let now = cpu(daemon.pid())?;
        if now != used {
            (used, last) = (now, Instant::now());
        }
    }
    Ok(last)
}
