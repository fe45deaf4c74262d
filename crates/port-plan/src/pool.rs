//! Pools of addresses for `ovs.ip_address=auto`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::link_name::LinkName;
use crate::reserved::{Why, subnet};
use crate::vlan::Vlan;

/// Addresses that the configuration gives away on a bridge, in a VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The bridge.
    pub bridge: LinkName,
    /// The VLAN of the ports; untagged if `None`.
    pub vlan: Option<Vlan>,
    /// The prefix that the addresses lie in, and whose length they get.
    pub prefix: IpNet,
    /// The first and the last address to give away.
    pub range: (IpAddr, IpAddr),
    /// The gateway of those who ask for no other; never given away.
    pub gateway: Option<IpAddr>,
}

/// What is wrong with a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPool {
    /// The range is not within the prefix, or its end comes before its start.
    #[error("{0} to {1} is no range of addresses within {2}")]
    Range(IpAddr, IpAddr, IpNet),
    /// The gateway is not within the prefix.
    #[error("its gateway {0} lies outside {1}")]
    Gateway(IpAddr, IpNet),
    /// There are too many addresses in it.
    #[error("more than {} addresses; give a smaller range", Pool::MAX_SIZE)]
    Size,
}

impl Pool {
    /// The most addresses of one pool.
    pub const MAX_SIZE: u128 = 1 << 16;

    /// A pool of a range, or of all addresses of the prefix that a host may have.
    ///
    /// # Errors
    ///
    /// See [`InvalidPool`].
    pub fn new(
        bridge: LinkName,
        vlan: Option<Vlan>,
        prefix: IpNet,
        range: Option<(IpAddr, IpAddr)>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, InvalidPool> {
        let prefix = prefix.trunc();
        let range = range.unwrap_or_else(|| hosts(prefix));
        let within = prefix.contains(&range.0) && prefix.contains(&range.1) && range.0 <= range.1;
        if !within {
            return Err(InvalidPool::Range(range.0, range.1, prefix));
        }
        if let Some(gateway) = gateway.filter(|gateway| !prefix.contains(gateway)) {
            return Err(InvalidPool::Gateway(gateway, prefix));
        }
        let pool = Self { bridge, vlan, prefix, range, gateway };
        if pool.size() > Self::MAX_SIZE { Err(InvalidPool::Size) } else { Ok(pool) }
    }

    /// The addresses, beginning with one that depends on who asks alone: so everybody gets the same one again
    /// unless another has got it meanwhile.
    pub(crate) fn candidates(&self, identity: &str) -> impl Iterator<Item = IpNet> {
        let digest = Sha256::digest(format!("{} {} {identity}", self.bridge, self.prefix));
        let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let (size, first) = (self.size(), number(self.range.0));
        let start = u128::from(hash) % size;
        (0..size)
            .map(move |step| address(first + (start + step) % size, self.prefix.addr().is_ipv4()))
            .filter(|address| self.reserves(*address).is_none())
            .filter_map(|address| IpNet::new(address, self.prefix.prefix_len()).ok())
    }

    /// Whether an address is one that it gives away.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.prefix.addr().is_ipv4()
            && (self.range.0..=self.range.1).contains(&address)
            && self.reserves(address).is_none()
    }

    /// Why an address of its prefix is nobody's to have.
    pub(crate) fn reserves(&self, address: IpAddr) -> Option<Why> {
        if Some(address) == self.gateway {
            return Some(Why::Gateway(self.prefix));
        }
        subnet(self.prefix).any(|special| special == address).then_some(Why::Subnet(self.prefix))
    }

    fn size(&self) -> u128 {
        (number(self.range.1) - number(self.range.0)).saturating_add(1)
    }
}

/// The first and the last address of a prefix that a host may have.
fn hosts(prefix: IpNet) -> (IpAddr, IpAddr) {
    let (first, last) = (prefix.network(), prefix.broadcast());
    if prefix.max_prefix_len() - prefix.prefix_len() <= 1 {
        return (first, last);
    }
    let ipv4 = first.is_ipv4();
    // An IPv6 prefix has no broadcast address, but its first is the routers' (RFC 4291, section 2.6.1).
    (address(number(first) + 1, ipv4), address(number(last) - u128::from(ipv4), ipv4))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if ipv4 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.range.0, self.range.1)
    }
}
