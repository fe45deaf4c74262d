//! One container at a time: from Docker's start event to a usable network.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use lab::IMAGE;
use serde_json::Value;

use super::Scale;
use crate::floor::encoded;
use crate::http::Connection;
use crate::measure::{Inside, netns_of_next_start};
use crate::report::Line;
use crate::stage::{LABEL, PATIENCE, Stage};
use crate::stats::Sample;

/// What each competitor goes by, so that all can run at once and one alone acts.
const LABELS: [&str; 3] = [LABEL, "floor.ip_address", "peer.ip_address"];

pub(super) fn run(scale: &Scale) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for others in &scale.others {
        lines.extend(beside(*others, scale.singles)?);
    }
    Ok(lines)
}

fn beside(others: usize, rounds: usize) -> Result<[Line; 3]> {
    let stage = Stage::real()?;
    let others = stage.fill(others)?;
    let target = stage.target()?;
    let starts = starts(&stage.docker())?;
    let ours = stage.ours()?;
    ours.wait_log("following Docker's events", PATIENCE)?;
    let floor = stage.floor(LABELS[1])?;
    floor.wait_log("following", PATIENCE)?;
    let peer = stage.peer("follow", LABELS[2])?;
    peer.wait_log("following", PATIENCE)?;
    let create = |(number, label): (usize, &&str)| {
        let label = format!("{label}=10.0.0.{}/8", number + 1);
        stage.lab.docker(&["create", "--network=none", "--label", &label, IMAGE])
    };
    let containers = LABELS.iter().enumerate().map(create).collect::<Result<Vec<_>>>()?;
    let mut lines = ["address", "ready", "ping"]
        .map(|end| Line::new(&format!("single: start event to {end}"), others, "ms"));
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (number, id) in containers.iter().enumerate() {
            stage.lab.run("ip", &["neighbour", "flush", "dev", "ovsbr0"])?;
            let seen = thread::scope(|scope| {
                let watch = scope.spawn(|| {
                    Inside::watch(netns_of_next_start(&stage.lab, id)?, Some(target))?.wait()
                });
                stage.lab.docker(&["start", id])?;
                watch.join().map_err(|_| anyhow!("the watch panicked"))?
            })?;
            let ready = stage.ports.wait_ready([id.as_str()], PATIENCE)?;
            let started = event_of(&starts, id)?;
            if round > 0 {
                let ends = [seen.address, ready, seen.ping.context("no ping")?];
                for (line, end) in lines.iter_mut().zip(ends) {
                    competitor(line, number).add_between(started, end)?;
                }
            }
            stage.lab.docker(&["kill", id])?;
            if number == 2 {
                for port in stage.ports.names(id) {
                    stage.lab.vsctl(&["del-port", &port])?;
                }
            }
            stage.ports.wait_gone([id.as_str()], PATIENCE)?;
            stage.settle()?;
            stage.ports.forget();
        }
    }
    Ok(lines)
}

fn competitor(line: &mut Line, number: usize) -> &mut Sample {
    match number {
        0 => &mut line.ours,
        1 => &mut line.floor,
        _ => &mut line.peer,
    }
}

/// The start events and the engine's time of each.
fn starts(docker: &Path) -> Result<Receiver<(String, SystemTime)>> {
    let mut events = Connection::open(docker)?;
    let filters = encoded(r#"{"event":["start"]}"#);
    events.stream(&format!("/v1.41/events?filters={filters}"))?;
    let (sender, starts) = channel();
    thread::spawn(move || -> Result<()> {
        while let Some(text) = events.chunk()? {
            let event: Value = serde_json::from_slice(&text)?;
            let id = event.get("id").and_then(Value::as_str).context("no id")?;
            let time = event.get("timeNano").and_then(Value::as_u64).context("no time")?;
            sender.send((id.to_owned(), UNIX_EPOCH + Duration::from_nanos(time)))?;
        }
        Ok(())
    });
    Ok(starts)
}

fn event_of(starts: &Receiver<(String, SystemTime)>, id: &str) -> Result<SystemTime> {
    loop {
        let (of, time) = starts.recv_timeout(PATIENCE).context("no start event")?;
        if of == id {
            return Ok(time);
        }
    }
}
