//! When to ask a silent peer whether it is still there, and when to give it up. Pure: is handed
//! the time.

use std::time::Duration;

use tokio::time::Instant;

/// Farther than any process lives, and still in the range of every clock.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Probes a peer that was silent for an interval, and gives it up after another.
#[derive(Debug)]
pub(crate) struct Inactivity {
    interval: Duration,
    since: Instant,
    probing: bool,
}

/// What to do with a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Send it an `echo` (RFC 7047 section 4.1.11).
    Probe,
    /// Give it up.
    Dead,
}

impl Inactivity {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, since: now, probing: false }
    }

    /// The peer sent something, be it a part of a message.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.since = now;
        self.probing = false;
    }

    /// When to call [`Self::expired`].
    pub(crate) fn deadline(&self) -> Instant {
        // An interval for ever is a way to say "don't probe".
        self.since.checked_add(self.interval).unwrap_or_else(|| self.since + FAR)
    }

    /// The deadline has passed in silence.
    pub(crate) fn expired(&mut self, now: Instant) -> Silence {
        if self.probing {
            return Silence::Dead;
        }
        self.probing = true;
        // From now on, not from the deadline: this task may have been kept from running.
        self.since = now;
        Silence::Probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    #[test]
    fn a_silent_peer_is_probed_and_then_given_up() {
        let start = Instant::now();
        let mut inactivity = Inactivity::new(INTERVAL, start);
        assert_eq!(inactivity.deadline(), start + INTERVAL);
        assert_eq!(inactivity.expired(start + INTERVAL), Silence::Probe);
        assert_eq!(inactivity.deadline(), start + 2 * INTERVAL);
        assert_eq!(inactivity.expired(start + 2 * INTERVAL), Silence::Dead);
    }

    #[test]
    fn an_interval_without_end_never_probes() {
        let start = Instant::now();
        assert!(Inactivity::new(Duration::MAX, start).deadline() > start + 100 * INTERVAL);
    }

    #[test]
    fn any_bytes_put_the_probe_off() {
        let start = Instant::now();
        let mut inactivity = Inactivity::new(INTERVAL, start);
        assert_eq!(inactivity.expired(start + INTERVAL), Silence::Probe);
        inactivity.heard(start + INTERVAL);
        assert_eq!(inactivity.expired(start + 2 * INTERVAL), Silence::Probe);
    }

    #[test]
    fn a_late_wake_up_still_leaves_the_peer_an_interval_to_answer() {
        let start = Instant::now();
        let mut inactivity = Inactivity::new(INTERVAL, start);
        let late = start + 20 * INTERVAL;
        assert_eq!(inactivity.expired(late), Silence::Probe);
        assert_eq!(inactivity.deadline(), late + INTERVAL);
    }
}
