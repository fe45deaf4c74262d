//! What the operator's configuration says about labels.

use std::collections::BTreeSet;

use crate::link_name::LinkName;
use crate::spec::Defaults;

/// All that the configuration says about what labels may ask for and what they leave unsaid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What labels leave unsaid.
    pub defaults: Defaults,
    /// The ports that `ovs.mirror` may name. A port that a mirror leads to gets nothing else any more, so no
    /// label may make one of any port.
    pub mirror_ports: BTreeSet<LinkName>,
}

impl Rules {
    /// These defaults, and nothing beyond what they say.
    pub fn new(defaults: Defaults) -> Self {
        Self { defaults, mirror_ports: BTreeSet::new() }
    }
}
