//! Changes that start from a column's present contents (RFC 7047 section 5.1, `<mutation>`).

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::ser::{Serialize, Serializer};

use crate::column::Column;
use crate::row::{IntoAtom, IntoValue, Row};
use crate::value::Value;

/// Changes of columns of a row `R`, made in their order.
///
/// ```
/// use ovsdb::tables::Port;
/// use ovsdb::{Mutation, Transaction};
///
/// let mut tx = Transaction::new();
/// let owner = [("owner".to_owned(), "me".to_owned())];
/// let mutation = Mutation::insert(Port::TRUNKS, [100, 200]).and(Mutation::put(Port::EXTERNAL_IDS, owner));
/// let found = tx.mutate(Port::NAME.eq("eth7"), mutation);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation<R> {
    steps: Vec<Mutate>,
    row: PhantomData<fn() -> R>,
}

/// One `<mutation>`: a column, a mutator and a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mutate {
    pub(crate) column: &'static str,
    pub(crate) mutator: &'static str,
    pub(crate) value: Value,
}

impl Serialize for Mutate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.column, self.mutator, &self.value).serialize(serializer)
    }
}

/// A column type that numbers are reckoned with: a number, an optional one or a set of them.
pub trait Arithmetic {
    /// The kind of number.
    type Number: IntoAtom;
}

/// A column type that elements are put into and taken from: a set, an optional value or a map.
pub trait Container: IntoValue {}

macro_rules! arithmetic {
    ($($type:ty => $number:ty),*) => {
        $(impl Arithmetic for $type {
            type Number = $number;
        })*
    };
}

arithmetic!(i64 => i64, f64 => f64, Option<i64> => i64, Option<f64> => f64, BTreeSet<i64> => i64);

impl<A: IntoAtom> Container for Option<A> {}
impl<A: IntoAtom> Container for BTreeSet<A> {}
impl<K: IntoAtom, V: IntoAtom> Container for BTreeMap<K, V> {}

impl<R: Row> Mutation<R> {
    /// Puts elements into a set or pairs into a map. A map keeps the values of keys that it has.
    pub fn insert<T: Container>(column: Column<R, T>, value: impl Into<T>) -> Self {
        Self::step(column.name(), "insert", value.into().into_value())
    }

    /// Takes elements out of a set or pairs out of a map; those that are not there don't matter.
    pub fn delete<T: Container>(column: Column<R, T>, value: impl Into<T>) -> Self {
        Self::step(column.name(), "delete", value.into().into_value())
    }

    /// Takes the pairs with these keys out of a map, whatever their values.
    pub fn delete_keys<K: IntoAtom, V: IntoAtom>(
        column: Column<R, BTreeMap<K, V>>,
        keys: impl IntoIterator<Item = impl Into<K>>,
    ) -> Self {
        let keys = keys.into_iter().map(|key| key.into().into_atom()).collect();
        Self::step(column.name(), "delete", keys)
    }

    /// Puts pairs into a map and replaces the values of keys that it has; other pairs stay.
    pub fn put<K: IntoAtom + Clone + Ord, V: IntoAtom>(
        column: Column<R, BTreeMap<K, V>>,
        pairs: impl Into<BTreeMap<K, V>>,
    ) -> Self {
        let pairs = pairs.into();
        Self::delete_keys(column, pairs.keys().cloned()).and(Self::insert(column, pairs))
    }

    /// Adds (`+=`).
    pub fn add<T: Arithmetic>(column: Column<R, T>, number: T::Number) -> Self {
        Self::step(column.name(), "+=", Value::Atom(number.into_atom()))
    }

    /// Subtracts (`-=`).
    pub fn subtract<T: Arithmetic>(column: Column<R, T>, number: T::Number) -> Self {
        Self::step(column.name(), "-=", Value::Atom(number.into_atom()))
    }

    /// Multiplies (`*=`).
    pub fn multiply<T: Arithmetic>(column: Column<R, T>, number: T::Number) -> Self {
        Self::step(column.name(), "*=", Value::Atom(number.into_atom()))
    }

    /// Divides (`/=`).
    pub fn divide<T: Arithmetic>(column: Column<R, T>, number: T::Number) -> Self {
        Self::step(column.name(), "/=", Value::Atom(number.into_atom()))
    }

    /// Keeps the remainder (`%=`); the server refuses it for reals.
    pub fn remainder<T: Arithmetic>(column: Column<R, T>, number: T::Number) -> Self {
        Self::step(column.name(), "%=", Value::Atom(number.into_atom()))
    }

    /// These changes, then those.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    fn step(column: &'static str, mutator: &'static str, value: Value) -> Self {
        Self { steps: vec![Mutate { column, mutator, value }], row: PhantomData }
    }

    pub(crate) fn into_steps(self) -> Vec<Mutate> {
        self.steps
    }
}
