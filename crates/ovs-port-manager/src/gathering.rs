//! Looks that are under way at the same time change the switch together.
//!
//! Each change of the database sets ovs-vswitchd to work on all of its ports, and while it works every link
//! takes longer to make. So whoever is ready to change rows first lets the others come along, for as long as
//! they do come. One alone does not wait at all.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// When for so long nobody has come along, or for a quarter of the time that they have come for, nobody is
/// waited for any longer: one look that is held up must not hold up the others.
const STILL: Duration = Duration::from_millis(50);

/// Where looks wait for each other. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gathering {
    state: Arc<Mutex<State>>,
    /// Is told how many are released, before they are.
    releasing: Arc<dyn Fn(usize) + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// Rises whenever those who wait are released.
    round: u64,
    /// Those on their way that are waited for.
    coming: usize,
    /// Those that have set out since somebody waits: the next round waits for them, so that no round goes
    /// on for ever.
    later: usize,
    /// Those that have arrived and wait for the others.
    waiting: Vec<oneshot::Sender<()>>,
    /// How many of those waited for have ever arrived or turned out not to come.
    arrived: u64,
}

/// A look on its way. Dropped, it does not come.
pub(crate) struct Coming {
    gathering: Gathering,
    round: u64,
}

impl Gathering {
    /// Where nobody is yet. `releasing` is told how many are let go at once, just before they are.
    pub(crate) fn new(releasing: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { state: Arc::default(), releasing: Arc::new(releasing) }
    }

    /// One more is on its way.
    pub(crate) fn coming(&self) -> Coming {
        let mut state = self.lock();
        let round = if state.waiting.is_empty() {
            state.coming += 1;
            state.round
        } else {
            state.later += 1;
            state.round + 1
        };
        Coming { gathering: self.clone(), round }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coming {
    /// One more that has set out together with this one.
    pub(crate) fn beside(&self) -> Coming {
        let mut state = self.gathering.lock();
        match self.round.cmp(&state.round) {
            Ordering::Equal => state.coming += 1,
            Ordering::Greater => state.later += 1,
            Ordering::Less => {}
        }
        Coming { gathering: self.gathering.clone(), round: self.round }
    }

    /// Whether nobody else is on the way.
    pub(crate) fn is_alone(&self) -> bool {
        let state = self.gathering.lock();
        state.waiting.is_empty() && state.coming + state.later <= 1
    }

    /// Has arrived; returns when all others have, too, or none has for a while.
    pub(crate) async fn arrive(self) {
        let gathering = self.gathering.clone();
        let (sender, released) = oneshot::channel();
        let leads = {
            let mut state = gathering.lock();
            state.waiting.push(sender);
            state.waiting.len() == 1
        };
        drop(self);
        let mut released = std::pin::pin!(released);
        let mut arrived = gathering.lock().arrived;
        // The first to wait watches over the others.
        let since = Instant::now();
        let patience = || STILL.max(since.elapsed() / 4);
        while leads && timeout(patience(), &mut released).await.is_err() {
            let mut state = gathering.lock();
            if state.arrived == arrived {
                return state.release(&*gathering.releasing);
            }
            arrived = state.arrived;
        }
        if !leads {
            // Released or, at the end of the program, forgotten.
            let _ = released.await;
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut state = self.gathering.lock();
        match self.round.cmp(&state.round) {
            Ordering::Equal => {
                state.coming = state.coming.saturating_sub(1);
                state.arrived = state.arrived.wrapping_add(1);
            }
            Ordering::Greater => state.later = state.later.saturating_sub(1),
            // It was no longer waited for.
            Ordering::Less => {}
        }
        if state.coming == 0 {
            state.release(&*self.gathering.releasing);
        }
    }
}

impl State {
    /// Lets those who wait go on. Who has not come by now is not waited for again.
    fn release(&mut self, releasing: impl Fn(usize)) {
        if self.waiting.is_empty() {
            return;
        }
        releasing(self.waiting.len());
        self.round += 1;
        self.coming = std::mem::take(&mut self.later);
        for waiting in self.waiting.drain(..) {
            // It may have been given up.
            let _ = waiting.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_alone_does_not_wait() {
        let gathering = Gathering::new(|_| {});
        let arrived = gathering.coming().arrive();
        assert!(timeout(Duration::ZERO, arrived).await.is_ok());
    }

    #[tokio::test]
    async fn one_is_alone_as_long_as_nobody_else_is_under_way() {
        let gathering = Gathering::new(|_| {});
        let first = gathering.coming();
        assert!(first.is_alone());
        let second = gathering.coming();
        assert!(!first.is_alone() && !second.is_alone());
        let second = tokio::spawn(second.arrive());
        tokio::task::yield_now().await;
        assert!(!first.is_alone(), "the other waits for it");
        first.arrive().await;
        second.await.unwrap();
        assert!(gathering.coming().is_alone());
    }

    #[tokio::test]
    async fn those_on_their_way_are_waited_for() {
        let gathering = Gathering::new(|_| {});
        let (first, second, third) = (gathering.coming(), gathering.coming(), gathering.coming());
        let first = tokio::spawn(first.arrive());
        tokio::task::yield_now().await;
        assert!(!first.is_finished());
        drop(third);
        second.arrive().await;
        first.await.unwrap();
    }

    #[tokio::test]
    async fn it_is_told_how_many_go_on_together() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let gathering = Gathering::new(move |looks| tell.lock().unwrap().push(looks));
        let (first, second) = (gathering.coming(), gathering.coming());
        let first = tokio::spawn(first.arrive());
        tokio::task::yield_now().await;
        second.arrive().await;
        first.await.unwrap();
        gathering.coming().arrive().await;
        assert_eq!(*told.lock().unwrap(), [2, 1]);
    }

    #[tokio::test]
    async fn one_that_does_not_come_is_not_waited_for_long() {
        let gathering = Gathering::new(|_| {});
        let (first, _held_up) = (gathering.coming(), gathering.coming());
        first.arrive().await;
    }

    #[tokio::test]
    async fn one_that_was_not_waited_for_holds_up_nobody_later() {
        let gathering = Gathering::new(|_| {});
        let (first, held_up) = (gathering.coming(), gathering.coming());
        first.arrive().await;
        assert!(timeout(Duration::ZERO, gathering.coming().arrive()).await.is_ok());
        assert!(timeout(Duration::ZERO, held_up.arrive()).await.is_ok());
    }

    #[tokio::test]
    async fn those_that_set_out_together_go_on_together() {
        let gathering = Gathering::new(|_| {});
        let together = gathering.coming();
        let first = tokio::spawn(together.beside().arrive());
        tokio::task::yield_now().await;
        let second = together.beside();
        drop(together);
        assert!(!first.is_finished(), "it waits for the second");
        second.arrive().await;
        first.await.unwrap();
    }

    #[tokio::test]
    async fn those_that_set_out_later_do_not_make_the_first_wait_longer() {
        let gathering = Gathering::new(|_| {});
        let (first, second) = (gathering.coming(), gathering.coming());
        let first = tokio::spawn(first.arrive());
        tokio::task::yield_now().await;
        let third = gathering.coming();
        second.arrive().await;
        first.await.unwrap();
        let fourth = gathering.coming();
        let third = tokio::spawn(third.arrive());
        tokio::task::yield_now().await;
        assert!(!third.is_finished(), "it waits for the fourth");
        fourth.arrive().await;
        third.await.unwrap();
    }
}
