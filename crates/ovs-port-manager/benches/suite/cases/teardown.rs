//! Containers that all stop at once, until no row and no link of theirs is left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lab::Daemon;

use super::Scale;
use crate::measure::LinkWatch;
use crate::report::Line;
use crate::stage::{LABEL, PATIENCE, Stage};
use crate::stats::Sample;

pub(super) fn run(scale: &Scale) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (count, rounds) in &scale.bursts {
        let mut rows = Line::new("teardown: all stopped to no row left", *count, "ms");
        let mut links = Line::new("teardown: all stopped to no link left", *count, "ms");
        let stage = Stage::stand_ins()?;
        for _ in 0..rounds.div_ceil(2) {
            one(&stage, *count, Stage::ours, &mut rows.ours, &mut links.ours)?;
            one(&stage, *count, |stage| stage.floor(LABEL), &mut rows.floor, &mut links.floor)?;
        }
        lines.extend([rows, links]);
    }
    Ok(lines)
}

fn one(
    stage: &Stage,
    count: usize,
    start: impl FnOnce(&Stage) -> Result<Daemon>,
    rows: &mut Sample,
    links: &mut Sample,
) -> Result<()> {
    let engine = stage.engine()?;
    let watch = LinkWatch::start(&stage.lab)?;
    let made = engine.create(count, LABEL)?;
    engine.let_run(&made)?;
    let competitor = start(stage)?;
    let ids = || made.iter().map(|stand_in| stand_in.id.as_str());
    stage.ports.wait_ready(ids(), PATIENCE).with_context(|| competitor.log())?;
    stage.settle()?;
    let stopped = engine.stop_all(&made)?;
    let first = stopped.first().context("nothing stopped")?;
    let first: SystemTime = UNIX_EPOCH + Duration::from_nanos(*first);
    rows.add_between(first, stage.ports.wait_gone(ids(), PATIENCE)?)?;
    links.add_between(first, watch.wait_gone(PATIENCE)?)?;
    competitor.kill9()?;
    stage.clear()
}
