//! Where log lines go: standard error, as text or JSON.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};

/// Starts logging. `verbosity` counts the `-v` flags: one asks for debug, more for trace.
pub(crate) fn start(level: LogLevel, verbosity: u8, format: LogFormat) {
    let level = match verbosity {
        0 => level.0,
        1 => level.0.max(Level::DEBUG),
        _ => Level::TRACE,
    };
    // Other people's crates speak up only when something is wrong, or when everything is asked for.
    let others = if level == Level::TRACE { Level::DEBUG } else { Level::WARN.min(level) };
    let ours = ["ovs_port_manager", "ovsdb", "port_plan"];
    let filter = Targets::new()
        .with_default(others)
        .with_targets(ours.into_iter().map(|target| (target, level)));
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}
