//! Where labs keep their files, and how the leftovers of dead labs are found and removed.
//!
//! Every lab has a folder below [`BASE`] and a cgroup named after it. The file `lab.log` in it is
//! locked by the lab's owner and, through inheritance, by its supervisor and its init process: as
//! long as any of them lives, the lab is alive. Making and sweeping folders happens under a lock
//! of [`BASE`] itself, so that a folder without a locked file is always a dead lab's.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{run, search_path};
use crate::namespaces::SUPERVISE;

/// The folder of all labs. Short and fixed, because the path of a Unix socket has at most 107
/// bytes and containerd's are long.
const BASE: &str = "/tmp/ovs-lab";
/// What the name of every lab's cgroup begins with.
const CGROUP_PREFIX: &str = "ovs-lab-";
/// The mount point of the cgroup hierarchies.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The folder of a new lab.
pub(crate) struct Folder {
    /// Its path.
    pub(crate) path: PathBuf,
    /// The locked file, whose lock is the lab's life.
    pub(crate) alive: File,
}

/// Sweeps what dead labs left behind, then makes the folder of a new one.
pub(crate) fn create() -> Result<Folder> {
    let base = open_base()?;
    base.lock().with_context(|| format!("cannot lock {BASE}"))?;
    sweep()?;
    let prefix = format!("{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).rand_bytes(5).tempdir_in(BASE)?;
    let path = folder.path().join("lab.log");
    let alive = File::options().create(true).read(true).append(true).open(path)?;
    alive.try_lock().context("a new file is locked already")?;
    for name in ["docker", "exec", "log", "ovs", "tmp"] {
        fs::create_dir(folder.path().join(name))?;
    }
    // From here on the lab's supervisor removes it.
    Ok(Folder { path: folder.keep(), alive })
}

/// The name of a lab's cgroup.
pub(crate) fn cgroup(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(format!("{CGROUP_PREFIX}{}", name.context("a lab's folder has a name")?))
}

fn open_base() -> Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(BASE)
        .with_context(|| format!("cannot make {BASE}"))?;
    let owner = fs::symlink_metadata(BASE)?;
    if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() {
        bail!("{BASE} must be a folder of the user who runs the lab");
    }
    File::open(BASE).with_context(|| format!("cannot open {BASE}"))
}

/// Removes the folders and cgroups of dead labs. Their supervisors normally do that themselves.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(BASE)? {
        let folder = entry?.path();
        if !is_alive(&folder)? {
            remove(&folder)?;
        }
    }
    for cgroup in cgroups()? {
        let folder = Path::new(BASE).join(cgroup.trim_start_matches(CGROUP_PREFIX));
        if !folder.exists() {
            remove(&folder)?;
        }
    }
    Ok(())
}

fn is_alive(folder: &Path) -> Result<bool> {
    let Ok(file) = File::open(folder.join("lab.log")) else {
        return Ok(false);
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("cannot test the lock of a lab"),
    }
}

fn remove(folder: &Path) -> Result<()> {
    let mut command = Command::new("sh");
    command
        .args(["-c", SUPERVISE, "lab", "remove"])
        .arg(folder)
        .arg(cgroup(folder)?)
        .env("PATH", search_path());
    run(&mut command).context("cannot remove what a dead lab left behind")?;
    Ok(())
}

/// The names of all cgroups of labs, alive or dead, in all hierarchies.
fn cgroups() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in folders_in(Path::new(CGROUP_ROOT))? {
        // With version 1 these are the hierarchies; with version 2 the cgroups themselves.
        names.extend(folders_in(&Path::new(CGROUP_ROOT).join(&name)).unwrap_or_default());
        names.push(name);
    }
    names.retain(|name| name.starts_with(CGROUP_PREFIX));
    names.sort();
    names.dedup();
    Ok(names)
}

fn folders_in(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {path:?}"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
