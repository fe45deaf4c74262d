//! Which of a container's labels are its image's, as far as that can be known.
//!
//! An image may be removed while its containers run (`docker rmi -f`), and then nobody can tell any more. Whose the
//! labels were is therefore remembered with the port, for the start that it was made in.

use std::collections::BTreeMap;
use std::fmt;

use crate::container::{Container, compose_label};
use crate::labels;

/// The labels of Compose that matter.
const COMPOSE: [&str; 4] = ["project", "service", "container-number", "config-hash"];
/// Stands for no label, so that what is remembered is never empty.
const NONE: &str = "none";

/// The labels of a container's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLabels {
    /// These.
    Known(BTreeMap<String, String>),
    /// Nobody can tell.
    Unknown(ImageUnknown),
}

/// Why the labels of an image are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUnknown {
    /// The engine has no such image any more; otherwise asking again may help.
    pub gone: bool,
    /// What the engine said.
    pub reason: String,
}

impl Default for ImageLabels {
    fn default() -> Self {
        Self::Known(BTreeMap::new())
    }
}

impl fmt::Display for ImageUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gone, reason } = self;
        match gone {
            true => write!(
                f,
                "its image is gone ({reason}), so nobody can tell which of its labels are the image's; pull or load \
                 that image again, or create the container anew from one that is there, or set image_labels: trust"
            ),
            false => write!(
                f,
                "its image cannot be inspected ({reason}), so nobody can tell which of its labels are the image's"
            ),
        }
    }
}

impl ImageLabels {
    /// Whether the image may have a label with this value.
    pub(crate) fn may_have(&self, name: &str, value: &str) -> bool {
        match self {
            Self::Known(labels) => labels.get(name).is_some_and(|known| known == value),
            Self::Unknown(_) => true,
        }
    }
}

impl Container {
    /// Why it cannot be known which of its labels are its image's, if so and if it matters.
    pub(crate) fn image_unknown(&self) -> Option<&ImageUnknown> {
        match &self.image_labels {
            ImageLabels::Unknown(unknown) if self.our_labels().next().is_some() => Some(unknown),
            ImageLabels::Unknown(_) | ImageLabels::Known(_) => None,
        }
    }

    /// The names of its labels of ours that its image does not have, if it has others: what is remembered with its
    /// ports (`external_ids:own_labels`).
    pub(crate) fn own_labels(&self) -> Option<String> {
        let some = self.labels_of_image().next().is_some();
        let foreign = self.labels.contains_key(&compose_label("project"))
            && self.compose_project(false).is_none();
        let of_image = |(name, value): &(&str, &str)| self.image_labels.may_have(name, value);
        let own = self.telling_labels().filter(|label| !of_image(label)).map(|(name, _)| name);
        let own: Vec<_> = own.collect();
        let own = if own.is_empty() { NONE.to_owned() } else { own.join(" ") };
        (some || foreign).then_some(own)
    }

    /// Goes by what was remembered when this start of the container got a port: all labels are its own if nothing
    /// was.
    pub fn recall(&mut self, own_labels: Option<&str>) {
        let own = |name: &str| own_labels.is_none_or(|own| own.split(' ').any(|own| own == name));
        let of_image = self.telling_labels().filter(|(name, _)| !own(name));
        let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.image_labels = ImageLabels::Known(of_image.collect());
    }

    /// Those of its labels whose source matters: ours, and those that tell whether Compose has made it.
    fn telling_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let compose = COMPOSE.iter().filter_map(|key| {
            let (name, value) = self.labels.get_key_value(&compose_label(key))?;
            Some((name.as_str(), value.as_str()))
        });
        self.our_labels().chain(compose)
    }

    /// Its labels that are ours.
    pub(crate) fn our_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| labels::concern_us([*name].into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Network, State};

    fn container(labels: &[(&str, &str)], image: &[(&str, &str)]) -> Container {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Container {
            id: "a".repeat(64).parse().unwrap(),
            name: "web".into(),
            labels: owned(labels),
            image: "web:1".to_owned(),
            image_labels: ImageLabels::Known(owned(image)),
            state: State::Stopped,
            network: Network::Own,
        }
    }

    #[test]
    fn whether_compose_has_made_it_is_remembered_if_that_is_not_what_its_labels_say() {
        let project = ("com.docker.compose.project", "shop");
        let number = ("com.docker.compose.container-number", "1");
        let vlan = ("ovs.vlan", "7");
        for (labels, image, remembered, counts) in [
            (vec![vlan, project, number], vec![project], None, Some("shop")),
            (vec![vlan, project], vec![], None, Some("shop")),
            (vec![vlan, project], vec![project], Some("ovs.vlan"), None),
            (vec![vlan, project], vec![project, vlan], Some("none"), None),
            (
                vec![vlan, project, number],
                vec![project, vlan],
                Some("com.docker.compose.container-number"),
                Some("shop"),
            ),
        ] {
            let before = container(&labels, &image);
            assert_eq!(before.own_labels().as_deref(), remembered, "{labels:?} {image:?}");
            assert_eq!(before.compose_project(false), counts);
            let mut after = before.clone();
            after.recall(remembered);
            assert_eq!(after.compose_project(false), counts);
        }
    }

    #[test]
    fn what_is_remembered_of_labels_tells_afterwards_which_are_the_images() {
        let labels =
            [("ovs.vlan", "7"), ("ovs.ip_address", "10.0.0.1/24"), ("ovs.mtu", "1400"), ("a", "b")];
        for (image, remembered) in [
            (vec![], None),
            (vec![("a", "b")], None),
            (vec![("ovs.vlan", "8")], None),
            (vec![("ovs.vlan", "7")], Some("ovs.ip_address ovs.mtu")),
            (vec![("ovs.vlan", "7"), ("ovs.mtu", "1400")], Some("ovs.ip_address")),
            (labels.to_vec(), Some("none")),
        ] {
            let before = container(&labels, &image);
            assert_eq!(before.own_labels().as_deref(), remembered, "{image:?}");
            let unknown = ImageUnknown { gone: true, reason: "no such image".to_owned() };
            let mut after =
                Container { image_labels: ImageLabels::Unknown(unknown), ..before.clone() };
            assert!(after.image_unknown().is_some());
            after.recall(remembered);
            assert_eq!(
                after.labels_of_image().collect::<Vec<_>>(),
                before.labels_of_image().collect::<Vec<_>>()
            );
            assert_eq!(after.own_labels(), before.own_labels());
        }
    }
}
