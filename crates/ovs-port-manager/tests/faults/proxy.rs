//! Forwards bytes between the daemon and dockerd, over connections that a test can cut.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// The ends towards the daemon.
type Connections = Arc<Mutex<Vec<UnixStream>>>;

pub(crate) struct Proxy {
    path: PathBuf,
    connections: Connections,
}

impl Proxy {
    pub(crate) fn start(path: &Path, target: &str) -> Result<Self> {
        let listener = UnixListener::bind(path).context("cannot listen for the daemon")?;
        let target = target.strip_prefix("unix://").context("no unix socket")?.to_owned();
        let connections = Connections::default();
        let all = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without dockerd the daemon's connection just ends.
                let _ = forward(client, &target, &all);
            }
        });
        Ok(Self { path: path.to_owned(), connections })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn forward(client: UnixStream, target: &str, all: &Connections) -> io::Result<()> {
    let server = UnixStream::connect(target)?;
    all.lock().unwrap_or_else(PoisonError::into_inner).push(client.try_clone()?);
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(client, &server));
    thread::spawn(move || copy(server_too, &client_too));
    Ok(())
}

/// Copies until one side ends. Both then end: a dead dockerd must not look like a silent one.
fn copy(mut from: UnixStream, mut to: &UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
