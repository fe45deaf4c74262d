//! The thread that does netlink work, one piece after the other.
//!
//! The kernel does one thing at a time under its RTNL lock: more threads would wait for it in turn, and
//! burn a processor while they do. The thread begins in the host's namespace, where it opens a socket; from
//! then on each piece of work may take it into another namespace. When nothing is left to do it goes back, so
//! that it keeps no container's namespace alive, waits a little for more, and ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Error;
use super::connection::Connection;
use crate::netns;

/// How long the thread waits for more work: in a burst it comes in small pieces.
const LINGER: Duration = Duration::from_millis(20);

/// Work for the thread. It is given the socket in the host's namespace.
type Job = Box<dyn FnOnce(Result<&mut Connection, Error>) + Send>;

/// What waits for the thread, and whether there is one.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    served: bool,
}

/// Does netlink work on a thread of its own. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

impl Worker {
    /// Does a piece of work after those that wait already. Dropping the future does not undo it.
    ///
    /// # Errors
    ///
    /// Those of the work, or that the thread or its socket could not be had.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |host| {
            // Nobody listens when the caller was cancelled; the work is done all the same.
            let _ = sender.send(host.and_then(work));
        });
        let first = {
            let mut queue = self.shared.lock();
            queue.jobs.push_back(job);
            !std::mem::replace(&mut queue.served, true)
        };
        if first {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("netns".to_owned());
            if let Err(error) = thread.spawn(move || shared.serve()) {
                let mut queue = self.shared.lock();
                // Those that came meanwhile learn it, too: their senders are dropped.
                queue.jobs.clear();
                queue.served = false;
                return Err(Error::system("start a thread for netlink")(error));
            }
        } else {
            self.shared.more.notify_one();
        }
        receiver.await.unwrap_or_else(|_| {
            let ended = io::Error::other("its thread ended early");
            Err(Error::system("do netlink work")(ended))
        })
    }
}

impl Shared {
    /// Works until nothing is left to do.
    fn serve(&self) {
        let home = File::open("/proc/thread-self/ns/net");
        let mut host = None;
        loop {
            let Some(job) = self.next(|| {
                let home = home.as_ref().map_err(|error| io::Error::from(error.kind()))?;
                netns::enter(home.as_fd())
            }) else {
                return;
            };
            if host.is_none() {
                // Only work that got a socket can have moved this thread: it is still at home.
                match Connection::open() {
                    Ok(opened) => host = Some(opened),
                    Err(error) => {
                        job(Err(error));
                        continue;
                    }
                }
            }
            if let Some(host) = &mut host {
                // Who waits for it learns of a panic by its sender's end; others are not to be held up.
                let _ = catch_unwind(AssertUnwindSafe(|| job(Ok(host))));
            }
        }
    }

    /// The next piece of work; none if there has been none for a while, and then nobody serves the queue.
    fn next(&self, go_home: impl FnOnce() -> io::Result<()>) -> Option<Job> {
        let mut queue = self.lock();
        if let Some(job) = queue.jobs.pop_front() {
            return Some(job);
        }
        drop(queue);
        let linger = if go_home().is_ok() { LINGER } else { Duration::ZERO };
        queue = self.lock();
        let waited = self.more.wait_timeout_while(queue, linger, |queue| queue.jobs.is_empty());
        (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let job = queue.jobs.pop_front();
        // Under the lock: whoever comes next finds no thread and starts one.
        queue.served = job.is_some();
        job
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
