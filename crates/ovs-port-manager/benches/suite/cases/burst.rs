//! Containers that run already when a competitor starts, until all of them are ready.

use std::time::SystemTime;

use anyhow::{Context, Result};
use lab::{Daemon, IMAGE};

use super::Scale;
use crate::report::Line;
use crate::stage::{LABEL, PATIENCE, Stage};
use crate::stats::Sample;

/// Real containers.
const REAL: usize = 20;

pub(super) fn run(scale: &Scale) -> Result<Vec<Line>> {
    let mut lines = vec![real(scale.real_bursts)?];
    for (count, rounds) in &scale.bursts {
        lines.push(stand_ins(*count, *rounds)?);
    }
    Ok(lines)
}

fn real(rounds: usize) -> Result<Line> {
    let stage = Stage::real()?;
    let mut ids = Vec::new();
    for number in 0..REAL {
        let label = format!("{LABEL}=10.0.0.{}/8", number + 1);
        let run = ["run", "--detach", "--network=none", "--label", &label, IMAGE];
        ids.push(stage.lab.docker(&run)?);
    }
    let mut line = Line::new("burst: start to all ready, real Docker", REAL, "ms");
    for _ in 0..rounds {
        one(&stage, &ids, Stage::ours, &mut line.ours)?;
        one(&stage, &ids, |stage| stage.floor(LABEL), &mut line.floor)?;
        one(&stage, &ids, |stage| stage.peer("burst", LABEL), &mut line.peer)?;
    }
    Ok(line)
}

fn stand_ins(count: usize, rounds: usize) -> Result<Line> {
    let stage = Stage::stand_ins()?;
    let made = stage.engine()?.create(count, LABEL)?;
    stage.engine()?.let_run(&made)?;
    let ids: Vec<_> = made.into_iter().map(|stand_in| stand_in.id).collect();
    let mut line = Line::new("burst: start to all ready, stand-ins", count, "ms");
    for _ in 0..rounds {
        one(&stage, &ids, Stage::ours, &mut line.ours)?;
        one(&stage, &ids, |stage| stage.floor(LABEL), &mut line.floor)?;
    }
    Ok(line)
}

/// One burst of one competitor, and away with it.
fn one(
    stage: &Stage,
    ids: &[String],
    start: impl FnOnce(&Stage) -> Result<Daemon>,
    sample: &mut Sample,
) -> Result<()> {
    let began = SystemTime::now();
    let competitor = start(stage)?;
    let ready = stage.ports.wait_ready(ids.iter().map(String::as_str), PATIENCE);
    let ready = ready.with_context(|| competitor.log())?;
    sample.add_between(began, ready)?;
    competitor.kill9()?;
    stage.clear()
}
