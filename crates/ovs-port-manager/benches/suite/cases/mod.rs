//! The cases, one a file.

mod burst;
mod churn;
mod single;
mod standing;
mod teardown;

use std::time::Duration;

use anyhow::Result;

use crate::report::Line;

/// How much of everything there is to be.
pub(crate) struct Scale {
    /// Other ports on the bridge, in the case of one container.
    others: Vec<usize>,
    /// Containers started one by one and competitor, beside each number of others.
    singles: usize,
    /// Stand-ins of a burst and of a teardown, and how often.
    bursts: Vec<(usize, usize)>,
    /// Bursts of real containers.
    real_bursts: usize,
    /// Ports that stand while containers come and go.
    churn_ports: usize,
    churn: Duration,
    /// Ports at a resync and when idle.
    standing: Vec<usize>,
    idle: Duration,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self {
            others: vec![0, 100, 1000],
            singles: 31,
            bursts: vec![(20, 7), (200, 15), (1000, 7)],
            real_bursts: 5,
            churn_ports: 500,
            churn: Duration::from_secs(60),
            standing: vec![0, 100, 1000],
            idle: Duration::from_secs(60),
        }
    }

    pub(crate) fn short() -> Self {
        Self {
            others: vec![0],
            singles: 5,
            bursts: vec![(20, 5), (200, 3)],
            real_bursts: 1,
            churn_ports: 50,
            churn: Duration::from_secs(6),
            standing: vec![0, 200],
            idle: Duration::from_secs(10),
        }
    }
}

type Case = fn(&Scale) -> Result<Vec<Line>>;

pub(crate) const ALL: [(&str, Case); 5] = [
    ("single", single::run),
    ("burst", burst::run),
    ("churn", churn::run),
    ("standing", standing::run),
    ("teardown", teardown::run),
];
