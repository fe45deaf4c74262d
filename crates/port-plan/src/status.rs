//! How a port stands, and when to try again.

use std::time::{Duration, Instant};

/// How ovs-vswitchd has taken a port's Interface row (ovs-vswitchd.conf.db(5), Interface).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// ovs-vswitchd has not looked at it yet.
    Waiting,
    /// It forwards packets under this OpenFlow port number.
    Ready {
        /// Column `ofport`.
        ofport: i64,
    },
    /// ovs-vswitchd cannot use it.
    Failed {
        /// Column `error`.
        error: String,
    },
}

impl Readiness {
    /// Reads the columns `ofport` (−1 means that adding it failed) and `error`.
    pub fn of(ofport: Option<i64>, error: Option<&str>) -> Self {
        match (ofport, error) {
            (_, Some(error)) if !error.is_empty() => Self::Failed { error: error.to_owned() },
            (Some(ofport), _) if ofport > 0 => Self::Ready { ofport },
            (Some(_), _) => Self::Failed { error: "ovs-vswitchd gave no reason".to_owned() },
            (None, _) => Self::Waiting,
        }
    }
}

/// Ever longer pauses between tries of the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after the first failure.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// The longest pause.
    pub const LONGEST: Duration = Duration::from_secs(30);

    /// How often it has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a failure and gives the pause before the next try: half of it fixed, half scaled by
    /// `jitter` (0 to 1, random), so that what failed together does not come back together.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let full =
            Self::FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// How often a container's ports may be changed: some times at once, and then now and then. Whoever undoes them again and
/// again, from inside the container, say, must not keep the host busy with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// When all that was spent is earned again.
    full_at: Option<Instant>,
}

impl Budget {
    /// Changes at once, of a container that had none for long.
    pub const AT_ONCE: u32 = 20;
    /// The time between those after that.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// Notes a change.
    pub fn spend(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + Self::EVERY);
    }

    /// Whether all that was spent is earned again.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }

    /// How long the next change has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        let owed = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (owed + Self::EVERY).saturating_sub(Self::EVERY * Self::AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_undoes_ports_all_the_time_has_them_back_now_and_then() {
        let begun = Instant::now();
        let (mut budget, mut now, mut changes) = (Budget::default(), begun, 0);
        while now < begun + Duration::from_secs(600) {
            now += budget.wait(now).max(Duration::from_millis(50));
            budget.spend(now);
            changes += 1;
        }
        assert!((79..=81).contains(&changes), "{changes} in ten minutes");
        assert!(!budget.is_full(now));
        assert!(budget.is_full(now + Budget::EVERY * (Budget::AT_ONCE + 1)));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.fail(1.0)).collect();
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses[39], Backoff::LONGEST);
        assert!(Backoff::default().fail(0.0) < Backoff::default().fail(1.0));
    }

    #[test]
    fn an_error_outweighs_a_port_number() {
        let failed = Readiness::Failed { error: "no such device".to_owned() };
        assert_eq!(Readiness::of(Some(3), Some("no such device")), failed);
        assert_eq!(Readiness::of(Some(3), Some("")), Readiness::Ready { ofport: 3 });
        assert_eq!(Readiness::of(None, None), Readiness::Waiting);
        assert!(matches!(Readiness::of(Some(-1), None), Readiness::Failed { .. }));
    }
}
