//! Settings below `/proc/sys`, also where a container runtime has made that read-only.

use std::fs::{self, File};
use std::io::{self, Write};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Writes a setting, such as `/proc/sys/net/ipv6/conf/eth1/disable_ipv6`. What is below `/proc/sys/net`
/// belongs to the calling thread's network namespace.
///
/// Docker mounts `/proc/sys` read-only in every container that is not privileged. A proc file system that
/// is mounted nowhere is not: it takes `CAP_SYS_ADMIN`, as entering a namespace does, and is gone when the
/// setting is written.
///
/// # Errors
///
/// Those of the file, or of fsopen(2) and its like.
pub(crate) fn write(path: &str, value: &str) -> io::Result<()> {
    match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let below = path.strip_prefix("/proc/").ok_or(error)?;
            open_unmounted(below)?.write_all(value.as_bytes())
        }
        other => other,
    }
}

/// Opens a file of a proc file system that is mounted nowhere.
fn open_unmounted(path: &str) -> io::Result<File> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let proc = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let file = openat(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(file.into())
}
