//! Typed columns, and typed references between rows.
//!
//! What transactions are written with. Knows nothing of connections.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use uuid::Uuid;

use crate::row::IntoAtom;
use crate::value::{Atom, NamedUuid};

/// A column of the rows `R` that is written with values of the type `T`.
pub struct Column<R, T> {
    name: &'static str,
    types: PhantomData<fn(T) -> R>,
}

impl<R, T> Column<R, T> {
    /// The column with this name in the schema. The generated rows declare theirs.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// The column's name in the schema.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<R, T> Clone for Column<R, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, T> Copy for Column<R, T> {}

impl<R, T> fmt::Debug for Column<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Column").field(&self.name).finish()
    }
}

/// A reference to a row of the type `R`: one that exists, or one that the same transaction inserts.
///
/// Names of inserted rows are unique in the whole program, so that a reference that strays into
/// another transaction can't mean a wrong row there: the server finds no such row.
pub struct Ref<R> {
    target: Target,
    row: PhantomData<fn() -> R>,
}

/// What a reference points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    Existing(Uuid),
    Inserted(NamedUuid),
}

impl Target {
    /// What an atom points at, if it is a reference.
    pub(crate) const fn of(atom: &Atom) -> Option<Self> {
        match atom {
            Atom::Uuid(uuid) => Some(Self::Existing(*uuid)),
            Atom::NamedUuid(name) => Some(Self::Inserted(*name)),
            _ => None,
        }
    }
}

impl From<Target> for Atom {
    fn from(target: Target) -> Self {
        match target {
            Target::Existing(uuid) => Self::Uuid(uuid),
            Target::Inserted(name) => Self::NamedUuid(name),
        }
    }
}

impl<R> Ref<R> {
    pub(crate) const fn inserted(name: NamedUuid) -> Self {
        Self { target: Target::Inserted(name), row: PhantomData }
    }

    pub(crate) const fn target(self) -> Target {
        self.target
    }
}

impl<R> From<Uuid> for Ref<R> {
    fn from(uuid: Uuid) -> Self {
        Self { target: Target::Existing(uuid), row: PhantomData }
    }
}

impl<R> IntoAtom for Ref<R> {
    fn into_atom(self) -> Atom {
        self.target.into()
    }
}

// Written out because a derive would ask the same of `R`, of which there is no value here.

impl<R> Clone for Ref<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Ref<R> {}

impl<R> PartialEq for Ref<R> {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl<R> Eq for Ref<R> {}

impl<R> PartialOrd for Ref<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Ref<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.target.cmp(&other.target)
    }
}

impl<R> Hash for Ref<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.hash(state);
    }
}

impl<R> fmt::Debug for Ref<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Existing(uuid) => write!(f, "Ref({uuid})"),
            Target::Inserted(name) => write!(f, "Ref({name})"),
        }
    }
}
