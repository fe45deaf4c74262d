//! What was found: a table for people, `results.json` for programs, a picture beside it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::picture;
use crate::stats::Sample;

/// One figure, of each competitor that has one.
pub(crate) struct Line {
    /// What was measured.
    pub(crate) case: String,
    /// Of how many containers, or beside how many other ports.
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) ours: Sample,
    pub(crate) floor: Sample,
    pub(crate) peer: Sample,
}

impl Line {
    pub(crate) fn new(case: &str, n: usize, unit: &'static str) -> Self {
        let (ours, floor, peer) = Default::default();
        Self { case: case.to_owned(), n, unit, ours, floor, peer }
    }

    /// A figure of the daemon alone.
    pub(crate) fn ours(case: &str, n: usize, unit: &'static str, values: Vec<f64>) -> Self {
        Self { ours: Sample::of(values), ..Self::new(case, n, unit) }
    }

    fn ours_over_floor(&self) -> Option<f64> {
        Some(self.ours.median()? / self.floor.median()?)
    }

    fn peer_over_ours(&self) -> Option<f64> {
        Some(self.peer.median()? / self.ours.median()?)
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case,
            "n": self.n,
            "unit": self.unit,
            "ours": self.ours.median(),
            "floor": self.floor.median(),
            "peer": self.peer.median(),
            "ours_over_floor": self.ours_over_floor(),
            "peer_over_ours": self.peer_over_ours(),
        })
    }
}

pub(crate) fn heading() {
    println!(
        "{:<42} {:>5} {:<5} {:>26} {:>26} {:>26} {:>7} {:>7}",
        "case", "n", "unit", "ours: median (min-max)", "floor", "ovs-docker", "x floor", "faster"
    );
}

pub(crate) fn print(line: &Line) {
    let sample = |sample: &Sample| match (sample.median(), sample.min(), sample.max()) {
        (Some(median), Some(min), Some(max)) if min < max => {
            format!("{} ({}-{})", show(median), show(min), show(max))
        }
        (Some(median), ..) => show(median),
        _ => String::new(),
    };
    let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    println!(
        "{:<42} {:>5} {:<5} {:>26} {:>26} {:>26} {:>7} {:>7}",
        line.case,
        line.n,
        line.unit,
        sample(&line.ours),
        sample(&line.floor),
        sample(&line.peer),
        ratio(line.ours_over_floor()),
        ratio(line.peer_over_ours()),
    );
}

fn show(value: f64) -> String {
    if value == 0.0 || value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// Writes `results.json` and `results.svg` into a folder.
pub(crate) fn write(lines: &[Line], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let results: Vec<Value> = lines.iter().map(Line::json).collect();
    let text = serde_json::to_string_pretty(&results)?;
    fs::write(folder.join("results.json"), format!("{text}\n"))?;
    fs::write(folder.join("results.svg"), picture::draw(lines)?)?;
    println!("written to {}/results.json and results.svg", folder.display());
    Ok(())
}
