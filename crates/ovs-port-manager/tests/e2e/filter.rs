//! A socket proxy, as people put before Docker's socket: it answers some requests itself.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// The requests whose path contains the text are answered with status and message.
type Rule = (&'static str, &'static str, &'static str);

pub(crate) struct Filter {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    answered: AtomicUsize,
}

impl Filter {
    /// Listens at a path and lets pass to `target` what no rule is for.
    pub(crate) fn start(path: PathBuf, target: &str, rules: &[Rule]) -> Result<Self> {
        let listener = UnixListener::bind(&path).context("cannot listen for the daemon")?;
        let target = Path::new(target.strip_prefix("unix://").context("no socket")?).to_owned();
        let shared = Arc::new(Shared { rules: Mutex::new(rules.to_vec()), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shared, target) = (Arc::clone(&theirs), target.clone());
                // A connection that breaks is the daemon's to make anew.
                thread::spawn(move || serve(&client, &target, &shared));
            }
        });
        Ok(Self { path, shared })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub(crate) fn set(&self, rules: &[Rule]) {
        *self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules.to_vec();
    }

    /// How many requests it has answered itself.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

/// Passes requests on, one after the other; they have no body.
fn serve(client: &UnixStream, target: &Path, shared: &Shared) -> io::Result<()> {
    let mut server = UnixStream::connect(target)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut requests = BufReader::new(client);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if requests.read_line(&mut head)? == 0 {
                return server.shutdown(Shutdown::Both);
            }
        }
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let rules = shared.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match rules.iter().find(|(part, ..)| path.contains(part)) {
            None => server.write_all(head.as_bytes())?,
            Some((_, status, message)) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                let length = message.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{message}");
                (&*client).write_all(answer.as_bytes())?;
            }
        }
    }
}
