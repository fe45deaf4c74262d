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
    println!("{} {}", elapsed.as_secs_f64(), peak_memory("self"));
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

/// Runs processes one after the other, from start to end of each.
///
/// They can't be asked for their memory once they are gone, so one of them is measured apart.
pub(crate) fn run_all(commands: impl Iterator<Item = Command>) -> Turn {
    let mut elapsed = Duration::ZERO;
    let mut memory = 0;
    for mut command in commands {
        command.stdout(Stdio::piped());
        let start = Instant::now();
        let mut process = command.spawn().unwrap();
        let mut output = process.stdout.take().unwrap();
        // Its output comes at its end, and then it is still there.
        let mut first = [0];
        let _ = std::io::Read::read(&mut output, &mut first);
        memory = memory.max(peak_memory(&process.id().to_string()));
        std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        assert!(process.wait().unwrap().success(), "{command:?}");
        elapsed += start.elapsed();
    }
    Turn { elapsed, memory }
}

/// The most memory that a process had so far, or 0 if it is gone.
fn peak_memory(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
