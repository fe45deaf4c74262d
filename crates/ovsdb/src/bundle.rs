//! One or several transactions as the operations of one request. Pure.
//!
//! Where several of them put references into the same sets, or take them out, one `mutate` does it
//! for all: a server copies the whole set at each, which costs it more than the rows put in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::column::Target;
use crate::condition::Clause;
use crate::mutation::Mutate;
use crate::operation::Operation;
use crate::transaction::Transaction;
use crate::value::Atom;

/// What is sent for transactions: their operations one after the other, or fewer that come to the
/// same.
pub(crate) struct Bundle<'a> {
    txs: &'a [Transaction],
    sent: Vec<Cow<'a, Operation>>,
    /// For each operation of the transactions, which of those sent does it.
    places: Vec<usize>,
}

/// Mutations that differ only in the references that they insert or delete.
struct Edit<'a> {
    table: &'static str,
    conditions: &'a [Clause],
    column: &'static str,
    mutator: &'static str,
    references: BTreeSet<Target>,
    /// Which operations of the transactions they are.
    of: Vec<usize>,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(txs: &'a [Transaction]) -> Self {
        let mut bundle = Self { txs, sent: Vec::new(), places: Vec::new() };
        // They leave as late as possible, so that as many as possible come together.
        let mut edits: Vec<Edit<'a>> = Vec::new();
        for (index, (_, operation)) in operations(txs).enumerate() {
            // An error names an operation of a transaction that is alone.
            let edit = if txs.len() > 1 { Edit::of(operation, index) } else { None };
            match edit {
                Some(edit) => {
                    bundle.send(edits.extract_if(.., |other| !other.commutes_with(&edit)));
                    bundle.places.push(usize::MAX);
                    match edits.iter_mut().find(|other| other.is_like(&edit)) {
                        Some(other) => other.absorb(edit),
                        None => edits.push(edit),
                    }
                }
                None => {
                    bundle.send(edits.extract_if(.., |edit| edit.matters_to(operation)));
                    bundle.places.push(bundle.sent.len());
                    bundle.sent.push(Cow::Borrowed(operation));
                }
            }
        }
        bundle.send(edits.into_iter());
        bundle
    }

    fn send(&mut self, edits: impl Iterator<Item = Edit<'a>>) {
        for edit in edits {
            for index in &edit.of {
                if let Some(place) = self.places.get_mut(*index) {
                    *place = self.sent.len();
                }
            }
            self.sent.push(Cow::Owned(edit.into_operation()));
        }
    }

    /// The operations of the transactions with their serials, and where the result of each is.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&'a (u64, Operation), usize)> {
        operations(self.txs).zip(self.places.iter().copied())
    }

    /// How many operations are sent.
    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }

    /// The parameters of a `transact` request (RFC 7047 section 4.1.3).
    pub(crate) fn params<'b>(&'b self, database: &'b str) -> impl Serialize + 'b {
        Params { database, operations: &self.sent }
    }
}

fn operations(txs: &[Transaction]) -> impl Iterator<Item = &(u64, Operation)> {
    txs.iter().flat_map(Transaction::operations)
}

impl<'a> Edit<'a> {
    /// An operation as an edit, if it is nothing else, and finds the same rows afterwards.
    fn of(operation: &'a Operation, index: usize) -> Option<Self> {
        let Operation::Mutate { table, conditions, mutations } = operation else { return None };
        let [Mutate { column, mutator: mutator @ ("insert" | "delete"), value }] =
            mutations.as_slice()
        else {
            return None;
        };
        if conditions.iter().any(|clause| clause.column == *column) {
            return None;
        }
        let references = value.elements()?.iter().map(Target::of).collect::<Option<_>>()?;
        Some(Self { table, conditions, column, mutator, references, of: vec![index] })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.column == other.column
            && self.mutator == other.mutator
            && self.table == other.table
            && self.conditions == other.conditions
    }

    /// Whether the other may come first as well.
    fn commutes_with(&self, other: &Self) -> bool {
        self.table != other.table || (self.column == other.column && self.mutator == other.mutator)
    }

    /// Whether an operation that is none could do something else before it than after it, or it
    /// something else before the operation.
    fn matters_to(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Select { table, conditions, columns }
            | Operation::Wait { table, conditions, columns, .. } => {
                *table == self.table
                    && (columns.contains(&self.column)
                        || conditions.iter().any(|clause| clause.column == self.column))
            }
            Operation::Insert { table, .. }
            | Operation::Update { table, .. }
            | Operation::Mutate { table, .. }
            | Operation::Delete { table, .. } => *table == self.table,
            Operation::Commit { .. }
            | Operation::Abort
            | Operation::Comment { .. }
            | Operation::Assert { .. } => false,
        }
    }

    fn absorb(&mut self, other: Self) {
        self.references.extend(other.references);
        self.of.extend(other.of);
    }

    fn into_operation(self) -> Operation {
        let Self { table, conditions, column, mutator, references, .. } = self;
        let value = references.into_iter().map(Atom::from).collect();
        let mutations = vec![Mutate { column, mutator, value }];
        Operation::Mutate { table, conditions: conditions.to_vec(), mutations }
    }
}

struct Params<'a> {
    database: &'a str,
    operations: &'a [Cow<'a, Operation>],
}

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(1 + self.operations.len()))?;
        seq.serialize_element(self.database)?;
        for operation in self.operations {
            seq.serialize_element(operation)?;
        }
        seq.end()
    }
}

#[cfg(test)]
mod tests;
