//! What can only be judged of an interface's labels together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::table::{
    GATEWAY, INGRESS_BURST, IP_ADDRESS, METRIC, MTU, ROUTES, TRUNKS, VLAN, VLAN_MODE,
};
use super::wanted::{Addressing, Wanted};
use crate::trunks::VlanMode;

/// The smallest MTU of a link that carries IPv6 (RFC 8200, section 5).
const MTU_IPV6: u16 = 1280;

/// A key, and what is wrong with its value.
pub(super) type Problem = (&'static str, String);

/// A label that has to be there and is not.
pub(super) fn missing(given: &BTreeMap<&'static str, &str>) -> Option<Problem> {
    let problem = "missing; give an address with prefix length, such as 192.168.1.100/24";
    (!given.contains_key(IP_ADDRESS)).then(|| (IP_ADDRESS, problem.to_owned()))
}

/// What does not go together, once the interface's addresses are known.
pub(crate) fn together(wanted: &Wanted, addresses: &[IpNet]) -> Vec<Problem> {
    let problems = [
        (GATEWAY, all_reachable(wanted.gateways.iter().copied(), addresses)),
        (ROUTES, families_there(wanted, addresses)),
        (ROUTES, all_reachable(wanted.routes.iter().filter_map(|route| route.via), addresses)),
        (MTU, mtu_suffices(wanted, addresses)),
    ];
    problems.into_iter().filter_map(|(key, result)| Some((key, result.err()?))).collect()
}

/// What does not go together whatever the addresses are.
pub(super) fn settings(wanted: &Wanted) -> Vec<Problem> {
    let problems =
        [(METRIC, metric_has_routes(wanted)), (INGRESS_BURST, burst_makes_sense(wanted))];
    let problems = problems.into_iter().filter_map(|(key, result)| Some((key, result.err()?)));
    problems.chain(vlans(wanted)).collect()
}

/// Every router can be reached through the interface's own prefixes.
fn all_reachable(
    mut routers: impl Iterator<Item = IpAddr>,
    addresses: &[IpNet],
) -> Result<(), String> {
    routers.try_for_each(|router| reachable(router, addresses))
}

/// Whether a router is on the link although no prefix says so: all of its family's addresses are host
/// addresses (/32, /128), so that there is no prefix it could lie in.
pub(super) fn is_onlink(router: IpAddr, addresses: &[IpNet]) -> bool {
    let mut family =
        addresses.iter().filter(|net| net.addr().is_ipv4() == router.is_ipv4()).peekable();
    !is_link_local(router)
        && family.peek().is_some()
        && family.all(|net| net.prefix_len() == net.max_prefix_len())
}

fn is_link_local(host: IpAddr) -> bool {
    matches!(host, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// A host that is to be routed through lies on the link.
fn reachable(host: IpAddr, addresses: &[IpNet]) -> Result<(), String> {
    if addresses.is_empty() {
        return Err(format!("{host} cannot be reached without an address"));
    }
    let family = addresses.iter().any(|net| net.addr().is_ipv4() == host.is_ipv4());
    if is_link_local(host) && family {
        return Ok(());
    }
    if let Some(own) = addresses.iter().find(|net| net.addr() == host) {
        return Err(format!("{own} is the container's own address"));
    }
    // RFC 3021: prefixes of two addresses have no broadcast address.
    let mut with_broadcast =
        addresses.iter().filter(|net| net.addr().is_ipv4() && net.prefix_len() < 31);
    if let Some(net) = with_broadcast.find(|net| net.broadcast() == host) {
        return Err(format!("{host} is the broadcast address of {}", net.trunc()));
    }
    if !is_onlink(host, addresses) && !addresses.iter().any(|net| net.contains(&host)) {
        let prefixes: Vec<_> = addresses.iter().map(|net| net.trunc().to_string()).collect();
        return Err(format!("{host} lies outside {}", prefixes.join(" and ")));
    }
    Ok(())
}

/// An interface without an address of its family has no use for a route.
fn families_there(wanted: &Wanted, addresses: &[IpNet]) -> Result<(), String> {
    let there = |ipv4: bool| addresses.iter().any(|net| net.addr().is_ipv4() == ipv4);
    match wanted.routes.iter().find(|route| !there(route.is_ipv4())) {
        Some(route) => Err(format!("{} needs an address of its family", route.destination)),
        None => Ok(()),
    }
}

fn metric_has_routes(wanted: &Wanted) -> Result<(), String> {
    match wanted.metric {
        // A pool may have a gateway.
        Some(_) if wanted.addressing == Addressing::Auto => Ok(()),
        Some(_) if wanted.gateways.is_empty() && wanted.routes.is_empty() => {
            Err("there is no gateway and no route to have it".to_owned())
        }
        _ => Ok(()),
    }
}

/// Two interfaces of a container with a route of the same destination and metric would take it from each
/// other for ever.
pub(super) fn collision(wanted: &Wanted, other: &Wanted) -> Option<Problem> {
    let routes = other.all_routes(&[]);
    let mine = wanted.all_routes(&[]).into_iter();
    let route = mine.into_iter().find(|route| routes.iter().any(|one| one.collides(route)))?;
    let key = if route.destination.prefix_len() == 0 { GATEWAY } else { ROUTES };
    let problem = format!(
        "{} has a route to {} of the same metric; give one of them another metric",
        other.interface, route.destination
    );
    Some((key, problem))
}

/// The MTU carries IPv6 if it has to.
fn mtu_suffices(wanted: &Wanted, addresses: &[IpNet]) -> Result<(), String> {
    let ipv6 = addresses.iter().any(|net| net.addr().is_ipv6());
    match wanted.mtu {
        Some(mtu) if ipv6 && mtu < MTU_IPV6 => {
            Err(format!("too small for IPv6, which needs at least {MTU_IPV6}"))
        }
        _ => Ok(()),
    }
}

/// A burst is one of a rate, and lets at least one packet pass (ovs-vswitchd.conf.db(5), Interface column
/// `ingress_policing_burst`).
fn burst_makes_sense(wanted: &Wanted) -> Result<(), String> {
    let mtu = wanted.mtu.unwrap_or(1500);
    match (wanted.ingress_rate, wanted.ingress_burst) {
        (None, Some(_)) => Err("there is no ingress_rate for it".to_owned()),
        (Some(_), Some(burst)) if burst.get() < u32::from(mtu) * 8 / 1000 => {
            Err(format!("not even one packet of {mtu} bytes would pass"))
        }
        _ => Ok(()),
    }
}

/// Which of tag and trunks a mode needs and bears (ovs-vswitchd.conf.db(5), Port column `vlan_mode`).
///
/// A trunk has to name its VLANs: the empty set, which is what a slip leaves, would stand for all.
fn vlans(wanted: &Wanted) -> Option<Problem> {
    use VlanMode::{Access, Dot1qTunnel, NativeTagged, NativeUntagged, Trunk};
    let (tagged, trunks) = (wanted.vlan.is_some(), !wanted.trunks.is_empty());
    let (key, problem) = match wanted.vlan_mode {
        None if tagged && trunks => (
            TRUNKS,
            "with vlan, too, say by vlan_mode whether that is native-tagged or native-untagged",
        ),
        Some(Access | Dot1qTunnel) if trunks => {
            (TRUNKS, "only a trunk or a native mode has trunks")
        }
        Some(Trunk) if tagged => (
            VLAN,
            "a trunk has no VLAN of its own; for one whose untagged frames are in a VLAN choose \
             native-tagged or native-untagged",
        ),
        Some(Access | NativeTagged | NativeUntagged | Dot1qTunnel) if !tagged => {
            (VLAN_MODE, "needs vlan")
        }
        Some(Trunk | NativeTagged | NativeUntagged) if !trunks => {
            (VLAN_MODE, "needs trunks; 0-4094 are all VLANs")
        }
        None | Some(Access | Trunk | NativeTagged | NativeUntagged | Dot1qTunnel) => return None,
    };
    Some((key, problem.to_owned()))
}
