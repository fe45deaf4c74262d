//! What the server answered to a transaction (RFC 7047 sections 4.1.3 and 5.2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::bundle::Bundle;
use crate::column::{Ref, Target};
use crate::operation::Operation;
use crate::row::Row;
use crate::transaction::{Counted, Selected, Transaction};
use crate::update::{FoldError, read_columns};
use crate::value::{Tag, UuidText};

/// The results of a transaction that was committed, by the handles of its operations.
///
/// ```no_run
/// use ovsdb::tables::{Bridge, Interface, Port};
/// use ovsdb::{Client, Insert, Mutation, Transaction, Uuid};
///
/// /// The UUID of the new port, if there is such a bridge.
/// async fn add_port(client: &Client, bridge: &str) -> Result<Option<Uuid>, ovsdb::TransactError> {
///     let mut tx = Transaction::new();
///     let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, "eth7"));
///     let port = Insert::<Port>::new().set(Port::NAME, "eth7").set(Port::INTERFACES, [interface]);
///     let port = tx.insert(port);
///     let found = tx.mutate(Bridge::NAME.eq(bridge), Mutation::insert(Bridge::PORTS, [port]));
///     let reply = client.transact(tx).await?;
///     Ok(reply.uuid(port).filter(|_| reply.count(found) == 1))
/// }
/// ```
#[derive(Debug)]
pub struct Reply {
    /// In the order of their serials, but for a reply that is yet to be split.
    outcomes: Vec<(u64, Outcome)>,
}

/// The result of one operation.
#[derive(Debug)]
enum Outcome {
    Inserted(Uuid),
    Count(u64),
    Rows(Box<RawValue>),
    Done,
}

impl Reply {
    /// The UUID of an inserted row; of a reference to a row that exists, that row's UUID.
    ///
    /// `None` if the row was inserted by another transaction.
    pub fn uuid<R: Row>(&self, row: Ref<R>) -> Option<Uuid> {
        match row.target() {
            Target::Existing(uuid) => Some(uuid),
            Target::Inserted(name) => match self.outcome(name.0) {
                Some(Outcome::Inserted(uuid)) => Some(*uuid),
                _ => None,
            },
        }
    }

    /// How many rows an `update`, `mutate` or `delete` found; 0 if it is not of this transaction.
    ///
    /// Rows that were found count even when nothing about them changed.
    pub fn count(&self, operation: Counted) -> u64 {
        match self.outcome(operation.0) {
            Some(Outcome::Count(count)) => *count,
            _ => 0,
        }
    }

    /// The rows of a `select`; none if it is not of this transaction.
    ///
    /// # Errors
    ///
    /// A column has another type than the row `R` expects.
    pub fn rows<R: Row>(&self, operation: Selected<R>) -> Result<Vec<R>, FoldError> {
        let Some(Outcome::Rows(rows)) = self.outcome(operation.serial) else {
            return Ok(Vec::new());
        };
        let rows: Vec<&RawValue> = serde_json::from_str(rows.get())?;
        rows.into_iter()
            .map(|columns| {
                let Identity { uuid: Tagged(_, UuidText(uuid)) } =
                    serde_json::from_str(columns.get())?;
                read_columns(columns, R::new(uuid))
            })
            .collect()
    }

    /// The reply to each of the transactions that this is the reply to.
    pub(crate) fn split(self, txs: &[Transaction]) -> impl Iterator<Item = Self> {
        let mut outcomes = self.outcomes.into_iter();
        txs.iter().map(move |tx| Self { outcomes: outcomes.by_ref().take(tx.len()).collect() })
    }

    fn outcome(&self, serial: u64) -> Option<&Outcome> {
        let index = self.outcomes.binary_search_by_key(&serial, |(serial, _)| *serial).ok()?;
        self.outcomes.get(index).map(|(_, outcome)| outcome)
    }
}

/// What kind of error an operation or a transaction failed with (RFC 7047 sections 3.1 and 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `aborted`: by an [`abort`](Transaction::abort) operation.
    Aborted,
    /// `canceled`: by the client, before it was done.
    Canceled,
    /// `constraint violation`: of a column's type, an immutable column, a unique index, ...
    ConstraintViolation,
    /// `domain error`: a division by zero, or a set with the same element twice.
    DomainError,
    /// `duplicate uuid-name`, which this crate's names can't bring about.
    DuplicateUuidName,
    /// `I/O error`: the database could not be written.
    Io,
    /// `not allowed`: the database or the connection is read-only.
    NotAllowed,
    /// `not owner`: a lock that an [`assert`](Transaction::assert) names is not held.
    NotOwner,
    /// `not supported`.
    NotSupported,
    /// `permission error`: the role of this client forbids it.
    PermissionDenied,
    /// `range error`: a number got too large.
    RangeError,
    /// `referential integrity violation`: a reference to a row that does not, or no longer, exist.
    ReferentialIntegrityViolation,
    /// `resources exhausted`.
    ResourcesExhausted,
    /// `syntax error`: also a table or a column that the server's schema lacks.
    SyntaxError,
    /// `timed out`: a [`wait`](Transaction::wait) or a [`require`](Transaction::require).
    TimedOut,
    /// `unknown database`.
    UnknownDatabase,
    /// `unknown method`: the server is too old for a request.
    UnknownMethod,
    /// An error that this crate has no word for.
    Other(String),
}

impl ErrorKind {
    fn as_str(&self) -> &str {
        match self {
            Self::Aborted => "aborted",
            Self::Canceled => "canceled",
            Self::ConstraintViolation => "constraint violation",
            Self::DomainError => "domain error",
            Self::DuplicateUuidName => "duplicate uuid-name",
            Self::Io => "I/O error",
            Self::NotAllowed => "not allowed",
            Self::NotOwner => "not owner",
            Self::NotSupported => "not supported",
            Self::PermissionDenied => "permission error",
            Self::RangeError => "range error",
            Self::ReferentialIntegrityViolation => "referential integrity violation",
            Self::ResourcesExhausted => "resources exhausted",
            Self::SyntaxError => "syntax error",
            Self::TimedOut => "timed out",
            Self::UnknownDatabase => "unknown database",
            Self::UnknownMethod => "unknown method",
            Self::Other(error) => error,
        }
    }
}

impl From<&str> for ErrorKind {
    fn from(error: &str) -> Self {
        match error {
            "aborted" => Self::Aborted,
            "canceled" => Self::Canceled,
            "constraint violation" => Self::ConstraintViolation,
            "domain error" => Self::DomainError,
            "duplicate uuid-name" => Self::DuplicateUuidName,
            "I/O error" => Self::Io,
            "not allowed" => Self::NotAllowed,
            "not owner" => Self::NotOwner,
            "not supported" => Self::NotSupported,
            "permission error" => Self::PermissionDenied,
            "range error" => Self::RangeError,
            "referential integrity violation" => Self::ReferentialIntegrityViolation,
            "resources exhausted" => Self::ResourcesExhausted,
            "syntax error" => Self::SyntaxError,
            "timed out" => Self::TimedOut,
            "unknown database" => Self::UnknownDatabase,
            "unknown method" => Self::UnknownMethod,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `error` of a response: the request as a whole was refused (RFC 7047 section 3.1, `<error>`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", Details(details.as_deref()))]
pub struct RpcError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The server's explanation.
    pub details: Option<String>,
}

/// The error that a transaction failed with; nothing of the transaction happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}{}", At(self), Details(details.as_deref()))]
pub struct OperationError {
    /// The operation's index, or `None` if all did well and the commit failed.
    pub index: Option<usize>,
    /// The operation's name and table, as in `mutate Bridge`; of a failed commit, `commit`.
    pub operation: String,
    /// The kind of error.
    pub kind: ErrorKind,
    /// The server's explanation.
    pub details: Option<String>,
}

struct At<'a>(&'a OperationError);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.index {
            Some(index) => write!(f, "operation {index} ({})", self.0.operation),
            None => f.write_str("commit"),
        }
    }
}

struct Details<'a>(Option<&'a str>);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |details| write!(f, ": {details}"))
    }
}

/// An `<error>` on the wire. Some servers send the bare word.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawError {
    Word(String),
    Object { error: String, details: Option<String> },
}

impl RpcError {
    /// Reads the `error` member of a response; one that is no `<error>` is kept as it stands.
    pub(crate) fn parse(error: &RawValue) -> Self {
        let (kind, details) = match serde_json::from_str(error.get()) {
            Ok(RawError::Word(error)) => (error, None),
            Ok(RawError::Object { error, details }) => (error, details),
            Err(_) => (error.get().to_owned(), None),
        };
        Self { kind: ErrorKind::from(kind.as_str()), details }
    }
}

/// A result on the wire: an object per operation, `null` for those after the one that failed.
#[derive(Deserialize)]
#[serde(from = "Members<'a>", bound(deserialize = "'de: 'a"))]
enum RawResult<'a> {
    Inserted(Uuid),
    Count(u64),
    Rows(&'a RawValue),
    Error(Box<(ErrorKind, Option<String>)>),
    Nothing,
}

#[derive(Deserialize)]
struct Members<'a> {
    uuid: Option<Tagged>,
    count: Option<u64>,
    #[serde(borrow)]
    rows: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    details: Option<String>,
}

/// What a row found by a `select` is known by.
#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "_uuid")]
    uuid: Tagged,
}

#[derive(Deserialize)]
struct Tagged(#[allow(dead_code, reason = "the tag")] Tag, UuidText);

impl RawResult<'_> {
    fn error(&self) -> Option<&(ErrorKind, Option<String>)> {
        match self {
            Self::Error(error) => Some(error),
            _ => None,
        }
    }
}

impl<'a> From<Members<'a>> for RawResult<'a> {
    fn from(members: Members<'a>) -> Self {
        match members {
            Members { error: Some(error), details, .. } => {
                Self::Error(Box::new((ErrorKind::from(error.as_ref()), details)))
            }
            Members { uuid: Some(Tagged(_, UuidText(uuid))), .. } => Self::Inserted(uuid),
            Members { count: Some(count), .. } => Self::Count(count),
            Members { rows: Some(rows), .. } => Self::Rows(rows),
            _ => Self::Nothing,
        }
    }
}

/// The result array could not be understood.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MalformedReply {
    /// It is no array of results.
    #[error("the reply to the transaction is not in the form of RFC 7047 section 4.1.3")]
    Json(#[source] Arc<serde_json::Error>),
    /// An operation has no result, or one of another kind of operation.
    #[error("the reply to the transaction lacks the result of operation {index} ({operation})")]
    Missing {
        /// The operation's index.
        index: usize,
        /// The operation's name and table.
        operation: String,
    },
}

impl From<serde_json::Error> for MalformedReply {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

/// How a transaction went, as far as its results tell.
#[derive(Debug)]
pub(crate) enum Verdict {
    Committed(Reply),
    Failed(OperationError),
}

/// Reads the `result` of a `transact` response.
///
/// A failed operation has an error at its index and `null` after it. When all operations do well
/// but the commit fails, there is one more element than operations, the error (section 4.1.3).
pub(crate) fn parse_reply(
    bundle: &Bundle<'_>,
    result: &RawValue,
) -> Result<Verdict, MalformedReply> {
    let results: Vec<Option<RawResult<'_>>> = serde_json::from_str(result.get())?;
    // Not every operation need have been sent in its turn, so an error first.
    let mut places = results.iter().enumerate().take(bundle.len() + 1);
    let error = places.find_map(|(place, result)| Some((place, result.as_ref()?.error()?)));
    if let Some((failed, (kind, details))) = error {
        let mut operations = bundle.operations().enumerate();
        let found = operations.find(|(_, (_, place))| *place == failed);
        return Ok(Verdict::Failed(OperationError {
            index: found.map(|(index, _)| index),
            operation: found.map_or("commit".to_owned(), |(_, ((_, one), _))| one.to_string()),
            kind: kind.clone(),
            details: details.clone(),
        }));
    }
    let outcomes = bundle.operations().enumerate().map(|(index, ((serial, operation), place))| {
        let result = results.get(place).and_then(Option::as_ref);
        match result.and_then(|result| outcome(operation, result)) {
            Some(outcome) => Ok((*serial, outcome)),
            None => Err(MalformedReply::Missing { index, operation: operation.to_string() }),
        }
    });
    Ok(Verdict::Committed(Reply { outcomes: outcomes.collect::<Result<_, _>>()? }))
}

/// What a result means to its operation; `None` if it is one of another kind of operation.
fn outcome(operation: &Operation, result: &RawResult<'_>) -> Option<Outcome> {
    Some(match (operation, result) {
        (Operation::Insert { .. }, RawResult::Inserted(uuid)) => Outcome::Inserted(*uuid),
        (Operation::Select { .. }, RawResult::Rows(rows)) => Outcome::Rows((*rows).to_owned()),
        (
            Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. },
            RawResult::Count(count),
        ) => Outcome::Count(*count),
        (
            Operation::Wait(_)
            | Operation::Commit { .. }
            | Operation::Abort
            | Operation::Comment { .. }
            | Operation::Assert { .. },
            _,
        ) => Outcome::Done,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
