//! Files of variables: `.env`, `--env-file`, `env_file` and `label_file`, as Docker Compose reads them.

use std::collections::HashMap;

use super::interpolate;
use super::value::Text;

/// One variable and the line where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: Text,
    pub(super) line: usize,
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// What all values of a file may come to, in bytes: a value can be made of those above it.
const LENGTH: usize = 4 << 20;

/// Reads a file. A value may use what `lookup` has, and then the variables above it.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Variable>, Malformed> {
    let mut variables: Vec<Variable> = Vec::new();
    let mut known: HashMap<String, String> = HashMap::new();
    let mut length = 0;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    loop {
        let statement = rest.trim_start();
        line += newlines(rest, statement);
        if statement.is_empty() {
            return Ok(variables);
        }
        if statement.starts_with('#') {
            rest = statement.find('\n').and_then(|at| statement.get(at..)).unwrap_or_default();
            continue;
        }
        let malformed = |reason: String| Malformed { line, reason };
        let begin = match statement.strip_prefix("export") {
            Some(after) if after.starts_with(char::is_whitespace) => {
                after.trim_start_matches(is_blank)
            }
            _ => statement,
        };
        let (name, after) = match name(begin).map_err(malformed)? {
            Name::Value(name, after) => (name, after.trim_start_matches(is_blank)),
            // A name alone takes its value from where values are looked up.
            Name::Inherited(name, after) => {
                if let Some(value) = lookup(name) {
                    known.insert(name.to_owned(), value.clone());
                    let value = Text::from(value.as_str());
                    variables.push(Variable { name: name.to_owned(), value, line });
                }
                line += newlines(begin, after);
                rest = after;
                continue;
            }
            Name::End => return Ok(variables),
        };
        let (raw, literal, left) = value(after).map_err(malformed)?;
        let value = if literal {
            Text { text: raw, unset: Vec::new() }
        } else {
            let lookup = |wanted: &str| lookup(wanted).or_else(|| known.get(wanted).cloned());
            interpolate::fill(&raw, &lookup).map_err(|problem| malformed(problem.to_string()))?
        };
        length += value.text.len();
        if length > LENGTH {
            return Err(malformed(format!("values of more than {LENGTH} bytes")));
        }
        known.insert(name.to_owned(), value.text.clone());
        variables.push(Variable { name: name.to_owned(), value, line });
        line += newlines(statement, left);
        rest = left;
    }
}

/// Lines between the beginning of a text and what is left of it.
fn newlines(text: &str, left: &str) -> usize {
    text.get(..text.len() - left.len()).map_or(0, |gone| gone.matches('\n').count())
}

/// White space within a line.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

enum Name<'t> {
    /// A name, and the text from its value on.
    Value(&'t str, &'t str),
    /// A name alone on its line, and what follows that.
    Inherited(&'t str, &'t str),
    /// A name alone at the very end, which Compose passes over.
    End,
}

fn name(text: &str) -> Result<Name<'_>, String> {
    let part = |character: char| character.is_alphanumeric() || "_.-[]".contains(character);
    let wrong = || {
        let line = text.lines().next().unwrap_or_default();
        format!("not of the form NAME=VALUE: {}", line.escape_debug())
    };
    let end = text.find(|character| !part(character) && !is_blank(character));
    let Some(end) = end else { return Ok(Name::End) };
    let (name, after) = text.split_at(end);
    let name = name.trim_end();
    let mut after = after.chars();
    let sign = after.next();
    if name.contains(' ') || !matches!(sign, Some('=' | ':' | '\n')) {
        return Err(wrong());
    }
    let after = after.as_str();
    Ok(if sign == Some('\n') { Name::Inherited(name, after) } else { Name::Value(name, after) })
}

/// The value at the beginning of a text, whether it is literal, and what is left after it.
fn value(text: &str) -> Result<(String, bool, &str), String> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let Some(quote) = quote else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let value = line.split_once(" #").map_or(line, |(value, _)| value);
        return Ok((value.trim_end().to_owned(), false, rest));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match (escaped, character) {
            (false, '\\') => escaped = true,
            (false, end) if end == quote => {
                let left = text.get(at + 1..).unwrap_or_default();
                let literal = quote == '\'';
                return Ok((if literal { value } else { expand(&value) }, literal, left));
            }
            (_, character) => {
                if std::mem::take(&mut escaped) && character != quote {
                    value.push('\\');
                }
                value.push(character);
            }
        }
    }
    Err("a quote that is never closed".to_owned())
}

/// The escapes of a text in double quotes. Other backslashes stay.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        expanded.push_str(before);
        let mut characters = after.chars();
        rest = characters.as_str();
        let plain = match characters.next() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(same @ ('"' | '\\')) => Some(same),
            Some('$') => {
                // A dollar sign that is none: as the interpolation has it.
                expanded.push('$');
                Some('$')
            }
            Some('0') => {
                let (character, left) = octal(characters.as_str(), &mut expanded);
                rest = left;
                expanded.extend(character);
                continue;
            }
            _ => None,
        };
        match plain {
            Some(character) => {
                expanded.push(character);
                rest = characters.as_str();
            }
            None => expanded.push('\\'),
        }
    }
    expanded.push_str(rest);
    expanded
}

/// `\0` and three octal digits; with fewer, or beyond a byte, they stay, without the 0.
fn octal<'t>(after: &'t str, expanded: &mut String) -> (Option<char>, &'t str) {
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()).min(3);
    let (digits, left) = after.split_at(end);
    let byte = if digits.len() == 3 { u8::from_str_radix(digits, 8).ok() } else { None };
    if byte.is_none() {
        expanded.push('\\');
        expanded.push_str(digits);
    }
    (byte.map(char::from), left)
}
