//! Values on the wire: atoms, sets and maps, to and from JSON (RFC 7047 section 5.1).
//!
//! Knows the notation and nothing else: no table, no column, no message.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use uuid::Uuid;

/// One scalar value, an `<atom>` of RFC 7047 section 5.1.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom {
    /// A signed 64-bit integer.
    Integer(i64),
    /// A floating-point number. JSON has no notation for NaN and infinity: a server refuses them.
    Real(f64),
    /// True or false.
    Boolean(bool),
    /// Unicode text.
    String(String),
    /// The UUID of a row.
    Uuid(Uuid),
    /// A row that the same transaction inserts. Only ever sent, never received.
    NamedUuid(NamedUuid),
}

/// The name of a row that a transaction inserts (`<named-uuid>`, RFC 7047 section 5.1).
///
/// It is a number and becomes an identifier only on the wire, so it is always valid there
/// (an `<id>` has no dashes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedUuid(pub(crate) u64);

impl fmt::Display for NamedUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row{}", self.0)
    }
}

impl Serialize for NamedUuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What `Display` says, in a tenth of its time: a transaction can have hundreds of them.
        let mut text = *b"row00000000000000000000";
        let end = 4 + self.0.checked_ilog10().unwrap_or(0) as usize;
        let mut number = self.0;
        for digit in text.iter_mut().take(end).skip(3).rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        let text = text.get(..end).and_then(|text| str::from_utf8(text).ok());
        serializer.serialize_str(text.unwrap_or_default())
    }
}

/// The contents of one column, a `<value>` of RFC 7047 section 5.1.
///
/// A set of one element and the bare element mean the same. What is decoded is always the bare
/// element, and so is what is encoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A scalar, or a set of exactly one element.
    Atom(Atom),
    /// A set.
    Set(Vec<Atom>),
    /// A map.
    Map(Vec<(Atom, Atom)>),
}

/// A value of another type than its column should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct TypeError {
    /// What the column holds.
    pub expected: &'static str,
    /// What the server sent.
    pub found: &'static str,
}

impl Atom {
    /// The kind of atom in words, for errors.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Real(_) => "a real",
            Self::Boolean(_) => "a boolean",
            Self::String(_) => "a string",
            Self::Uuid(_) => "a uuid",
            Self::NamedUuid(_) => "a named uuid",
        }
    }
}

impl Value {
    /// The empty set, which is also how an optional column says "nothing".
    pub const EMPTY: Self = Self::Set(Vec::new());

    /// The kind of value in words, for errors.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Atom(atom) => atom.describe(),
            Self::Set(set) if set.is_empty() => "an empty set",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
        }
    }

    /// The elements of a set. A scalar is a set of one; a map has none.
    pub(crate) fn elements(&self) -> Option<&[Atom]> {
        match self {
            Self::Atom(atom) => Some(std::slice::from_ref(atom)),
            Self::Set(atoms) => Some(atoms),
            Self::Map(_) => None,
        }
    }

    /// A set, in its shortest form.
    fn set(mut atoms: Vec<Atom>) -> Self {
        if atoms.len() == 1
            && let Some(atom) = atoms.pop()
        {
            return Self::Atom(atom);
        }
        Self::Set(atoms)
    }
}

impl FromIterator<Atom> for Value {
    fn from_iter<I: IntoIterator<Item = Atom>>(atoms: I) -> Self {
        Self::set(atoms.into_iter().collect())
    }
}

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(integer) => serializer.serialize_i64(*integer),
            Self::Real(real) => serializer.serialize_f64(*real),
            Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
            Self::String(string) => serializer.serialize_str(string),
            Self::Uuid(uuid) => {
                let mut buffer = Uuid::encode_buffer();
                let text: &str = uuid.hyphenated().encode_lower(&mut buffer);
                ("uuid", text).serialize(serializer)
            }
            Self::NamedUuid(name) => ("named-uuid", name).serialize(serializer),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Atom(atom) => atom.serialize(serializer),
            Self::Set(atoms) => match atoms.as_slice() {
                [atom] => atom.serialize(serializer),
                atoms => ("set", atoms).serialize(serializer),
            },
            Self::Map(pairs) => {
                let mut tagged = serializer.serialize_seq(Some(2))?;
                tagged.serialize_element("map")?;
                tagged.serialize_element(pairs)?;
                tagged.end()
            }
        }
    }
}

/// The first element of a tagged array.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tag {
    Uuid,
    Set,
    Map,
}

/// A UUID as plain JSON text, the way it stands in a tagged array and as a key of table updates.
pub(crate) struct UuidText(pub(crate) Uuid);

impl<'de> Deserialize<'de> for UuidText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = UuidText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UuidText, E> {
                match Uuid::try_parse(text) {
                    Ok(uuid) => Ok(UuidText(uuid)),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// The rest of a tagged array, which must be there.
fn tagged<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    expected: &'static str,
) -> Result<T, A::Error> {
    match seq.next_element()? {
        Some(content) => Ok(content),
        None => Err(de::Error::invalid_length(1, &expected)),
    }
}

/// The scalar arms that atoms and values have in common.
macro_rules! visit_scalars {
    ($target:ty, $wrap:expr) => {
        fn visit_bool<E>(self, boolean: bool) -> Result<$target, E> {
            Ok($wrap(Atom::Boolean(boolean)))
        }

        fn visit_i64<E>(self, integer: i64) -> Result<$target, E> {
            Ok($wrap(Atom::Integer(integer)))
        }

        fn visit_u64<E: de::Error>(self, integer: u64) -> Result<$target, E> {
            match i64::try_from(integer) {
                Ok(integer) => Ok($wrap(Atom::Integer(integer))),
                Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(integer), &self)),
            }
        }

        fn visit_f64<E>(self, real: f64) -> Result<$target, E> {
            Ok($wrap(Atom::Real(real)))
        }

        fn visit_str<E>(self, string: &str) -> Result<$target, E> {
            Ok($wrap(Atom::String(string.to_owned())))
        }

        fn visit_string<E>(self, string: String) -> Result<$target, E> {
            Ok($wrap(Atom::String(string)))
        }
    };
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtomVisitor;

        impl<'de> Visitor<'de> for AtomVisitor {
            type Value = Atom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an atom (RFC 7047 section 5.1)")
            }

            visit_scalars!(Atom, std::convert::identity);

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Atom, A::Error> {
                match tagged(&mut seq, "a tag")? {
                    Tag::Uuid => {
                        let UuidText(uuid) = tagged(&mut seq, "a tag and a UUID")?;
                        Ok(Atom::Uuid(uuid))
                    }
                    Tag::Set | Tag::Map => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
                }
            }
        }

        deserializer.deserialize_any(AtomVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value (RFC 7047 section 5.1)")
            }

            visit_scalars!(Value, Value::Atom);

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                match tagged(&mut seq, "a tag")? {
                    Tag::Uuid => {
                        let UuidText(uuid) = tagged(&mut seq, "a tag and a UUID")?;
                        Ok(Value::Atom(Atom::Uuid(uuid)))
                    }
                    Tag::Set => Ok(Value::set(tagged(&mut seq, "a tag and the elements")?)),
                    Tag::Map => Ok(Value::Map(tagged(&mut seq, "a tag and the pairs")?)),
                }
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
mod tests;
