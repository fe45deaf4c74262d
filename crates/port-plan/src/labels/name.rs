//! What a label's name says: `ovs.KEY`, or `ovs.INTERFACE.KEY`.
//!
//! The number of dots decides: `ovs.mtu` is the key `mtu`, `ovs.mtu.vlan` the key `vlan` of an interface
//! that is called `mtu`.

use super::table::{LABELS, Label};
use super::{mistake, read};
use crate::link_name::LinkName;

/// What the names of all our labels begin with. A container without any such label is not ours.
pub const PREFIX: &str = "ovs.";

/// A label's name, understood.
pub(super) struct Name {
    /// The interface that it names, if it names one.
    pub(super) interface: Option<LinkName>,
    pub(super) label: &'static Label,
}

impl Name {
    /// Reads a name that begins with [`PREFIX`].
    pub(super) fn read(name: &str) -> Result<Self, String> {
        let rest = name.strip_prefix(PREFIX).unwrap_or(name);
        let mut parts = rest.split('.');
        let (interface, key) = match (parts.next(), parts.next(), parts.next()) {
            (Some(interface), Some(key), None) => (Some(read::interface_name(interface)?), key),
            (_, _, Some(_)) => {
                return Err("too many dots; write ovs.KEY or ovs.INTERFACE.KEY".to_owned());
            }
            _ => (None, rest),
        };
        match LABELS.iter().find(|label| label.key == key) {
            Some(label) if interface.is_some() && label.key == "interface" => {
                Err("this label's own name says which interface it is for; leave it out".to_owned())
            }
            Some(label) => Ok(Self { interface, label }),
            None => Err(mistake::unknown(interface.as_ref(), key)),
        }
    }
}

/// What the names of an interface's labels begin with.
pub(super) fn prefix(interface: Option<&LinkName>) -> String {
    match interface {
        Some(interface) => format!("{PREFIX}{interface}."),
        None => PREFIX.to_owned(),
    }
}
