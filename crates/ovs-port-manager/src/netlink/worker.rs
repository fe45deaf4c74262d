//! The thread that does netlink work, one piece after the other.
//!
//! The kernel does one thing at a time under its RTNL lock: many threads would wait for it in turn, and
//! burn a processor while they do. So there is one for each kind of work that must not wait for another.
//! The thread begins in the host's namespace, where it opens a socket; from
//! then on each piece of work may take it into another namespace. When nothing is left to do it goes back, so
//! that it keeps no container's namespace alive, and waits for more: to start a thread and to open a socket for each
//! container would take as long as a good part of the work.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::connection::Connection;
use crate::netns;

/// Answers that wait for each other at most. Who gets one alone is woken by it, takes the processor from this
/// thread for a moment, and has to wait for the others of its burst all the same.
pub(crate) const ANSWERED_TOGETHER: usize = 8;

/// After so much work, the thread ends when nothing is left to do, and the next piece starts another. The C library
/// keeps what a thread has freed for that thread, small pieces all over the memory: of 1,000 looks more than a megabyte
/// could not be given back.
const BURST: usize = 64;

/// Work for the thread. It is given the socket in the host's namespace.
type Job = Box<dyn FnOnce(Result<&mut Connection, Error>) -> Answer + Send>;
/// Tells who has asked for a piece of work what came of it.
type Answer = Box<dyn FnOnce() + Send>;

/// Does netlink work on a thread of its own, which the first piece starts and which ends with the last clone. Cheap
/// to clone.
#[derive(Clone, Default)]
pub(crate) struct Worker {
    thread: Arc<Thread>,
}

/// The way to the thread, while there is one.
type Thread = Mutex<Option<mpsc::UnboundedSender<Job>>>;

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
        self.send(Box::new(move |host| {
            let result = host.and_then(work);
            // Nobody listens when the caller was cancelled; the work is done all the same.
            Box::new(move || drop(sender.send(result)))
        }))
        .map_err(Error::system("start a thread for netlink"))?;
        receiver.await.unwrap_or_else(|_| {
            let ended = io::Error::other("its thread ended early");
            Err(Error::system("do netlink work")(ended))
        })
    }

    /// Gives the thread a job; starts it if there is none.
    fn send(&self, job: Job) -> io::Result<()> {
        let mut thread = lock(&self.thread);
        let job = match &*thread {
            // It comes back from a thread that has ended.
            Some(jobs) => jobs.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        let Some(job) = job else { return Ok(()) };
        let (jobs, receiver) = mpsc::unbounded_channel();
        // It is there in time: the thread waits for the first.
        let _ = jobs.send(job);
        let way = Arc::downgrade(&self.thread);
        thread::Builder::new().name("netns".to_owned()).spawn(move || serve(receiver, &way))?;
        *thread = Some(jobs);
        Ok(())
    }
}

/// Works until nobody is left to ask for more, a burst is over, or the thread cannot leave the namespace that it is in.
fn serve(mut jobs: mpsc::UnboundedReceiver<Job>, way: &Weak<Thread>) {
    let home = File::open("/proc/thread-self/ns/net");
    let go_home = || netns::enter(home.as_ref().ok()?.as_fd()).ok();
    let mut host = None;
    let mut answers = Vec::with_capacity(ANSWERED_TOGETHER);
    let mut done = 0;
    loop {
        let job = jobs.try_recv().ok();
        if job.is_none() || answers.len() == ANSWERED_TOGETHER {
            answers.drain(..).for_each(|answer: Answer| answer());
        }
        let next = || {
            go_home()?;
            if done < BURST { jobs.blocking_recv() } else { leave(&mut jobs, way) }
        };
        let Some(job) = job.or_else(next) else { return };
        done += 1;
        // Who waits for it learns of a panic by its sender's end; others are not to be held up.
        answers.extend(catch_unwind(AssertUnwindSafe(|| job(connected(&mut host)))));
    }
}

/// Leaves the work to another thread, unless there is some. There are never two that work: what one of them lists, the
/// other must not be about to change.
fn leave(jobs: &mut mpsc::UnboundedReceiver<Job>, way: &Weak<Thread>) -> Option<Job> {
    let way = way.upgrade()?;
    let mut way = lock(&way);
    // Under the lock: what was sent before is here, and who comes next finds nobody.
    let job = jobs.try_recv().ok();
    if job.is_none() {
        *way = None;
    }
    job
}

fn lock(thread: &Thread) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Job>>> {
    thread.lock().unwrap_or_else(PoisonError::into_inner)
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
