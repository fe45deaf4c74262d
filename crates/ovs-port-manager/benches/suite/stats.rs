//! Samples of one figure.

use std::time::{Duration, SystemTime};

use anyhow::Result;

/// What was measured of one competitor in one case, in one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    pub(crate) fn add(&mut self, value: f64) {
        let at = self.sorted.partition_point(|other| *other < value);
        self.sorted.insert(at, value);
    }

    /// Adds the time between, in milliseconds.
    pub(crate) fn add_between(&mut self, from: SystemTime, to: SystemTime) -> Result<()> {
        self.add(milliseconds(to.duration_since(from)?));
        Ok(())
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.sorted.first().copied()
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// The value that this share of all does not exceed; between two, the mean.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let place = share * last as f64;
        let below = self.sorted.get(place.floor() as usize)?;
        let above = self.sorted.get(place.ceil() as usize)?;
        Some(below + (above - below) * place.fract())
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
