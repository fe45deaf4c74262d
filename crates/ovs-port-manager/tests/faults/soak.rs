//! Random containers and random faults for a while, the invariants checked after each. Run by `make soak`.
//! The seed is printed; the same seed makes the same choices again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fastrand::Rng;
use lab::Lab;

use crate::check::CONVERGENCE;
use crate::world::World;

/// Containers that there are at most.
const CONTAINERS: usize = 12;

pub(crate) fn run(minutes: f64, seed: u64) -> Result<()> {
    println!("seed {seed}");

    let mut random = Rng::with_seed(seed);
    let mut world = World::start(Lab::builder().database_size("64m"))?;
    // Its size before it is up says nothing.
    world.daemon.wait_log("following Docker's events", CONVERGENCE)?;
    let (mut operations, mut faults) = (0_u32, 0_u32);
    let first = world.resources()?;
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    while Instant::now() < end {
        // Some churn, then, now and then, a fault in the middle of more.
        for _ in 0..random.u32(1..5) {
            churn(&mut world, &mut random)?;
            operations += 1;
        }
        if random.u32(0..3) == 0 {
            fault(&mut world, &mut random)?;
            faults += 1;
        }
        if let Err(violation) = world.check() {
            println!("{}", world.said());
            bail!("after {operations} operations and {faults} faults, seed {seed}: {violation:#}");
        }
    }
    println!("{operations} operations, {faults} faults, 0 violations");
    println!("at the start: {first}");
    println!("at the end:   {}", world.resources()?);
    Ok(())
}

fn churn(world: &mut World, random: &mut Rng) -> Result<()> {
    let containers = world.containers();
    let chosen = random.choice(&containers).cloned();
    match (random.u32(0..9), chosen) {
        (0..=2, _) if containers.len() < CONTAINERS => world.run(random.bool().then_some("7")),
        (3, _) if containers.len() < CONTAINERS => world.run_mistaken(),
        (8, _) if containers.len() < CONTAINERS => world.run_with_two(),
        (4, Some(name)) => world.docker(&["restart", "-t", "0", &name]),
        (5, Some(name)) => world.docker(&["kill", &name]).or(Ok(())),
        (6, Some(name)) => world.docker(&["start", &name]),
        (_, Some(name)) => world.remove(&name),
        (_, None) => world.run(None),
    }
}

fn fault(world: &mut World, random: &mut Rng) -> Result<()> {
    match random.u32(0..13) {
        0 => world.kill_daemon(),
        1 => world.restart_daemon(),
        2 => world.pause_daemon(),
        3 => world.kill_ovsdb(),
        4 => world.empty_database(),
        5 => world.kill_vswitchd(),
        6 => world.restart_docker(),
        7 => world.kill_docker(),
        8 => {
            world.proxy.cut();
            churn(world, random)
        }
        9 => {
            world.fill_disk()?;
            let outcome = (0..3).try_for_each(|_| churn(world, random));
            world.free_disk()?;
            outcome
        }
        10 => world.delete_a_port(random),
        11 => world.delete_a_link(random),
        _ => world.flush_an_interface(random),
    }
}
