//! How typed rows are made from values, and typed values from Rust ones.
//!
//! The traits that the generated [`tables`](crate::tables) implement. Knows nothing of
//! connections, and of no table in particular.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use uuid::Uuid;

use crate::value::{Atom, TypeError, Value};

/// A typed row of one table: what the replica holds and what transactions name.
pub trait Row: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The table's name in the schema.
    const TABLE: &'static str;

    /// The columns that make up this type, by their names in the schema.
    const COLUMNS: &'static [&'static str];

    /// The row with this UUID and every column at its default (RFC 7047 section 5.2.1).
    fn new(uuid: Uuid) -> Self;

    /// The row's `_uuid`.
    fn uuid(&self) -> Uuid;

    /// Takes a new value for one column. A column that is none of [`Self::COLUMNS`] is ignored.
    ///
    /// # Errors
    ///
    /// The value has another type than the column.
    fn fold(&mut self, column: &str, value: Value, how: Fold) -> Result<(), TypeError>;

    /// The row's unique name, in tables that the schema indexes by `name`.
    fn name(&self) -> Option<&str> {
        None
    }

    /// The row's `external_ids`, in tables that have them.
    fn external_ids(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// What a value in a table update means for the column it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// It is the column's new contents.
    Replace,
    /// It is a difference, as in the `modify` of an `update2` (ovsdb-server(7), section 4.1.14):
    /// scalars and optional scalars are replaced; sets flip the elements named; maps drop pairs
    /// that they have and take those that they don't.
    Diff,
}

impl Fold {
    /// Folds `value` into `field`.
    ///
    /// # Errors
    ///
    /// The value has another type than the field, which then stays as it was.
    pub fn apply<F: Field>(self, field: &mut F, value: Value) -> Result<(), TypeError> {
        match self {
            Self::Replace => *field = F::from_value(value)?,
            Self::Diff => field.apply_diff(value)?,
        }
        Ok(())
    }
}

/// A type that a column's contents are read into.
pub trait Field: Sized {
    /// Reads the whole contents.
    ///
    /// # Errors
    ///
    /// The value has another type.
    fn from_value(value: Value) -> Result<Self, TypeError>;

    /// Applies a difference (see [`Fold::Diff`]).
    ///
    /// # Errors
    ///
    /// The value has another type.
    fn apply_diff(&mut self, diff: Value) -> Result<(), TypeError> {
        *self = Self::from_value(diff)?;
        Ok(())
    }
}

/// A type that one atom is read into.
pub trait FromAtom: Sized {
    /// The type in words, for errors.
    const EXPECTED: &'static str;

    /// Reads the atom.
    ///
    /// # Errors
    ///
    /// The atom has another type.
    fn from_atom(atom: Atom) -> Result<Self, TypeError>;
}

/// A type that one atom is written from.
pub trait IntoAtom {
    /// Writes the atom.
    fn into_atom(self) -> Atom;
}

/// A type that a column's contents are written from.
pub trait IntoValue {
    /// Writes the whole contents.
    fn into_value(self) -> Value;
}

macro_rules! atom_type {
    ($type:ty, $variant:ident, $expected:literal) => {
        impl FromAtom for $type {
            const EXPECTED: &'static str = $expected;

            fn from_atom(atom: Atom) -> Result<Self, TypeError> {
                match atom {
                    Atom::$variant(value) => Ok(value),
                    other => Err(mismatch::<Self>(other.describe())),
                }
            }
        }

        impl IntoAtom for $type {
            fn into_atom(self) -> Atom {
                Atom::$variant(self)
            }
        }
    };
}

atom_type!(i64, Integer, "an integer");
atom_type!(bool, Boolean, "a boolean");
atom_type!(String, String, "a string");
atom_type!(Uuid, Uuid, "a uuid");

impl FromAtom for f64 {
    const EXPECTED: &'static str = "a real";

    #[expect(
        clippy::cast_precision_loss,
        reason = "a JSON number without a fraction is a real as well"
    )]
    fn from_atom(atom: Atom) -> Result<Self, TypeError> {
        match atom {
            Atom::Real(real) => Ok(real),
            Atom::Integer(integer) => Ok(integer as Self),
            other => Err(mismatch::<Self>(other.describe())),
        }
    }
}

impl IntoAtom for f64 {
    fn into_atom(self) -> Atom {
        Atom::Real(self)
    }
}

fn mismatch<A: FromAtom>(found: &'static str) -> TypeError {
    TypeError { expected: A::EXPECTED, found }
}

impl<A: FromAtom> Field for A {
    fn from_value(value: Value) -> Result<Self, TypeError> {
        match value {
            Value::Atom(atom) => A::from_atom(atom),
            other => Err(mismatch::<A>(other.describe())),
        }
    }
}

impl<A: FromAtom> Field for Option<A> {
    fn from_value(value: Value) -> Result<Self, TypeError> {
        match value {
            Value::Atom(atom) => A::from_atom(atom).map(Some),
            Value::Set(set) if set.is_empty() => Ok(None),
            other => Err(mismatch::<A>(other.describe())),
        }
    }
}

impl<A: FromAtom + Ord> Field for BTreeSet<A> {
    fn from_value(value: Value) -> Result<Self, TypeError> {
        match value {
            Value::Atom(atom) => Ok(Self::from([A::from_atom(atom)?])),
            Value::Set(atoms) => atoms.into_iter().map(A::from_atom).collect(),
            Value::Map(_) => Err(TypeError { expected: "a set", found: value.describe() }),
        }
    }

    fn apply_diff(&mut self, diff: Value) -> Result<(), TypeError> {
        for element in Self::from_value(diff)? {
            if !self.remove(&element) {
                self.insert(element);
            }
        }
        Ok(())
    }
}

impl<K: FromAtom + Ord, V: FromAtom + PartialEq> Field for BTreeMap<K, V> {
    fn from_value(value: Value) -> Result<Self, TypeError> {
        match value {
            Value::Map(pairs) => pairs
                .into_iter()
                .map(|(key, value)| Ok((K::from_atom(key)?, V::from_atom(value)?)))
                .collect(),
            // The empty map has the notation of the empty set, too (RFC 7047 section 5.1).
            Value::Set(set) if set.is_empty() => Ok(Self::new()),
            other => Err(TypeError { expected: "a map", found: other.describe() }),
        }
    }

    fn apply_diff(&mut self, diff: Value) -> Result<(), TypeError> {
        for (key, value) in Self::from_value(diff)? {
            if self.get(&key) == Some(&value) {
                self.remove(&key);
            } else {
                self.insert(key, value);
            }
        }
        Ok(())
    }
}

impl<A: IntoAtom> IntoValue for A {
    fn into_value(self) -> Value {
        Value::Atom(self.into_atom())
    }
}

impl<A: IntoAtom> IntoValue for Option<A> {
    fn into_value(self) -> Value {
        self.map_or(Value::EMPTY, A::into_value)
    }
}

impl<A: IntoAtom> IntoValue for BTreeSet<A> {
    fn into_value(self) -> Value {
        self.into_iter().map(A::into_atom).collect()
    }
}

impl<K: IntoAtom, V: IntoAtom> IntoValue for BTreeMap<K, V> {
    fn into_value(self) -> Value {
        Value::Map(
            self.into_iter().map(|(key, value)| (key.into_atom(), value.into_atom())).collect(),
        )
    }
}

#[cfg(test)]
mod tests;
