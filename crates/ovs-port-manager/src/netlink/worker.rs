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

/// Answers that wait for each other at most. Who gets one alone is woken by it, takes the processor from this
/// thread for a moment, and has to wait for the others of its burst all the same.
pub(crate) const ANSWERED_TOGETHER: usize = 8;

/// Work for the thread. It is given the socket in the host's namespace.
type Job = Box<dyn FnOnce(Result<&mut Connection, Error>) -> Answer + Send>;
/// Tells who has asked for a piece of work what came of it.
type Answer = Box<dyn FnOnce() + Send>;

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
            let result = host.and_then(work);
            // Nobody listens when the caller was cancelled; the work is done all the same.
            Box::new(move || drop(sender.send(result)))
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
        let go_home = || {
            let home = home.as_ref().map_err(|error| io::Error::from(error.kind()))?;
            netns::enter(home.as_fd())
        };
        let mut host = None;
        let mut answers = Vec::with_capacity(ANSWERED_TOGETHER);
        loop {
            let job = self.lock().jobs.pop_front();
            if job.is_none() || answers.len() == ANSWERED_TOGETHER {
                answers.drain(..).for_each(|answer: Answer| answer());
            }
            let Some(job) = job.or_else(|| self.wait(go_home)) else { return };
            // Who waits for it learns of a panic by its sender's end; others are not to be held up.
            answers.extend(catch_unwind(AssertUnwindSafe(|| job(connected(&mut host)))));
        }
    }

    /// Waits for a piece of work; none if there has been none for a while, and then nobody serves the queue.
    fn wait(&self, go_home: impl FnOnce() -> io::Result<()>) -> Option<Job> {
        let linger = if go_home().is_ok() { LINGER } else { Duration::ZERO };
        let queue = self.lock();
        let waited = self.more.wait_timeout_while(queue, linger, |queue| queue.jobs.is_empty());
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let job = queue.jobs.pop_front();
        // Under the lock: whoever comes next finds no thread and starts one.
        queue.served = job.is_some();
        job
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket in the host's namespace, opened if it is not yet.
///
/// Only work that got one can have moved the thread: without, it is still at home.
fn connected(host: &mut Option<Connection>) -> Result<&mut Connection, Error> {
    match host {
        Some(host) => Ok(host),
        None => Ok(host.insert(Connection::open()?)),
    }
}
