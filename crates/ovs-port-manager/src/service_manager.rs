//! What systemd is told, where it is systemd that started the program (`sd_notify(3)`, `systemd.service(5)`).

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The first look at everything is done.
pub(crate) fn ready(containers: usize) {
    let status = format!("{containers} labelled containers at the start");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Another instance is at work; this one waits for its end.
pub(crate) fn standing_by() {
    tell(&[NotifyState::Ready, NotifyState::Status("standing by")]);
}

/// The end has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The loop is alive.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear that the loop is alive, if it does: twice in its `WatchdogSec`.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
}

fn tell(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell, which is no error.
    if let Err(error) = sd_notify::notify(state) {
        debug!("cannot notify the service manager: {error}");
    }
}
