//! A lab works, stands beside others, and serves fault tests. Needs root.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Lab, Signal, WWW_TEXT, ended_by, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_lab_runs_containers_and_a_switch() -> Result<()> {
    let start = Instant::now();
    let lab = Lab::start()?;
    eprintln!("the lab was up after {:?}", start.elapsed());

    lab.vsctl(&["add-br", "ovsbr0", "--", "set", "Bridge", "ovsbr0", "datapath_type=netdev"])?;
    assert_eq!(lab.vsctl(&["list-br"])?, "ovsbr0");
    assert!(lab.run("ovs-ofctl", &["show", "ovsbr0"])?.contains("LOCAL(ovsbr0)"));
    let links = lab.ip_json(&["link", "show", "dev", "ovsbr0"])?;
    assert_eq!(links[0]["ifname"], "ovsbr0");

    let id = lab.run_container("web", &[("role", "server"), ("text", "with a space")])?;
    assert_eq!(id.len(), 64);
    let text = lab.docker(&["inspect", "--format={{.Config.Labels.text}}", "web"])?;
    assert_eq!(text, "with a space");
    assert_eq!(lab.exec("web", &["cat", "/www/index.html"])?, WWW_TEXT);
    let links = lab.container_ip_json("web", &["link"])?;
    assert_eq!(links.as_array().map(Vec::len), Some(1), "only lo in {links}");

    let start = Instant::now();
    lab.docker(&["stop", "web"])?;
    assert!(start.elapsed() < Duration::from_secs(5), "containers stop at once");
    Ok(())
}

#[test]
fn two_labs_at_once_do_not_see_each_other() -> Result<()> {
    let labs = std::thread::scope(|scope| {
        let starts = [scope.spawn(Lab::start), scope.spawn(Lab::start)];
        starts.map(|start| start.join().unwrap())
    });
    let [one, two] = labs;
    let (one, two) = (one?, two?);
    for (lab, name) in [(&one, "one"), (&two, "two")] {
        lab.run_container(name, &[])?;
        lab.vsctl(&["add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev"])?;
    }
    for (lab, name) in [(&one, "one"), (&two, "two")] {
        assert_eq!(lab.docker(&["ps", "--format={{.Names}}"])?, name);
        assert_eq!(lab.vsctl(&["list-br"])?, name);
    }
    Ok(())
}

#[test]
fn the_machine_stays_as_it_is() -> Result<()> {
    let links = || -> Result<String> {
        let output = std::process::Command::new("ip").args(["-j", "link"]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let before = links()?;
    let lab = Lab::start()?;
    lab.vsctl(&["add-br", "ovsbr0", "--", "set", "Bridge", "ovsbr0", "datapath_type=netdev"])?;
    lab.run_container("web", &[])?;
    assert_eq!(links()?, before, "while the lab runs");
    let folder = lab.path().to_owned();
    drop(lab);
    assert_eq!(links()?, before, "after the lab");
    assert!(!folder.exists());
    Ok(())
}

#[test]
fn services_can_be_stopped_killed_and_started_again() -> Result<()> {
    let lab = Lab::builder().dockerd_arg("--live-restore").start()?;
    lab.run_container("web", &[])?;
    lab.vsctl(&["add-br", "ovsbr0", "--", "set", "Bridge", "ovsbr0", "datapath_type=netdev"])?;
    for service in [lab.ovsdb_server(), lab.vswitchd(), lab.dockerd()] {
        let first = service.pid().context("a pid")?;
        service.restart()?;
        let second = service.pid().context("a pid")?;
        assert_ne!(first, second);
        service.kill9()?;
        assert_eq!(service.pid(), None);
        assert!(service.stop().is_err(), "it does not run");
        service.start()?;
        assert!(service.start().is_err(), "it runs already");
    }
    assert_eq!(lab.vsctl(&["list-br"])?, "ovsbr0");
    assert_eq!(lab.exec("web", &["echo", "alive"])?, "alive");
    Ok(())
}

#[test]
fn a_stopped_service_can_be_ended() -> Result<()> {
    let lab = Lab::builder().without_docker().start()?;
    lab.vswitchd().signal(Signal::STOP)?;
    lab.vswitchd().kill9()?;
    lab.vswitchd().start()?;
    lab.ovsdb_server().signal(Signal::STOP)?;
    lab.ovsdb_server().signal(Signal::CONT)?;
    lab.vsctl(&["show"])?;
    Ok(())
}

#[test]
fn a_daemon_gets_signals_itself_and_its_log_is_kept() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let script = "trap 'echo got it; exit 7' TERM; echo $GREETING; echo err >&2; \
                  while :; do read -r _ </dev/zero & wait; done";
    let daemon = lab.spawn(Path::new("sh"), &["-c", script], &[("GREETING", "hello")])?;
    daemon.wait_log("hello", DEADLINE)?;
    daemon.wait_log("err", DEADLINE)?;
    let inside = daemon.pid_inside()?.to_string();
    assert_eq!(lab.run("cat", &[&format!("/proc/{inside}/comm")])?, "sh");
    daemon.signal(Signal::TERM)?;
    assert_eq!(daemon.wait_exit(DEADLINE)?.code(), Some(7));
    assert!(daemon.log().ends_with("got it\n"), "{}", daemon.log());
    assert!(daemon.signal(Signal::TERM).is_err(), "it has ended");

    let daemon = lab.spawn(Path::new("sleep"), &["1000"], &[])?;
    daemon.kill9()?;
    assert!(ended_by(daemon.wait_exit(DEADLINE)?, Signal::KILL));

    let daemon = lab.spawn(Path::new("/does/not/exist"), &[], &[])?;
    let error = daemon.wait_log("ready", DEADLINE).unwrap_err();
    assert!(format!("{error:#}").contains("No such file"), "{error:#}");
    Ok(())
}

#[test]
fn the_first_process_reaps_orphans() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    lab.run("sh", &["-c", "for i in 1 2 3; do (true & exec sleep 0.01) & done; exit 0"])?;
    wait_for("no zombie in the lab", DEADLINE, || {
        // A process may end between the listing of the folder and the opening of its file.
        let states = lab.run("sh", &["-c", "cat /proc/[0-9]*/stat 2>/dev/null; true"])?;
        let zombies: Vec<_> = states.lines().filter(|line| line.contains(") Z ")).collect();
        anyhow::ensure!(zombies.is_empty(), "{zombies:?}");
        Ok(Some(()))
    })
}

#[test]
fn a_daemon_may_outlive_its_lab() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let daemon = lab.spawn(Path::new("sleep"), &["1000"], &[])?;
    drop(lab);
    assert!(!daemon.is_running()?);
    Ok(())
}

#[test]
fn a_failed_command_shows_everything() -> Result<()> {
    let lab = Lab::builder().without_docker().without_vswitchd().start()?;
    let error = lab.run("sh", &["-c", "echo out; echo err >&2; exit 3"]).unwrap_err();
    let text = format!("{error:#}");
    for part in
        ["sh -c 'echo out; echo err >&2; exit 3'", "exit status: 3", "stdout: out", "stderr: err"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    Ok(())
}

#[test]
fn a_wait_says_what_it_waited_for_and_the_last_state() {
    let error = wait_for::<()>("the moon", Duration::from_millis(5), || anyhow::bail!("it is new"));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("the moon") && text.contains("it is new"), "{text}");
}
