//! Whether this program runs where the work can be done: where it sees the host's processes, and in ovs-vswitchd's
//! network namespace.
//!
//! The kernel tells who listens on a Unix socket by a number in the asker's own PID namespace (`SO_PEERCRED`, unix(7)): 0
//! for a process that is not to be seen from there.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::Config;

/// How long a socket may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the work cannot be done from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// The processes of containers are not to be seen.
    NoHostProcesses,
    /// ovs-vswitchd is in another network namespace: it does not find the links that are made here.
    OtherNetwork,
}

impl Misplaced {
    /// What to do.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::NoHostProcesses => {
                "give it the host's processes: docker run --pid host, or pid: host in a compose file"
            }
            Self::OtherNetwork => {
                "give it the network of Open vSwitch: docker run --network host, or network_mode: host in a compose file"
            }
        }
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHostProcesses => {
                "the processes of Docker are not to be seen from here, so no container can be attached"
            }
            Self::OtherNetwork => {
                "this is not the network namespace of Open vSwitch, which does not find links that are made here"
            }
        })
    }
}

/// Looks at who listens on the sockets of Docker and of OVSDB. What cannot be found out is not told.
pub(crate) async fn examine(config: &Config) -> Vec<Misplaced> {
    let mut misplaced = Vec::new();
    if listener(config.docker.path()).await == Some(0) {
        misplaced.push(Misplaced::NoHostProcesses);
    }
    if let ovsdb::Endpoint::Unix(path) = &config.ovsdb
        && is_elsewhere(path).await
    {
        misplaced.push(Misplaced::OtherNetwork);
    }
    misplaced
}

/// Whether Open vSwitch, whose database has this socket, is in another network namespace. ovs-vswitchd has a socket for each
/// bridge beside it; without a bridge, it is where the database's server is.
async fn is_elsewhere(database: &Path) -> bool {
    let sockets = database.parent().and_then(|folder| fs::read_dir(folder).ok());
    let sockets = sockets.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let of_bridges: Vec<_> =
        sockets.filter(|path| path.extension().is_some_and(|it| it == "mgmt")).collect();
    let mut bridges_here = None;
    for socket in of_bridges.iter().map(AsRef::as_ref).chain([database]) {
        // One that an earlier ovs-vswitchd has left has no listener.
        let Some(process) = listener(socket).await else { continue };
        if process == 0 {
            // It cannot be looked at, but its bridges would have their links here.
            bridges_here = bridges_here.or_else(|| bridge_link_is_here(socket));
            continue;
        }
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
        if let (Ok(theirs), Ok(own)) = (namespace(&process.to_string()), namespace("self")) {
            return theirs != own;
        }
    }
    bridges_here == Some(false)
}

/// Whether there is a link here with the name of the bridge that a socket is for.
fn bridge_link_is_here(socket: &Path) -> Option<bool> {
    socket.extension().filter(|extension| *extension == "mgmt")?;
    let name = socket.file_stem()?;
    let links = fs::read_to_string("/proc/self/net/dev").ok()?;
    let name = name.to_str()?;
    Some(links.lines().any(|line| line.split(':').next().is_some_and(|link| link.trim() == name)))
}

/// The process that listens on a socket, or has made it for the one that does; 0 if it is not to be seen from here.
async fn listener(socket: &Path) -> Option<i32> {
    let stream = timeout(PATIENCE, UnixStream::connect(socket)).await.ok()?.ok()?;
    stream.peer_cred().ok()?.pid()
}
