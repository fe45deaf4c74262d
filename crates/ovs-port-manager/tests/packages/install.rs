//! `make install` and `make uninstall`, into a folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::stage::make;

/// The files below a folder, by their paths from there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let found =
        Command::new("find").arg(folder).args(["-type", "f", "-printf", "%P\\n"]).output()?;
    ensure!(found.status.success(), "find");
    Ok(String::from_utf8(found.stdout)?.lines().map(PathBuf::from).collect())
}

#[test]
fn what_make_install_puts_there_works_and_make_uninstall_takes_it_away() -> Result<()> {
    make(&["dist"], &[])?;
    let folder = tempfile::tempdir()?;
    let destination = format!("DESTDIR={}", folder.path().display());
    make(&["install", &destination, "PREFIX=/opt/it"], &[])?;
    let root = folder.path().join("opt/it");

    let output = Command::new(root.join("bin/ovs-port-manager")).arg("--version").output()?;
    ensure!(output.status.success());
    let manual = root.join("share/man/man1/ovs-port-manager-run.1");
    ensure!(std::fs::read_to_string(manual)?.contains("resync"));
    let completions = root.join("share/bash-completion/completions/ovs-port-manager");
    ensure!(Command::new("bash").arg("-n").arg(completions).status()?.success());
    for file in
        ["fish/vendor_completions.d/ovs-port-manager.fish", "zsh/site-functions/_ovs-port-manager"]
    {
        let text = std::fs::read_to_string(root.join("share").join(file)).context(file)?;
        ensure!(text.contains("add-port"), "{file}");
    }
    let unit = std::fs::read_to_string(root.join("lib/systemd/system/ovs-port-manager.service"))?;
    ensure!(unit.contains("\nExecStart=/opt/it/bin/ovs-port-manager run "), "{unit}");

    make(&["uninstall", &destination, "PREFIX=/opt/it"], &[])?;
    let left = files(folder.path())?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
