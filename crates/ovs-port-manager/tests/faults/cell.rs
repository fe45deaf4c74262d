//! One fault under one load: the world made ready, struck, looked at, and put back.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lab::{Lab, wait_for};

use crate::check::CONVERGENCE;
use crate::faults::{Fault, kill_at};
use crate::matrix::Form;
use crate::ping::Pings;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Idle,
    Attach,
    Detach,
}

/// The containers that a load starts or removes.
pub(crate) struct Burst {
    pub(crate) load: Load,
    pub(crate) names: Vec<String>,
}

/// A load under way.
pub(crate) struct UnderWay(JoinHandle<Result<()>>);

impl UnderWay {
    pub(crate) fn wait(self) -> Result<()> {
        self.0.join().map_err(|_| anyhow!("the load's thread panicked"))?
    }
}

impl Burst {
    fn prepare(world: &mut World, load: Load, count: usize) -> Result<Self> {
        let count = if load == Load::Idle { 0 } else { count };
        let names = (0..count).map(|_| world.create(None, &[])).collect::<Result<Vec<_>>>()?;
        if load == Load::Detach {
            start(&world.lab, &names)?;
        }
        Ok(Self { load, names })
    }

    pub(crate) fn begin(&self, world: &World) -> UnderWay {
        let (load, names, lab) = (self.load, self.names.clone(), Arc::clone(&world.lab));
        UnderWay(thread::spawn(move || match load {
            Load::Idle => Ok(()),
            Load::Attach => start(&lab, &names),
            Load::Detach => names.iter().try_for_each(|name| remove(&lab, name)),
        }))
    }

    /// Begins and waits until the daemon has heard of it.
    pub(crate) fn under_way(&self, world: &World) -> Result<UnderWay> {
        let said = world.daemon.log().len();
        let load = self.begin(world);
        if self.load != Load::Idle {
            wait_for("the daemon to take note", CONVERGENCE, || {
                Ok((world.daemon.log().len() > said).then_some(()))
            })?;
        }
        Ok(load)
    }
}

/// Starts containers, through a dockerd that may be away.
fn start(lab: &Lab, names: &[String]) -> Result<()> {
    names.iter().try_for_each(|name| {
        wait_for("a container to start", CONVERGENCE, || lab.docker(&["start", name]).map(Some))
            .map(drop)
    })
}

fn remove(lab: &Lab, name: &str) -> Result<()> {
    wait_for("a container to be removed", CONVERGENCE, || match lab.docker(&["rm", "-f", name]) {
        Err(error) if !error.to_string().contains("No such container") => Err(error),
        _ => Ok(Some(())),
    })
}

/// What a cell of the table shows.
pub(crate) struct Outcome {
    pub(crate) converged: Duration,
    pub(crate) lost: usize,
}

pub(crate) fn run(world: &mut World, fault: Fault, load: Load, form: &Form) -> Result<Outcome> {
    let mut outcome = Outcome { converged: Duration::ZERO, lost: 0 };
    if fault != Fault::DaemonKilled || load == Load::Idle {
        round(world, fault, load, form, None, &mut outcome)?;
        return Ok(outcome);
    }
    for boundary in form.boundaries(load) {
        let reached = round(world, fault, load, form, Some(boundary), &mut outcome)?;
        ensure!(reached || boundary > 1, "not even the first boundary was reached");
        if !reached {
            break;
        }
    }
    Ok(outcome)
}

/// Whether the boundary was reached, if there is one.
fn round(
    world: &mut World,
    fault: Fault,
    load: Load,
    form: &Form,
    boundary: Option<u32>,
    outcome: &mut Outcome,
) -> Result<bool> {
    let burst = Burst::prepare(world, load, form.burst)?;
    world.check()?;
    let pings = Pings::start(&world.lab, &world.pinging, world.peer)?;
    pings.wait_answers(3)?;
    let reached = match boundary {
        Some(boundary) => kill_at(world, boundary, &burst)?,
        None => {
            fault.strike(world, &burst, form)?;
            true
        }
    };
    let lifted = Instant::now();
    world.check()?;
    outcome.converged = outcome.converged.max(lifted.elapsed());
    if fault.stops_forwarding() {
        // A ping ends by itself when its interface goes.
        Pings::start(&world.lab, &world.pinging, world.peer)?.wait_answers(3)?;
        outcome.lost += pings.lost();
    } else {
        pings.wait_answers(3)?;
        let lost = pings.lost();
        ensure!(lost == 0, "{lost} packets lost");
    }
    drop(pings);
    world.clear()?;
    Ok(reached)
}
