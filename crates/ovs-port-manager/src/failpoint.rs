//! Sudden death at a chosen boundary between two steps, for the tests of what it leaves behind.
//!
//! Only builds with debug assertions have it; in a release nothing of it is left.

/// The variable that chooses: the program kills itself at the boundary of this number, from 1.
#[cfg(debug_assertions)]
const VARIABLE: &str = "FAILPOINT";

/// A boundary between two steps, or inside one, at which the program may die.
#[cfg(debug_assertions)]
pub(crate) fn boundary() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static PASSED: AtomicU32 = AtomicU32::new(0);
    let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    let chosen = std::env::var(VARIABLE).ok().and_then(|chosen| chosen.parse().ok());
    if chosen == Some(number) {
        // SIGKILL: no destructor runs, no buffer is written.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn boundary() {}
