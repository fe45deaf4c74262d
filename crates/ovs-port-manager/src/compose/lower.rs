//! From YAML to values: aliases and merges followed, variables filled in, scalars read.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use super::value::{Data, Map, Place, Text, Value};
use super::yaml::{self, Node};
use super::{interpolate, scalar};

/// A path of keys.
pub(super) type Keys = Vec<String>;

/// A document's values, and the places where it replaces what earlier files say (`!reset`, `!override`).
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) value: Value,
    pub(super) replaces: Rc<BTreeSet<Keys>>,
}

/// What is wrong, where, and in which service.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) service: Option<String>,
    pub(super) message: String,
}

/// The most values that a project may consist of, those that aliases repeat included.
pub(super) const VALUES: usize = 100_000;

/// The most bytes that texts with variables may come to.
const BYTES: usize = 16 << 20;

/// What a project may still grow by.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) values: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { values: VALUES, bytes: BYTES }
    }
}

impl Budget {
    /// Takes off what is copied; `false` if there is not enough.
    pub(super) fn spend(&mut self, values: usize) -> bool {
        self.values = self.values.saturating_sub(values);
        self.values > 0
    }

    /// Whether all has been used up.
    pub(super) fn is_spent(&self) -> bool {
        self.values == 0 || self.bytes == 0
    }
}

/// Reads a document's values.
pub(super) fn lower(
    file: &Rc<Path>,
    node: &Node,
    lookup: &dyn Fn(&str) -> Option<String>,
    budget: &mut Budget,
    problems: &mut Vec<Problem>,
) -> Document {
    let (keys, replaces) = (Vec::new(), BTreeSet::new());
    let mut lowering = Lowering { file, lookup, budget, problems, keys, replaces };
    let data = lowering.data(node);
    let value = Value { place: lowering.place(node.line), data };
    Document { value, replaces: lowering.replaces.into() }
}

struct Lowering<'a> {
    file: &'a Rc<Path>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    budget: &'a mut Budget,
    problems: &'a mut Vec<Problem>,
    keys: Keys,
    replaces: BTreeSet<Keys>,
}

impl Lowering<'_> {
    fn data(&mut self, node: &Node) -> Data {
        if !self.budget.spend(1) {
            return Data::Unknown;
        }
        match &node.value {
            yaml::Value::Scalar { text, plain } => {
                match scalar::read(text, *plain, node.tag.as_deref()) {
                    Ok(Data::Text(Text { text, .. })) => self.fill(node.line, text),
                    Ok(data) => data,
                    Err(reason) => self.unknown(node.line, reason),
                }
            }
            yaml::Value::Sequence(items) => {
                let mut list = Vec::new();
                for item in items {
                    if item.tag.as_deref() == Some("!reset") {
                        continue;
                    }
                    let place = self.place(item.line);
                    list.push(Value { place, data: self.data(item) });
                }
                Data::List(list)
            }
            yaml::Value::Mapping(_) => self.mapping(node),
        }
    }

    fn mapping(&mut self, node: &Node) -> Data {
        let entries = match node.entries(&mut self.budget.values) {
            Ok(entries) => entries,
            Err(yaml::Malformed { line, reason }) => return self.unknown(line, reason),
        };
        let mut map = Map::new();
        for (key, value) in entries {
            let Some(name) = self.key(key) else { continue };
            self.keys.push(name);
            let tag = value.tag.as_deref();
            if matches!(tag, Some("!reset" | "!override")) {
                self.replaces.insert(self.keys.clone());
            }
            let data = (tag != Some("!reset")).then(|| self.data(value));
            let Some(name) = self.keys.pop() else { continue };
            if let Some(data) = data {
                // What goes on in the lines below begins at its key.
                let line = match data {
                    Data::List(_) | Data::Map(_) => key.line,
                    _ => value.line,
                };
                map.insert(name, Value { place: self.place(line), data });
            }
        }
        Data::Map(map)
    }

    /// A key, which has to be a text.
    fn key(&mut self, key: &Node) -> Option<String> {
        if let yaml::Value::Scalar { text, plain } = &key.value {
            match scalar::read(text, *plain, key.tag.as_deref()) {
                Ok(Data::Text(text)) => return Some(text.text),
                _ => {
                    let reason = format!("the key {} is no text; quote it", text.escape_debug());
                    self.unknown(key.line, reason);
                }
            }
        } else {
            self.unknown(key.line, "a key that is a list or mapping".to_owned());
        }
        None
    }

    fn fill(&mut self, line: usize, text: String) -> Data {
        if !text.contains('$') {
            return Data::Text(Text { text, unset: Vec::new() });
        }
        match interpolate::fill(&text, self.lookup) {
            Ok(text) => {
                self.budget.bytes = self.budget.bytes.saturating_sub(text.text.len());
                if self.budget.bytes == 0 { Data::Unknown } else { Data::Text(text) }
            }
            Err(problem) => self.unknown(line, problem.to_string()),
        }
    }

    fn unknown(&mut self, line: usize, message: String) -> Data {
        let service = match self.keys.as_slice() {
            [top, service, ..] if top == "services" => Some(service.clone()),
            _ => None,
        };
        self.problems.push(Problem { place: self.place(line), service, message });
        Data::Unknown
    }

    fn place(&self, line: usize) -> Place {
        Place { file: Rc::clone(self.file), line }
    }
}
