//! What has to be there before anything can work, and what to do where it is not.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A capability that the work needs (capabilities(7)).
struct Capability {
    name: &'static str,
    /// Its bit in the sets of `/proc/PID/status`.
    bit: u32,
    reason: &'static str,
}

const CAPABILITIES: [Capability; 5] = [
    Capability { name: "net_broadcast", bit: 11, reason: "hear of changes inside containers" },
    Capability { name: "net_admin", bit: 12, reason: "make links" },
    Capability { name: "net_raw", bit: 13, reason: "announce addresses" },
    Capability {
        name: "sys_ptrace",
        bit: 19,
        reason: "open the namespaces of other users' processes",
    },
    Capability { name: "sys_admin", bit: 21, reason: "enter network namespaces" },
];

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "not permitted to {0}; run it as root, or give it the capabilities net_broadcast, \
         net_admin, net_raw, sys_ptrace and sys_admin"
    )]
    Capabilities(String),
    #[error("cannot tell which capabilities this process has")]
    Status(#[source] io::Error),
    #[error("no {service} socket at {path}: {advice}", path = path.display())]
    NoSocket { service: &'static str, path: PathBuf, advice: &'static str },
    #[error(
        "permission denied on {service}'s socket {path}: run it as root, or as a member of the \
         socket's group",
        path = path.display()
    )]
    Denied { service: &'static str, path: PathBuf },
    #[error("nobody listens on {service}'s socket {path}: {advice}", path = path.display())]
    Dead { service: &'static str, path: PathBuf, advice: &'static str },
    #[error("cannot connect to {service}'s socket {path}", path = path.display())]
    Socket { service: &'static str, path: PathBuf, source: io::Error },
}

/// Makes sure that the process may do what it will have to do.
pub(crate) fn capabilities() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(Error::Status)?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| Error::Status(io::Error::other("no CapEff in /proc/self/status")))?;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|capability| effective & (1 << capability.bit) == 0)
        .map(|capability| format!("{} ({})", capability.reason, capability.name))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Capabilities(missing.join(", "))) }
}

/// Makes sure that Docker's socket can be connected to.
pub(crate) fn docker_socket(path: &Path) -> Result<(), Error> {
    let advice = "is Docker running? Start it (systemctl start docker), or say where it listens \
                  (--docker unix:///PATH)";
    socket("Docker", path, advice)
}

/// Makes sure that the OVSDB server's socket can be connected to.
pub(crate) fn ovsdb_socket(path: &Path) -> Result<(), Error> {
    let advice = "is Open vSwitch running? Start it (systemctl start openvswitch-switch), or say \
                  where it listens (--ovsdb unix:/PATH or tcp:HOST:PORT)";
    socket("OVSDB", path, advice)
}

fn socket(service: &'static str, path: &Path, advice: &'static str) -> Result<(), Error> {
    let Err(error) = UnixStream::connect(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    Err(match error.kind() {
        io::ErrorKind::NotFound => Error::NoSocket { service, path, advice },
        io::ErrorKind::PermissionDenied => Error::Denied { service, path },
        io::ErrorKind::ConnectionRefused => Error::Dead { service, path, advice },
        _ => Error::Socket { service, path, source: error },
    })
}
