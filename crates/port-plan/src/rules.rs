//! What the operator's configuration says about labels.

use std::collections::BTreeSet;

use crate::link_name::LinkName;
use crate::policy::Policy;
use crate::pool::Pool;
use crate::spec::Defaults;

/// All that the configuration says about what labels may ask for and what they leave unsaid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What labels leave unsaid.
    pub defaults: Defaults,
    /// The ports that `ovs.mirror` may name. A port that a mirror leads to gets nothing else any more, so no
    /// label may make one of any port.
    pub mirror_ports: BTreeSet<LinkName>,
    /// The bridges on which a port may send its own MAC address and addresses alone.
    pub port_security: BTreeSet<LinkName>,
    /// The pools that `ovs.ip_address=auto` takes addresses from.
    pub pools: Vec<Pool>,
    /// Whether labels count that a container has from its image: whoever publishes an image would choose.
    pub trust_image_labels: bool,
    /// Who may ask for what.
    pub policy: Policy,
    /// Whether ports that others made are taken over where they are what a container is to have.
    pub adopt: bool,
}

impl Rules {
    /// These defaults, and nothing beyond what they say.
    pub fn new(defaults: Defaults) -> Self {
        Self {
            defaults,
            mirror_ports: BTreeSet::new(),
            port_security: BTreeSet::new(),
            pools: Vec::new(),
            trust_image_labels: false,
            policy: Policy::default(),
            adopt: false,
        }
    }
}
