//! Containers that come and go, five a second each, beside many that stay.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use lab::Daemon;

use super::Scale;
use crate::engine::StandIn;
use crate::measure::{Inside, Usage, netns_of};
use crate::report::Line;
use crate::stage::{LABEL, PATIENCE, Stage};
use crate::stats::Sample;

/// Between two starts, and between two stops.
const PAUSE: Duration = Duration::from_millis(200);

/// What one competitor came to.
struct Churned {
    address: Sample,
    ready: Sample,
    /// Processor time in percent of one: the competitor's, ovsdb-server's, ovs-vswitchd's.
    cpu: [f64; 3],
}

pub(super) fn run(scale: &Scale) -> Result<Vec<Line>> {
    let n = scale.churn_ports;
    let ours = churn(scale, Stage::ours)?;
    let floor = churn(scale, |stage| stage.floor(LABEL))?;
    let line = |case: &str, unit, value: &dyn Fn(&Churned) -> Option<f64>| {
        let mut line = Line::new(case, n, unit);
        line.ours = Sample::of(value(&ours).into_iter().collect());
        line.floor = Sample::of(value(&floor).into_iter().collect());
        line
    };
    Ok(vec![
        line("churn: start event to address, p50", "ms", &|of| of.address.quantile(0.5)),
        line("churn: start event to address, p99", "ms", &|of| of.address.quantile(0.99)),
        line("churn: start event to ready, p50", "ms", &|of| of.ready.quantile(0.5)),
        line("churn: start event to ready, p99", "ms", &|of| of.ready.quantile(0.99)),
        line("churn: CPU of the competitor", "%", &|of| Some(of.cpu[0])),
        line("churn: CPU of ovsdb-server", "%", &|of| Some(of.cpu[1])),
        line("churn: CPU of ovs-vswitchd", "%", &|of| Some(of.cpu[2])),
    ])
}

fn churn(scale: &Scale, start: impl FnOnce(&Stage) -> Result<Daemon>) -> Result<Churned> {
    let stage = Stage::stand_ins()?;
    let engine = stage.engine()?;
    let count = usize::try_from(scale.churn.as_millis() / PAUSE.as_millis())?;
    let standing = engine.create(scale.churn_ports, LABEL)?;
    let coming = engine.create(count, LABEL)?;
    engine.let_run(&standing)?;
    let competitor = start(&stage)?;
    stage.ports.wait_ready(standing.iter().map(|stand_in| stand_in.id.as_str()), PATIENCE)?;
    stage.settle()?;

    let (server, vswitchd) = stage.switch()?;
    let processes = [competitor.pid(), server, vswitchd];
    let usage = || processes.map(|pid| Usage::of(pid).map(|usage| usage.cpu));
    let (began, before) = (Instant::now(), usage());
    let mut going: VecDeque<StandIn> = standing.into();
    let mut watches = Vec::new();
    for (number, stand_in) in (0_u32..).zip(&coming) {
        thread::sleep((PAUSE * number).saturating_sub(began.elapsed()));
        let watch = Inside::watch(netns_of(&stage.lab, stand_in.pid)?, None)?;
        let started = engine.start_all(std::slice::from_ref(stand_in))?;
        let started = started.first().context("no start")?;
        watches.push((stand_in, UNIX_EPOCH + Duration::from_nanos(*started), watch));
        if let Some(oldest) = going.pop_front() {
            engine.stop_all(&[oldest])?;
        }
        going.push_back(stand_in.clone());
    }
    let (mut address, mut ready) = (Sample::default(), Sample::default());
    let mut last = SystemTime::UNIX_EPOCH;
    for (stand_in, started, watch) in watches {
        address.add_between(started, watch.wait()?.address)?;
        let time = stage.ports.wait_ready([stand_in.id.as_str()], PATIENCE)?;
        ready.add_between(started, time)?;
        last = last.max(time);
    }
    let (lasted, after) = (began.elapsed(), usage());
    let mut cpu = [0.0; 3];
    for ((cpu, before), after) in cpu.iter_mut().zip(before).zip(after) {
        *cpu = 100.0 * (after? - before?).as_secs_f64() / lasted.as_secs_f64();
    }
    Ok(Churned { address, ready, cpu })
}
