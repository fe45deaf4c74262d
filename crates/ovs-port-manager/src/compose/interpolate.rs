//! Variables in the values of a compose file: `$NAME`, `${NAME}`, `${NAME:-default}` and so on
//! (the Compose Specification, "Interpolation").

use std::fmt;

/// A text with its variables filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// The variables that were not set and had no default; each stands as the empty string.
    pub(super) unset: Vec<String>,
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// A `$` that is not the beginning of a variable.
    Format,
    /// `${NAME:?message}` without `NAME`.
    Required { name: String, message: String },
    /// Defaults within defaults within …
    TooDeep,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str(
                "not a variable after '$'; write ${NAME}, ${NAME:-default}, or $$ for a dollar sign",
            ),
            Self::Required { name, message } if message.is_empty() => {
                write!(f, "the variable {name} must be set")
            }
            Self::Required { name, message } => {
                write!(f, "the variable {name} must be set: {}", message.escape_debug())
            }
            Self::TooDeep => write!(f, "variables nested more than {DEPTH} levels deep"),
        }
    }
}

/// Levels of variables within the defaults of others.
const DEPTH: usize = 16;

/// Fills in the variables of a text.
pub(super) fn fill(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Filled, Problem> {
    let mut filled = Filled::default();
    Filler { lookup, filled: &mut filled }.fill(text, 0)?;
    Ok(filled)
}

struct Filler<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    filled: &'a mut Filled,
}

impl Filler<'_> {
    fn fill(&mut self, text: &str, depth: usize) -> Result<(), Problem> {
        if depth > DEPTH {
            return Err(Problem::TooDeep);
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            self.filled.text.push_str(before);
            rest = if let Some(after) = after.strip_prefix('$') {
                self.filled.text.push('$');
                after
            } else if let Some(braced) = after.strip_prefix('{') {
                let end = closing_brace(braced).ok_or(Problem::Format)?;
                let (inside, after) = braced.split_at(end);
                self.braced(inside, depth)?;
                after.strip_prefix('}').unwrap_or_default()
            } else {
                let (name, after) = split_name(after).ok_or(Problem::Format)?;
                self.variable(name);
                after
            };
        }
        self.filled.text.push_str(rest);
        Ok(())
    }

    fn variable(&mut self, name: &str) {
        match (self.lookup)(name) {
            Some(value) => self.filled.text.push_str(&value),
            None => self.filled.unset.push(name.to_owned()),
        }
    }

    /// What stands between the braces.
    fn braced(&mut self, inside: &str, depth: usize) -> Result<(), Problem> {
        let (name, rest) = split_name(inside).ok_or(Problem::Format)?;
        if rest.is_empty() {
            self.variable(name);
            return Ok(());
        }
        // With a colon, a variable that is set to nothing counts as not set.
        let (needs_content, rest) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let value = (self.lookup)(name).filter(|value| !needs_content || !value.is_empty());
        let mut characters = rest.chars();
        let (operator, word) = (characters.next(), characters.as_str());
        match (operator, value) {
            (Some('-' | '?'), Some(value)) => self.filled.text.push_str(&value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.fill(word, depth + 1)?,
            (Some('+'), None) => {}
            (Some('?'), None) => {
                let message = fill(word, self.lookup)?.text;
                return Err(Problem::Required { name: name.to_owned(), message });
            }
            _ => return Err(Problem::Format),
        }
        Ok(())
    }
}

/// Where the brace closes that was opened before this text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut previous = None;
    for (at, character) in text.char_indices() {
        match character {
            '{' if previous == Some('$') => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        previous = Some(character);
    }
    None
}

/// A variable's name at the beginning of a text, and what follows.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = text.find(|character| !part(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    name.starts_with(|first: char| !first.is_ascii_digit()).then_some((name, rest))
}
