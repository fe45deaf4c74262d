//! How long to wait before the next attempt to connect. Pure but for chance.

use std::time::Duration;

/// Delays that double from attempt to attempt up to a bound, each shortened by chance so that
/// clients that lost the same server don't come back at the same instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// The next delay: between half of the present step and all of it.
    pub(crate) fn delay(&mut self) -> Duration {
        let step = self.next.min(self.last);
        self.next = step.saturating_mul(2);
        step.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts over, after a connection that worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(4);

    #[test]
    fn delays_double_up_to_the_bound() {
        let mut backoff = Backoff::new(FIRST, LAST);
        for step in [100, 200, 400, 800, 1600, 3200, 4000, 4000, 4000] {
            let delay = backoff.delay();
            let step = Duration::from_millis(step);
            assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(FIRST, LAST);
        for _ in 0..10 {
            backoff.delay();
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }
}
