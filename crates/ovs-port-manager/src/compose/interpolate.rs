//! Variables in the values of a compose file: `$NAME`, `${NAME}`, `${NAME:-default}` and so on
//! (the Compose Specification, "Interpolation"), as Docker Compose reads them.

use std::fmt;

use super::value::Text;

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// A `${` that is not the beginning of a variable.
    Format,
    /// `${NAME:?message}` without `NAME`.
    Required { name: String, message: String },
    /// Defaults within defaults within …
    TooDeep,
    /// The variables are too long.
    TooLong,
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
            Self::TooLong => write!(f, "longer than {LENGTH} bytes with its variables filled in"),
        }
    }
}

/// Levels of variables within the defaults of others.
const DEPTH: usize = 16;

/// Bytes of a text with its variables filled in.
const LENGTH: usize = 1 << 20;

/// Fills in the variables of a text.
pub(super) fn fill(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Text, Problem> {
    let mut filled = Text::default();
    Filler { lookup, filled: &mut filled }.fill(text, 0)?;
    Ok(filled)
}

struct Filler<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    filled: &'a mut Text,
}

/// The end of the line that a text is in, and the last `}` on it; looked for once a line.
#[derive(Default)]
struct Line {
    end: usize,
    last_brace: Option<usize>,
}

impl Line {
    fn last_brace(&mut self, text: &str, at: usize) -> Option<usize> {
        if at >= self.end {
            let rest = text.get(at..).unwrap_or_default();
            self.end = at + rest.find('\n').unwrap_or(rest.len());
            self.last_brace =
                text.get(at..self.end).and_then(|line| line.rfind('}')).map(|brace| at + brace);
        }
        self.last_brace.filter(|brace| *brace >= at)
    }
}

impl Filler<'_> {
    fn fill(&mut self, text: &str, depth: usize) -> Result<(), Problem> {
        if depth > DEPTH {
            return Err(Problem::TooDeep);
        }
        let mut line = Line::default();
        let mut at = 0;
        while let Some(dollar) = text.get(at..).and_then(|rest| rest.find('$')) {
            self.push(text.get(at..at + dollar).unwrap_or_default())?;
            let begin = at + dollar + 1;
            let after = text.get(begin..).unwrap_or_default();
            at = if after.starts_with('$') {
                self.push("$")?;
                begin + 1
            } else if let Some(braced) = after.strip_prefix('{') {
                let inside = self.inside(text, braced, begin, &mut line)?;
                self.braced(inside, depth)?;
                begin + 1 + inside.len() + 1
            } else if let Some((name, _)) = split_name(after) {
                self.variable(name)?;
                begin + name.len()
            } else {
                // Nothing that could be a variable: Compose leaves it as it is.
                self.push("$")?;
                begin
            };
        }
        self.push(text.get(at..).unwrap_or_default())
    }

    /// What stands between the braces, the first of which is before `braced`. A default reaches to the brace that
    /// closes it, all braces counted, or else to the last one of its line.
    fn inside<'t>(
        &self,
        text: &'t str,
        braced: &'t str,
        begin: usize,
        line: &mut Line,
    ) -> Result<&'t str, Problem> {
        let (name, rest) = split_name(braced).ok_or(Problem::Format)?;
        if rest.starts_with('}') {
            return Ok(name);
        }
        let operator = rest.strip_prefix(':').unwrap_or(rest);
        if !operator.starts_with(['-', '+', '?']) {
            return Err(Problem::Format);
        }
        let word = begin + 1 + braced.len() - operator.len() + 1;
        let last = line.last_brace(text, word).ok_or(Problem::Format)?;
        let whole = text.get(begin..=last).unwrap_or_default();
        let end = closing_brace(whole).unwrap_or(whole.len() - 1);
        whole.get(1..end).ok_or(Problem::Format)
    }

    fn push(&mut self, text: &str) -> Result<(), Problem> {
        if self.filled.text.len() + text.len() > LENGTH {
            return Err(Problem::TooLong);
        }
        self.filled.text.push_str(text);
        Ok(())
    }

    fn variable(&mut self, name: &str) -> Result<(), Problem> {
        match (self.lookup)(name) {
            Some(value) => self.push(&value)?,
            None if self.filled.unset.iter().any(|unset| unset == name) => {}
            None => self.filled.unset.push(name.to_owned()),
        }
        Ok(())
    }

    /// What stands between the braces.
    fn braced(&mut self, inside: &str, depth: usize) -> Result<(), Problem> {
        let (name, rest) = split_name(inside).ok_or(Problem::Format)?;
        if rest.is_empty() {
            return self.variable(name);
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
            (Some('-' | '?'), Some(value)) => self.push(&value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.fill(word, depth + 1),
            (Some('+'), None) => Ok(()),
            (Some('?'), None) => {
                let mut message = Text::default();
                Filler { lookup: self.lookup, filled: &mut message }.fill(word, depth + 1)?;
                Err(Problem::Required { name: name.to_owned(), message: message.text })
            }
            _ => Err(Problem::Format),
        }
    }
}

/// Where the brace closes that this text begins with. Compose counts every brace, and looks at no character
/// that follows an opening one.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => {
                open += 1;
                bytes.next();
            }
            b'}' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// A variable's name at the beginning of a text, and what follows.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = text.find(|character| !part(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let first = |first: char| first.is_ascii_alphabetic() || first == '_';
    name.starts_with(first).then_some((name, rest))
}
