//! Docker or OVSDB is there and does not answer, or answers with a failure.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};

use crate::filter::Filter;
use crate::stage::{self, PATIENCE, PROGRAM, ports_of, wait_gone, wait_ready};

/// A daemon that looks at everything each second.
fn start() -> Result<(Lab, Daemon)> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "-v", "--resync-interval=1", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    daemon.wait_log("looking at all labelled containers", PATIENCE)?;
    Ok((lab, daemon))
}

#[test]
fn a_docker_that_does_not_answer_is_not_one_without_containers() -> Result<()> {
    let (lab, daemon) = start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let dies = lab.run_container("dies", &[("ovs.ip_address", "10.0.0.3/24")])?;
    let kept = [wait_ready(&lab, &one)?, wait_ready(&lab, &two)?];
    wait_ready(&lab, &dies)?;
    let dying = lab.container_pid("dies")?.to_string();
    let pinging = lab.container_pid("one")?.to_string();
    // Not by `docker exec`, which waits for dockerd.
    let ping = ["--target", &pinging, "--net", "busybox", "ping", "-i", "0.05", "10.0.0.2"];
    let pings = lab.spawn("nsenter".as_ref(), &ping, &[])?;

    lab.dockerd().signal(Signal::STOP)?;
    lab.run("kill", &["-9", &dying])?;
    daemon.wait_log("cannot look at everything: Docker", PATIENCE)?;
    ensure!([ports_of(&lab, &one)?, ports_of(&lab, &two)?].concat() == kept);
    ensure!(daemon.log().matches("cannot look at everything").count() == 1, "{}", daemon.log());

    lab.dockerd().signal(Signal::CONT)?;
    wait_gone(&lab, &dies)?;
    ensure!([ports_of(&lab, &one)?, ports_of(&lab, &two)?].concat() == kept);
    stage::ping(&lab, "one", "10.0.0.2")?;
    let answered: Vec<_> = pings.log().lines().filter_map(sequence).collect();
    ensure!(answered.len() > 50 && answered.iter().copied().eq(0..answered.len()), "{answered:?}");
    Ok(())
}

/// The number of an answered request, from 0.
fn sequence(line: &str) -> Option<usize> {
    line.split_once("seq=")?.1.split_once(' ')?.0.parse().ok()
}

#[test]
fn sigterm_ends_it_within_five_seconds_though_nobody_answers() -> Result<()> {
    let (lab, daemon) = start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let kept = wait_ready(&lab, &one)?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &two)?;
    let pid = lab.container_pid("two")?.to_string();

    lab.dockerd().signal(Signal::STOP)?;
    lab.ovsdb_server().signal(Signal::STOP)?;
    // Its interface goes with it, and the daemon wants to know what Docker says of it.
    let said = daemon.log().len();
    lab.run("kill", &["-9", &pid])?;
    daemon.signal(Signal::TERM)?;
    let status = daemon.wait_exit(Duration::from_secs(5))?;
    ensure!(status.success(), "{status}");
    let log = daemon.log();
    let last = log.get(said..).unwrap_or_default();
    ensure!(last.contains("the ports of running containers stay"), "{last}");

    lab.ovsdb_server().signal(Signal::CONT)?;
    lab.dockerd().signal(Signal::CONT)?;
    ensure!(ports_of(&lab, &one)? == [kept]);
    Ok(())
}

/// The socket of a Docker that answers everything with this failure, or lets everything pass.
fn failing(lab: &Lab, rules: &[(&'static str, &'static str, &'static str)]) -> Result<Filter> {
    Filter::start(lab.path().join("filter.sock"), &lab.docker_endpoint(), rules)
}

#[test]
fn an_inspection_that_fails_tells_the_name_that_the_event_has() -> Result<()> {
    let lab = Lab::start()?;
    let filter = failing(&lab, &[])?;
    let daemon = stage::start_daemon_before(&lab, &filter.endpoint(), &[])?;
    daemon.wait_log("looking at all labelled containers", PATIENCE)?;
    filter.set(&[("/json", "500 Internal Server Error", r#"{"message":"out of order"}"#)]);
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    daemon.wait_log("out of order", PATIENCE)?;
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains("out of order")).unwrap_or_default();
    ensure!(told.contains("name=\"web\""), "{told}");
    filter.set(&[]);
    wait_ready(&lab, &id)?;
    Ok(())
}

#[test]
fn a_failure_at_the_start_whose_text_changes_is_told_once() -> Result<()> {
    const TEXTS: [&str; 3] = [
        r#"{"message":"no row 5a0c5c4e-3f6b-4f0e-9a57-2b1d6c1f0d11, process 77"}"#,
        r#"{"message":"no row 0e9f6a4e-1111-4f0e-9a57-2b1d6c1f0d12, process 78"}"#,
        r#"{"message":"no row 77777777-2222-4f0e-9a57-2b1d6c1f0d13, process 79"}"#,
    ];
    let lab = Lab::start()?;
    let filter = failing(&lab, &[("/", "500 Internal Server Error", TEXTS[0])])?;
    let (docker, ovsdb) = (filter.endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--wait-for-services", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    daemon.wait_log("no row 5a0c5c4e", PATIENCE)?;
    for text in TEXTS {
        filter.set(&[("/", "500 Internal Server Error", text)]);
        let before = filter.answered();
        // One of these may have begun before; each try takes one at least.
        wait_for("further tries", PATIENCE, || {
            ensure!(
                filter.answered() > before + 4,
                "{}\n{}",
                filter.answered() - before,
                daemon.log()
            );
            Ok(Some(()))
        })?;
    }
    ensure!(daemon.log().matches("waiting:").count() == 1, "{}", daemon.log());
    filter.set(&[]);
    daemon.wait_log("following Docker's events", PATIENCE)
}
