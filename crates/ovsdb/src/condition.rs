//! Which rows an operation is for: conditions on columns (RFC 7047 section 5.1, `<condition>`).

use std::marker::PhantomData;

use serde::ser::{Serialize, Serializer};
use uuid::Uuid;

use crate::column::{Column, Ref};
use crate::mutation::Arithmetic;
use crate::row::{IntoAtom, IntoValue, Row};
use crate::value::Value;

/// The rows of `R` for which every clause holds.
///
/// Made by the methods of [`Column`], from a [`Ref`] or a UUID, or by [`Where::all`].
///
/// ```
/// use ovsdb::Where;
/// use ovsdb::tables::Port;
///
/// let untagged_trunk: Where<Port> = Port::TAG.eq(None).and(Port::TRUNKS.includes([100]));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Where<R> {
    clauses: Vec<Clause>,
    row: PhantomData<fn() -> R>,
}

/// One `<condition>`: a column, a function and a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clause {
    pub(crate) column: &'static str,
    function: &'static str,
    value: Value,
}

impl Serialize for Clause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.column, self.function, &self.value).serialize(serializer)
    }
}

impl<R: Row> Where<R> {
    /// Every row of the table.
    pub const fn all() -> Self {
        Self { clauses: Vec::new(), row: PhantomData }
    }

    /// The rows for which both conditions hold.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.clauses.extend(other.clauses);
        self
    }

    fn clause(column: &'static str, function: &'static str, value: Value) -> Self {
        Self { clauses: vec![Clause { column, function, value }], row: PhantomData }
    }

    pub(crate) fn into_clauses(self) -> Vec<Clause> {
        self.clauses
    }
}

impl<R: Row> From<Ref<R>> for Where<R> {
    fn from(row: Ref<R>) -> Self {
        Self::clause("_uuid", "==", row.into_value())
    }
}

impl<R: Row> From<Uuid> for Where<R> {
    fn from(uuid: Uuid) -> Self {
        Ref::from(uuid).into()
    }
}

impl<R: Row, T: IntoValue> Column<R, T> {
    /// The column equals `value`.
    pub fn eq(self, value: impl Into<T>) -> Where<R> {
        Where::clause(self.name(), "==", value.into().into_value())
    }

    /// The column differs from `value`.
    pub fn ne(self, value: impl Into<T>) -> Where<R> {
        Where::clause(self.name(), "!=", value.into().into_value())
    }

    /// The column has every element, or every pair, of `value`.
    pub fn includes(self, value: impl Into<T>) -> Where<R> {
        Where::clause(self.name(), "includes", value.into().into_value())
    }

    /// The column has no element, or no pair, of `value`.
    pub fn excludes(self, value: impl Into<T>) -> Where<R> {
        Where::clause(self.name(), "excludes", value.into().into_value())
    }
}

impl<R: Row, T: Arithmetic> Column<R, T> {
    /// The column is less than `number`.
    pub fn lt(self, number: T::Number) -> Where<R> {
        Where::clause(self.name(), "<", Value::Atom(number.into_atom()))
    }

    /// The column is less than `number` or equals it.
    pub fn le(self, number: T::Number) -> Where<R> {
        Where::clause(self.name(), "<=", Value::Atom(number.into_atom()))
    }

    /// The column equals `number` or is greater.
    pub fn ge(self, number: T::Number) -> Where<R> {
        Where::clause(self.name(), ">=", Value::Atom(number.into_atom()))
    }

    /// The column is greater than `number`.
    pub fn gt(self, number: T::Number) -> Where<R> {
        Where::clause(self.name(), ">", Value::Atom(number.into_atom()))
    }
}
