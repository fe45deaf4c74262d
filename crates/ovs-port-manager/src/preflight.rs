//! What has to be there before anything can work, and what to do where it is not.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    #[error(
        "what listens on {path} speaks {speaks}, so it is not {service}'s socket: {advice}",
        path = path.display()
    )]
    Another { service: &'static str, path: PathBuf, speaks: &'static str, advice: &'static str },
}

/// How long whoever listens may take to show what it speaks. One that says nothing is tried for real.
const ANSWER: Duration = Duration::from_millis(500);

/// Makes sure that Docker's socket can be connected to.
pub(crate) fn docker_socket(path: &Path) -> Result<(), Error> {
    let advice = "is Docker running? Start it (systemctl start docker), or say where it listens \
                  (--docker unix:///PATH; DOCKER_HOST and contexts of the docker command are not used; \
                  Podman's is unix:///run/podman/podman.sock)";
    let stream = socket("Docker", path, advice)?;
    match first_byte(stream, b"GET /_ping HTTP/1.0\r\n\r\n") {
        Some(b'{') => Err(Error::Another {
            service: "Docker",
            path: path.to_owned(),
            speaks: "JSON-RPC, as OVSDB does",
            advice,
        }),
        _ => Ok(()),
    }
}

/// Makes sure that the OVSDB server's socket can be connected to.
pub(crate) fn ovsdb_socket(path: &Path) -> Result<(), Error> {
    let advice = "is Open vSwitch running? Start it (systemctl start openvswitch-switch), or say \
                  where it listens (--ovsdb unix:/PATH or tcp:HOST:PORT)";
    let stream = socket("OVSDB", path, advice)?;
    // An echo (RFC 7047, section 4.1.11), with the end of line that makes a web server answer, too.
    match first_byte(stream, b"{\"method\":\"echo\",\"params\":[],\"id\":0}\r\n\r\n") {
        Some(b'H') => Err(Error::Another {
            service: "OVSDB",
            path: path.to_owned(),
            speaks: "HTTP, as Docker does",
            advice,
        }),
        _ => Ok(()),
    }
}

/// The first byte of the answer to a question; none without an answer in time.
fn first_byte(mut stream: UnixStream, question: &[u8]) -> Option<u8> {
    let mut byte = [0];
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(question).ok()?;
    stream.read_exact(&mut byte).ok()?;
    let [byte] = byte;
    Some(byte)
}

fn socket(service: &'static str, path: &Path, advice: &'static str) -> Result<UnixStream, Error> {
    let error = match UnixStream::connect(path) {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let path = path.to_owned();
    Err(match error.kind() {
        io::ErrorKind::NotFound => Error::NoSocket { service, path, advice },
        io::ErrorKind::PermissionDenied => Error::Denied { service, path },
        io::ErrorKind::ConnectionRefused => Error::Dead { service, path, advice },
        _ => Error::Socket { service, path, source: error },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A socket whose listener answers everything with this.
    fn answering(answer: &'static [u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 100]);
            let _ = client.write_all(answer);
        });
        (folder, path)
    }

    #[test]
    fn one_service_s_socket_is_not_taken_for_the_other_s() {
        let (_folder, docker) = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let told = ovsdb_socket(&docker).unwrap_err().to_string();
        assert!(told.contains("speaks HTTP, as Docker does"), "{told}");
        let (_folder, ovsdb) = answering(b"{\"id\":null}");
        let told = docker_socket(&ovsdb).unwrap_err().to_string();
        assert!(told.contains("speaks JSON-RPC, as OVSDB does"), "{told}");
        let (_folder, docker) = answering(b"HTTP/1.0 200 OK\r\n\r\nOK");
        docker_socket(&docker).unwrap();
    }
}
