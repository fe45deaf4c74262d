//! One turn: how long it took, and the most memory that it had.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) elapsed: Duration,
    /// In bytes.
    pub(crate) memory: u64,
}

/// Tells the parent the outcome of a turn in a process that measures itself.
pub(crate) fn print(elapsed: Duration) {
    println!("{} {}", elapsed.as_secs_f64(), peak_memory());
}

/// Runs a process that measures itself.
pub(crate) fn run(command: &mut Command) -> Turn {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let (elapsed, memory) = text.trim().split_once(' ').unwrap();
    Turn {
        elapsed: Duration::from_secs_f64(elapsed.parse().unwrap()),
        memory: memory.parse().unwrap(),
    }
}

/// How long processes take one after the other, from start to end of each.
pub(crate) fn run_all(commands: impl Iterator<Item = Command>) -> Duration {
    let mut elapsed = Duration::ZERO;
    for mut command in commands {
        let start = Instant::now();
        let status = command.stdout(Stdio::null()).status().unwrap();
        elapsed += start.elapsed();
        assert!(status.success(), "{command:?}: {status}");
    }
    elapsed
}

/// The most memory that this process had so far.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap() * 1024
}
