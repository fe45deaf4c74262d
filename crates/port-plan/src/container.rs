//! What is known of a container, as the engine tells it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A container's full id: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Why a text is not a [`ContainerId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a full container id of {} hexadecimal digits", ContainerId::LEN)]
pub struct InvalidContainerId;

impl ContainerId {
    /// Digits in a full id.
    pub const LEN: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() == Self::LEN && hexadecimal {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidContainerId)
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tells one start of a container from its other starts: the engine's `StartedAt`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start(pub String);

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its full id.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// All its labels, those of its image included. Untrusted.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub state: State,
    /// Whose network namespace it has.
    pub network: Network,
}

/// Whether a container has a network namespace now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its first process lives.
    Running {
        /// That process's id, in the engine's PID namespace.
        pid: u32,
        /// Which of its starts this is.
        start: Start,
    },
    /// Created, exited, dead, restarting or removed.
    Stopped,
}

/// Whose network namespace a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Its own.
    Own,
    /// The host's (`--network host`).
    Host,
    /// Another container's (`--network container:NAME`).
    Container(String),
}
