//! Where log lines go: standard error, as text or JSON.

use std::io::IsTerminal;

use tracing::{Level, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogFormat, LogLevel};
use crate::escape::Lines;

/// Logging that has started, to change how much is logged.
pub(crate) struct Logging(reload::Handle<Targets, Registry>);

/// Starts logging. `verbosity` counts the `-v` flags: one asks for debug, more for trace.
pub(crate) fn start(level: LogLevel, verbosity: u8, format: LogFormat) -> Logging {
    let (filter, handle) = reload::Layer::new(targets(level, verbosity));
    let terminal = std::io::stderr().is_terminal();
    // Each event is one write.
    let stderr = || Lines(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(terminal);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Logging(handle)
}

impl Logging {
    /// Changes how much is logged.
    pub(crate) fn set_level(&self, level: LogLevel, verbosity: u8) {
        if let Err(error) = self.0.reload(targets(level, verbosity)) {
            warn!("the log level stays as it was: {error}");
        }
    }
}

fn targets(level: LogLevel, verbosity: u8) -> Targets {
    let level = match verbosity {
        0 => level.0,
        1 => level.0.max(Level::DEBUG),
        _ => Level::TRACE,
    };
    // Other people's crates speak up only when something is wrong, or when everything is asked for.
    let others = if level == Level::TRACE { Level::DEBUG } else { Level::WARN.min(level) };
    let ours = ["ovs_port_manager", "ovsdb", "port_plan"];
    let ours = ours.into_iter().map(|target| (target, level));
    Targets::new().with_default(others).with_targets(ours)
}
