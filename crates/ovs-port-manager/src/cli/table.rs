//! Columns, aligned. Colours go where the terminal wants them: `output::print` takes them out elsewhere.

use anstyle::{AnsiColor, Style};

use crate::board::Phase;
use crate::escape::escape;

/// A text and how it is to look.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: escape(&text.into()).into_owned(), style: Style::new() }
    }
}

impl From<Phase> for Cell {
    fn from(phase: Phase) -> Self {
        let colour = match phase {
            Phase::Ready | Phase::ByHand => AnsiColor::Green,
            Phase::Pending | Phase::Retrying => AnsiColor::Yellow,
            Phase::Missing
            | Phase::Unguarded
            | Phase::Blocked
            | Phase::Mistaken
            | Phase::Refused => AnsiColor::Red,
        };
        Self::coloured(phase.as_str(), colour)
    }
}

impl Cell {
    pub(crate) fn coloured(text: &str, colour: AnsiColor) -> Self {
        Self { text: text.to_owned(), style: Style::new().fg_color(Some(colour.into())) }
    }
}

/// A line of a table.
pub(crate) enum Line {
    Cells(Vec<Cell>),
    /// A remark on the line above, over all columns.
    Remark(String),
}

/// Aligns lines under their heading.
pub(crate) fn align(heading: &[&str], lines: Vec<Line>) -> String {
    let mut widths: Vec<_> = heading.iter().map(|title| title.chars().count()).collect();
    for line in &lines {
        if let Line::Cells(cells) = line {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
    }
    let heading = Line::Cells(heading.iter().copied().map(Cell::from).collect());
    let mut text = String::new();
    for line in std::iter::once(heading).chain(lines) {
        match line {
            Line::Cells(cells) => text.push_str(&row(&cells, &widths)),
            Line::Remark(remark) => text.push_str(&format!("    {}", escape(&remark))),
        }
        text.push('\n');
    }
    text
}

fn row(cells: &[Cell], widths: &[usize]) -> String {
    let mut text = String::new();
    for (at, (Cell { text: cell, style }, width)) in cells.iter().zip(widths).enumerate() {
        if at > 0 {
            text.push_str("  ");
        }
        let gap = width.saturating_sub(cell.chars().count());
        text.push_str(&format!("{style}{cell}{style:#}{:gap$}", ""));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_its_colour() {
        let lines = vec![
            Line::Cells(vec!["web".into(), Phase::Ready.into(), "x".into()]),
            Line::Remark("all about it".to_owned()),
            Line::Cells(vec!["a-longer-name".into(), Phase::Retrying.into(), "y".into()]),
        ];
        let text = align(&["NAME", "PHASE", "REST"], lines);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(text.len() > plain.len());
        expect![[r#"
            NAME           PHASE     REST
            web            ready     x
                all about it
            a-longer-name  retrying  y
        "#]]
        .assert_eq(&plain);
    }
}
