//! Each fault under each load, as a table.

use std::time::Duration;

use anyhow::Result;
use lab::Lab;

use crate::cell::{self, Load};
use crate::check::CONVERGENCE;
use crate::faults::Fault;
use crate::world::World;

/// Containers that are there all the time and ping, besides the one that they ping.
const STANDING: usize = 20;

/// How thorough.
pub(crate) struct Form {
    /// Containers that a burst starts or removes.
    pub(crate) burst: usize,
    /// How long the daemon is stopped by SIGSTOP.
    pub(crate) pause: Duration,
    every_boundary: bool,
    /// What the faults' names contain.
    pub(crate) only: String,
}

impl Form {
    pub(crate) fn short() -> Self {
        Self { burst: 4, pause: Duration::from_secs(3), every_boundary: false, only: String::new() }
    }

    pub(crate) fn full() -> Self {
        Self {
            burst: 12,
            pause: Duration::from_secs(10),
            every_boundary: true,
            only: String::new(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        fault.name().contains(&self.only)
    }

    /// Where the daemon is killed, up to the first that is not reached.
    pub(crate) fn boundaries(&self, load: Load) -> Vec<u32> {
        match load {
            _ if self.every_boundary => (1..200).collect(),
            Load::Detach => vec![1, 3, 5],
            _ => vec![1, 5, 9],
        }
    }
}

/// How many cells passed and failed.
pub(crate) fn run(form: &Form) -> Result<(usize, usize)> {
    let (standing, seconds) = (STANDING, CONVERGENCE.as_secs());
    println!("fault matrix: {standing} pinging containers, bursts of {}.", form.burst);
    println!("After each fault all must be right within {seconds} s; a cell is the time that it");
    println!("took, counted from the fault's end, and the packets that the {standing} lost.\n");
    println!("{:26}{:20}{:20}detach burst", "", "idle", "attach burst");
    let mut world = start()?;
    let (mut passed, mut failures) = (0, Vec::new());
    for fault in Fault::ALL.into_iter().filter(|fault| form.has(*fault)) {
        let mut row = format!("{:26}", fault.name());
        for load in [Load::Idle, Load::Attach, Load::Detach] {
            let cell = match cell::run(&mut world, fault, load, form) {
                Ok(outcome) => {
                    passed += 1;
                    format!("{:.1} s, {} lost", outcome.converged.as_secs_f64(), outcome.lost)
                }
                Err(error) => {
                    let said = world.said();
                    let lines: Vec<_> = said.lines().collect();
                    let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
                    let tail = tail.join("\n");
                    let name = fault.name();
                    // At once, too: a run that is cut short must not keep it to itself.
                    eprintln!("{name}, {load:?}: {error:#}");
                    failures.push(format!("{name}, {load:?}: {error:#}\n{tail}"));
                    // What is left of the world says nothing about the next fault.
                    drop(world);
                    world = start()?;
                    "FAILED".to_owned()
                }
            };
            row += &format!("{cell:20}");
        }
        println!("{}", row.trim_end());
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    println!();
    Ok((passed, failures.len()))
}

/// The world with its standing containers.
fn start() -> Result<World> {
    let lab = Lab::builder().dockerd_arg("--live-restore").database_size("4m");
    let mut world = World::start(lab)?;
    world.stand(STANDING)?;
    Ok(world)
}
