//! The faults, each struck while a load is under way, and lifted again.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Signal, wait_for};

use crate::cell::{Burst, Load};
use crate::check::CONVERGENCE;
use crate::matrix::Form;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// At a boundary between two steps; without a load, at any time.
    DaemonKilled,
    DaemonStopped,
    DockerKilled,
    DockerRestarted,
    OvsdbKilled,
    OvsdbEmptied,
    VswitchdKilled,
    OvsAbsent,
    NetnsGone,
    EventsCut,
    DiskFull,
}

impl Fault {
    pub(crate) const ALL: [Fault; 11] = [
        Fault::DaemonKilled,
        Fault::DaemonStopped,
        Fault::DockerKilled,
        Fault::DockerRestarted,
        Fault::OvsdbKilled,
        Fault::OvsdbEmptied,
        Fault::VswitchdKilled,
        Fault::OvsAbsent,
        Fault::NetnsGone,
        Fault::EventsCut,
        Fault::DiskFull,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::DaemonKilled => "daemon SIGKILL",
            Fault::DaemonStopped => "daemon SIGSTOP",
            Fault::DockerKilled => "dockerd SIGKILL",
            Fault::DockerRestarted => "dockerd restart",
            Fault::OvsdbKilled => "ovsdb-server SIGKILL",
            Fault::OvsdbEmptied => "database emptied",
            Fault::VswitchdKilled => "ovs-vswitchd SIGKILL",
            Fault::OvsAbsent => "OVS down at daemon start",
            Fault::NetnsGone => "netns gone in mid-attach",
            Fault::EventsCut => "event stream cut",
            Fault::DiskFull => "database disk full",
        }
    }

    /// Whether Open vSwitch itself stops forwarding, so that packets have to be lost. ovs-vswitchd does
    /// not run its userspace datapath while it has no connection to its database.
    pub(crate) fn stops_forwarding(self) -> bool {
        match self {
            Fault::OvsdbKilled | Fault::OvsdbEmptied | Fault::VswitchdKilled | Fault::OvsAbsent => {
                true
            }
            Fault::DaemonKilled
            | Fault::DaemonStopped
            | Fault::DockerKilled
            | Fault::DockerRestarted
            | Fault::NetnsGone
            | Fault::EventsCut
            | Fault::DiskFull => false,
        }
    }

    /// Strikes while the burst is under way, and lifts the fault again.
    pub(crate) fn strike(self, world: &mut World, burst: &Burst, form: &Form) -> Result<()> {
        match self {
            Fault::DaemonKilled => world.kill_daemon(),
            Fault::DaemonStopped => during(burst, world, |world| {
                world.daemon.signal(Signal::STOP)?;
                thread::sleep(form.pause);
                world.daemon.signal(Signal::CONT)
            }),
            Fault::DockerKilled => during(burst, world, |world| world.kill_docker()),
            Fault::DockerRestarted => during(burst, world, |world| world.restart_docker()),
            Fault::OvsdbKilled => during(burst, world, |world| world.kill_ovsdb()),
            Fault::OvsdbEmptied => during(burst, world, World::empty_database),
            Fault::VswitchdKilled => during(burst, world, |world| world.kill_vswitchd()),
            Fault::OvsAbsent => ovs_absent(world, burst),
            Fault::NetnsGone => during(burst, world, |world| netns_gone(world, form)),
            Fault::EventsCut => during(burst, world, |world| {
                world.proxy.cut();
                Ok(())
            }),
            Fault::DiskFull => disk_full(world, burst),
        }
    }
}

/// Begins the burst, does something as soon as the daemon has heard of it, and lets it end.
fn during(
    burst: &Burst,
    world: &mut World,
    strike: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let load = burst.under_way(world)?;
    strike(world)?;
    load.wait()
}

fn ovs_absent(world: &mut World, burst: &Burst) -> Result<()> {
    world.daemon.kill9()?;
    world.lab.vswitchd().stop()?;
    world.lab.ovsdb_server().stop()?;
    world.replace_daemon(&[])?;
    world.daemon.wait_log("waiting: no OVSDB socket", CONVERGENCE)?;
    burst.begin(world).wait()?;
    world.lab.ovsdb_server().start()?;
    world.lab.vswitchd().start()
}

/// The disk is all but full when the burst begins and full until it has ended.
fn disk_full(world: &World, burst: &Burst) -> Result<()> {
    world.fill_disk()?;
    burst.begin(world).wait()?;
    // More than the last page of the file may still have room for.
    let long = format!("external_ids:full={}", "x".repeat(32 << 10));
    let write = ["--no-wait", "set", "Open_vSwitch", ".", &long];
    let refused = world.lab.vsctl(&write).is_err();
    world.free_disk()?;
    ensure!(refused, "the full disk did not stop a write");
    Ok(())
}

/// Containers that end by themselves at once, and ones that are killed as soon as they are started.
fn netns_gone(world: &mut World, form: &Form) -> Result<()> {
    for number in 0..form.burst {
        let ends = number % 2 == 0;
        let name = world.create(None, if ends { &["true"] } else { &[] })?;
        world.docker(&["start", &name])?;
        if ends {
            continue;
        }
        let pid = world.lab.container_pid(&name)?.to_string();
        world.lab.run("kill", &["-9", &pid])?;
    }
    wait_for("their ends", CONVERGENCE, || {
        let ids = world.lab.docker(&["ps", "-q", "--filter", "status=exited"])?;
        Ok((ids.lines().count() >= form.burst).then_some(()))
    })
}

/// Kills the daemon at a boundary of the burst's steps; whether it was reached.
pub(crate) fn kill_at(world: &mut World, boundary: u32, burst: &Burst) -> Result<bool> {
    world.daemon.kill9()?;
    world.replace_daemon(&[("FAILPOINT", &boundary.to_string())])?;
    world.daemon.wait_log("looking at all labelled containers", CONVERGENCE)?;
    burst.begin(world).wait()?;
    let wanted = usize::from(burst.load == Load::Attach) * burst.names.len();
    let reached = wait_for("the burst's end or the daemon's", Duration::from_secs(60), || {
        if !world.daemon.is_running()? {
            return Ok(Some(true));
        }
        let done = world.our_ports()?.len() == world.standing + wanted;
        Ok((done && world.our_links()?.len() == world.standing + wanted).then_some(false))
    })
    .context("neither was seen")?;
    if !reached {
        world.daemon.kill9()?;
    }
    world.replace_daemon(&[])?;
    Ok(reached)
}
