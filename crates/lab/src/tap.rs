//! Listens in on what clients say to a server on a Unix socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// A socket between clients and a server, which passes all on and keeps what the clients said.
///
/// Dropping it does not end it: it ends with the process.
#[derive(Debug)]
pub struct Tap {
    path: PathBuf,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    sent: Mutex<Vec<u8>>,
    received: AtomicU64,
}

impl Tap {
    /// Listens at `path` and passes on to `server`, an endpoint such as
    /// [`Lab::ovsdb_endpoint`](crate::Lab::ovsdb_endpoint).
    ///
    /// # Errors
    ///
    /// When nothing can listen at `path`.
    pub fn start(path: &Path, server: &str) -> Result<Tap> {
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let server = server.strip_prefix("unix:").context("no unix socket")?;
        let server = PathBuf::from(server.strip_prefix("//").unwrap_or(server));
        let heard = Arc::<Heard>::default();
        let hears = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without a server the client's connection just ends.
                let _ = connect(client, &server, &hears);
            }
        });
        Ok(Tap { path: path.to_owned(), heard })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that clients have sent, one connection's bytes among another's.
    pub fn sent(&self) -> Vec<u8> {
        self.heard.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often clients have sent this text.
    pub fn count_sent(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.sent()).matches(text).count()
    }

    /// How many bytes the server has sent.
    pub fn received(&self) -> u64 {
        self.heard.received.load(Ordering::Relaxed)
    }
}

fn connect(client: UnixStream, server: &Path, heard: &Arc<Heard>) -> io::Result<()> {
    let server = UnixStream::connect(server)?;
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let (sends, receives) = (Arc::clone(heard), Arc::clone(heard));
    thread::spawn(move || {
        pass(client, &server, |bytes| {
            sends.sent.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        });
    });
    thread::spawn(move || {
        pass(server_too, &client_too, |bytes| {
            receives.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
    });
    Ok(())
}

/// Passes bytes on until one side ends, which ends both.
fn pass(mut from: UnixStream, mut to: &UnixStream, mut heard: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        // First: who sees an effect must find its cause here.
        heard(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
