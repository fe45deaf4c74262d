//! What the switch's database holds, for those who examine the machine.

use std::time::Duration;

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{LockError, LockState};
use port_plan::{Audience, ContainerId, HostPort, LinkName};
use tokio::time::timeout;

use super::by_hand::is_by_hand;
use super::{Switch, is_addressed, is_ours, key};

/// The lock that ovs-vswitchd has of its database while it runs (ovs-vswitchd(8)).
const VSWITCHD_LOCK: &str = "ovs_vswitchd";
/// How long the server may take to grant a lock that is free.
const GRANT: Duration = Duration::from_secs(1);

/// A survey of the database.
pub(crate) struct Inventory {
    /// Open vSwitch's version, as ovs-vswitchd or ovs-ctl wrote it.
    pub(crate) version: Option<String>,
    /// There is the one row that all others hang from.
    pub(crate) initialised: bool,
    /// Names and datapath types.
    pub(crate) bridges: Vec<(String, String)>,
    /// Ports of neither labels nor commands of this program that bear a container's id or name.
    pub(crate) foreign: Vec<Foreign>,
    /// Interfaces that ovs-vswitchd cannot use, with its reason.
    pub(crate) broken: Vec<Broken>,
}

/// An interface that ovs-vswitchd cannot use.
pub(crate) struct Broken {
    pub(crate) port: String,
    pub(crate) error: String,
    /// It is a port of this program's, for labels or by a command.
    pub(crate) ours: bool,
}

/// A port that somebody else has made for a container.
pub(crate) struct Foreign {
    pub(crate) port: String,
    pub(crate) interface: String,
    /// What `container_id` says: a full id, or what `ovs-docker` was given.
    pub(crate) container: String,
    /// The same, if it is a full id.
    pub(crate) id: Option<ContainerId>,
}

impl Switch {
    /// Looks over the whole database.
    pub(crate) fn inventory(&self) -> Inventory {
        self.client.read(|replica| {
            let root = replica.table::<OpenVSwitch>().iter().next();
            let interfaces = || replica.table::<Interface>().iter();
            let mut bridges: Vec<_> = replica
                .table::<Bridge>()
                .iter()
                .map(|row| (row.name.clone(), row.datapath_type.clone()))
                .collect();
            bridges.sort();
            let mut foreign: Vec<_> = interfaces().filter_map(|row| foreign(row)).collect();
            foreign.sort_by(|a, b| a.port.cmp(&b.port));
            let error = |row: &Interface| row.error.clone().filter(|error| !error.is_empty());
            let broken = interfaces().filter_map(|row| {
                let ours = is_ours(&row.external_ids) || is_by_hand(&row.external_ids);
                Some(Broken { port: row.name.clone(), error: error(row)?, ours })
            });
            let mut broken: Vec<_> = broken.collect();
            broken.sort_by(|a, b| a.port.cmp(&b.port));
            Inventory {
                version: root.and_then(|row| row.ovs_version.clone()),
                initialised: root.is_some(),
                bridges,
                foreign,
                broken,
            }
        })
    }

    /// The ports that are no container's, and the names of those whose interfaces Open vSwitch itself makes.
    pub(crate) fn host_ports(&self) -> (Vec<HostPort>, Vec<LinkName>) {
        let mut internal = Vec::new();
        let ports = self.client.read(|replica| {
            let mut ports = Vec::new();
            for bridge in replica.table::<Bridge>().iter() {
                let Ok(name) = bridge.name.parse::<LinkName>() else { continue };
                for port in bridge.ports.iter().filter_map(|it| replica.table::<Port>().get(*it)) {
                    let vlan = port.tag.and_then(|tag| tag.to_string().parse().ok());
                    for row in &port.interfaces {
                        let Some(row) = replica.table::<Interface>().get(*row) else { continue };
                        let theirs = !is_ours(&row.external_ids) && !is_by_hand(&row.external_ids);
                        let Some(interface) = row.name.parse::<LinkName>().ok().filter(|_| theirs)
                        else {
                            continue;
                        };
                        if row.r#type == "internal" {
                            internal.push(interface.clone());
                        }
                        ports.push(HostPort { bridge: name.clone(), vlan, interface });
                    }
                }
            }
            ports
        });
        (ports, internal)
    }

    /// Those on a bridge that a question of one of its ports goes to; nothing is known of a bridge that is not there.
    pub(crate) fn audience(&self, bridge: &LinkName) -> Option<Audience> {
        self.client.read(|replica| {
            let ports = &replica.table::<Bridge>().by_name(bridge.as_str())?.ports;
            let is_known =
                |row: &Interface| row.name == bridge.as_str() || is_addressed(&row.external_ids);
            let all_known = |port: &Port| {
                let mut rows =
                    port.interfaces.iter().map(|row| replica.table::<Interface>().get(*row));
                rows.all(|row| row.is_some_and(|row| is_known(row)))
            };
            let mut rows = ports.iter().map(|port| replica.table::<Port>().get(*port));
            let strangers = !rows.all(|port| port.is_some_and(|port| all_known(port)));
            Some(Audience { ports: ports.len(), strangers })
        })
    }

    /// Whether ovs-vswitchd runs on this database: it then has a lock that nobody else gets.
    pub(crate) async fn vswitchd_runs(&self) -> Result<bool, LockError> {
        let lock = self.client.lock(VSWITCHD_LOCK)?;
        let mut state = lock.state();
        let granted = state.wait_for(|state| *state == LockState::Held);
        Ok(timeout(GRANT, granted).await.is_err())
    }
}

fn foreign(row: &Interface) -> Option<Foreign> {
    let ids = &row.external_ids;
    let container = ids.get(key::CONTAINER_ID).filter(|_| !is_ours(ids) && !is_by_hand(ids))?;
    Some(Foreign {
        port: row.name.clone(),
        interface: ids.get(key::CONTAINER_IFACE).cloned().unwrap_or_default(),
        container: container.clone(),
        id: container.parse().ok(),
    })
}
