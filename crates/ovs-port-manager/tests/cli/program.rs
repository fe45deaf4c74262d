//! The program under test.

use std::process::{Command, Output};

use anyhow::Result;

/// A command line of the program, in a fixed width and without the caller's own settings.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-port-manager"));
    command.args(args).env_clear().env("COLUMNS", "100");
    command
}

/// What it printed and its exit status, as one text.
pub(crate) fn transcript(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let status = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
    format!("{stdout}{stderr}[{status}]\n")
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Result<String> {
    Ok(transcript(&command(args).output()?))
}
