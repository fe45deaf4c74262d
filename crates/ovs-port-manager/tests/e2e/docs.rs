//! The pages under `docs/` followed as a new user would: every command that they show, as it is printed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use lab::Lab;

use crate::stage::{self, PROGRAM};

/// The blocks of a page that are marked as commands, in their order.
fn blocks(page: &str) -> Vec<&str> {
    let (mut blocks, mut rest) = (Vec::new(), page);
    while let Some((_, after)) = rest.split_once("```sh\n") {
        let Some((block, after)) = after.split_once("```\n") else { break };
        blocks.push(block);
        rest = after;
    }
    blocks
}

/// Runs the commands of a page in a lab with the daemon in it.
fn follow(name: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let page = fs::read_to_string(path)?;
    let blocks = blocks(&page);
    ensure!(blocks.len() > 1, "{name} shows no commands");
    let (lab, daemon) = stage::start()?;
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["--may-exist", "add-br", "ovsbr0"], netdev.as_slice()].concat())?;
    let folder = lab.path().join("home");
    fs::create_dir(&folder)?;
    let installed = lab.path().join("installed");
    fs::create_dir(&installed)?;
    symlink(PROGRAM, installed.join("ovs-port-manager"))?;
    for block in blocks {
        let output = run(&lab, &folder, &installed, block)?;
        ensure!(
            output.status.success(),
            "{name}:\n{block}\n{}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            daemon.log()
        );
    }
    Ok(())
}

fn run(lab: &Lab, folder: &Path, installed: &Path, block: &str) -> Result<Output> {
    let mut command = lab.command("timeout");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["60", "sh", "-euc", &format!("cd {}\n{block}", folder.display())])
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", installed.display()))
        .env("OVS_PORT_MANAGER_DOCKER", lab.docker_endpoint())
        .env("OVS_PORT_MANAGER_OVSDB", lab.ovsdb_endpoint());
    command.output().context("cannot run sh")
}

#[test]
fn operations() -> Result<()> {
    follow("operations.md")
}

#[test]
fn configuration() -> Result<()> {
    follow("configuration.md")
}

#[test]
fn security() -> Result<()> {
    follow("security.md")
}

#[test]
fn migrating() -> Result<()> {
    follow("migrating.md")
}
