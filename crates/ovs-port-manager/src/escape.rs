//! Text on its way out. Names, labels, images and other people's errors are in it, so nothing in it may end a line, move a
//! terminal's cursor, or turn the direction of what follows.
//!
//! The one place for that: what is logged goes through [`Lines`], what a command prints through [`terminal`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character is not to reach a terminal or a log as it is: control characters, the separators of lines and
/// paragraphs, marks and overrides of direction (Unicode Standard Annex 9), and what cannot be seen, so that two names that
/// look the same are the same (`Default_Ignorable_Code_Point`, Unicode Standard Annex 44).
fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}' | '\u{1160}'
                | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Escapes what is unfit, as JSON does.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, |_, _| None)
}

/// The same for what a command prints, whose own lines and colours stay.
pub(crate) fn terminal(text: &str) -> Cow<'_, str> {
    escape_but(text, |rest, character| match character {
        '\n' => Some(1),
        '\u{1b}' => colour(rest),
        _ => None,
    })
}

/// The length of the colour that a text begins with: `ESC [ digits and semicolons m` (ECMA-48, SGR), which does no harm.
fn colour(text: &str) -> Option<usize> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let end = codes.find(|character: char| !(character.is_ascii_digit() || character == ';'))?;
    codes.get(end..)?.starts_with('m').then_some(2 + end + 1)
}

/// Escapes what is unfit but what `keep` says the length of, given the text from there on.
fn escape_but(text: &str, keep: impl Fn(&str, char) -> Option<usize>) -> Cow<'_, str> {
    if !text.contains(is_unfit) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let kept = keep(rest, character);
        let length = kept.unwrap_or_else(|| character.len_utf8());
        let (head, tail) = rest.split_at(length);
        match character {
            _ if kept.is_some() || !is_unfit(character) => escaped.push_str(head),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
        rest = tail;
    }
    Cow::Owned(escaped)
}

/// A log: each write is one line of it, whatever is in there.
pub(crate) struct Lines<W>(pub(crate) W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let escaped = escape_but(text, |rest, character| match character {
            '\u{1b}' => colour(rest),
            _ => None,
        });
        self.0.write_all(format!("{escaped}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_forged_line_stays_part_of_the_true_one() {
        let mut log = Vec::new();
        let forged =
            "WARN a label: ovs.x\n2026-01-01T00:00:00Z  INFO port is ready\u{1b}[2K\u{202e}\n";
        Lines(&mut log).write_all(forged.as_bytes()).unwrap();
        let expected =
            "WARN a label: ovs.x\\n2026-01-01T00:00:00Z  INFO port is ready\\u001b[2K\\u202e\n";
        assert_eq!(String::from_utf8(log).unwrap(), expected);
    }

    #[test]
    fn colours_and_lines_of_our_own_stay() {
        let table = "NAME  PHASE\nweb   \u{1b}[32mready\u{1b}[0m\n";
        assert_eq!(terminal(table), table);
        assert_eq!(terminal("\u{1b}]0;title\u{7}"), "\\u001b]0;title\\u0007");
        assert_eq!(terminal("\u{1b}[2J"), "\\u001b[2J");
        assert_eq!(terminal("we\u{200b}b\u{e0041}"), "we\\u200bb\\udb40\\udc41");
    }

    proptest! {
        #[test]
        fn whatever_is_logged_is_one_line_without_control_characters(text in any::<String>()) {
            let mut log = Vec::new();
            Lines(&mut log).write_all(format!("{text}\n").as_bytes()).unwrap();
            let log = String::from_utf8(log).unwrap();
            let line = log.strip_suffix('\n').unwrap();
            let colourless = line.replace("\u{1b}[", "");
            prop_assert!(!colourless.contains(is_unfit), "{line:?}");
        }

        #[test]
        fn what_is_escaped_is_json_that_means_the_same(text in "[^\\\\\"]*") {
            let told: String = serde_json::from_str(&format!("\"{}\"", escape(&text))).unwrap();
            prop_assert_eq!(told, text);
        }
    }
}
