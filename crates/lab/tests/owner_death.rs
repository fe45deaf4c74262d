//! Whatever happens to its owner, a lab leaves nothing behind. Needs root.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};

const DEADLINE: Duration = Duration::from_secs(30);
/// What the line of the owner begins with that says which lab it has.
const MARK: &str = "LAB ";

/// Not a test by itself: the owner of a lab, run as a process of its own by the tests below.
#[test]
#[ignore = "run by the other tests"]
fn owner() -> Result<()> {
    let lab = Lab::start()?;
    lab.run_container("web", &[])?;
    let _daemon = lab.spawn(Path::new("sleep"), &["1000"], &[])?;
    println!("\n{MARK}{} {} {}", lab.path().display(), lab.cgroup()?, lab.init_pid());
    let mut word = String::new();
    std::io::stdin().read_to_string(&mut word)?;
    assert_ne!(word, "panic", "as the test wishes");
    Ok(())
}

struct Owner {
    process: Child,
    folder: PathBuf,
    cgroup: String,
    init: u32,
}

impl Owner {
    fn start() -> Result<Owner> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--exact", "owner", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("a pipe")?;
        let mut line = None;
        for read in BufReader::new(stdout).lines() {
            let read = read?;
            if let Some(rest) = read.strip_prefix(MARK) {
                line = Some(rest.to_owned());
                break;
            }
        }
        let line = line.context("the owner ended without a lab")?;
        let mut words = line.split(' ');
        let mut word = || words.next().map(str::to_owned).context("a word");
        Ok(Owner { process, folder: word()?.into(), cgroup: word()?, init: word()?.parse()? })
    }
}

/// All processes of the lab: in its namespaces, in its containers, and those that hold it.
/// Each with its start time, because a number may soon be in use again.
fn processes(folder: &Path, init: u32) -> Result<HashMap<u32, String>> {
    let namespace = fs::read_link(format!("/proc/{init}/ns/mnt"))?;
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let inside = fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|ns| ns == namespace);
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let named = String::from_utf8_lossy(&command).contains(&*folder.to_string_lossy());
        if (inside || named || cgroup.contains(lab_name(folder)))
            && let Some((_, start)) = state_and_start(pid)
        {
            found.insert(pid, start);
        }
    }
    Ok(found)
}

/// A zombie counts as ended: it only waits for its parent, and has closed its files.
fn ensure_ended(processes: &HashMap<u32, String>) -> Result<()> {
    for (pid, start) in processes {
        if let Some((state, start_now)) = state_and_start(*pid) {
            let ended = start_now != *start || ["Z", "X"].contains(&state.as_str());
            ensure!(ended, "process {pid} is there, in state {state}");
        }
    }
    Ok(())
}

/// Two fields of `/proc/PID/stat`, counted from behind the command's name in brackets.
fn state_and_start(pid: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.nth(18)?))
}

fn lab_name(folder: &Path) -> &str {
    folder.file_name().and_then(|name| name.to_str()).unwrap_or("?")
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut tops = vec![PathBuf::from("/sys/fs/cgroup")];
    tops.extend(fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path()));
    tops.into_iter().map(|top| top.join(name)).filter(|path| path.exists()).collect()
}

/// Ends the owner in some way and checks that all traces of its lab vanish.
fn check(end: impl FnOnce(&mut Child) -> Result<()>) -> Result<()> {
    let mut owner = Owner::start()?;
    let before = wait_for("all processes of the lab", DEADLINE, || {
        let found = processes(&owner.folder, owner.init)?;
        // init, its cat, two of Open vSwitch, dockerd, containerd, a shim, the container, a daemon
        // and the supervisor with its unshare.
        ensure!(found.len() >= 11, "{found:?}");
        Ok(Some(found))
    })?;
    ensure!(!cgroups(&owner.cgroup).is_empty(), "the container has a cgroup");

    end(&mut owner.process)?;
    owner.process.wait()?;
    wait_for("all traces of the lab to vanish", DEADLINE, || {
        ensure_ended(&before)?;
        ensure!(!owner.folder.exists(), "the folder is there");
        let left = cgroups(&owner.cgroup);
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(lab_name(&owner.folder)), "{mounts}");
    Ok(())
}

#[test]
fn sigkill_of_the_owner_leaves_nothing() -> Result<()> {
    check(|owner| Ok(owner.kill()?))
}

#[test]
fn a_panic_of_the_owner_leaves_nothing_but_shows_the_logs() -> Result<()> {
    check(|owner| {
        let mut stderr = owner.stderr.take().context("a pipe")?;
        owner.stdin.take().context("a pipe")?.write_all(b"panic")?;
        let mut text = String::new();
        stderr.read_to_string(&mut text)?;
        for log in ["dockerd-", "ovsdb-server-", "ovs-vswitchd-"] {
            ensure!(text.contains(&format!("log/{log}")), "{log} in {text}");
        }
        Ok(())
    })
}

#[test]
fn the_next_lab_sweeps_what_a_killed_supervisor_left() -> Result<()> {
    let mut owner = Owner::start()?;
    let before = processes(&owner.folder, owner.init)?;
    let supervisor = supervisor_of(owner.init)?;
    let status = Command::new("kill").args(["-9", &supervisor.to_string()]).status()?;
    ensure!(status.success());
    owner.process.kill()?;
    owner.process.wait()?;
    wait_for("the processes of the lab to end", DEADLINE, || ensure_ended(&before).map(Some))?;
    // Another test's lab may have started in between, and have swept already.
    let _next = Lab::builder().without_docker().without_vswitchd().start()?;
    ensure!(!owner.folder.exists(), "the folder is there");
    ensure!(cgroups(&owner.cgroup).is_empty(), "the cgroups are there");
    Ok(())
}

/// The parent of the parent of the init process: the shell around `unshare`.
fn supervisor_of(init: u32) -> Result<u32> {
    let parent = |pid: u32| -> Result<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        Ok(line.context("PPid")?.trim().parse()?)
    };
    parent(parent(init)?)
}
