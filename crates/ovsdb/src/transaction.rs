//! The typed way to write a transaction: all of it happens, or nothing (RFC 7047 section 4.1.3).
//!
//! Pure: nothing is sent from here. [`Client::transact`](crate::Client::transact) does that.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::column::{Column, Ref};
use crate::condition::Where;
use crate::mutation::Mutation;
use crate::operation::{Columns, Operation, Waiting};
use crate::row::{IntoValue, Row};
use crate::value::NamedUuid;

/// Operations that the server executes in their order and as one.
///
/// ```
/// use ovsdb::tables::{Bridge, Interface, Port};
/// use ovsdb::{Insert, Mutation, Transaction};
///
/// let mut tx = Transaction::new();
/// let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, "eth7"));
/// let port = tx.insert(
///     Insert::<Port>::new()
///         .set(Port::NAME, "eth7")
///         .set(Port::INTERFACES, [interface])
///         .set(Port::TAG, Some(100)),
/// );
/// tx.require(Bridge::NAME.eq("ovsbr0"));
/// tx.mutate(Bridge::NAME.eq("ovsbr0"), Mutation::insert(Bridge::PORTS, [port]));
/// assert_eq!(tx.len(), 4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Serials ascend within what one caller wrote, and no two operations in this program have the same.
    operations: Vec<(u64, Operation)>,
}

/// The place of an `update`, `mutate` or `delete`, to learn from the
/// [`Reply`](crate::Reply) how many rows it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "without a look at the count, an operation that finds no row is a silent success"]
pub struct Counted(pub(crate) u64);

/// The place of a `select`, to get the rows from the [`Reply`](crate::Reply).
#[derive(Debug)]
#[must_use = "a select does nothing but return rows"]
pub struct Selected<R> {
    pub(crate) serial: u64,
    row: PhantomData<fn() -> R>,
}

impl<R> Clone for Selected<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Selected<R> {}

/// A row to be inserted. Columns that are not set get their defaults.
#[derive(Clone, Debug)]
pub struct Insert<R> {
    columns: Columns,
    row: PhantomData<fn() -> R>,
}

/// New contents for columns of rows that exist.
#[derive(Clone, Debug)]
pub struct Update<R> {
    columns: Columns,
    row: PhantomData<fn() -> R>,
}

/// What a `wait` waits for, and how long (RFC 7047 section 5.2.6).
///
/// With a timeout of zero it is a guard. This writes only what nobody else has changed meanwhile:
///
/// ```
/// use std::time::Duration;
///
/// use ovsdb::tables::Port;
/// use ovsdb::{Transaction, Update, Wait};
///
/// let tag = |tag| Update::<Port>::new().set(Port::TAG, Some(tag));
/// let mut tx = Transaction::new();
/// tx.wait(Wait::until_equal(Port::NAME.eq("eth7"), [tag(100)]).timeout(Duration::ZERO));
/// let _ = tx.update(Port::NAME.eq("eth7"), tag(200));
/// ```
#[derive(Clone, Debug)]
pub struct Wait<R> {
    conditions: Where<R>,
    until: &'static str,
    rows: Vec<Columns>,
    timeout: Option<Duration>,
}

impl<R: Row> Default for Insert<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Row> Insert<R> {
    /// A row with every column at its default.
    pub fn new() -> Self {
        Self { columns: Columns::default(), row: PhantomData }
    }

    /// Sets one column.
    #[must_use]
    pub fn set<T: IntoValue>(mut self, column: Column<R, T>, value: impl Into<T>) -> Self {
        self.columns.set(column.name(), value.into().into_value());
        self
    }
}

impl<R: Row> Default for Update<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Row> Update<R> {
    /// No change yet.
    pub fn new() -> Self {
        Self { columns: Columns::default(), row: PhantomData }
    }

    /// Sets one column.
    #[must_use]
    pub fn set<T: IntoValue>(mut self, column: Column<R, T>, value: impl Into<T>) -> Self {
        self.columns.set(column.name(), value.into().into_value());
        self
    }
}

impl<R: Row> From<Update<R>> for Insert<R> {
    /// A new row with the columns of the update.
    fn from(update: Update<R>) -> Self {
        Self { columns: update.columns, row: PhantomData }
    }
}

impl<R: Row> Wait<R> {
    /// Until the rows found by `conditions`, reduced to the columns of `rows`, are exactly `rows`.
    pub fn until_equal(
        conditions: impl Into<Where<R>>,
        rows: impl IntoIterator<Item = Update<R>>,
    ) -> Self {
        Self::new(conditions.into(), "==", rows)
    }

    /// Until the rows found by `conditions`, reduced to the columns of `rows`, are not `rows`.
    pub fn until_different(
        conditions: impl Into<Where<R>>,
        rows: impl IntoIterator<Item = Update<R>>,
    ) -> Self {
        Self::new(conditions.into(), "!=", rows)
    }

    /// Fails with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) after this long; zero checks
    /// without waiting. Without a timeout the server waits for ever.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn new(
        conditions: Where<R>,
        until: &'static str,
        rows: impl IntoIterator<Item = Update<R>>,
    ) -> Self {
        let rows = rows.into_iter().map(|row| row.columns).collect();
        Self { conditions, until, rows, timeout: None }
    }
}

impl Transaction {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Inserts a row (RFC 7047 section 5.2.1), which other operations may refer to.
    ///
    /// A row of a table that is no root set lives only as long as another row refers to it.
    pub fn insert<R: Row>(&mut self, row: Insert<R>) -> Ref<R> {
        let name = NamedUuid(next_serial());
        let operation = Operation::Insert { table: R::TABLE, row: row.columns, name };
        self.operations.push((name.0, operation));
        Ref::inserted(name)
    }

    /// Reads rows, with what the operations before it changed (RFC 7047 section 5.2.2).
    pub fn select<R: Row>(&mut self, rows: impl Into<Where<R>>) -> Selected<R> {
        let columns = std::iter::once("_uuid").chain(R::COLUMNS.iter().copied()).collect();
        let conditions = rows.into().into_clauses();
        let serial = self.push(Operation::Select { table: R::TABLE, conditions, columns });
        Selected { serial, row: PhantomData }
    }

    /// Replaces contents of columns (RFC 7047 section 5.2.3).
    pub fn update<R: Row>(&mut self, rows: impl Into<Where<R>>, update: Update<R>) -> Counted {
        let conditions = rows.into().into_clauses();
        let row = update.columns;
        Counted(self.push(Operation::Update { table: R::TABLE, conditions, row }))
    }

    /// Changes contents of columns (RFC 7047 section 5.2.4).
    pub fn mutate<R: Row>(&mut self, rows: impl Into<Where<R>>, mutation: Mutation<R>) -> Counted {
        let conditions = rows.into().into_clauses();
        let mutations = mutation.into_steps();
        Counted(self.push(Operation::Mutate { table: R::TABLE, conditions, mutations }))
    }

    /// Deletes rows (RFC 7047 section 5.2.5).
    pub fn delete<R: Row>(&mut self, rows: impl Into<Where<R>>) -> Counted {
        let conditions = rows.into().into_clauses();
        Counted(self.push(Operation::Delete { table: R::TABLE, conditions }))
    }

    /// Waits, or checks with a timeout of zero (RFC 7047 section 5.2.6).
    pub fn wait<R: Row>(&mut self, wait: Wait<R>) {
        let mut columns: Vec<&'static str> = wait.rows.iter().flat_map(Columns::names).collect();
        columns.sort_unstable();
        columns.dedup();
        if columns.is_empty() {
            columns.push("_uuid");
        }
        let timeout =
            wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self.push(Operation::Wait(Box::new(Waiting {
            timeout,
            table: R::TABLE,
            conditions: wait.conditions.into_clauses(),
            columns,
            until: wait.until,
            rows: wait.rows,
        })));
    }

    /// Lets the whole transaction fail unless at least one such row exists at this point.
    ///
    /// It is a `wait` with a timeout of zero, so the failure is a
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) of this operation.
    pub fn require<R: Row>(&mut self, rows: impl Into<Where<R>>) {
        self.wait(Wait::until_different(rows, []).timeout(Duration::ZERO));
    }

    /// Commits; if `durable`, only after the changes are on disk (RFC 7047 section 5.2.7).
    ///
    /// A transaction without it commits, too, but need not have reached the disk at its reply.
    pub fn commit(&mut self, durable: bool) {
        self.push(Operation::Commit { durable });
    }

    /// Lets the transaction fail with [`ErrorKind::Aborted`](crate::ErrorKind::Aborted)
    /// (RFC 7047 section 5.2.8).
    pub fn abort(&mut self) {
        self.push(Operation::Abort);
    }

    /// Puts a remark into the database's log (RFC 7047 section 5.2.9).
    pub fn comment(&mut self, comment: impl Into<String>) {
        self.push(Operation::Comment { comment: comment.into() });
    }

    /// Lets the transaction fail with [`ErrorKind::NotOwner`](crate::ErrorKind::NotOwner) unless
    /// this client holds the lock (RFC 7047 section 5.2.10).
    pub fn assert(&mut self, lock: impl Into<String>) {
        self.push(Operation::Assert { lock: lock.into() });
    }

    /// Whether it can be a part of a larger transaction: it does not block others, and does not
    /// fail for certain.
    pub(crate) fn can_be_shared(&self) -> bool {
        self.operations.iter().all(|(_, operation)| match operation {
            Operation::Wait(wait) => wait.timeout == Some(0),
            Operation::Abort => false,
            _ => true,
        })
    }

    /// These operations, then those.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        self
    }

    pub(crate) fn operations(&self) -> &[(u64, Operation)] {
        &self.operations
    }

    fn push(&mut self, operation: Operation) -> u64 {
        let serial = next_serial();
        self.operations.push((serial, operation));
        serial
    }
}

/// A number that no operation of this program has had.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
