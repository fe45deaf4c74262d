//! Random containers and random faults for a while, the invariants checked after each. Run by `make soak`.
//!
//! `soak PROGRAM MINUTES [SEED]`. The seed is printed; the same seed makes the same choices again.

mod world;

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fastrand::Rng;

use world::World;

/// Containers that there are at most.
const CONTAINERS: usize = 12;

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let usage = "usage: soak PATH-OF-OVS-PORT-MANAGER MINUTES [SEED]";
    let program = args.next().context(usage)?;
    let program = Path::new(&program).canonicalize().context(program)?;
    let minutes: f64 = args.next().context(usage)?.parse().context(usage)?;
    let seed = match args.next() {
        Some(seed) => seed.parse().context(usage)?,
        None => fastrand::u64(..),
    };
    println!("seed {seed}");

    let mut random = Rng::with_seed(seed);
    let mut world = World::start(&program)?;
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
    match (random.u32(0..8), chosen) {
        (0..=2, _) if containers.len() < CONTAINERS => world.run(random.bool().then_some("7")),
        (3, _) if containers.len() < CONTAINERS => world.run_mistaken(),
        (4, Some(name)) => world.docker(&["restart", "-t", "0", &name]),
        (5, Some(name)) => world.docker(&["kill", &name]).or(Ok(())),
        (6, Some(name)) => world.docker(&["start", &name]),
        (_, Some(name)) => world.remove(&name),
        (_, None) => world.run(None),
    }
}

fn fault(world: &mut World, random: &mut Rng) -> Result<()> {
    match random.u32(0..9) {
        0 => world.kill_daemon(),
        1 => world.restart_daemon(),
        2 => world.pause_daemon(),
        3 => world.kill_ovsdb(),
        4 => world.kill_vswitchd(),
        5 => world.restart_docker(),
        6 => world.delete_a_port(random),
        7 => world.delete_a_link(random),
        _ => world.flush_an_interface(random),
    }
}
