//! The namespaces of one lab: made, entered, and gone with their owner.
//!
//! Outermost is a shell (`supervise.sh`) that runs `unshare` and clears the lab's folder and
//! cgroups away once all is dead. Inside, `init.sh` is process 1 of the PID namespace. Both live
//! on a pipe that only the owner holds.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::search_path;
use crate::daemon::{Daemon, Process, tail};
use crate::folder::{self, Folder};
use crate::wait::wait_for;

/// The script of the process that outlives the lab.
pub(crate) const SUPERVISE: &str = include_str!("supervise.sh");
/// The script of the lab's first process.
const INIT: &str = include_str!("init.sh");
/// How long the namespaces may take to come up.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// How long a lab may take to die and to be cleared away.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// The namespaces (network, mount, PID) and the folder of one lab.
#[derive(Debug)]
pub(crate) struct Namespaces {
    folder: PathBuf,
    /// The init process, as seen from outside.
    init: u32,
    supervisor: Mutex<Child>,
    /// Locked as long as anything of the lab lives; see `folder.rs`.
    _alive: File,
    env: Vec<(&'static str, String)>,
    spawned: Mutex<Vec<Weak<Process>>>,
    spawn_count: AtomicU32,
}

impl Namespaces {
    /// Makes the folder and the namespaces and waits until they can be entered.
    pub(crate) fn start(env: impl FnOnce(&Path) -> Vec<(&'static str, String)>) -> Result<Self> {
        let Folder { path, mut alive } = folder::create()?;
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "lab", "run"])
            .arg(&path)
            .args([folder::cgroup(&path)?.as_str(), INIT])
            .env("PATH", search_path())
            .current_dir("/")
            // Its own group: an interrupt from the terminal ends the owner, and so the lab in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(alive.try_clone()?)
            .spawn()
            .context("cannot start sh")?;
        let started = wait_for("the lab's namespaces", START_DEADLINE, || {
            if let Ok(pid) = fs::read_to_string(path.join("init")) {
                return Ok(Some(pid.trim().parse().context("the init process's number")));
            }
            let ended = supervisor.try_wait()?;
            Ok(ended.map(|status| Err(anyhow!("the lab's supervisor ended ({status})"))))
        });
        let init = match started.and_then(|started| started) {
            Ok(init) => init,
            Err(error) => {
                drop(supervisor.stdin.take());
                let _ = supervisor.wait();
                let mut log = String::new();
                alive.rewind()?;
                alive.read_to_string(&mut log)?;
                return Err(error.context(format!("cannot make namespaces: {}", log.trim_end())));
            }
        };
        Ok(Namespaces {
            env: env(&path),
            folder: path,
            init,
            supervisor: Mutex::new(supervisor),
            _alive: alive,
            spawned: Mutex::default(),
            spawn_count: AtomicU32::new(0),
        })
    }

    /// The lab's folder, the same path inside and outside.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lab's cgroup below the root of every hierarchy.
    pub(crate) fn cgroup(&self) -> Result<String> {
        folder::cgroup(&self.folder)
    }

    /// The init process, as seen from outside.
    pub(crate) fn init_pid(&self) -> u32 {
        self.init
    }

    /// A command inside the namespaces. It is a child of an `nsenter` that passes on its status.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.nsenter(&["--pid"]);
        command.arg("--").arg(program);
        command
    }

    /// Starts a long-running process inside the namespaces; its log gets the given name.
    pub(crate) fn spawn(
        &self,
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Daemon> {
        let number = self.spawn_count.fetch_add(1, Ordering::Relaxed) + 1;
        let log = self.log_folder().join(format!("{name}-{number}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        // No --pid here: nsenter would have to fork, and signals would hit nsenter.
        let mut command = self.nsenter(&[]);
        command
            .arg("--")
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child =
            self.spawn_in_pid_namespace(command).with_context(|| format!("cannot start {name}"))?;
        let process = Arc::new(Process::new(name.to_owned(), log, child));
        self.spawned.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&process));
        Ok(Daemon::new(process))
    }

    /// The folder of all logs.
    pub(crate) fn log_folder(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The ends of all logs, for a test that fails.
    pub(crate) fn log_tails(&self) -> String {
        let mut logs: Vec<PathBuf> = fs::read_dir(self.log_folder())
            .map(|files| files.flatten().map(|file| file.path()).collect())
            .unwrap_or_default();
        logs.sort();
        logs.iter()
            .map(|log| {
                let text = fs::read(log).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                format!("==> {} <==\n{}\n", log.display(), tail(text.trim_end(), 40))
            })
            .collect()
    }

    fn nsenter(&self, more: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .args(["--net", "--mount"])
            .args(more)
            .env("PATH", search_path())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a process as a direct child in the lab's PID namespace. `setns` with a PID namespace
    /// only concerns the later children of the thread that calls it (`pid_namespaces(7)`), so a
    /// thread of its own does it.
    fn spawn_in_pid_namespace(&self, mut command: Command) -> Result<Child> {
        let namespace = File::open(format!("/proc/{}/ns/pid", self.init))
            .context("the lab's init process is gone")?;
        let thread = thread::spawn(move || -> Result<Child> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))
                .context("cannot enter the lab's PID namespace")?;
            Ok(command.spawn()?)
        });
        thread.join().map_err(|_| anyhow!("the starting thread panicked"))?
    }

    /// Ends everything and waits until it is cleared away.
    fn end(&self) -> Result<()> {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        drop(supervisor.stdin.take());
        let spawned = self.spawned.lock().unwrap_or_else(PoisonError::into_inner);
        for process in spawned.iter().filter_map(Weak::upgrade) {
            process.kill()?;
        }
        wait_for("the end of the lab", END_DEADLINE, || Ok(supervisor.try_wait()?))?;
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log_tails());
        }
        if let Err(error) = self.end() {
            eprintln!("lab {}: {error:#}", self.folder.display());
        }
    }
}
