//! The one image of the lab: a static busybox, made on the spot, because nothing can be pulled.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

use crate::command::{run, run_with_input, search_path};
use crate::namespaces::Namespaces;
use crate::requirements;

/// The name of the image in every lab.
pub const IMAGE: &str = "busybox";
/// What `/www/index.html` of the image says; serve it with `httpd -h /www`.
pub const WWW_TEXT: &str = "hello from the lab";
/// What a container of the image runs when nothing else is asked for.
const COMMAND: &str = r#"CMD ["sleep", "1000000"]"#;

/// Imports the image, unless that was done in this lab before.
pub(crate) fn import_once(namespaces: &Namespaces) -> Result<()> {
    let done = namespaces.folder().join("image-imported");
    if done.exists() {
        return Ok(());
    }
    let mut import = namespaces.command("docker");
    import.args(["import", "--change", COMMAND, "-", IMAGE]);
    run_with_input(&mut import, archive()?)?;
    fs::write(done, "")?;
    Ok(())
}

/// The root file system as a tar archive, made once a process.
fn archive() -> Result<&'static [u8]> {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(archive) = ARCHIVE.get() {
        return Ok(archive);
    }
    let archive = make_archive().context("cannot make the busybox image")?;
    Ok(ARCHIVE.get_or_init(|| archive))
}

fn make_archive() -> Result<Vec<u8>> {
    let root = tempfile::tempdir()?;
    let bin = root.path().join("bin");
    for (folder, mode) in
        [("", 0o755), ("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("www", 0o755)]
    {
        let path = root.path().join(folder);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::write(root.path().join("www/index.html"), format!("{WWW_TEXT}\n"))?;
    let busybox = requirements::find("busybox").context("no busybox")?;
    fs::copy(&busybox, bin.join("busybox"))?;
    let applets = run(Command::new(&busybox).arg("--list"))?;
    // The list has busybox itself, which must stay a file.
    for applet in applets.lines().filter(|name| *name != "busybox" && !name.contains('/')) {
        symlink("busybox", bin.join(applet))?;
    }
    tar(root.path())
}

fn tar(root: &Path) -> Result<Vec<u8>> {
    let archive = tempfile::NamedTempFile::new()?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["--owner=0", "--group=0", "-cf"]).arg(archive.path()).arg(".");
    run(tar.env("PATH", search_path()))?;
    Ok(fs::read(archive.path())?)
}
