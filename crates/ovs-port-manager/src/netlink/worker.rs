//! The thread that does netlink work, one piece after the other.
//!
//! The kernel does one thing at a time under its RTNL lock: more threads would wait for it in turn, and
//! burn a processor while they do. The thread begins in the host's namespace, where it opens a socket; from
//! then on each piece of work may take it into another namespace. It never goes back: when nothing is left to
//! do it ends, and so keeps no container's namespace alive.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::Error;
use super::connection::Connection;

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
    queue: Arc<Mutex<Queue>>,
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
            let mut queue = lock(&self.queue);
            queue.jobs.push_back(job);
            !std::mem::replace(&mut queue.served, true)
        };
        if first {
            let queue = Arc::clone(&self.queue);
            let started =
                thread::Builder::new().name("netns".to_owned()).spawn(move || serve(&queue));
            if let Err(error) = started {
                let mut queue = lock(&self.queue);
                // Those that came meanwhile learn it, too: their senders are dropped.
                queue.jobs.clear();
                queue.served = false;
                return Err(Error::system("start a thread for netlink")(error));
            }
        }
        receiver.await.unwrap_or_else(|_| {
            let ended = io::Error::other("its thread ended early");
            Err(Error::system("do netlink work")(ended))
        })
    }
}

/// Works until nothing is left to do.
fn serve(queue: &Mutex<Queue>) {
    let mut host = None;
    loop {
        let job = {
            let mut queue = lock(queue);
            let Some(job) = queue.jobs.pop_front() else {
                // Under the lock: whoever comes next finds no thread and starts one.
                queue.served = false;
                return;
            };
            job
        };
        if host.is_none() {
            // Only work that got a socket can have moved this thread: it is still in the host's namespace.
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

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
