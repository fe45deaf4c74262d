//! A long-running process inside a lab: its log, its signals, its end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for;

/// How long the kernel may take to end a process after SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A long-running process inside the lab. Dropping it kills it.
///
/// It is the process itself that gets the signals, no wrapper around it.
#[derive(Debug)]
pub struct Daemon {
    process: Arc<Process>,
}

impl Daemon {
    pub(crate) fn new(process: Arc<Process>) -> Daemon {
        Daemon { process }
    }

    /// Its process id as this process sees it.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Its process id inside the lab.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn pid_inside(&self) -> Result<u32> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()?.parse().ok())
            .with_context(|| format!("no NSpid in {path}: {} has ended", self.process.name))
    }

    /// The file with everything that it has printed, stdout and stderr together.
    pub fn log_path(&self) -> &Path {
        &self.process.log
    }

    /// Everything that it has printed so far, stdout and stderr together.
    pub fn log(&self) -> String {
        self.process.log_text()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    ///
    /// When the process does not end.
    pub fn kill9(&self) -> Result<()> {
        self.process.kill()
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    ///
    /// When the process cannot be waited for.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Waits for its end. The status has the exit code or the signal.
    ///
    /// # Errors
    ///
    /// When the deadline passes first. The error shows the end of the log.
    pub fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        let name = &self.process.name;
        wait_for(&format!("the end of {name}"), deadline, || self.process.try_wait())
            .with_context(|| self.process.log_tail())
    }

    /// Waits until its log contains a text.
    ///
    /// # Errors
    ///
    /// When the deadline passes or the process ends before. The error shows the end of the log.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        let name = &self.process.name;
        wait_for(&format!("{text:?} in the log of {name}"), deadline, || {
            // The order matters: what it printed before its end must be seen.
            let ended = self.process.try_wait()?;
            if self.log().contains(text) {
                return Ok(Some(Ok(())));
            }
            Ok(ended.map(|status| Err(anyhow!("{name} ended ({status}) and never said {text:?}"))))
        })
        .and_then(|found| found)
        .with_context(|| self.process.log_tail())
    }

    /// The last lines of its log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// The error for a wait that can't succeed any more because this process has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        match self.process.try_wait()? {
            Some(status) => bail!("{} ended ({status})", self.process.name),
            None => Ok(()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("lab: {error:#}");
        }
    }
}

/// The process behind a [`Daemon`], shared with the lab, which must reap it in time: a zombie
/// with its parent outside would keep the PID namespace from dying.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Process {
    pub(crate) fn new(name: String, log: PathBuf, child: Child) -> Process {
        Process { name, pid: child.id(), log, child: Mutex::new(child) }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.child().try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // As long as the lock is held nobody reaps the process, so its number stays its own.
        let mut child = self.child();
        if let Some(status) = child.try_wait()? {
            bail!("no signal can reach {}, it has ended ({status})", self.name);
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is no process id", self.pid))?;
        kill_process(pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Sends SIGKILL, if it still runs, and reaps it.
    pub(crate) fn kill(&self) -> Result<()> {
        if self.try_wait()?.is_none() {
            match self.child().kill() {
                Err(error) if Errno::from_io_error(&error) != Some(Errno::SRCH) => {
                    return Err(error).with_context(|| format!("cannot kill {}", self.name));
                }
                _ => {}
            }
        }
        wait_for(&format!("the end of {}", self.name), KILL_DEADLINE, || self.try_wait())?;
        Ok(())
    }

    fn log_text(&self) -> String {
        fs::read(&self.log)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        format!("the end of the log of {}:\n{}", self.name, tail(&self.log_text(), 30))
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> &str {
    match text.trim_end().rmatch_indices('\n').nth(lines.saturating_sub(1)) {
        Some((at, _)) => text.get(at + 1..).unwrap_or_default(),
        None => text,
    }
}

/// Whether a process was ended by this signal.
pub fn ended_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal.as_raw())
}
