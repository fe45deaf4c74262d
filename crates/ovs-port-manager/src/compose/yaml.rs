//! YAML as a tree that knows its lines.

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
    /// Levels of nesting below it, aliases followed.
    height: usize,
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

/// Levels of nesting with those that aliases bring along.
const HEIGHT: usize = 256;

/// An entry of a mapping: the key and its value.
pub(super) type Entry<'a> = (&'a Rc<Node>, &'a Rc<Node>);

impl Node {
    /// Whether it is an empty document.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if text.is_empty())
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping, those that it merges in (`<<: *other`) included; its own come first and win.
    /// Looking at each is taken off `budget`.
    ///
    /// # Errors
    ///
    /// What cannot be merged.
    pub(super) fn entries(&self, budget: &mut usize) -> Result<Vec<Entry<'_>>, Malformed> {
        let mut collected = Collected { entries: Vec::new(), names: HashSet::new(), budget };
        let mut visited = HashSet::new();
        if let Value::Mapping(pairs) = &self.value {
            collected.collect(pairs, &mut visited)?;
        }
        Ok(collected.entries)
    }
}

type Pairs = [(Rc<Node>, Rc<Node>)];

struct Collected<'a, 'b> {
    entries: Vec<Entry<'a>>,
    names: HashSet<&'a str>,
    budget: &'b mut usize,
}

impl<'a> Collected<'a, '_> {
    fn collect(
        &mut self,
        pairs: &'a Pairs,
        visited: &mut HashSet<*const Node>,
    ) -> Result<(), Malformed> {
        *self.budget = self.budget.saturating_sub(pairs.len());
        let is_merge =
            |key: &Node| matches!(&key.value, Value::Scalar { text, plain: true } if text == "<<");
        for (key, value) in pairs.iter().filter(|(key, _)| !is_merge(key)) {
            match &key.value {
                Value::Scalar { text, .. } if !self.names.insert(text) => {}
                _ => self.entries.push((key, value)),
            }
        }
        for (key, merged) in pairs.iter().filter(|(key, _)| is_merge(key)) {
            let each = match &merged.value {
                Value::Sequence(items) => items.as_slice(),
                _ => std::slice::from_ref(merged),
            };
            *self.budget = self.budget.saturating_sub(each.len());
            for node in each {
                let Value::Mapping(pairs) = &node.value else {
                    let reason = "<<: neither a mapping nor a list of mappings".to_owned();
                    return Err(Malformed { line: key.line, reason });
                };
                // What has been merged once adds nothing, and aliases could make it come up without end.
                if *self.budget > 0 && visited.insert(Rc::as_ptr(node)) {
                    self.collect(pairs, visited)?;
                }
            }
        }
        Ok(())
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
                self.add(Node { line, tag: tag.map(|tag| name(&tag)), value, height: 0 }, anchor);
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
        let height = 1 + children.iter().map(|child| child.height).max().unwrap_or_default();
        if height > HEIGHT {
            let reason = format!("nested more than {HEIGHT} levels deep by aliases");
            return Err(Malformed { line, reason });
        }
        let value = if is_mapping { mapping(children)? } else { Value::Sequence(children) };
        self.add(Node { line, tag, value, height }, anchor);
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
