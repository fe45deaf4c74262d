//! A port's settings, to and from the columns of its rows.

use std::collections::BTreeSet;

use ovsdb::Update;
use ovsdb::tables::{Interface, Port, VlanMode};
use port_plan::{PortColumn, PortConfig, Vlan};

/// What is to be written to a port's rows.
pub(super) struct Columns {
    pub(super) port: Update<Port>,
    pub(super) interface: Update<Interface>,
}

impl Columns {
    /// The columns for these settings.
    pub(super) fn of(settings: &[PortColumn]) -> Self {
        let none = Self { port: Update::new(), interface: Update::new() };
        settings.iter().fold(none, Self::with)
    }

    fn with(self, setting: &PortColumn) -> Self {
        let Self { port, interface } = self;
        match setting {
            PortColumn::Tag(vlan) => Self {
                port: port.set(Port::TAG, vlan.map(|vlan: Vlan| i64::from(vlan.get()))),
                interface,
            },
            PortColumn::Trunks(trunks) => Self {
                port: port.set(Port::TRUNKS, trunks.iter().map(i64::from).collect::<BTreeSet<_>>()),
                interface,
            },
            PortColumn::VlanMode(mode) => Self {
                port: port.set(
                    Port::VLAN_MODE,
                    mode.map(|mode| VlanMode::from(mode.as_str().to_owned())),
                ),
                interface,
            },
            PortColumn::OfportRequest(number) => Self {
                port,
                interface: interface.set(Interface::OFPORT_REQUEST, number.map(i64::from)),
            },
        }
    }
}

/// Whether a change of an Interface row may be one of a port's settings: ovs-vswitchd itself writes other
/// columns every now and then.
pub(crate) fn settings_differ(old: &Interface, new: &Interface) -> bool {
    old.external_ids != new.external_ids || old.ofport_request != new.ofport_request
}

/// The settings that a port's rows hold.
pub(super) fn read(port: &Port, interface: &Interface) -> PortConfig {
    PortConfig {
        tag: port.tag.and_then(|tag| tag.to_string().parse().ok()),
        trunks: port.trunks.iter().filter_map(|number| u16::try_from(*number).ok()).collect(),
        vlan_mode: port.vlan_mode.as_ref().and_then(|mode| mode.as_str().parse().ok()),
        ofport_request: interface.ofport_request.and_then(|number| number.try_into().ok()),
    }
}
