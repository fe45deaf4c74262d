//! YAML as a tree that knows its lines.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// A text that is no YAML, or none that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// One value and where it begins. An alias shares the node of its anchor.
#[derive(Debug)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) tag: Option<String>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// `plain` if it is not quoted.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// Levels of nesting; more is no compose file but an attempt at the parser.
const DEPTH: usize = 64;

impl Node {
    /// The text of a scalar that is not null. A whole number without quotes is written in digits, as Compose
    /// does before anybody sees it: `010` is 8.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => None,
            Value::Scalar { text, plain: true } => {
                Some(integer(text).map_or(Cow::Borrowed(text), |number| number.to_string().into()))
            }
            Value::Scalar { text, plain: false } => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// Whether it says nothing (YAML 1.2, section 10.2.1.1).
    pub(super) fn is_null(&self) -> bool {
        let words = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar { text, plain: true } if words.contains(&text.as_str()))
    }

    /// The items of a sequence.
    pub(super) fn items(&self) -> Option<&[Rc<Node>]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping, those that it merges in (`<<: *other`) included; its own come first and
    /// win. `None` if it is no mapping.
    pub(super) fn entries(&self) -> Option<Vec<(&str, &Rc<Node>)>> {
        let Value::Mapping(pairs) = &self.value else { return None };
        let mut found = Vec::new();
        let mut names = HashSet::new();
        let mut visited = HashSet::new();
        collect(pairs, &mut found, &mut names, &mut visited);
        Some(found)
    }

    /// The value of a mapping's key.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.entries()?.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// A whole number as Compose's YAML has it: YAML 1.2, and the octal numbers of YAML 1.1.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits.as_str()),
    };
    i64::from_str_radix(digits, radix).ok()?.checked_mul(sign)
}

type Pairs = [(Rc<Node>, Rc<Node>)];

fn collect<'a>(
    pairs: &'a Pairs,
    found: &mut Vec<(&'a str, &'a Rc<Node>)>,
    names: &mut HashSet<&'a str>,
    visited: &mut HashSet<*const Node>,
) {
    let is_merge =
        |key: &Node| matches!(&key.value, Value::Scalar { text, plain: true } if text == "<<");
    for (key, value) in pairs.iter().filter(|(key, _)| !is_merge(key)) {
        if let Value::Scalar { text, .. } = &key.value
            && names.insert(text)
        {
            found.push((text, value));
        }
    }
    for (_, merged) in pairs.iter().filter(|(key, _)| is_merge(key)) {
        let each = merged.items().unwrap_or(std::slice::from_ref(merged));
        for node in each {
            // What has been merged once adds nothing, and aliases could make it come up without end.
            if visited.insert(Rc::as_ptr(node))
                && let Value::Mapping(pairs) = &node.value
            {
                collect(pairs, found, names, visited);
            }
        }
    }
}

/// Reads all documents of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Rc<Node>>, Malformed> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Malformed {
            line: error.marker().line().max(1),
            reason: format!("not YAML: {}", error.info()),
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A sequence or mapping that has begun.
struct Open {
    line: usize,
    anchor: usize,
    tag: Option<String>,
    children: Vec<Rc<Node>>,
    is_mapping: bool,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Malformed> {
        let line = span.start.line().max(1);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value =
                    Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.add(Node { line, tag: tag.map(|tag| name(&tag)), value }, anchor);
            }
            Event::SequenceStart(anchor, tag) => self.begin(line, anchor, tag.as_deref(), false)?,
            Event::MappingStart(anchor, tag) => self.begin(line, anchor, tag.as_deref(), true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let unknown = "an alias of something that is not complete";
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| Malformed { line, reason: unknown.to_owned() })?;
                self.place(node);
            }
            Event::DocumentEnd => self.anchors.clear(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        line: usize,
        anchor: usize,
        tag: Option<&Tag>,
        is_mapping: bool,
    ) -> Result<(), Malformed> {
        if self.open.len() >= DEPTH {
            return Err(Malformed {
                line,
                reason: format!("nested more than {DEPTH} levels deep"),
            });
        }
        let tag = tag.map(name);
        self.open.push(Open { line, anchor, tag, children: Vec::new(), is_mapping });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Malformed> {
        let Some(Open { line, anchor, tag, children, is_mapping }) = self.open.pop() else {
            return Ok(());
        };
        let value = if is_mapping { mapping(children)? } else { Value::Sequence(children) };
        self.add(Node { line, tag, value }, anchor);
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node);
    }

    fn place(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.documents.push(node),
        }
    }
}

/// Keys and values in turn, each key once.
fn mapping(children: Vec<Rc<Node>>) -> Result<Value, Malformed> {
    let mut children = children.into_iter();
    let mut pairs = Vec::new();
    let mut names = HashSet::new();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        if let Value::Scalar { text, .. } = &key.value
            && text != "<<"
            && !names.insert(text.clone())
        {
            let reason = format!("the key {} is given twice", text.escape_debug());
            return Err(Malformed { line: key.line, reason });
        }
        pairs.push((key, value));
    }
    Ok(Value::Mapping(pairs))
}

fn name(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}
