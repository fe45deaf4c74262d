//! The times as bars, on a logarithmic scale, in SVG.

use std::fmt::Write;

use anyhow::Result;

use crate::report::Line;

const LEFT: f64 = 330.0;
const WIDTH: f64 = 560.0;
const BAR: f64 = 11.0;
/// The ends of the scale, as powers of ten, in milliseconds.
const SCALE: (f64, f64) = (0.0, 4.7);

/// Draws those figures that are times.
pub(crate) fn draw(lines: &[Line]) -> Result<String> {
    let times: Vec<_> = lines.iter().filter(|line| line.unit == "ms").collect();
    let bars = |line: &Line| {
        [
            ("#1f77b4", line.ours.median()),
            ("#b8bec5", line.floor.median()),
            ("#e6842a", line.peer.median()),
        ]
        .into_iter()
        .filter_map(|(colour, value)| Some((colour, value?)))
    };
    let mut body = String::new();
    let mut y = 60.0;
    for line in times {
        let name = format!("{}, n = {}", line.case, line.n);
        writeln!(
            body,
            r#"<text x="{}" y="{}" text-anchor="end">{name}</text>"#,
            LEFT - 8.0,
            y + 10.0
        )?;
        for (colour, value) in bars(line) {
            let width = (place(value) - LEFT).max(1.0);
            writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#
            )?;
            let x = LEFT + width + 4.0;
            writeln!(
                body,
                r#"<text x="{x:.1}" y="{}" class="value">{value:.1} ms</text>"#,
                y + 9.5
            )?;
            y += BAR + 1.0;
        }
        y += 8.0;
    }
    let mut grid = String::new();
    for value in [1.0, 10.0, 100.0, 1_000.0, 10_000.0] {
        let x = place(value);
        writeln!(grid, r##"<line x1="{x:.1}" x2="{x:.1}" y1="48" y2="{y}" stroke="#e3e6e9"/>"##)?;
        writeln!(
            grid,
            r#"<text x="{x:.1}" y="44" text-anchor="middle" class="value">{value} ms</text>"#
        )?;
    }
    let height = y + 10.0;
    let total = LEFT + WIDTH + 90.0;
    Ok(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" font-family="sans-serif" font-size="12">
<style>.value {{ font-size: 10px; fill: #555 }}</style>
<rect width="100%" height="100%" fill="white"/>
<text x="{LEFT}" y="18"><tspan fill="#1f77b4">ovs-port-manager</tspan> · <tspan fill="#8a9199">the floor: the least anybody could do</tspan> · <tspan fill="#e6842a">ovs-docker</tspan> (medians, logarithmic)</text>
{grid}{body}</svg>
"##
    ))
}

fn place(milliseconds: f64) -> f64 {
    let share = (milliseconds.log10() - SCALE.0) / (SCALE.1 - SCALE.0);
    LEFT + WIDTH * share.clamp(0.0, 1.0)
}
