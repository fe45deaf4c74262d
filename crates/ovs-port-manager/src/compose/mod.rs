//! Compose files, read for the labels of their services before anything runs.
//!
//! What is checked is what Docker Compose would give each container: labels as list or mapping, `extends`,
//! `include`, `label_file`, YAML's anchors and merges, variables, several files over each other. Whether labels are
//! right is the label table's to say; here is found out which there are, and on which line. Nothing here
//! reads a file or the environment by itself.

mod dotenv;
mod interpolate;
mod project;
mod yaml;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where files and variables come from.
pub(crate) struct Sources<'a> {
    /// Reads a file.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// A variable of the environment.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Files of variables to use in place of `.env` beside the first compose file.
    pub(crate) env_files: &'a [PathBuf],
}

/// A mistake and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
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

impl fmt::Display for Finding {
    /// `FILE:LINE: service NAME: message`, which editors and pipelines understand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(service) = &self.service {
            write!(f, "service {}: ", service.escape_debug())?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests;
