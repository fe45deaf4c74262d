//! What an engine answers about containers, made into what the planner goes by. Pure: bytes in, values out.
//!
//! Only the fields that something depends on are read, and of a container that does not run hardly any: whatever
//! else an engine answers, of whatever version, must not keep a container from being taken off its bridge. What is
//! missing of one that does run is an error: not knowing never deletes.

use std::collections::BTreeMap;
use std::fmt;

use port_plan::{Container, ContainerId, ImageLabels, Network, State, labels};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// Why an answer cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("an answer that is not understood")]
    Malformed(#[from] serde_json::Error),
    #[error("a container without {0}")]
    Incomplete(&'static str),
}

/// Labels that matter to us: ours, and those by which Docker Compose knows its containers. Others are not kept.
pub(crate) type Labels = BTreeMap<String, String>;

/// So many bytes of labels are kept of a container. Who needs more has a mistake in them.
const LABELS: usize = 64 * 1024;
/// No label that there is: it stands for those that are not kept, so that the container is not attached and the log says
/// why.
const TOO_MANY: &str = "ovs.labels";

/// A container, and the id of the image whose labels it has beside its own; those are yet to be asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) container: Container,
    /// `None` if it has no image, or none whose labels could matter.
    pub(crate) image: Option<String>,
}

/// What identifies a container and tells whether it runs.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Head {
    id: Option<String>,
    name: Option<String>,
    state: Option<Life>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Life {
    status: Option<String>,
    running: Option<bool>,
    paused: Option<bool>,
    restarting: Option<bool>,
    pid: Option<i64>,
    started_at: Option<String>,
}

/// The rest.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    image: Option<String>,
    config: Option<Config>,
    host_config: Option<HostConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    #[serde(default, deserialize_with = "labels_that_matter")]
    labels: Labels,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: Option<String>,
}

/// The answer to the inspection of a container.
pub(crate) fn container(bytes: &[u8]) -> Result<Answer, Error> {
    let Head { id, name, state } = serde_json::from_slice(bytes)?;
    let id = id.and_then(|id| id.parse().ok()).ok_or(Error::Incomplete("a full id"))?;
    let state = state.ok_or(Error::Incomplete("a state"))?.state()?;
    let body = serde_json::from_slice(bytes);
    let Body { image: image_id, config, host_config } = match state {
        State::Stopped => body.unwrap_or_default(),
        State::Running { .. } => body?,
    };
    let network = match (host_config.and_then(|host| host.network_mode), &state) {
        (Some(mode), _) => network(&mode),
        (None, State::Stopped) => Network::Own,
        (None, State::Running { .. }) => return Err(Error::Incomplete("a network mode")),
    };
    let (image, labels) = match (config, &state) {
        (Some(Config { image, labels }), _) => (image.unwrap_or_default(), labels),
        (None, State::Stopped) => Default::default(),
        (None, State::Running { .. }) => return Err(Error::Incomplete("a configuration")),
    };
    // One that does not run is to have nothing, whosever its labels are.
    let asks = matches!(state, State::Running { .. }) && is_ours(&labels);
    let image_id = image_id.filter(|id| asks && names_an_image(id));
    let name = name.unwrap_or_default();
    let name = name.trim_start_matches('/').into();
    let image_labels = ImageLabels::default();
    let container = Container { id, name, labels, image, image_labels, state, network };
    Ok(Answer { container, image: image_id })
}

/// The labels in the answer to the inspection of an image.
pub(crate) fn image_labels(bytes: &[u8]) -> Result<Labels, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        config: Option<Config>,
    }
    let Image { config } = serde_json::from_slice(bytes)?;
    Ok(config.map(|config| config.labels).unwrap_or_default())
}

/// The containers with labels of ours in the answer to a list of containers.
pub(crate) fn labelled(bytes: &[u8]) -> Result<Vec<ContainerId>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Summary {
        id: Option<String>,
        #[serde(default, deserialize_with = "labels_that_matter")]
        labels: Labels,
    }
    let all: Vec<Summary> = serde_json::from_slice(bytes)?;
    let ours = all.into_iter().filter(|summary| is_ours(&summary.labels));
    let id = |summary: Summary| summary.id.and_then(|id| id.parse().ok());
    ours.map(|summary| id(summary).ok_or(Error::Incomplete("a full id"))).collect()
}

impl Life {
    fn state(self) -> Result<State, Error> {
        let Self { status, running, paused, restarting, pid, started_at } = self;
        let is = |text: &str| status.as_deref() == Some(text);
        // Podman's does not run while it is paused; its processes and its namespace are there all the same.
        let paused = paused == Some(true) || is("paused");
        let running = running.or_else(|| Some(status.as_deref()? == "running"));
        let running = running.ok_or(Error::Incomplete("a word on whether it runs"))?;
        if !(running || paused) || restarting == Some(true) {
            return Ok(State::Stopped);
        }
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let pid = pid.ok_or(Error::Incomplete("its process's id, though it runs"))?;
        let start = started_at.filter(|start| !start.is_empty());
        let start = start.ok_or(Error::Incomplete("the time of its start, though it runs"))?;
        Ok(State::Running { pid, start: start.as_str().into() })
    }
}

fn network(mode: &str) -> Network {
    match mode.split_once(':') {
        Some(("container", other)) => Network::Container(other.to_owned()),
        _ if mode == "host" => Network::Host,
        _ => Network::Own,
    }
}

/// Podman has containers without an image (`--rootfs`), whose image is an empty digest.
fn names_an_image(id: &str) -> bool {
    id.rsplit(':').next().is_some_and(|digest| !digest.is_empty())
}

fn is_ours(labels: &Labels) -> bool {
    labels::concern_us(labels.keys().map(String::as_str))
}

/// Reads labels, `null` for none, and forgets those that are nothing to us as they are read.
fn labels_that_matter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    struct Matter;

    impl<'de> Visitor<'de> for Matter {
        type Value = Labels;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("labels")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Labels, E> {
            Ok(Labels::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
            let mut labels = Labels::new();
            let mut room = LABELS;
            while let Some(name) = map.next_key::<String>()? {
                let ours = labels::concern_us([name.as_str()].into_iter());
                if !ours && !name.starts_with(labels::COMPOSE) {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                let value: String = map.next_value()?;
                match room.checked_sub(name.len() + value.len()) {
                    Some(left) => room = left,
                    None if ours => room = 0,
                    None => continue,
                }
                if room > 0 {
                    labels.insert(name, value);
                } else if !labels.contains_key(TOO_MANY) {
                    labels.insert(TOO_MANY.to_owned(), format!("more than {LABELS} bytes"));
                }
            }
            Ok(labels)
        }
    }

    deserializer.deserialize_any(Matter)
}

#[cfg(test)]
mod tests;
