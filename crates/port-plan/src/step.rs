//! What is to be done, one thing at a time, and its text form.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::container::Start;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::spec::{Datapath, PortKey};
use crate::vlan::Vlan;

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
        /// The access VLAN.
        vlan: Option<Vlan>,
        /// Whose port it is.
        key: PortKey,
        /// The container's name.
        container_name: String,
        /// Which start of the container it is for.
        start: Start,
    },
    /// Change a port's access VLAN.
    SetTag {
        /// The port.
        port: LinkName,
        /// The new VLAN, or none.
        vlan: Option<Vlan>,
    },
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
    /// MAC address of the container's end.
    pub mac: MacAddress,
    /// MTU of both ends in bytes; the kernel's default if `None`.
    pub mtu: Option<u16>,
    /// Addresses of the container's end.
    pub addresses: Vec<IpNet>,
    /// Default gateways inside the container, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Whether the container's end may leave transmit checksums to its peer. Over a userspace datapath
    /// nobody would ever fill them in, and TCP and UDP would fail.
    pub tx_checksum_offload: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddBridge { bridge, datapath } => {
                write!(f, "add-br {bridge} datapath_type={datapath}")
            }
            Self::AddLink(link) => link.fmt(f),
            Self::DelLink { link } => write!(f, "del-link {link}"),
            Self::AddPort { bridge, port, vlan, key: _, container_name: _, start: _ } => {
                write!(f, "add-port {bridge} {port}")?;
                vlan.map_or(Ok(()), |vlan| write!(f, " tag={vlan}"))
            }
            Self::SetTag { port, vlan: Some(vlan) } => write!(f, "set-port {port} tag={vlan}"),
            Self::SetTag { port, vlan: None } => write!(f, "set-port {port} tag=[]"),
            Self::DelPort { bridge, port } => write!(f, "del-port {bridge} {port}"),
        }
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add-link {} peer={} mac={}", self.name, self.key.interface, self.mac)?;
        if let Some(mtu) = self.mtu {
            write!(f, " mtu={mtu}")?;
        }
        for address in &self.addresses {
            write!(f, " address={address}")?;
        }
        for gateway in &self.gateways {
            write!(f, " gateway={gateway}")?;
        }
        if !self.tx_checksum_offload {
            f.write_str(" tx-checksum=off")?;
        }
        Ok(())
    }
}
