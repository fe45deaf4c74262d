//! What can only be judged of an interface's labels together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::table::{GATEWAY, IP_ADDRESS, MTU, TRUNKS, VLAN, VLAN_MODE};
use super::wanted::Wanted;
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
    let problems =
        [(GATEWAY, gateways_reachable(wanted, addresses)), (MTU, mtu_suffices(wanted, addresses))];
    let problems = problems.into_iter().filter_map(|(key, result)| Some((key, result.err()?)));
    problems.chain(vlans(wanted)).collect()
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

/// Every gateway can be reached through the interface's own prefixes.
fn gateways_reachable(wanted: &Wanted, addresses: &[IpNet]) -> Result<(), String> {
    wanted.gateways.iter().try_for_each(|gateway| reachable(*gateway, addresses))
}

/// A host that is to be routed through lies on the link.
fn reachable(host: IpAddr, addresses: &[IpNet]) -> Result<(), String> {
    let link_local = matches!(host, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let family = addresses.iter().any(|net| net.addr().is_ipv4() == host.is_ipv4());
    if link_local && family {
        return Ok(());
    }
    if let Some(own) = addresses.iter().find(|net| net.addr() == host) {
        return Err(format!("{own} is the container's own address"));
    }
    if !addresses.iter().any(|net| net.contains(&host)) {
        let prefixes: Vec<_> = addresses.iter().map(|net| net.trunc().to_string()).collect();
        return Err(format!("{host} lies outside {}", prefixes.join(" and ")));
    }
    Ok(())
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
