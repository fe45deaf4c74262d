//! One or several transactions as the operations of one request. Pure.
//!
//! Where several of them put references into the same sets, or take them out, one `mutate` does it
//! for all: a server copies the whole set at each, which costs it more than the rows put in. And a lock
//! that is held for one of them is held for all: it is asserted once.

use std::collections::{BTreeMap, BTreeSet};

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
    sent: Vec<Sent<'a>>,
    /// For each operation of the transactions, which of those sent does it.
    places: Vec<usize>,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Sent<'a> {
    AsWritten(&'a Operation),
    Merged(Box<Operation>),
}

/// A mutation that does nothing but insert references into a column, or delete them from it.
#[derive(Clone, Copy)]
struct Edit<'a> {
    table: &'static str,
    conditions: &'a [Clause],
    column: &'static str,
    mutator: &'static str,
    elements: &'a [Atom],
}

/// Edits that differ in their references only.
struct Merged<'a> {
    first: Edit<'a>,
    references: BTreeSet<Target>,
    /// Which operations of the transactions they are.
    operations: Vec<usize>,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(txs: &'a [Transaction]) -> Self {
        let count = txs.iter().map(Transaction::len).sum();
        let (sent, places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut bundle = Self { txs, sent, places };
        // They leave as late as possible, so that as many as possible come together.
        let mut edits: Vec<Merged<'a>> = Vec::new();
        let mut asserted = BTreeMap::new();
        for (index, (_, operation)) in operations(txs).enumerate() {
            // An error names an operation of a transaction that is alone.
            let several = txs.len() > 1;
            if let Operation::Assert { lock } = operation
                && several
            {
                let next = bundle.sent.len();
                let place = *asserted.entry(lock.as_str()).or_insert(next);
                if place < next {
                    bundle.places.push(place);
                    continue;
                }
            }
            let edit = if several { Edit::of(operation) } else { None };
            let Some(edit) = edit else {
                bundle.send(edits.extract_if(.., |merged| merged.first.matters_to(operation)));
                bundle.places.push(bundle.sent.len());
                bundle.sent.push(Sent::AsWritten(operation));
                continue;
            };
            bundle.send(edits.extract_if(.., |merged| !merged.first.commutes_with(&edit)));
            bundle.places.push(usize::MAX);
            match edits.iter_mut().find(|merged| merged.first.is_like(&edit)) {
                Some(merged) => merged.add(edit, index),
                None => edits.push(Merged::new(edit, index)),
            }
        }
        bundle.send(edits.into_iter());
        bundle
    }

    fn send(&mut self, edits: impl Iterator<Item = Merged<'a>>) {
        for merged in edits {
            for index in &merged.operations {
                if let Some(place) = self.places.get_mut(*index) {
                    *place = self.sent.len();
                }
            }
            self.sent.push(Sent::Merged(Box::new(merged.into_operation())));
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
    fn of(operation: &'a Operation) -> Option<Self> {
        let Operation::Mutate { table, conditions, mutations } = operation else { return None };
        let [Mutate { column, mutator: mutator @ ("insert" | "delete"), value }] =
            mutations.as_slice()
        else {
            return None;
        };
        let elements = value.elements()?;
        let found_by_it = conditions.iter().any(|clause| clause.column == *column);
        let only_references = elements.iter().all(|atom| Target::of(atom).is_some());
        let edit = Self { table, conditions, column, mutator, elements };
        (only_references && !found_by_it).then_some(edit)
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
        let looks = |table, conditions: &[Clause], columns: &[&str]| {
            table == self.table
                && (columns.contains(&self.column)
                    || conditions.iter().any(|clause| clause.column == self.column))
        };
        match operation {
            Operation::Select { table, conditions, columns } => looks(*table, conditions, columns),
            Operation::Wait(wait) => looks(wait.table, &wait.conditions, &wait.columns),
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
}

impl<'a> Merged<'a> {
    fn new(first: Edit<'a>, index: usize) -> Self {
        let mut merged = Self { first, references: BTreeSet::new(), operations: Vec::new() };
        merged.add(first, index);
        merged
    }

    fn add(&mut self, edit: Edit<'a>, index: usize) {
        self.references.extend(edit.elements.iter().filter_map(Target::of));
        self.operations.push(index);
    }

    fn into_operation(self) -> Operation {
        let Edit { table, conditions, column, mutator, .. } = self.first;
        let value = self.references.into_iter().map(Atom::from).collect();
        let mutations = vec![Mutate { column, mutator, value }];
        Operation::Mutate { table, conditions: conditions.to_vec(), mutations }
    }
}

struct Params<'a> {
    database: &'a str,
    operations: &'a [Sent<'a>],
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
