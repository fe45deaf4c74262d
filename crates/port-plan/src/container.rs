//! What is known of a container, as the engine tells it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::labels;
use crate::policy::Source;
use crate::provenance::ImageLabels;

/// A container's full id: 64 hexadecimal digits. Its clones share them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

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
            Ok(Self(text.into()))
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

/// What tells one start of a container from its other starts: the engine's `StartedAt`. Its clones share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start(Arc<str>);

impl Start {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Start {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

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
    pub name: Arc<str>,
    /// All its labels, those of its image included. Untrusted.
    pub labels: BTreeMap<String, String>,
    /// The image, as whoever started it named it.
    pub image: String,
    /// The labels of its image that are ours or Compose's.
    pub image_labels: ImageLabels,
    /// Whether it runs.
    pub state: State,
    /// Whose network namespace it has.
    pub network: Network,
}

impl Container {
    /// The names of our labels that the container has from its image: those that the image has with the same
    /// value, or may have.
    pub fn labels_of_image(&self) -> impl Iterator<Item = &str> {
        let of_image =
            self.our_labels().filter(|(name, value)| self.image_labels.may_have(name, value));
        of_image.map(|(name, _)| name)
    }

    /// Where our labels are from.
    pub(crate) fn label_source(&self) -> Source {
        if self.labels_of_image().next().is_some() { Source::Image } else { Source::Run }
    }

    /// The Compose project that it belongs to.
    pub(crate) fn compose_project(&self, trust_image_labels: bool) -> Option<&str> {
        self.compose("project", trust_image_labels)
    }

    /// The Compose service that it belongs to.
    pub fn compose_service(&self, trust_image_labels: bool) -> Option<&str> {
        self.compose("service", trust_image_labels)
    }

    /// What makes it the same one again after it has been created anew: Compose's project, service and number,
    /// or else its name.
    pub(crate) fn identity(&self, trust_image_labels: bool) -> String {
        let compose = |key: &str| self.compose(key, trust_image_labels);
        match (compose("project"), compose("service"), compose("container-number")) {
            (Some(project), Some(service), Some(number)) => format!("{project} {service} {number}"),
            _ => self.name.to_string(),
        }
    }

    /// A label of Compose's, if Compose has set it or the labels of images count.
    ///
    /// An image that Compose has built bears project and service, too, so that an equal value does not yet tell that
    /// a label is the image's. A number and a hash of its service have only containers, each of which Compose gives
    /// all of its labels.
    fn compose(&self, key: &str, trust_image_labels: bool) -> Option<&str> {
        let given = |name: &str| {
            let value = self.labels.get(name)?;
            (!self.image_labels.may_have(name, value)).then_some(())
        };
        let made_by_compose = || {
            ["container-number", "config-hash"]
                .iter()
                .any(|key| given(&compose_label(key)).is_some())
        };
        let name = compose_label(key);
        let value = self.labels.get(&name)?;
        let counts = trust_image_labels || given(&name).is_some() || made_by_compose();
        counts.then_some(value.as_str())
    }
}

pub(crate) fn compose_label(key: &str) -> String {
    format!("{}{key}", labels::COMPOSE)
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
