//! What has to be there before anything can work, and what to do where it is not.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
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
