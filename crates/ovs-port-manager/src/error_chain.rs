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
