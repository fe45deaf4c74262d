//! Files of variables: `.env`, `--env-file` and `label_file`, as Docker Compose reads them.

use super::interpolate;

/// One variable and the line where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// Reads a file. Variables may use those of the environment and those above them.
pub(super) fn parse(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Variable>, Malformed> {
    let mut variables: Vec<Variable> = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (this, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = this.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let malformed = |reason: String| Malformed { line, reason };
        let begin = this.trim_start();
        let begin = begin.strip_prefix("export ").map_or(begin, str::trim_start);
        let Some(at) = begin.find(['=', ':']) else {
            // A name alone takes its value from the environment, where it is looked up anyway.
            name(trimmed.strip_prefix("export ").unwrap_or(trimmed)).map_err(malformed)?;
            (rest, line) = (after, line + 1);
            continue;
        };
        let (left, right) = begin.split_at(at);
        let name = name(left).map_err(malformed)?;
        let right = right.get(1..).unwrap_or_default().trim_start_matches([' ', '\t']);
        // A quoted value may go on in the lines below.
        let whole = rest.get(this.len() - right.len()..).unwrap_or_default();
        let (raw, literal, used) = value(whole).map_err(malformed)?;
        let lookup = |wanted: &str| {
            environment(wanted).or_else(|| {
                let above = variables.iter().rev().find(|variable| variable.name == wanted);
                above.map(|variable| variable.value.clone())
            })
        };
        let value = if literal {
            raw
        } else {
            interpolate::fill(&raw, &lookup).map_err(|problem| malformed(problem.to_string()))?.text
        };
        variables.push(Variable { name, value, line });
        let (consumed, remaining) = whole.split_at(used.min(whole.len()));
        line += consumed.matches('\n').count() + 1;
        rest = remaining.split_once('\n').map_or("", |(_, after)| after);
    }
    Ok(variables)
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let part = |character: char| character.is_ascii_alphanumeric() || "_.-[]".contains(character);
    if !name.is_empty() && name.chars().all(part) {
        return Ok(name.to_owned());
    }
    Err(format!("not of the form NAME=VALUE: {}", name.escape_debug()))
}

/// The value at the beginning of a text, whether it is literal, and how many bytes it takes.
fn value(text: &str) -> Result<(String, bool, usize), String> {
    let mut characters = text.char_indices();
    let quote = characters.next().map(|(_, first)| first);
    if !matches!(quote, Some('\'' | '"')) {
        let line = text.lines().next().unwrap_or_default();
        let comment = line.match_indices('#').find(|(at, _)| {
            *at == 0 || line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t']))
        });
        let value = comment.map_or(line, |(at, _)| line.get(..at).unwrap_or_default());
        return Ok((value.trim_end().to_owned(), false, line.len()));
    }
    let literal = quote == Some('\'');
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in characters {
        match (escaped, character) {
            (true, character) => {
                escaped = false;
                match character {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    // A dollar sign that is none: as the interpolation has it.
                    '$' => value.push_str("$$"),
                    other => value.push(other),
                }
            }
            (false, '\\') if !literal => escaped = true,
            (false, end) if Some(end) == quote => return Ok((value, literal, at + 1)),
            (false, other) => value.push(other),
        }
    }
    Err("a quote that is never closed".to_owned())
}
