//! An error and its causes on one line.

use std::error::Error;
use std::fmt::Write;

/// `what failed: why: because of what`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    // Some engines end their messages with a line break, or have several lines.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What kind of failure a text tells of: the text without what differs each time that the same thing happens, numbers and
/// UUIDs. What goes on failing in the same way is told once.
pub(crate) fn kind(text: &str) -> String {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '-';
    let is_number = |word: &str| {
        let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        hex && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    let words = text.split_inclusive(|character| !is_of_word(character));
    let same = words.map(|word| {
        let bare = word.trim_end_matches(|character| !is_of_word(character));
        let end = word.get(bare.len()..).unwrap_or_default();
        if is_number(bare) { format!("#{end}") } else { word.to_owned() }
    });
    same.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_a_uuid_or_a_number_alone_is_the_same_failure() {
        let one = "no row 5a0c5c4e-3f6b-4f0e-9a57-2b1d6c1f0d11 in Bridge (after 3 s)";
        let other = "no row 0e9f6a4e-1111-4f0e-9a57-2b1d6c1f0d11 in Bridge (after 12 s)";
        assert_eq!(kind(one), kind(other));
        assert_eq!(kind(one), "no row # in Bridge (after # s)");
        assert_ne!(kind("bridge br0 is gone"), kind("bridge br1 is gone"));
    }
}
