//! Which ports of the switch have which OpenFlow numbers, whoever made them.

use std::collections::BTreeMap;

use crate::link_name::LinkName;
use crate::spec::PortKey;

/// The OpenFlow numbers that ports have (Interface column `ofport`) or ask for (`ofport_request`), by bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    taken: BTreeMap<(LinkName, u16), Vec<Port>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: String,
    /// Whose it is, if it is ours.
    key: Option<PortKey>,
}

impl Numbers {
    /// Notes that a port has a number, or asks for it; `key` says whose it is, if it is one of ours.
    pub fn note(&mut self, bridge: &LinkName, number: u16, port: &str, key: Option<PortKey>) {
        let ports = self.taken.entry((bridge.clone(), number)).or_default();
        ports.push(Port { name: port.to_owned(), key });
    }

    /// A port that has a number or asks for it, and is not this interface's.
    pub(crate) fn of_other(&self, bridge: &LinkName, number: u16, key: &PortKey) -> Option<&str> {
        let ports = self.taken.get(&(bridge.clone(), number))?;
        let other = ports.iter().find(|port| port.key.as_ref() != Some(key))?;
        Some(&other.name)
    }
}
