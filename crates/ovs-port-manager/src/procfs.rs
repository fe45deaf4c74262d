//! Settings below `/proc/sys`, also where a container runtime has made that read-only.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A folder of settings, such as `/proc/sys/net/ipv6/conf/eth1`, found once for several of them. What is below
/// `/proc/sys/net` belongs to the network namespace of the thread that opened it.
///
/// With the namespaces of many containers the kernel takes long to find a path there.
pub(crate) struct Folder {
    path: String,
    opened: OwnedFd,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Finds a folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(crate) fn open(path: String) -> io::Result<Option<Self>> {
        match openat(CWD, &path, FOLDER, Mode::empty()) {
            Ok(opened) => Ok(Some(Self { path, opened })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The first character of a setting.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(crate) fn read(&self, name: &str) -> io::Result<u8> {
        let file = openat(&self.opened, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut first = [0];
        File::from(file).read_exact(&mut first)?;
        Ok(first[0])
    }

    /// Writes a setting.
    ///
    /// Docker mounts `/proc/sys` read-only in every container that is not privileged. A proc file system that
    /// is mounted nowhere is not: it takes `CAP_SYS_ADMIN`, as entering a namespace does, and is gone when the
    /// settings are written.
    ///
    /// # Errors
    ///
    /// Those of the file, or of fsopen(2) and its like.
    pub(crate) fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
        let file = match self.open_to_write(name) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                let below = self.path.strip_prefix("/proc/").ok_or(error)?;
                self.opened = open_unmounted(below)?;
                self.open_to_write(name)?
            }
            other => other?,
        };
        File::from(file).write_all(value.as_bytes())
    }

    fn open_to_write(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(openat(&self.opened, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// Opens a folder of a proc file system that is mounted nowhere.
fn open_unmounted(path: &str) -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let proc = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(openat(&proc, path, FOLDER, Mode::empty())?)
}
