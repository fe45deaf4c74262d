//! What the database says of how ports forward.

use ovsdb::tables::{
    AdminState, Bridge, ConnectionMode, Controller as ControllerRow, FailMode, Interface,
    LinkState, OpenVSwitch, Port, Type,
};
use ovsdb::{Change, Replica};
use port_plan::{BridgeFacts, Controller, LinkName, PortFacts};

use super::{Switch, key};
use crate::bridge_watch::Told;

/// The key of a Bridge's `other_config` for controllers that are reached in another way than through it.
const DISABLE_IN_BAND: &str = "disable-in-band";
/// The key of `Open_vSwitch`'s `other_config` for flows that are yet to be restored.
const RESTORE: &str = "flow-restore-wait";

impl Switch {
    /// What is known of a bridge, with what ovs-vswitchd tells of it.
    pub(crate) fn bridge_facts(&self, name: &LinkName, told: &Told) -> Option<BridgeFacts> {
        self.client.read(|replica| {
            let bridge = replica.table::<Bridge>().by_name(name.as_str())?;
            let mut roots = replica.table::<OpenVSwitch>().iter();
            Some(BridgeFacts {
                name: name.clone(),
                secure: bridge.fail_mode == Some(FailMode::Secure),
                controllers: controllers(replica, bridge),
                switch: told.switch,
                awaits_flows: roots.any(|row| is_true(row.other_config.get(RESTORE))),
                foreign_rules: told.foreign_rules,
            })
        })
    }

    /// What is known of a port, with what ovs-vswitchd tells of its bridge.
    pub(crate) fn port_facts(&self, name: &LinkName, told: &Told) -> Option<PortFacts> {
        self.client.read(|replica| {
            let row = replica.table::<Interface>().by_name(name.as_str())?;
            let forbidden = told.forbidden.get(name.as_str()).copied().unwrap_or_default();
            let tree = replica.table::<Port>().by_name(name.as_str());
            let tree = tree.and_then(|port| port.rstp_status.get("rstp_port_state"));
            Some(PortFacts {
                down: row.admin_state == Some(AdminState::Down),
                no_carrier: row.link_state == Some(LinkState::Down),
                no_receive: forbidden.receive,
                no_forward: forbidden.forward,
                discarding: tree.is_some_and(|state| state != "Forwarding"),
                ..PortFacts::default()
            })
        })
    }

    /// What others have set for a bridge, and for a port on it, that decides what passes and when.
    pub(crate) fn remarks(
        &self,
        bridge: &LinkName,
        port: Option<&LinkName>,
    ) -> Vec<(&'static str, String)> {
        let facts = self.bridge_facts(bridge, &Told::default());
        let controllers = facts.into_iter().flat_map(|facts| facts.controllers);
        let mut remarks: Vec<_> =
            controllers.map(|controller| ("controller", controller.to_string())).collect();
        self.client.read(|replica| {
            let row = replica.table::<Bridge>().by_name(bridge.as_str());
            if row.is_some_and(|row| row.stp_enable) {
                let slow = "stp_enable: a new port forwards after 30 s";
                remarks.push(("spanning tree", slow.to_owned()));
            }
            if row.is_some_and(|row| row.rstp_enable) {
                let fast = "rstp_enable: a new port forwards after a few seconds";
                remarks.push(("spanning tree", fast.to_owned()));
            }
            let row = port.and_then(|port| replica.table::<Port>().by_name(port.as_str()));
            if row.is_some_and(|row| row.protected) {
                let why = "it reaches no other protected port of the bridge";
                remarks.push(("protected", why.to_owned()));
            }
        });
        remarks
    }

    /// Links of bridges that lead out of the host and have no carrier: their names and their bridges'.
    pub(crate) fn links_down(&self) -> Vec<(String, LinkName)> {
        let (ports, internal) = self.host_ports();
        self.client.read(|replica| {
            let table = replica.table::<Interface>();
            let down = |port: &port_plan::HostPort| {
                let row = table.by_name(port.interface.as_str())?;
                let down = row.link_state == Some(LinkState::Down);
                let foreign = row.external_ids.contains_key(key::CONTAINER_ID);
                let leads_out =
                    !internal.contains(&port.interface) && row.error.is_none() && !foreign;
                (down && leads_out).then(|| (row.name.clone(), port.bridge.clone()))
            };
            ports.iter().filter_map(down).collect()
        })
    }
}

/// The controllers whose absence counts (ovs-vswitchd.conf.db(5), Bridge: Controller Failure).
fn controllers(replica: &Replica, bridge: &Bridge) -> Vec<Controller> {
    let in_band = !is_true(bridge.other_config.get(DISABLE_IN_BAND));
    let rows = bridge.controller.iter();
    let rows = rows.filter_map(|row| replica.table::<ControllerRow>().get(*row));
    let primary = rows.filter(|row| row.r#type != Some(Type::Service));
    // Others only listen.
    let active = primary.filter(|row| !row.target.starts_with('p'));
    let mut controllers: Vec<_> = active
        .map(|row| Controller {
            target: row.target.clone(),
            connected: row.is_connected,
            in_band: in_band
                && !row.target.starts_with("unix:")
                && row.connection_mode != Some(ConnectionMode::OutOfBand),
        })
        .collect();
    controllers.sort_by(|a, b| a.target.cmp(&b.target));
    controllers
}

fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Whether a change of an Interface row may be one of how it forwards.
pub(crate) fn link_differs(change: &Change<Interface>) -> bool {
    let state = |row: &Interface| (row.admin_state.clone(), row.link_state.clone());
    change.old.as_deref().map(state) != change.new.as_deref().map(state)
}
