//! What a compose file says, as a tree: no aliases, no tags, variables filled in, every value with its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::scalar;

/// Where something stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Rc<Path>,
    /// Counted from 1.
    pub(super) line: usize,
}

/// One value. A list or mapping has the line of its key.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) data: Data,
}

pub(super) type Map = BTreeMap<String, Value>;

#[derive(Debug, Clone)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// A date without quotes, which cannot be a label's value.
    Date,
    Text(Text),
    /// A path that has been joined with the folder that it is relative to.
    File(PathBuf),
    List(Vec<Value>),
    Map(Map),
    /// It could not be read, which has been reported.
    Unknown,
}

/// A text with its variables filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// The variables that were not set and had no default; each stands as the empty string.
    pub(super) unset: Vec<String>,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), unset: Vec::new() }
    }
}

impl Value {
    /// The entries, if it is a mapping.
    pub(super) fn map(&self) -> Option<&Map> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The entries, to change them.
    pub(super) fn map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value of a mapping's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.map()?.get(key)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// The items of a list; a scalar is a list of one where Compose takes either.
    pub(super) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Null | Data::Unknown => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// A scalar as Compose writes it into a label; `None` if it is no scalar.
    pub(super) fn print(&self) -> Option<Text> {
        let text = match &self.data {
            Data::Null => String::new(),
            Data::Bool(value) => value.to_string(),
            Data::Int(value) => value.to_string(),
            Data::Float(value) => scalar::print_float(*value),
            Data::Text(text) => return Some(text.clone()),
            Data::Date | Data::File(_) | Data::List(_) | Data::Map(_) | Data::Unknown => {
                return None;
            }
        };
        Some(Text { text, unset: Vec::new() })
    }

    /// How many values it consists of.
    pub(super) fn size(&self) -> usize {
        match &self.data {
            Data::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Data::Map(map) => 1 + map.values().map(Self::size).sum::<usize>(),
            _ => 1,
        }
    }
}
