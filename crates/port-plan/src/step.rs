//! What is to be done, one thing at a time, and its text form.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use crate::container::Start;
use crate::flow_rules::{FlowRules, Limit};
use crate::lease::Lease;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::observed::{Leftover, LeftoverRow};
use crate::port_config::{PortColumn, PortConfig};
use crate::route::Route;
use crate::spec::{Datapath, PortKey};

/// One step of a [`Plan`](crate::Plan).
///
/// Its text form speaks the dialect of `ovs-vsctl` and `ip`: `add-port ovsbr0 3f2a9c1bk4x2q_l tag=100`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a bridge with its internal port, as `ovs-vsctl add-br` does.
    AddBridge {
        /// Its name.
        bridge: LinkName,
        /// Its `datapath_type`.
        datapath: Datapath,
    },
    /// Make a veth pair: one end in the host, the other configured inside the container, up last.
    AddLink(LinkSpec),
    /// Put right what has changed of the container's end.
    SetLink(LinkRepair),
    /// Put right what has changed of the host's end.
    SetHostLink(HostRepair),
    /// Delete the host end of a veth pair, and so both.
    DelLink {
        /// The host end's name.
        link: LinkName,
    },
    /// Put a link on a bridge, in one transaction.
    AddPort {
        /// The bridge.
        bridge: LinkName,
        /// The link, whose name the Port and Interface rows take.
        port: LinkName,
        /// The settings of its rows.
        config: PortConfig,
        /// Whose port it is.
        key: PortKey,
        /// The container's name.
        container_name: Arc<str>,
        /// Which start of the container it is for.
        start: Start,
        /// The addresses to be kept for the container.
        leases: Vec<Lease>,
    },
    /// Take over a port that somebody else made, as it is: mark its link, then its rows, in one transaction.
    AdoptPort {
        /// The bridge that it is on.
        bridge: LinkName,
        /// The port, which keeps its name.
        port: LinkName,
        /// Whose port it becomes.
        key: PortKey,
        /// The container's name.
        container_name: Arc<str>,
        /// Which start of the container it serves.
        start: Start,
        /// The columns that change, with their new values.
        changes: Vec<PortColumn>,
        /// The addresses to be kept for the container.
        leases: Vec<Lease>,
        /// The MTU of the link's end in the host, if it is to have one.
        mtu: Option<u16>,
        /// As in [`LinkSpec`].
        tx_checksum_offload: bool,
    },
    /// Put right what has changed of a port's rows, in one transaction.
    SetPort {
        /// The bridge that it is on.
        bridge: LinkName,
        /// The port.
        port: LinkName,
        /// Whose port it is.
        key: PortKey,
        /// The columns that change, with their new values; never empty.
        changes: Vec<PortColumn>,
    },
    /// Put a port's flow rules in force, and then take up the host's end of its link, which until then lets nothing
    /// pass. Without rules, those that it had are taken away.
    SetFlows {
        /// The bridge that it is on.
        bridge: LinkName,
        /// The port.
        port: LinkName,
        /// Its rules.
        rules: FlowRules,
    },
    /// Delete a row that serves no port any more.
    Destroy(Leftover),
    /// Take a port off its bridge.
    DelPort {
        /// The bridge that it is on.
        bridge: LinkName,
        /// The port.
        port: LinkName,
    },
}

/// A veth pair to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// The host end's name.
    pub name: LinkName,
    /// Whose it is; `key.interface` is the other end's name inside the container.
    pub key: PortKey,
    /// Which start of the container it is for.
    pub start: Start,
    /// It is made for a command, and so bears another mark than those of labelled containers.
    pub by_hand: bool,
    /// MAC address of the container's end.
    pub mac: MacAddress,
    /// MTU of both ends in bytes; the kernel's default if `None`.
    pub mtu: Option<u16>,
    /// Addresses of the container's end.
    pub addresses: Vec<IpNet>,
    /// Whether the kernel is to find out first that no other host has the IPv6 addresses.
    pub detect_duplicates: bool,
    /// Routes through the container's end, default ones among them.
    pub routes: Vec<Route>,
    /// Whether the container's end may leave transmit checksums to its peer. Over a userspace datapath
    /// nobody would ever fill them in, and TCP and UDP would fail.
    pub tx_checksum_offload: bool,
    /// Whether the host's end stays down, until the port's flow rules are in force.
    pub held: bool,
    /// What may be in its place inside the container: what is left of a link of this start whose end in the host somebody has
    /// taken away, with this MAC address.
    pub replaces: Option<MacAddress>,
}

/// What is to be put right of a link's end inside its container. What is not named stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRepair {
    /// The host end's name.
    pub name: LinkName,
    /// Whose it is; `key.interface` is the end to be put right.
    pub key: PortKey,
    /// The bridge that it leads to.
    pub bridge: LinkName,
    /// The MAC address that it has once it is put right.
    pub own_mac: MacAddress,
    /// The MAC address to set.
    pub mac: Option<MacAddress>,
    /// The MTU to set, in bytes.
    pub mtu: Option<u16>,
    /// Whether it has to be told to take nothing from router advertisements.
    pub ignore_advertisements: bool,
    /// The addresses to add.
    pub addresses: Vec<IpNet>,
    /// Whether to find out first that no other host has the addresses.
    pub detect_duplicates: bool,
    /// The routes to add.
    pub routes: Vec<Route>,
    /// Whether it has to be set up.
    pub up: bool,
    /// Whether transmit checksum offload has to be switched off.
    pub tx_checksum_off: bool,
}

/// What is to be put right of a link's end in the host. What is not named stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRepair {
    /// Its name.
    pub name: LinkName,
    /// Whose it is, for the mark.
    pub key: PortKey,
    /// Which start of the container it is for, for the mark.
    pub start: Start,
    /// Whether it has to be marked.
    pub mark: bool,
    /// The MTU to set, in bytes.
    pub mtu: Option<u16>,
    /// Whether it has to be taken from the device that has it as its port.
    pub free: bool,
    /// Whether it has to lose its link-local IPv6 addresses, and the kernel is to make it no more.
    pub no_addresses: bool,
    /// Whether it has to be set up.
    pub up: bool,
}

impl Step {
    /// Whether it changes rows of OVSDB, as opposed to links of the kernel.
    pub fn is_of_rows(&self) -> bool {
        match self {
            Self::AddBridge { .. }
            | Self::AddPort { .. }
            | Self::AdoptPort { .. }
            | Self::SetPort { .. }
            | Self::Destroy(_)
            | Self::DelPort { .. } => true,
            Self::AddLink(_)
            | Self::SetLink(_)
            | Self::SetHostLink(_)
            | Self::DelLink { .. }
            | Self::SetFlows { .. } => false,
        }
    }

    /// Whether it gives an interface addresses.
    pub fn adds_addresses(&self) -> bool {
        match self {
            Self::AddLink(link) => !link.addresses.is_empty(),
            Self::SetLink(repair) => !repair.addresses.is_empty(),
            _ => false,
        }
    }

    /// Whether it gives an interface addresses before any host could be asked whether it has them.
    pub fn adds_unasked_addresses(&self) -> bool {
        self.adds_addresses() && !matches!(self, Self::SetLink(repair) if !repair.up)
    }

    /// The step that takes back what this one has done, if it has put a port on a bridge.
    pub fn undo(&self) -> Option<Step> {
        match self {
            Self::AddPort { bridge, port, .. } => {
                Some(Self::DelPort { bridge: bridge.clone(), port: port.clone() })
            }
            _ => None,
        }
    }
}

impl LinkSpec {
    /// As [`PortSpec::ignores_advertisements`](crate::PortSpec::ignores_advertisements).
    pub fn ignores_advertisements(&self) -> bool {
        !self.addresses.is_empty()
    }
}

impl LinkRepair {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let Self {
            name: _,
            key: _,
            bridge: _,
            own_mac: _,
            mac,
            mtu,
            ignore_advertisements,
            addresses,
            detect_duplicates: _,
            routes,
            up,
            tx_checksum_off,
        } = self;
        let nothing = mac.is_none() && mtu.is_none() && addresses.is_empty() && routes.is_empty();
        nothing && !ignore_advertisements && !tx_checksum_off && !up
    }
}

impl HostRepair {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let Self { name: _, key: _, start: _, mark, mtu, free, no_addresses, up } = self;
        !mark && mtu.is_none() && !free && !no_addresses && !up
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddBridge { bridge, datapath } => {
                write!(f, "add-br {bridge} datapath_type={datapath}")
            }
            Self::AddLink(link) => link.fmt(f),
            Self::SetLink(repair) => repair.fmt(f),
            Self::SetHostLink(repair) => repair.fmt(f),
            Self::DelLink { link } => write!(f, "del-link {link}"),
            Self::AddPort { bridge, port, config, .. } => {
                write!(f, "add-port {bridge} {port}")?;
                let mut given = config.given().into_iter().filter(|column| !column.is_mark());
                given.try_for_each(|column| write!(f, " {column}"))
            }
            Self::SetFlows { bridge, port, rules } => {
                write!(f, "set-flows {bridge} {port}")?;
                if let Some(Limit { rate, burst }) = rules.limit {
                    write!(f, " meter={rate},burst={burst}")?;
                }
                match rules {
                    _ if rules.is_empty() => f.write_str(" none"),
                    FlowRules { rules, limit: _ } if rules.is_empty() => Ok(()),
                    _ => f.write_str(" port-security=on"),
                }
            }
            Self::AdoptPort { bridge, port, key, changes, tx_checksum_offload, .. } => {
                write!(f, "adopt-port {bridge} {port} peer={}", key.interface)?;
                let mut changes = changes.iter().filter(|column| !column.is_mark());
                changes.try_for_each(|column| write!(f, " {column}"))?;
                if *tx_checksum_offload { Ok(()) } else { f.write_str(" tx-checksum=off") }
            }
            Self::SetPort { bridge: _, port, key: _, changes } => {
                write!(f, "set-port {port}")?;
                changes.iter().try_for_each(|column| write!(f, " {column}"))
            }
            Self::Destroy(Leftover { interface: _, row, uuid }) => match row {
                LeftoverRow::Qos => write!(f, "destroy qos {uuid}"),
                LeftoverRow::Mirror { bridge } => write!(f, "destroy mirror {bridge} {uuid}"),
            },
            Self::DelPort { bridge, port } => write!(f, "del-port {bridge} {port}"),
        }
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add-link {} peer={}", self.name, self.key.interface)?;
        attributes(f, Some(self.mac), self.mtu, &self.addresses, &self.routes)?;
        if !self.detect_duplicates && self.addresses.iter().any(|net| net.addr().is_ipv6()) {
            f.write_str(" nodad")?;
        }
        if !self.tx_checksum_offload {
            f.write_str(" tx-checksum=off")?;
        }
        if self.held { f.write_str(" down") } else { Ok(()) }
    }
}

impl fmt::Display for LinkRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set-link {} peer={}", self.name, self.key.interface)?;
        attributes(f, self.mac, self.mtu, &self.addresses, &self.routes)?;
        f.write_str(if self.ignore_advertisements { " accept_ra=0 autoconf=0" } else { "" })?;
        f.write_str(if self.tx_checksum_off { " tx-checksum=off" } else { "" })?;
        f.write_str(if self.up { " up" } else { "" })
    }
}

impl fmt::Display for HostRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set-link {}", self.name)?;
        if self.mark {
            f.write_str(" alias")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu={mtu}")?;
        }
        let words = [(self.free, " nomaster"), (self.no_addresses, " addrgenmode=none")];
        for (said, word) in words.into_iter().chain([(self.up, " up")]) {
            f.write_str(if said { word } else { "" })?;
        }
        Ok(())
    }
}

fn attributes(
    f: &mut fmt::Formatter<'_>,
    mac: Option<MacAddress>,
    mtu: Option<u16>,
    addresses: &[IpNet],
    routes: &[Route],
) -> fmt::Result {
    if let Some(mac) = mac {
        write!(f, " mac={mac}")?;
    }
    if let Some(mtu) = mtu {
        write!(f, " mtu={mtu}")?;
    }
    for address in addresses {
        write!(f, " address={address}")?;
    }
    routes.iter().try_for_each(|route| match *route {
        Route { destination, via: Some(via), onlink: false, metric: None }
            if destination.prefix_len() == 0 =>
        {
            write!(f, " gateway={via}")
        }
        _ => write!(f, " route=[{route}]"),
    })
}
