//! Network namespaces: opening a container's, entering it on a plain thread.
//!
//! A tokio worker is never moved: work inside a namespace runs on a plain thread. An open namespace is kept alive by its descriptor: close it soon.

use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use port_plan::ContainerId;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Why a container's namespace cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The process ended, or its id is another process's by now.
    #[error("process {pid} is no longer the container's")]
    Gone { pid: u32 },
    /// The namespace is the host's: an interface made there would be the host's.
    #[error("process {pid} is in the host's network namespace")]
    HostNamespace { pid: u32 },
    /// Opening it failed.
    #[error("cannot open {path}")]
    Open { path: String, source: io::Error },
}

/// Opens the network namespace of a container's first process.
///
/// The process must belong to the container, judged by its cgroup, *after* the namespace is open: process
/// ids are used again, and another container's namespace must never be taken for this one.
///
/// # Errors
///
/// See [`Error`]; [`Error::Gone`] is ordinary for containers that live briefly.
pub(crate) fn of_container(pid: u32, container: &ContainerId) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/ns/net");
    let file = File::open(&path).map_err(|error| gone_or(pid, &path, error))?;
    let cgroup = format!("/proc/{pid}/cgroup");
    let groups = fs::read_to_string(&cgroup).map_err(|error| gone_or(pid, &cgroup, error))?;
    if !groups.contains(container.as_str()) {
        return Err(Error::Gone { pid });
    }
    let theirs = file.metadata().map_err(|error| gone_or(pid, &path, error))?;
    if identity(&theirs) == host()? {
        return Err(Error::HostNamespace { pid });
    }
    Ok(file.into())
}

/// What tells the host's namespace from others. The program itself never leaves it.
fn host() -> Result<(u64, u64), Error> {
    static HOST: OnceLock<(u64, u64)> = OnceLock::new();
    if let Some(host) = HOST.get() {
        return Ok(*host);
    }
    let path = "/proc/self/ns/net".to_owned();
    let host = fs::metadata(&path).map_err(|source| Error::Open { path, source })?;
    Ok(*HOST.get_or_init(|| identity(&host)))
}

/// Device and inode, by which namespaces are told apart (namespaces(7)).
fn identity(namespace: &fs::Metadata) -> (u64, u64) {
    (namespace.dev(), namespace.ino())
}

fn gone_or(pid: u32, path: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Error::Gone { pid },
        _ => Error::Open { path: path.to_owned(), source: error },
    }
}

/// Moves the calling thread into a namespace, for good.
pub(crate) fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).map_err(io::Error::from)
}
