//! What exists now, for one container: rows in OVSDB and links in the kernel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::container::Start;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::spec::{Datapath, PortKey};
use crate::vlan::Vlan;

/// Everything that [`plan`](fn@crate::plan) has to know about the world to decide for one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The datapath of the bridge that the container wants, if that bridge exists.
    pub bridge: Option<Datapath>,
    /// The ports whose `external_ids:container_id` is the container's, whoever made them.
    pub ports: Vec<ObservedPort>,
    /// The links in the host's namespace that bear our mark for the container.
    pub links: Vec<ObservedLink>,
    /// The interface that the container wants, seen from inside the container.
    pub interface: ObservedInterface,
}

/// An interface inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ObservedInterface {
    /// Nobody looked: there is no link of ours that it could be the end of.
    #[default]
    Unseen,
    /// There is none of that name.
    Missing,
    /// It is there.
    Present {
        /// Whether it is up.
        up: bool,
        /// Its MAC address, unless it has none that we would give.
        mac: Option<MacAddress>,
        /// Its MTU in bytes.
        mtu: u32,
        /// Its addresses.
        addresses: Vec<IpNet>,
        /// The gateways of the default routes through it.
        gateways: Vec<IpAddr>,
    },
}

/// A port in OVSDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPort {
    /// Its name, which is that of its interface and of the link in the host.
    pub name: LinkName,
    /// The bridge that it is on.
    pub bridge: LinkName,
    /// Whose it is (`external_ids:container_id` and `container_iface`).
    pub key: PortKey,
    /// Which start of the container it was made for; unknown for ports that others made.
    pub start: Option<Start>,
    /// Who made it.
    pub owner: Owner,
    /// Its access VLAN (Port column `tag`).
    pub vlan: Option<Vlan>,
}

/// Who made a port (`external_ids:owner`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This program: the port may be changed and deleted.
    Us,
    /// Anybody else: the port is never touched.
    Other,
}

/// The host end of a veth pair that bears our mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    /// Its name.
    pub name: LinkName,
    /// Which start of the container it was made for.
    pub start: Start,
}
