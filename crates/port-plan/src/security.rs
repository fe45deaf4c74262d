//! Port security: which frames a container may send, and the flows that see to it.
//!
//! The flows live in a table of their own. A frame that may pass goes back to the first table, marked, so that
//! whatever flows the operator has there still apply to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mac::MacAddress;
use crate::spec::PortSpec;

/// A rule for the frames that come from one port. Of those that fit, the one of the highest priority holds; frames
/// that fit none are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Its priority.
    pub priority: u16,
    /// The frames that it is for.
    pub frames: Frames,
    /// Whether they may pass.
    pub pass: bool,
}

/// Frames from one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// All.
    Any,
    /// All with this source.
    From(MacAddress),
    /// ARP with this sender, in the frame and in the message (RFC 826).
    Arp(MacAddress, Ipv4Addr),
    /// IPv4 with this source.
    Ipv4(MacAddress, Ipv4Addr),
    /// IPv6 with this source.
    Ipv6(MacAddress, Ipv6Addr),
    /// Neighbour advertisements for any address (`ICMPv6` type 136, RFC 4861, section 4.4).
    Advertisements(MacAddress),
    /// Neighbour advertisements for this address, from it.
    Advertisement(MacAddress, Ipv6Addr),
}

/// What is done to the frames that come from one port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guards {
    /// Which of them may pass; all if there is no rule.
    pub rules: Vec<Guard>,
    /// The most kilobits that may pass in a second, and at once.
    pub meter: Option<(u32, u32)>,
}

impl Guards {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        let Self { rules, meter } = self;
        rules.is_empty() && meter.is_none()
    }
}

/// The burst of Open vSwitch's own policing when none is given, in kilobits (ovs-vswitchd.conf.db(5), Interface column
/// `ingress_policing_burst`).
const USUAL_BURST: u32 = 8000;

/// The rules that let a port's own MAC address and addresses pass, and nothing else. A container without an address
/// given sees to that itself, and is held to its MAC address alone.
pub(crate) fn rules(spec: &PortSpec) -> Vec<Guard> {
    let mac = spec.mac;
    if spec.addresses.is_empty() {
        return vec![Guard { priority: 20, frames: Frames::From(mac), pass: true }];
    }
    let pass = |priority, frames| Guard { priority, frames, pass: true };
    let mut rules = Vec::new();
    let mut ipv6 = Vec::new();
    for address in &spec.addresses {
        match address.addr() {
            IpAddr::V4(v4) => {
                rules.push(pass(20, Frames::Arp(mac, v4)));
                rules.push(pass(20, Frames::Ipv4(mac, v4)));
            }
            IpAddr::V6(v6) => ipv6.push(v6),
        }
    }
    if !ipv6.is_empty() {
        ipv6.push(link_local(mac));
        for own in &ipv6 {
            rules.push(pass(20, Frames::Ipv6(mac, *own)));
            rules.push(pass(40, Frames::Advertisement(mac, *own)));
        }
        // Before an address is known to be free, its owner asks from the unspecified one (RFC 4862, section 5.4.2).
        rules.push(pass(20, Frames::Ipv6(mac, Ipv6Addr::UNSPECIFIED)));
        rules.push(Guard { priority: 30, frames: Frames::Advertisements(mac), pass: false });
    }
    rules
}

/// What limits a port's rate: for the userspace datapath, whose packets never come by the kernel's policing.
pub(crate) fn meter(spec: &PortSpec) -> Option<(u32, u32)> {
    let rate = spec.config.ingress_rate?.get();
    Some((rate, spec.config.ingress_burst.map_or(USUAL_BURST, crate::Kilobits::get)))
}

/// The link-local address that the kernel makes of a MAC address (RFC 4291, appendix A).
fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets().map(u16::from);
    let universal = 0x02 ^ a;
    Ipv6Addr::new(0xfe80, 0, 0, 0, universal << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

impl fmt::Display for Guard {
    /// As `ovs-ofctl` writes a flow's match, without its port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority={}", self.priority)?;
        match self.frames {
            Frames::Any => {}
            Frames::From(mac) => write!(f, ",dl_src={mac}")?,
            Frames::Arp(mac, v4) => write!(f, ",arp,dl_src={mac},arp_sha={mac},arp_spa={v4}")?,
            Frames::Ipv4(mac, v4) => write!(f, ",ip,dl_src={mac},nw_src={v4}")?,
            Frames::Ipv6(mac, v6) => write!(f, ",ipv6,dl_src={mac},ipv6_src={v6}")?,
            Frames::Advertisements(mac) => write!(f, ",icmp6,dl_src={mac},icmp_type=136")?,
            Frames::Advertisement(mac, v6) => {
                write!(f, ",icmp6,dl_src={mac},ipv6_src={v6},icmp_type=136,nd_target={v6}")?;
            }
        }
        f.write_str(if self.pass { " pass" } else { " drop" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done to the frames of a container with these addresses.
    fn guards(address: &str, more: &[(&str, &str)], datapath: crate::Datapath) -> String {
        let labels = [&[("ovs.ip_address", address)], more].concat();
        let owned = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let container = crate::Container {
            id: "3f2a9c1b".repeat(8).parse().unwrap(),
            name: "web".into(),
            labels: owned.collect(),
            image: String::new(),
            image_labels: std::collections::BTreeMap::new(),
            state: crate::State::Running { pid: 4711, start: "now".into() },
            network: crate::Network::Own,
        };
        let defaults = crate::Defaults {
            bridge: "ovsbr0".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            datapath,
        };
        let port_security = ["ovsbr0".parse().unwrap()].into();
        let rules = crate::Rules { port_security, ..crate::Rules::new(defaults) };
        let desired = crate::Desired::of(&container, &rules, &mut crate::Registry::default());
        let Guards { rules, meter } = desired.specs()[0].guards(datapath);
        let lines: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
        format!("{lines}{meter:?}\n")
    }

    #[test]
    fn its_own_addresses_pass_and_nothing_else() {
        let mac = ("ovs.mac_address", "02:00:00:00:00:aa");
        let both = guards("10.0.0.1/24,fd00::1/64", &[mac], crate::Datapath::Netdev);
        expect_test::expect![[r#"
            priority=20,arp,dl_src=02:00:00:00:00:aa,arp_sha=02:00:00:00:00:aa,arp_spa=10.0.0.1 pass
            priority=20,ip,dl_src=02:00:00:00:00:aa,nw_src=10.0.0.1 pass
            priority=20,ipv6,dl_src=02:00:00:00:00:aa,ipv6_src=fd00::1 pass
            priority=40,icmp6,dl_src=02:00:00:00:00:aa,ipv6_src=fd00::1,icmp_type=136,nd_target=fd00::1 pass
            priority=20,ipv6,dl_src=02:00:00:00:00:aa,ipv6_src=fe80::ff:fe00:aa pass
            priority=40,icmp6,dl_src=02:00:00:00:00:aa,ipv6_src=fe80::ff:fe00:aa,icmp_type=136,nd_target=fe80::ff:fe00:aa pass
            priority=20,ipv6,dl_src=02:00:00:00:00:aa,ipv6_src=:: pass
            priority=30,icmp6,dl_src=02:00:00:00:00:aa,icmp_type=136 drop
            None
        "#]]
        .assert_eq(&both);
        let none = guards("none", &[mac], crate::Datapath::Netdev);
        expect_test::expect![[r#"
            priority=20,dl_src=02:00:00:00:00:aa pass
            None
        "#]]
        .assert_eq(&none);
        let elsewhere = [mac, ("ovs.bridge", "ovsbr1")];
        let elsewhere = guards("10.0.0.1/24", &elsewhere, crate::Datapath::Netdev);
        expect_test::expect![[r#"
            None
        "#]]
        .assert_eq(&elsewhere);
    }

    #[test]
    fn the_userspace_datapath_meters_and_the_kernels_polices_by_itself() {
        let labels = [("ovs.bridge", "ovsbr1"), ("ovs.ingress_rate", "20M")];
        let netdev = guards("10.0.0.1/24", &labels, crate::Datapath::Netdev);
        assert_eq!(netdev, "Some((20000, 8000))\n");
        assert_eq!(guards("10.0.0.1/24", &labels, crate::Datapath::System), "None\n");
    }

    #[test]
    fn the_link_local_address_is_the_kernels() {
        let mac = "4e:1c:ef:db:f2:32".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::4c1c:efff:fedb:f232");
    }
}
