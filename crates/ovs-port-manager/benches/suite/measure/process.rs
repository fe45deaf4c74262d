//! What a process has used so far, by the kernel's books.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// Time on a processor, of all threads, those that have ended included.
    pub(crate) cpu: Duration,
    /// How often each of its threads has left a processor, of its own will or not, by its number.
    switches: HashMap<String, u64>,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut switches = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may just have ended.
            let task = task?;
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let willing = field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
            let forced = field(&status, "nonvoluntary_ctxt_switches:").unwrap_or_default();
            switches.insert(task.file_name().to_string_lossy().into_owned(), willing + forced);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = 1024 * field(&status, "VmRSS:").context("no VmRSS")?;
        Ok(Self { cpu: cpu(pid)?, switches, resident })
    }

    /// How often threads have been woken since: each that leaves a processor was woken before. Those that
    /// have ended meanwhile are not counted.
    pub(crate) fn wakeups_since(&self, before: &Self) -> u64 {
        let since = |(thread, count): (&String, &u64)| {
            count.saturating_sub(before.switches.get(thread).copied().unwrap_or_default())
        };
        self.switches.iter().map(since).sum()
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The processor time of a process in nanoseconds: its CPU-time clock (`clock_getcpuclockid(3)`).
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut clock = 0;
    // SAFETY: both point to live values of the right types.
    #[allow(unsafe_code)]
    let failed = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    ensure!(!failed, "process {pid} has ended");
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
