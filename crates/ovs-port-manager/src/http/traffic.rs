//! The links' counters, for all who ask at about the same time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::netlink::{Error, LinkNow};

/// How old the counters may be. The kernel lists all links for them, and others wait meanwhile.
const AGE: Duration = Duration::from_millis(500);
/// How long the kernel may take to list them; after that, an answer goes without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The counters of links, by name.
pub(super) type Counters = BTreeMap<String, LinkNow>;

/// The counters, and when they were read.
type Kept = Option<(Instant, Arc<Counters>)>;

pub(super) struct Traffic {
    /// Asks the kernel.
    ask: fn() -> Result<Counters, Error>,
    /// Locked for as long as the kernel is asked, whether or not somebody still waits for it.
    kept: Arc<AsyncMutex<Kept>>,
    /// Since when it is.
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Traffic {
    pub(super) fn new(ask: fn() -> Result<Counters, Error>) -> Self {
        Self { ask, kept: Arc::default(), asked: Arc::default() }
    }

    /// The counters; none if the kernel takes too long. It is asked once at a time: who comes when it has been asked for too
    /// long already does not wait at all.
    pub(super) async fn now(&self) -> Option<io::Result<Arc<Counters>>> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = asked.unwrap_or_else(Instant::now) + PATIENCE;
        let counters = async {
            let kept = Arc::clone(&self.kept).lock_owned().await;
            match &*kept {
                Some((read, links)) if read.elapsed() < AGE => Ok(Arc::clone(links)),
                _ => self.read(kept).await,
            }
        };
        timeout_at(deadline, counters).await.ok()
    }

    async fn read(&self, mut kept: OwnedMutexGuard<Kept>) -> io::Result<Arc<Counters>> {
        let (ask, asked) = (self.ask, Arc::clone(&self.asked));
        note(&asked, Some(Instant::now()));
        // The lock goes along: it is held until the kernel has answered.
        let asking = spawn_blocking(move || {
            let links = ask();
            note(&asked, None);
            let links = Arc::new(links.map_err(io::Error::other)?);
            *kept = Some((Instant::now(), Arc::clone(&links)));
            Ok(links)
        });
        asking.await.map_err(io::Error::other)?
    }
}

fn note(asked: &Mutex<Option<Instant>>, at: Option<Instant>) {
    *asked.lock().unwrap_or_else(PoisonError::into_inner) = at;
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static ANSWERS: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// A kernel that does not answer until it is let.
    fn slow() -> Result<Counters, Error> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        let (may, changed) = &ANSWERS;
        drop(changed.wait_while(may.lock().unwrap(), |may| !*may).unwrap());
        Ok(Counters::new())
    }

    #[tokio::test]
    async fn a_kernel_that_does_not_answer_is_asked_once_and_waited_for_once() {
        let traffic = Traffic::new(slow);
        assert!(traffic.now().await.is_none());
        // Now there is no waiting.
        let before = Instant::now();
        for _ in 0..100 {
            assert!(traffic.now().await.is_none());
        }
        assert!(before.elapsed() < PATIENCE);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        *ANSWERS.0.lock().unwrap() = true;
        ANSWERS.1.notify_all();
        while !matches!(traffic.now().await, Some(Ok(_))) {
            tokio::task::yield_now().await;
        }
        // It is either the answer that was late, or one of now: never two at a time.
        assert!(ASKED.load(Ordering::SeqCst) <= 2);
    }
}
