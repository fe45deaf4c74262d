//! Routes inside a container.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The metric that the kernel gives an IPv6 route without one (`IP6_RT_PRIO_USER` of `net/ip6_route.h`).
const IPV6_METRIC: u32 = 1024;

/// A route through an interface of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// The router; none if the destination lies on the link.
    pub via: Option<IpAddr>,
    /// The router is on the link although no prefix of the interface's says so.
    pub onlink: bool,
    /// The metric; the kernel's own for the family if `None`.
    pub metric: Option<u32>,
}

impl Route {
    /// A route to a destination on the link, or through a router.
    pub fn new(destination: IpNet, via: Option<IpAddr>) -> Self {
        Self { destination, via, onlink: false, metric: None }
    }

    /// The default route through a router.
    pub fn default_via(router: IpAddr) -> Self {
        let everywhere = match router {
            IpAddr::V4(_) => Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into(),
            IpAddr::V6(_) => Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        Self::new(everywhere, Some(router))
    }

    /// The same route with another metric. That which the kernel gives anyway counts as none.
    #[must_use]
    pub fn with_metric(self, metric: Option<u32>) -> Self {
        let usual = if self.is_ipv4() { 0 } else { IPV6_METRIC };
        Self { metric: metric.filter(|metric| *metric != usual), ..self }
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.destination.addr().is_ipv4()
    }

    /// Whether both are the same to the kernel: one of them would take the other's place.
    pub fn collides(&self, other: &Self) -> bool {
        (self.destination, self.metric) == (other.destination, other.metric)
    }

    /// Whether one that was found is what is wanted.
    pub fn is(&self, found: &Self) -> bool {
        self.collides(found) && self.via == found.via
    }
}

impl fmt::Display for Route {
    /// As `ip route` takes it: `10.0.0.0/8 via 192.168.1.254`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination.prefix_len() {
            0 => f.write_str("default")?,
            _ => write!(f, "{}", self.destination)?,
        }
        match self.via {
            Some(via) => write!(f, " via {via}")?,
            None => f.write_str(" dev")?,
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        self.metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}
