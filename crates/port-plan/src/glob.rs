//! Patterns for names.

use std::fmt;

/// A pattern in which `*` stands for any text, also for none. It fits a whole text or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern of this text; every text is one.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether a text is as the pattern says.
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, mut rest)) = self.0.split_once('*') else {
            return self.0 == text;
        };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        // The first place at which a part between two stars fits leaves the most for those after it.
        while let Some((part, others)) = rest.split_once('*') {
            let Some(at) = text.find(part) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
            rest = others;
        }
        text.ends_with(rest)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_the_rest_for_itself() {
        for (pattern, text) in [
            ("web", "web"),
            ("*", ""),
            ("web-*", "web-1"),
            ("*/shop:*", "reg/shop:2"),
            ("a*b*c", "abbc"),
        ] {
            assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("web", "web1"),
            ("web-*", "aweb-1"),
            ("*a", "ab"),
            ("a*b*c", "acb"),
            ("ab*ba", "aba"),
            ("", "x"),
        ] {
            assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
        }
    }
}
