//! What the running daemon may do, as the kernel tells it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab};

use crate::stage::{self, PATIENCE, PROGRAM, ping, wait_ready};

/// `net_broadcast`, `net_admin`, `net_raw`, `sys_ptrace` and `sys_admin` (linux/capability.h).
const NEEDED: u64 = 1 << 11 | 1 << 12 | 1 << 13 | 1 << 19 | 1 << 21;
const DAC_OVERRIDE: u64 = 1 << 1;

/// A line of a thread's `status`.
fn line<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let found = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
    Ok(found.with_context(|| format!("no {name} in {status}"))?.trim())
}

/// The `status` of each of the daemon's threads.
fn threads(daemon: &Daemon) -> Result<Vec<String>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => threads.push(status),
            // One that had work to do may have ended by now.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(threads)
}

fn ensure_capabilities(daemon: &Daemon, expected: u64) -> Result<()> {
    let threads = threads(daemon)?;
    ensure!(threads.len() > 1, "the daemon has more than one thread");
    for status in threads {
        let set =
            |name: &str| -> Result<u64> { Ok(u64::from_str_radix(line(&status, name)?, 16)?) };
        for name in ["CapPrm", "CapEff", "CapBnd"] {
            let has = set(name)?;
            ensure!(has == expected, "{name} is {has:#x}, not {expected:#x}");
        }
        ensure!(set("CapInh")? == 0 && set("CapAmb")? == 0);
        ensure!(line(&status, "NoNewPrivs")? == "1");
    }
    Ok(())
}

#[test]
fn the_running_daemon_has_the_privileges_that_it_needs_and_no_other() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    // All kinds of work that a port takes, IPv6 included.
    let labels = |host: u32| format!("10.0.0.{host}/24,fd00::{host}/64");
    let one = lab.run_container("one", &[("ovs.ip_address", &labels(1))])?;
    let two = lab.run_container("two", &[("ovs.ip_address", &labels(2))])?;
    wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    ensure_capabilities(&daemon, NEEDED)?;
    lab::wait_for("a ping", PATIENCE, || Ok(ping(&lab, "one", "10.0.0.2").ok()))?;
    stage::reach(&lab, "one", "fd00::2")?;
    // An end that only the kernel tells: what is lost inside a container is put right.
    lab.run_in_netns_of("one", "ip", &["addr", "del", "10.0.0.1/24", "dev", "eth1"])?;
    lab::wait_for("the address to come back", PATIENCE, || {
        let addresses = stage::interface(&lab, "one", "eth1")?["addr_info"].to_string();
        Ok(addresses.contains("\"10.0.0.1\"").then_some(()))
    })
}

#[test]
fn the_daemon_has_no_file_open_for_writing_but_its_log() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let id = lab.run_container("one", &[("ovs.ip_address", "fd00::1/64")])?;
    wait_ready(&lab, &id)?;
    for entry in fs::read_dir(format!("/proc/{}/fd", daemon.pid()))? {
        let path = entry?.path();
        // Work that was under way may have closed it by now.
        let Ok(target) = fs::read_link(&path) else { continue };
        let Ok(info) = fs::read_to_string(path.to_string_lossy().replace("/fd/", "/fdinfo/"))
        else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).context("flags")?;
        let writes = u32::from_str_radix(flags.trim(), 8)? & 3 != 0;
        let is_file = fs::metadata(&path).is_ok_and(|meta| meta.is_file());
        // The lab has the kernel write down what the daemon prints; the path is one of outside.
        let is_log = target == daemon.log_path();
        ensure!(!(writes && is_file) || is_log, "open for writing: {}", target.display());
    }
    Ok(())
}

#[test]
fn a_socket_of_another_user_is_reached_with_one_privilege_more() -> Result<()> {
    let lab = Lab::start()?;
    let socket = lab.ovsdb_endpoint();
    let socket = Path::new(socket.strip_prefix("unix:").context("a path")?);
    chown(socket, Some(65534), Some(65534))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let args = ["run", "--docker", &lab.docker_endpoint(), "--ovsdb", &lab.ovsdb_endpoint()];
    let daemon = lab.spawn(Path::new(PROGRAM), &args, &[])?;
    daemon.wait_log("keeping the capability dac_override for this socket", PATIENCE)?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    ensure_capabilities(&daemon, NEEDED | DAC_OVERRIDE)
}
