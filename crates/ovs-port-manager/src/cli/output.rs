//! What commands have in common: how they answer and with which exit status.

use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use serde::Serialize;

use crate::escape;

/// What every command's exit status means, for `--help`.
pub(crate) const EXIT_STATUS: &str = "\
Exit status of every command:
  0  done, and nothing is amiss
  1  it could not be done
  2  the command line is wrong
  3  done, and the answer is not all well: mistakes (check), something to do (plan), a container
     without its port (status, explain), a problem (doctor)";

/// What came of a command that could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is amiss.
    Well,
    /// The answer is one to act on.
    Amiss,
}

impl Termination for Outcome {
    fn report(self) -> ExitCode {
        match self {
            Self::Well => ExitCode::SUCCESS,
            Self::Amiss => ExitCode::from(3),
        }
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints to standard output. A reader that has gone away (`… | head`) is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(escape::terminal(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints an answer as JSON.
pub(crate) fn print_json(answer: &impl Serialize) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(answer)?))?)
}
