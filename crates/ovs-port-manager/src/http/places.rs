//! Who has a place, and who gives way when there is none left.
//!
//! Nothing happens here: it is told what happens, and when, and says what is to be done.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use tokio::time::Instant;

/// Connections at a time. Each is a file, of which the daemon needs some itself.
pub(super) const PLACES: usize = 64;
/// Those of them that follow events, at most.
pub(super) const STREAMS: usize = 16;

/// Whom a connection is from, as far as one can tell: who has many connections is to push out its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// An address; of IPv6, the first 64 bits, as the others are its host's to choose (RFC 8981).
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & u128::from(u64::MAX) << 64).into()
            }
            address => address,
        })
    }
}

/// How far a connection is. Those of the first stage are the first to give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It has not asked yet: the head of its request is not complete.
    Asking,
    /// Its answer is there and not read. What fits into the socket's buffer is never in this stage.
    Reading,
    /// Its answer is being made.
    Waiting,
    /// It follows events.
    Following,
}

/// One connection, for as long as it has a place.
pub(super) type Id = u64;

/// What is to become of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has a place; if there was none left, that of another one, which was at this stage and has lost it.
    Entered { id: Id, instead_of: Option<(Id, Stage)> },
    /// All others are about to be answered: it is its turn when one of them has left this stage.
    Later,
}

#[derive(Debug)]
struct Place {
    source: Source,
    stage: Stage,
    since: Instant,
}

/// The places of one listener.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: BTreeMap<Id, Place>,
    last: Id,
}

impl Places {
    /// A connection has been made.
    ///
    /// If all places are taken, somebody of those from where most come gives way: who has asked for nothing for the longest
    /// time; then who has not read its answer for the longest time. One whose answer is being made stays, unless
    /// the new one is from where fewer come.
    pub(super) fn admit(&mut self, source: Source, now: Instant) -> Admission {
        let mut instead_of = None;
        if self.held.len() >= PLACES {
            let Some((loser, fairer)) = self.loser(source) else { return Admission::Later };
            let stage = self.held.get(&loser).map_or(Stage::Asking, |place| place.stage);
            if stage == Stage::Waiting && !fairer {
                return Admission::Later;
            }
            self.held.remove(&loser);
            instead_of = Some((loser, stage));
        }
        self.last += 1;
        self.held.insert(self.last, Place { source, stage: Stage::Asking, since: now });
        Admission::Entered { id: self.last, instead_of }
    }

    /// A connection has come to another stage. If that makes one stream of events too many, says who loses its
    /// place: the oldest of those from where most come.
    pub(super) fn reach(&mut self, id: Id, stage: Stage, now: Instant) -> Option<Id> {
        let place = self.held.get_mut(&id)?;
        (place.stage, place.since) = (stage, now);
        let streams = || self.held.iter().filter(|(_, place)| place.stage == Stage::Following);
        if stage != Stage::Following || streams().count() <= STREAMS {
            return None;
        }
        let counts = count(streams().map(|(_, place)| place.source));
        let most = counts.values().max().copied();
        let of_most = streams().filter(|(_, place)| counts.get(&place.source).copied() == most);
        // Of two that began in the same instant, the one that came first.
        let loser = of_most.min_by_key(|(id, place)| (place.since, **id)).map(|(id, _)| *id)?;
        self.held.remove(&loser);
        Some(loser)
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: Id) {
        self.held.remove(&id);
    }

    /// How far a connection is, if it still has its place.
    pub(super) fn stage(&self, id: Id) -> Option<Stage> {
        self.held.get(&id).map(|place| place.stage)
    }

    /// Who gives way to one from `source`, and whether fewer come from there, that one included. Streams of events have a
    /// bound of their own.
    fn loser(&self, source: Source) -> Option<(Id, bool)> {
        let ordinary = || self.held.iter().filter(|(_, place)| place.stage != Stage::Following);
        let own = std::iter::once(source);
        let counts = count(ordinary().map(|(_, place)| place.source).chain(own));
        let number = |source: &Source| counts.get(source).copied().unwrap_or_default();
        let most = ordinary().map(|(_, place)| number(&place.source)).max()?;
        let of_most = ordinary().filter(|(_, place)| number(&place.source) == most);
        let (loser, _) = of_most.min_by_key(|(id, place)| (place.stage, place.since, **id))?;
        Some((*loser, number(&source) < most))
    }
}

fn count(sources: impl Iterator<Item = Source>) -> BTreeMap<Source, usize> {
    let mut counts = BTreeMap::new();
    for source in sources {
        *counts.entry(source).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const ONE: Source = Source::User(1);
    const TWO: Source = Source::User(2);

    /// Places in which something happens each second.
    struct Time {
        places: Places,
        now: Instant,
    }

    impl Time {
        fn new() -> Self {
            Self { places: Places::default(), now: Instant::now() }
        }

        fn tick(&mut self) -> Instant {
            self.now += Duration::from_secs(1);
            self.now
        }

        fn admit(&mut self, source: Source) -> Admission {
            let now = self.tick();
            self.places.admit(source, now)
        }

        fn enter(&mut self, source: Source) -> (Id, Option<(Id, Stage)>) {
            match self.admit(source) {
                Admission::Entered { id, instead_of } => (id, instead_of),
                Admission::Later => panic!("there is no place"),
            }
        }

        fn reach(&mut self, id: Id, stage: Stage) -> Option<Id> {
            let now = self.tick();
            self.places.reach(id, stage, now)
        }

        /// So many connections at a stage.
        fn fill(&mut self, number: usize, source: Source, stage: Stage) -> Vec<Id> {
            (0..number)
                .map(|_| {
                    let (id, _) = self.enter(source);
                    assert_eq!(self.reach(id, stage), None);
                    id
                })
                .collect()
        }
    }

    #[test]
    fn who_asks_for_nothing_gives_way_first_and_the_longest_idle_of_them() {
        let mut time = Time::new();
        time.fill(32, ONE, Stage::Reading);
        let idle = time.fill(32, ONE, Stage::Asking);
        for oldest in idle {
            let (id, instead_of) = time.enter(ONE);
            assert_eq!(instead_of, Some((oldest, Stage::Asking)));
            time.reach(id, Stage::Waiting);
        }
    }

    #[test]
    fn then_who_does_not_read_its_answer_and_never_who_is_about_to_be_answered() {
        let mut time = Time::new();
        let waiting = time.fill(60, ONE, Stage::Waiting);
        let reading = time.fill(4, ONE, Stage::Reading);
        for oldest in reading {
            let (id, instead_of) = time.enter(ONE);
            assert_eq!(instead_of, Some((oldest, Stage::Reading)));
            time.reach(id, Stage::Waiting);
        }
        assert_eq!(time.admit(ONE), Admission::Later);
        // It takes one that has been answered, no more.
        time.reach(waiting[7], Stage::Reading);
        assert_eq!(time.enter(ONE).1, Some((waiting[7], Stage::Reading)));
    }

    #[test]
    fn who_has_many_places_cannot_push_out_others_nor_keep_them_out() {
        let mut time = Time::new();
        let (alone, _) = time.enter(TWO);
        let many = time.fill(63, ONE, Stage::Waiting);
        for _ in 0..200 {
            assert_eq!(time.admit(ONE), Admission::Later);
        }
        assert_eq!(time.places.stage(alone), Some(Stage::Asking));
        // Even in the middle of an answer: as many from there are waiting already.
        assert_eq!(time.enter(TWO).1, Some((many[0], Stage::Waiting)));
    }

    #[test]
    fn the_oldest_stream_gives_way_and_ordinary_connections_never_push_one_out() {
        let mut time = Time::new();
        let (other, _) = time.enter(TWO);
        assert_eq!(time.reach(other, Stage::Following), None);
        let streams = time.fill(STREAMS - 1, ONE, Stage::Following);
        for oldest in &streams {
            let (id, _) = time.enter(ONE);
            assert_eq!(time.reach(id, Stage::Following), Some(*oldest));
        }
        assert_eq!(time.places.stage(other), Some(Stage::Following));
        for _ in 0..200 {
            let loser = time.enter(ONE).1;
            assert!(loser.is_none_or(|(_, stage)| stage == Stage::Asking), "{loser:?}");
        }
        let places = time.places.held.values();
        assert_eq!(places.filter(|place| place.stage == Stage::Following).count(), STREAMS);
    }

    #[test]
    fn one_that_is_out_comes_to_nothing() {
        let mut time = Time::new();
        let (id, _) = time.enter(ONE);
        time.places.leave(id);
        time.places.leave(id);
        assert_eq!(time.reach(id, Stage::Following), None);
        assert_eq!(time.places.stage(id), None);
    }

    #[test]
    fn the_hosts_of_an_ipv6_network_are_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1:2:3"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn bounds_hold_and_a_newcomer_is_never_the_one_to_go(
            acts in proptest::collection::vec((0..6_u8, 0..4_u32, any::<proptest::sample::Index>()), 0..600),
        ) {
            let mut time = Time::new();
            for (act, user, which) in acts {
                let held: Vec<_> = time.places.held.keys().copied().collect();
                if act < 3 || held.is_empty() {
                    if let Admission::Entered { id, .. } = time.admit(Source::User(user)) {
                        prop_assert_eq!(time.places.stage(id), Some(Stage::Asking));
                    } else {
                        // All from where most come are about to be answered, or the places would be had.
                        prop_assert_eq!(time.places.held.len(), PLACES);
                    }
                } else {
                    let id = held[which.index(held.len())];
                    let stage = [Stage::Waiting, Stage::Reading, Stage::Following][usize::from(act) - 3];
                    prop_assert_ne!(time.reach(id, stage), Some(id));
                }
                let places = &time.places.held;
                let streams = places.values().filter(|it| it.stage == Stage::Following).count();
                prop_assert!(places.len() <= PLACES && streams <= STREAMS);
            }
        }
    }
}
