//! One of the lab's three daemons, which a fault test may stop, kill and start again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::namespaces::Namespaces;
use crate::wait::wait_for;

/// How long a service may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a service may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Says whether a service that was started is ready for work; an error means "not yet".
pub(crate) type Probe = fn(&Namespaces) -> Result<()>;

/// `ovsdb-server`, `ovs-vswitchd` or `dockerd` of a lab.
///
/// Each operation waits for its condition: `start` until the service answers, the others until the
/// process is gone.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    args: Vec<String>,
    env: &'static [(&'static str, &'static str)],
    ready: Probe,
    namespaces: Arc<Namespaces>,
    daemon: Mutex<Option<Daemon>>,
}

impl Service {
    pub(crate) fn new(
        name: &'static str,
        args: Vec<String>,
        ready: Probe,
        namespaces: &Arc<Namespaces>,
    ) -> Service {
        let namespaces = Arc::clone(namespaces);
        Service { name, args, env: &[], ready, namespaces, daemon: Mutex::default() }
    }

    /// Adds variables to its environment.
    pub(crate) fn with_env(self, env: &'static [(&'static str, &'static str)]) -> Service {
        Service { env, ..self }
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it runs already, ends, or does not answer in time. The error shows the end of its log.
    pub fn start(&self) -> Result<()> {
        let mut slot = self.slot();
        if let Some(daemon) = slot.as_ref()
            && daemon.is_running()?
        {
            bail!("{} runs already", self.name);
        }
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let program = PathBuf::from(self.name);
        let daemon = self.namespaces.spawn(self.name, &program, &args, self.env)?;
        let what = format!("{} to be ready", self.name);
        wait_for(&what, START_DEADLINE, || {
            if let Err(error) = daemon.check_running() {
                return Ok(Some(Err(error)));
            }
            (self.ready)(&self.namespaces)?;
            Ok(Some(Ok(())))
        })
        .and_then(|ready| ready)
        .with_context(|| format!("cannot start {}\n{}", self.name, daemon.log_tail()))?;
        *slot = Some(daemon);
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not run or does not end in time.
    pub fn stop(&self) -> Result<()> {
        let mut slot = self.slot();
        let daemon = slot.as_ref().with_context(|| format!("{} does not run", self.name))?;
        daemon.signal(Signal::TERM)?;
        daemon.wait_exit(STOP_DEADLINE)?;
        *slot = None;
        Ok(())
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill9(&self) -> Result<()> {
        let mut slot = self.slot();
        let daemon = slot.as_ref().with_context(|| format!("{} does not run", self.name))?;
        daemon.kill9()?;
        *slot = None;
        Ok(())
    }

    /// [`stop`](Self::stop), then [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Sends a signal, SIGHUP or SIGSTOP say.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let slot = self.slot();
        slot.as_ref().with_context(|| format!("{} does not run", self.name))?.signal(signal)
    }

    /// Its process id as this process sees it; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        let slot = self.slot();
        let daemon = slot.as_ref()?;
        daemon.is_running().ok()?.then(|| daemon.pid())
    }

    /// What it has printed since its last start; empty when it does not run.
    pub fn log(&self) -> String {
        self.slot().as_ref().map(Daemon::log).unwrap_or_default()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
