//! Pings from every standing container, for as long as a fault and its repair take.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use lab::{Daemon, Lab, wait_for};

use crate::check::CONVERGENCE;

/// Pings one way, each with its log.
pub(crate) struct Pings(Vec<Daemon>);

impl Pings {
    /// From each network namespace, every 50 ms. Not by `docker exec`, which ends with dockerd.
    pub(crate) fn start(lab: &Lab, pids: &[u32], to: &str) -> Result<Self> {
        let ping = |pid: &u32| {
            let target = format!("--target={pid}");
            let args = [&target, "--net", "busybox", "ping", "-i", "0.05", to];
            lab.spawn("nsenter".as_ref(), &args, &[])
        };
        Ok(Self(pids.iter().map(ping).collect::<Result<_>>()?))
    }

    /// Waits until each has that many further answers.
    pub(crate) fn wait_answers(&self, more: usize) -> Result<()> {
        let begun: Vec<_> = self.0.iter().map(|ping| answers(&ping.log()).len()).collect();
        for (ping, begun) in self.0.iter().zip(begun) {
            wait_for("answers to a ping", CONVERGENCE, || {
                Ok((answers(&ping.log()).len() >= begun + more).then_some(()))
            })
            .with_context(|| "a standing container does not reach its peer")?;
        }
        Ok(())
    }

    /// How many requests got no answer. Told by the gaps before the last answer: in the summary the
    /// request that is under way at the end would count as lost.
    pub(crate) fn lost(&self) -> usize {
        let lost = |ping: &Daemon| {
            let answers = answers(&ping.log());
            answers.last().map_or(0, |last| last + 1 - answers.len())
        };
        self.0.iter().map(lost).sum()
    }
}

/// The numbers of the answered requests, from 0.
fn answers(log: &str) -> BTreeSet<usize> {
    let seq = |line: &str| line.split_once("seq=")?.1.split_once(' ')?.0.parse().ok();
    log.lines().filter_map(seq).collect()
}
