//! A lab with Docker Compose in it, and the questions that the tests ask.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

/// More than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A file of the repository, by its path from the root.
pub(crate) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Runs `make` in the repository. It takes turns: what it makes lies in one folder.
pub(crate) fn make(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new("make");
    command.arg("-C").arg(shipped(".")).args(args).envs(env.iter().copied());
    // Of a make that runs the tests.
    let output = command.env_remove("MAKEFLAGS").output().context("cannot run make")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "make {args:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(())
}

/// Starts the daemon in a lab, and waits until it follows Docker's events.
pub(crate) fn start_daemon(lab: &Lab) -> Result<Daemon> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let program = Path::new(env!("CARGO_BIN_EXE_ovs-port-manager"));
    let daemon = lab.spawn(program, &["run", "--docker", &docker, "--ovsdb", &ovsdb], &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    Ok(daemon)
}

/// Runs Docker Compose on one project file, as the package or as the plug-in, whichever is there.
pub(crate) fn compose(lab: &Lab, file: &Path, args: &[&str]) -> Result<String> {
    let file = file.canonicalize().with_context(|| file.display().to_string())?;
    let file = file.to_str().context("a path in UTF-8")?;
    let all = [&["-f", file], args].concat();
    if has_program(lab) {
        lab.run("docker-compose", &all)
    } else {
        lab.run("docker", &[&["compose"], all.as_slice()].concat())
    }
}

/// Whether Docker Compose is a program of its own here.
pub(crate) fn has_program(lab: &Lab) -> bool {
    lab.run("sh", &["-c", "command -v docker-compose"]).is_ok()
}

/// The full id of the container of a service, or of the container of that name.
pub(crate) fn id_of(lab: &Lab, name: &str) -> Result<String> {
    lab.docker(&["inspect", "--format={{.Id}}", name])
}

/// Waits until a container has as many ports that forward.
pub(crate) fn wait_ports(lab: &Lab, id: &str, number: usize) -> Result<()> {
    let wanted = format!("external_ids:container_id={id}");
    wait_for(&format!("{number} ports that forward"), PATIENCE, || {
        let ports = lab.vsctl(&["--bare", "--columns=ofport", "find", "interface", &wanted])?;
        let ports: Vec<_> = ports.split_whitespace().collect();
        let forwarding = ports.iter().filter(|port| port.parse::<u32>().is_ok_and(|it| it > 0));
        ensure!(ports.len() == number && forwarding.count() == number, "ofports: {ports:?}");
        Ok(Some(()))
    })
}

/// Waits until no port of a container is left.
pub(crate) fn wait_gone(lab: &Lab, id: &str) -> Result<()> {
    wait_ports(lab, id, 0)
}

/// Waits until a ping from a container is answered.
pub(crate) fn reach(lab: &Lab, from: &str, to: &str) -> Result<()> {
    wait_for(&format!("{from} to reach {to}"), PATIENCE, || {
        Ok(lab.exec(from, &["ping", "-c", "1", "-W", "1", to]).ok())
    })?;
    Ok(())
}
