//! Group commit: transactions of many callers in one.
//!
//! What arrives while one is in flight leaves together in the next. That is sound because the
//! server executes operations in their order: a shared transaction is its parts one after the
//! other, and the names of inserted rows are unique in the whole program.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Client, TransactError, client_ended};
use crate::bundle::Bundle;
use crate::reply::Reply;
use crate::session::RequestError;
use crate::transaction::Transaction;

/// Operations that go out together at most, unless one caller alone has more. It bounds how long
/// the server is busy with us, and how much has to be sent again if it refuses.
const MAX_OPERATIONS: usize = 16384;

/// How long a shared transaction waits for one more caller to join it: longer than a thread needs
/// to wake another, as then the callers that are being started come along.
const QUIET: Duration = Duration::from_micros(30);

/// How long it waits at most, where callers never cease to come or expected ones don't.
const GATHERING: Duration = Duration::from_millis(20);

/// Callers that one task answers.
const ANSWERED_TOGETHER: usize = 32;

/// The transactions of a client that wait to be sent together.
#[derive(Debug, Default)]
pub(super) struct Group(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Member>,
    /// Whether there is a task that sends them.
    led: bool,
    /// How many more are about to come, and until when they are believed to.
    expected: usize,
    expected_until: Option<Instant>,
}

/// A caller's transaction.
#[derive(Debug)]
struct Member {
    tx: Transaction,
    reply: ReplyTo,
}

impl Client {
    /// Executes a transaction like [`Self::transact`], together with those of other callers.
    ///
    /// While one shared transaction is in flight, those that arrive gather for the next: a hundred
    /// concurrent callers cost about as much as one, and a caller alone waits for others for some
    /// 30 microseconds only, unless more are [announced](Self::will_commit). All that holds for
    /// `transact` holds here: each caller's transaction happens as a whole or not at all, and gets
    /// its own reply or its own error. When the server refuses a shared transaction, nothing of it
    /// has happened, and every part of it is sent again by itself.
    ///
    /// A transaction that may block ([`Transaction::wait`] with another timeout than zero) or that
    /// can't succeed ([`Transaction::abort`]) is sent by itself at once, without waiting for
    /// others. Among concurrent calls there is no order.
    ///
    /// If the future is dropped before the transaction left, it is not executed; afterwards it may
    /// be executed or not, and the others in it go on.
    ///
    /// ```no_run
    /// use ovsdb::tables::{Interface, Port};
    /// use ovsdb::{Client, Reply, TransactError, Transaction, Update};
    ///
    /// async fn tag(client: Client, port: String, tag: i64) -> Result<Reply, TransactError> {
    ///     let mut tx = Transaction::new();
    ///     tx.require(Port::NAME.eq(port.as_str()));
    ///     let _ = tx.update(Port::NAME.eq(port), Update::<Port>::new().set(Port::TAG, Some(tag)));
    ///     // However many tasks are here, there is one transaction in flight.
    ///     client.commit(tx).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Self::transact`]. Where the connection is lost under a shared transaction, all of its
    /// callers learn that their outcome is unknown.
    pub async fn commit(&self, tx: Transaction) -> Result<Reply, TransactError> {
        if !tx.can_be_shared() {
            // In a box, so that the many futures that don't come here are small.
            return Box::pin(self.transact(tx)).await;
        }
        let (reply, result) = oneshot::channel();
        let first = {
            let mut queue = self.shared.group.queue();
            queue.expected = queue.expected.saturating_sub(1);
            queue.waiting.push_back(Member { tx, reply });
            !std::mem::replace(&mut queue.led, true)
        };
        if first {
            // Not in this future: it may be dropped, and others depend on the work.
            let client = self.clone();
            tokio::spawn(lead(Lead { client, done: false }));
        }
        result.await.unwrap_or_else(|_| {
            let reason = client_ended();
            Err(RequestError::ConnectionLost { reason }.into())
        })
    }

    /// Tells that so many callers are about to [`commit`](Self::commit): the next shared transaction
    /// waits for them, for 20 milliseconds at most.
    ///
    /// For who lets many tasks go on at once. Starting them takes longer than a transaction waits
    /// for just anybody, and without this the first of them would go alone.
    pub fn will_commit(&self, callers: usize) {
        let mut queue = self.shared.group.queue();
        if !queue.expects_more() {
            queue.expected = 0;
        }
        queue.expected += callers;
        queue.expected_until = Some(Instant::now() + GATHERING);
    }
}

impl Group {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether others are about to come along.
    fn expects_more(&self) -> bool {
        self.expected > 0 && self.expected_until > Some(Instant::now())
    }

    /// The transactions that go next; none if nobody waits any more.
    fn next(&mut self) -> Vec<Member> {
        let mut members = Vec::new();
        let mut operations = 0;
        while let Some(member) = self.waiting.front() {
            operations += member.tx.len();
            if operations > MAX_OPERATIONS && !members.is_empty() {
                break;
            }
            members.extend(self.waiting.pop_front().filter(|member| !member.reply.is_closed()));
        }
        members
    }
}

/// The duty to send what waits.
struct Lead {
    client: Client,
    done: bool,
}

impl Lead {
    fn next(&mut self) -> Option<Vec<Member>> {
        let mut queue = self.client.shared.group.queue();
        let members = queue.next();
        if members.is_empty() {
            // Under the lock, so that whoever comes next finds no lead and becomes it.
            queue.led = false;
            self.done = true;
            return None;
        }
        Some(members)
    }
}

impl Drop for Lead {
    /// With a runtime that shuts down, its tasks are dropped wherever they are.
    fn drop(&mut self) {
        if !self.done {
            let mut queue = self.client.shared.group.queue();
            queue.led = false;
            queue.waiting.clear();
        }
    }
}

/// Lets callers that come at the same time come along.
async fn gather(group: &Group) {
    let start = Instant::now();
    let mut last = start;
    let mut waiting = group.queue().waiting.len();
    while start.elapsed() < GATHERING && (last.elapsed() < QUIET || group.queue().expects_more()) {
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut waiting, group.queue().waiting.len());
        if waiting > before {
            last = Instant::now();
        }
    }
}

async fn lead(mut lead: Lead) {
    loop {
        gather(&lead.client.shared.group).await;
        let Some(members) = lead.next() else { return };
        execute(&lead.client, members).await;
    }
}

type ReplyTo = oneshot::Sender<Result<Reply, TransactError>>;

/// Executes transactions as one or, if the server refuses that, one by one.
async fn execute(client: &Client, members: Vec<Member>) {
    let (txs, replies): (Vec<_>, Vec<_>) =
        members.into_iter().map(|member| (member.tx, member.reply)).unzip();
    match client.execute(&Bundle::new(&txs)).await {
        Ok(reply) => answer_all(reply.split(&txs).zip(replies)),
        Err(error) if replies.len() > 1 && error.nothing_happened() => {
            one_by_one(client, &txs, replies).await;
        }
        Err(error) => {
            for to in replies {
                answer(to, Err(error.clone()));
            }
        }
    }
}

/// Executes each transaction by itself. They leave at once and in their order.
async fn one_by_one(client: &Client, txs: &[Transaction], replies: Vec<ReplyTo>) {
    let mut in_flight = Vec::with_capacity(txs.len());
    for (tx, to) in txs.iter().zip(replies) {
        let bundle = Bundle::new(std::slice::from_ref(tx));
        match client.begin(&bundle) {
            Ok(request) => in_flight.push((bundle, to, request)),
            Err(error) => answer(to, Err(error)),
        }
    }
    for (bundle, to, request) in in_flight {
        answer(to, request.reply(&bundle).await);
    }
}

/// Answers all callers, many of them from other threads where the runtime has some.
///
/// One thread alone would wake another with each answer, and that one would be asleep again before
/// the next. For 200 callers that can take as long as a fifth of their transaction.
fn answer_all(mut answers: impl Iterator<Item = (Reply, ReplyTo)>) {
    loop {
        let few: Vec<_> = answers.by_ref().take(ANSWERED_TOGETHER).collect();
        if few.is_empty() {
            return;
        }
        tokio::spawn(async move { few.into_iter().for_each(|(reply, to)| answer(to, Ok(reply))) });
    }
}

fn answer(to: ReplyTo, result: Result<Reply, TransactError>) {
    // Its caller may have given up.
    let _ = to.send(result);
}
