//! What is wrong with a label, told to a person.

use std::fmt;

use super::name;
use super::table::LABELS;
use crate::link_name::LinkName;

/// One mistake in a container's labels.
///
/// Its text is one line, `ovs.mtu=abc: not a number between 68 and 65535`, whatever the label holds:
/// control characters are escaped and long values cut, because logs are read on terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The label's name, as given.
    pub label: String,
    /// Its value, as given; `None` when the label is missing.
    pub value: Option<String>,
    /// What would be right.
    pub problem: String,
}

impl Mistake {
    pub(super) fn new(label: &str, value: Option<&str>, problem: String) -> Self {
        Self { label: label.to_owned(), value: value.map(str::to_owned), problem }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown(&self.label))?;
        if let Some(value) = &self.value {
            write!(f, "={}", Shown(value))?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Keys that the program of the same name that is written in Go has, and what to do instead. It gave the address to the
/// port's end in the host, where Open vSwitch lets nothing through to it.
const OF_GO_VERSION: [(&str, &str); 3] = [
    (
        "external_ip",
        "give the container an interface in that network, ovs.eth2.ip_address, on a bridge that leads there, \
         ovs.eth2.bridge",
    ),
    (
        "external_gateway",
        "give it to the interface that is in that network, as ovs.eth2.gateway beside ovs.eth2.ip_address",
    ),
    (
        "external_interface",
        "add that interface to a bridge (ovs-vsctl add-port BRIDGE INTERFACE), and name the bridge: ovs.eth2.bridge \
         beside ovs.eth2.ip_address",
    ),
];

/// What is wrong with a key that does not exist.
pub(super) fn unknown(interface: Option<&LinkName>, key: &str) -> String {
    if let Some((_, instead)) = OF_GO_VERSION.iter().find(|(theirs, _)| *theirs == key) {
        return format!("a label of the Go version, which this program does not have; {instead}");
    }
    match nearest(key) {
        Some(known) => format!("no such label; did you mean {}{known}?", name::prefix(interface)),
        None => "no such label".to_owned(),
    }
}

/// The known key that is most like this one, if any is at all.
fn nearest(key: &str) -> Option<&'static str> {
    /// Jaro-Winkler likeness, 0 to 1, below which a suggestion would only mislead.
    const ALIKE: f64 = 0.75;
    LABELS
        .iter()
        .map(|known| (strsim::jaro_winkler(known.key, key), known.key))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Untrusted text made fit to be shown: one line, bounded, no control characters.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Shown<'_> {
    /// Characters shown of a text.
    const MAX_CHARS: usize = 80;
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(Self::MAX_CHARS) {
            match character {
                // Quotes are harmless, and escaping them would only make the text harder to read.
                '\'' | '"' => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        if self.0.chars().nth(Self::MAX_CHARS).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
}
