//! The one way to wait: for a condition, with a deadline.
//!
//! The only pauses in this crate are the short ones between two probes, here. Tests never sleep.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause after the first probe. Each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// Probes until there is a value, and returns it.
///
/// `Ok(None)` means "not yet". So does an error: the last one is kept as the last state that was
/// seen, and is part of the error when the deadline passes. The probe runs at least once, and
/// once more at the deadline. A probe that wants to give up early returns `Ok(Some(Err(…)))` and
/// the caller writes `wait_for(…)??`.
///
/// # Errors
///
/// When `deadline` has passed. The error says what was awaited, for how long, and the last state.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let state = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let left = deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            bail!("waited {deadline:?} in vain for {what}; last state: {state}");
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
