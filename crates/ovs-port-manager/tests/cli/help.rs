//! Help, manual pages and completions.

use anyhow::{Context, Result};
use expect_test::expect_file;

use crate::program::{command, run};

/// The commands, as the first help lists them.
fn commands() -> Result<Vec<String>> {
    let help = run(&["--help"])?;
    let (_, list) = help.split_once("Commands:\n").context("no commands")?;
    let (list, _) = list.split_once("\n\n").context("no end of the commands")?;
    let first = |line: &str| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned);
    Ok(list.lines().filter_map(first).filter(|name| !name.is_empty() && name != "help").collect())
}

#[test]
fn help_is_as_it_was_reviewed() -> Result<()> {
    expect_file!["help/ovs-port-manager.txt"].assert_eq(&run(&["--help"])?);
    let commands = commands()?;
    assert!(commands.len() > 3, "{commands:?}");
    for name in commands {
        let file = format!("{}/tests/cli/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        expect_file![file].assert_eq(&run(&[&name, "--help"])?);
    }
    Ok(())
}

#[test]
fn every_command_has_its_manual_page_and_its_completions() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let told = run(&["man", "--dir", &folder.path().display().to_string()])?;
    assert_eq!(told, "[0]\n");
    let bash = run(&["completions", "bash"])?;
    for name in commands()? {
        let page = folder.path().join(format!("ovs-port-manager-{name}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        assert!(bash.contains(&name), "{name}");
    }
    assert!(run(&["man"])?.contains(".TH ovs-port-manager 1"));
    Ok(())
}

#[test]
fn the_completions_are_sound_bash() -> Result<()> {
    let script = tempfile::NamedTempFile::new()?;
    let output = command(&["completions", "bash"]).output()?;
    std::fs::write(script.path(), output.stdout)?;
    let check = "source \"$0\" && complete -p ovs-port-manager";
    let bash = std::process::Command::new("bash").args(["-c", check]).arg(script.path()).output();
    let bash = bash?;
    assert!(bash.status.success() && !bash.stdout.is_empty(), "{bash:?}");
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_error() -> Result<()> {
    let mut child = command(&["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}
