//! Compose files, read for the labels of their services before anything runs.
//!
//! What is checked is what Docker Compose would give each container: labels as list or mapping, `extends`,
//! `include`, `label_file`, YAML's anchors and merges, variables, several files over each other. Whether labels are
//! right is the label table's to say; here is found out which there are, and on which line. Nothing here
//! reads a file or the environment by itself.

mod dotenv;
pub(crate) mod find;
mod interpolate;
mod judge;
mod load;
mod lower;
mod merge;
mod paths;
mod project;
mod scalar;
mod value;
mod vet;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where files and variables come from.
pub(crate) struct Sources<'a> {
    /// Reads a file; `-` is the standard input.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// A variable of the environment.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Files of variables to use in place of `.env` beside the first compose file.
    pub(crate) env_files: &'a [PathBuf],
    /// The folder whose `.env` comes before that one.
    pub(crate) started_in: Option<&'a Path>,
    /// The current folder, whose name a project may have.
    pub(crate) current: &'a Path,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// A container would not get what its labels ask for, or Docker Compose would not start.
    Mistake,
    /// Something to know.
    Warning,
}

/// Something found, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is; answers list mistakes and warnings apart.
    #[serde(skip)]
    pub(crate) level: Level,
    /// The file, as it was named.
    pub(crate) file: PathBuf,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The service that it is about.
    pub(crate) service: Option<String>,
    /// What is wrong, in one line.
    pub(crate) message: String,
}

/// What is found in one project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Services in all.
    pub(crate) services: usize,
    /// Services with labels of ours.
    pub(crate) labelled: usize,
    /// All labels of each service's containers.
    pub(crate) labels: BTreeMap<String, BTreeMap<String, String>>,
    /// The files that were read, in order.
    pub(crate) read: Vec<PathBuf>,
}

/// Checks files as `docker compose -f FILE -f FILE …` would put them together.
///
/// # Errors
///
/// The first file that cannot be read.
pub(crate) fn check(
    files: &[PathBuf],
    sources: &Sources<'_>,
) -> Result<Report, (PathBuf, io::Error)> {
    project::check(files, sources)
}

/// A variable as a folder's `.env` has it, or the files that the caller names in its place.
///
/// # Errors
///
/// The first file that cannot be read.
pub(crate) fn variable(
    folder: &Path,
    name: &str,
    sources: &Sources<'_>,
) -> Result<Option<String>, (PathBuf, io::Error)> {
    load::Loader::new(sources).variable(folder, name)
}

impl fmt::Display for Finding {
    /// `FILE:LINE: service NAME: message`, which editors and pipelines understand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", shown(&self.file.to_string_lossy()), self.line)?;
        if self.level == Level::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(service) = &self.service {
            write!(f, "service {}: ", service.escape_debug())?;
        }
        f.write_str(&self.message)
    }
}

/// A text from outside, made fit to be shown on one line.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain =
                !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
            let escaped = (!plain).then(|| c.escape_default());
            plain.then_some(c).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests;
