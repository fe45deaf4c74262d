//! Which rows of a table are replicated (ovsdb-server(7), section 4.1.12).

use std::marker::PhantomData;

use serde::ser::{Serialize, Serializer};

use crate::condition::{Clause, Where};
use crate::row::Row;

/// The rows of `R` for which at least one of some conditions holds.
///
/// ```
/// use ovsdb::tables::Interface;
/// use ovsdb::Filter;
///
/// # fn example() -> Result<(), ovsdb::Conjunction> {
/// let mine = Interface::EXTERNAL_IDS.includes([("owner".to_owned(), "me".to_owned())]);
/// let filter = Filter::<Interface>::any([mine, Interface::TYPE.eq("internal")])?;
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter<R> {
    terms: Terms,
    row: PhantomData<fn() -> R>,
}

/// Conditions of which one must hold. Without any, every row passes.
pub(crate) type Terms = Vec<Term>;

/// One condition of a monitor. Unlike in transactions it can be a mere boolean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Clause(Clause),
    Never,
}

/// A condition with several clauses, all of which should hold. A monitor can only ask for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a monitor cannot ask for rows that satisfy several conditions at once")]
pub struct Conjunction;

impl<R: Row> Filter<R> {
    /// Every row.
    pub const fn all() -> Self {
        Self::of(Vec::new())
    }

    /// No row.
    pub fn none() -> Self {
        Self::of(vec![Term::Never])
    }

    /// The rows for which at least one of these conditions holds.
    ///
    /// # Errors
    ///
    /// One of the conditions is made of several by [`Where::and`], for which the protocol has no
    /// notation here.
    pub fn any(conditions: impl IntoIterator<Item = Where<R>>) -> Result<Self, Conjunction> {
        let mut terms = Vec::new();
        for condition in conditions {
            let mut clauses = condition.into_clauses().into_iter();
            match (clauses.next(), clauses.next()) {
                // One that always holds.
                (None, _) => return Ok(Self::all()),
                (Some(clause), None) => terms.push(Term::Clause(clause)),
                (Some(_), Some(_)) => return Err(Conjunction),
            }
        }
        Ok(if terms.is_empty() { Self::none() } else { Self::of(terms) })
    }

    const fn of(terms: Terms) -> Self {
        Self { terms, row: PhantomData }
    }

    pub(crate) fn into_terms(self) -> Terms {
        self.terms
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Clause(clause) => clause.serialize(serializer),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tables::Port;

    fn wire(filter: Filter<Port>) -> serde_json::Value {
        serde_json::to_value(filter.into_terms()).unwrap()
    }

    #[test]
    fn conditions_are_alternatives() {
        let filter = Filter::any([Port::NAME.eq("p0"), Port::TAG.eq(Some(5))]).unwrap();
        assert_eq!(wire(filter), json!([["name", "==", "p0"], ["tag", "==", 5]]));
    }

    #[test]
    fn nothing_and_everything_have_their_notations() {
        assert_eq!(wire(Filter::all()), json!([]));
        assert_eq!(wire(Filter::none()), json!([false]));
        assert_eq!(wire(Filter::any([]).unwrap()), json!([false]));
        let filter = Filter::any([Port::NAME.eq("p0"), Where::all()]).unwrap();
        assert_eq!(wire(filter), json!([]));
    }

    #[test]
    fn a_conjunction_is_refused() {
        let both = Port::NAME.eq("p0").and(Port::TAG.eq(Some(5)));
        assert_eq!(Filter::any([both]), Err(Conjunction));
    }
}
