//! What exists now, for one container: rows in OVSDB and links in the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::container::Start;
use crate::flow_rules::FlowRules;
use crate::lease::Lease;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::port_config::{PortConfig, Stray};
use crate::route::Route;
use crate::spec::{Datapath, PortKey};

/// Everything that [`plan`](fn@crate::plan) has to know about the world to decide for one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The datapaths of those bridges that the container wants and that exist.
    pub bridges: BTreeMap<LinkName, Datapath>,
    /// The ports whose `external_ids:container_id` is the container's, whoever made them; of others, also those that
    /// bear its name or the beginning of its id, if they are in `foreign_ends`.
    pub ports: Vec<ObservedPort>,
    /// The links in the host's namespace that bear our mark for the container.
    pub links: Vec<ObservedLink>,
    /// Rows of ours for the container that serve no port any more.
    pub leftovers: Vec<Leftover>,
    /// The interfaces that the container wants, seen from inside the container; none where nobody looked,
    /// because there is no link of ours that it could be the end of.
    pub interfaces: BTreeMap<LinkName, ObservedInterface>,
    /// The ports of others whose link has its other end in the container, as the kernel has it, and that end's name.
    pub foreign_ends: BTreeMap<LinkName, LinkName>,
    /// The flow rules of its ports; none of a port that has no flow of ours, as far as that is known.
    pub flows: BTreeMap<LinkName, PortFlows>,
    /// The addresses that are to be kept for the container and are not, as far as its bridges exist.
    pub unkept: Vec<Lease>,
}

/// The flow rules of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortFlows {
    /// These are in force; a moment ago they were seen to be.
    InForce(FlowRules),
    /// There are flows of ours, or should be; which ones is not known.
    Unknown,
}

/// An interface inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservedInterface {
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
        /// Whether it takes routes or addresses from router advertisements (`accept_ra` or `autoconf` is not 0).
        heeds_advertisements: bool,
        /// It leaves transmit checksums to its peer.
        tx_checksum_offload: bool,
        /// Its addresses.
        addresses: Vec<IpNet>,
        /// The routes through it.
        routes: Vec<Route>,
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
    /// The name that its marks give the container, if they are all as they have to be.
    pub marked: Option<Arc<str>>,
    /// The settings of its rows.
    pub config: PortConfig,
    /// What else of its rows somebody has set.
    pub strays: Vec<Stray>,
}

/// A row of ours that a port had beside its own and that outlived it: such rows do not go with the port when
/// somebody else deletes that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The interface inside the container that it was for.
    pub interface: LinkName,
    /// Its table.
    pub row: LeftoverRow,
    /// Its UUID.
    pub uuid: String,
}

/// The table of a [`Leftover`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftoverRow {
    /// `QoS`.
    Qos,
    /// `Mirror`.
    Mirror {
        /// The bridge that refers to it.
        bridge: LinkName,
    },
}

/// Who made a port (`external_ids:owner`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This program: the port may be changed and deleted.
    Us,
    /// A command of this program, for a container without labels: the port goes with its container.
    Command,
    /// Anybody else: the port is never touched, unless it is taken over.
    Other,
}

/// The host end of a veth pair that bears our mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    /// Its name.
    pub name: LinkName,
    /// The name of the interface inside the container that is its other end.
    pub interface: LinkName,
    /// Which start of the container it was made for.
    pub start: Start,
    /// How it is; `None` where nobody has looked.
    pub state: Option<HostEnd>,
}

/// How the host end of a veth pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostEnd {
    /// It is up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its alias is the mark that it was given.
    pub marked: bool,
    /// Another device has it as its port: a Linux bridge, a bond, or the kernel's datapath of Open vSwitch.
    pub enslaved: bool,
    /// The kernel gives it link-local IPv6 addresses.
    pub makes_addresses: bool,
}
