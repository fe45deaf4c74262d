//! Runs a command to its end and turns a failure into an error that shows everything.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Where system tools live. Added to `PATH`, because a user's `PATH` often lacks the `sbin` ones.
const SYSTEM_FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// `PATH` of every command of the lab: the caller's, then the system's folders.
pub(crate) fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<&str> = own.split(':').filter(|folder| !folder.is_empty()).collect();
    for folder in SYSTEM_FOLDERS {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

/// Runs the command and returns what it printed to stdout, without the white space at the end.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, &[])
}

/// Like [`run`], with bytes for its stdin.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Result<String> {
    let line = command_line(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start: {line}"))?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read all of its input says so by its exit status.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("cannot wait for: {line}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stdout = stdout.trim_end();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "failed ({}): {line}\nstdout: {stdout}\nstderr: {}",
            output.status,
            stderr.trim_end()
        );
    }
    Ok(stdout.to_owned())
}

/// The command as one would type it, roughly.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
