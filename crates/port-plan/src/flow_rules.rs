//! The flow rules of a port: which frames a container may send, and how much.
//!
//! The rules live in a table of their own. A frame that may pass goes back to the first table, marked, so that
//! whatever flows the operator has there still apply to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::mac::MacAddress;
use crate::spec::PortSpec;

/// A rule for the frames that come from one port. Of those that fit, the one of the highest priority holds; frames
/// that fit none are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRule {
    /// Its priority.
    pub priority: u16,
    /// What a frame must have for the rule to be for it; all fit if there is nothing. What a field presupposes comes
    /// before it.
    pub fields: Vec<Field>,
    /// Whether such frames may pass.
    pub pass: bool,
}

/// Something that a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// This Ethernet source.
    EthSrc(MacAddress),
    /// It is ARP (RFC 826).
    Arp,
    /// It is IPv4.
    Ipv4,
    /// It is IPv6.
    Ipv6,
    /// This MAC address of the sender in an ARP message.
    ArpSha(MacAddress),
    /// This IPv4 address of the sender in an ARP message.
    ArpSpa(Ipv4Addr),
    /// This IPv4 address that an ARP message asks for.
    ArpTpa(Ipv4Addr),
    /// This IPv4 source.
    Ipv4Src(Ipv4Addr),
    /// This IPv4 destination.
    Ipv4Dst(Ipv4Addr),
    /// This IPv6 source.
    Ipv6Src(Ipv6Addr),
    /// An IPv6 destination with this prefix of so many bits.
    Ipv6Dst(Ipv6Addr, u8),
    /// A fragment of an IP packet, be it the first. Its ports and types cannot be seen (ovs-fields(7), `ip_frag`).
    Fragment,
    /// It is UDP.
    Udp,
    /// This UDP source port.
    UdpSrc(u16),
    /// `ICMPv4` of this type.
    Icmpv4(u8),
    /// `ICMPv6` of this type.
    Icmpv6(u8),
    /// This target of a neighbour solicitation or advertisement.
    NdTarget(Ipv6Addr),
}

/// What is done to the frames that come from one port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowRules {
    /// Which of them may pass; all if there is no rule.
    pub rules: Arc<[FlowRule]>,
    /// How much may pass.
    pub limit: Option<Limit>,
}

/// How much may pass, for the userspace datapath, whose packets never come by the kernel's policing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Kilobits in a second.
    pub rate: u32,
    /// Kilobits at once.
    pub burst: u32,
}

impl FlowRules {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let Self { rules, limit } = self;
        rules.is_empty() && limit.is_none()
    }
}

/// The burst of Open vSwitch's own policing when none is given, in kilobits (ovs-vswitchd.conf.db(5), Interface column
/// `ingress_policing_burst`).
const USUAL_BURST: u32 = 8000;

/// What a host may send whose addresses are these; the lowest.
const OWN: u16 = 20;
/// What nobody who has an address here may send.
const FORBIDDEN: u16 = 30;
/// What is excepted from that.
const EXCEPTED: u16 = 40;

/// `ICMPv6` types (RFC 4861, section 4).
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// The same for IPv4 (RFC 792, RFC 1256).
const IPV4_REDIRECT: u8 = 5;
const IPV4_ROUTER_ADVERTISEMENT: u8 = 9;
/// The ports that servers answer from (RFC 2131, section 4.1; RFC 8415, section 7.2).
const DHCP_SERVER: u16 = 67;
const DHCPV6_SERVER: u16 = 547;

/// The rules that let a port's own MAC address and addresses pass, and nothing else. A container without an address
/// given sees to that itself, and is held to its MAC address. Neither may configure others: advertise routes, redirect,
/// or answer as a DHCP server.
pub(crate) fn rules(spec: &PortSpec) -> Vec<FlowRule> {
    let mac = spec.mac;
    let mut rules = configuring_others(mac);
    if spec.addresses.is_empty() {
        rules.push(rule(OWN, mac, [], true));
        return rules;
    }
    let mut ipv6 = Vec::new();
    for address in &spec.addresses {
        match address.addr() {
            IpAddr::V4(own) => rules.extend(ipv4(mac, own)),
            IpAddr::V6(own) => ipv6.push(own),
        }
    }
    if !ipv6.is_empty() {
        ipv6.push(mac.link_local());
        rules.extend(ipv6.into_iter().flat_map(|own| self::ipv6(mac, own)));
        // Before an address is known to be free, its owner asks from the unspecified one (RFC 4862, section 5.4.2).
        let unspecified = Field::Ipv6Src(Ipv6Addr::UNSPECIFIED);
        rules.push(rule(OWN, mac, [Field::Ipv6, unspecified], true));
        let asks = [Field::Ipv6, unspecified, Field::Icmpv6(NEIGHBOUR_SOLICITATION)];
        rules.push(rule(FORBIDDEN, mac, asks, false));
        let advertises = [Field::Ipv6, Field::Icmpv6(NEIGHBOUR_ADVERTISEMENT)];
        rules.push(rule(FORBIDDEN, mac, advertises, false));
    }
    rules
}

/// What would configure other hosts. Whole, it is known by type and port; in fragments, only by where it goes.
fn configuring_others(mac: MacAddress) -> Vec<FlowRule> {
    let link_local = |first: u16| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
    let forbidden = |fields: &[Field]| rule(EXCEPTED + 10, mac, fields.iter().copied(), false);
    vec![
        forbidden(&[Field::Ipv6, Field::Icmpv6(ROUTER_ADVERTISEMENT)]),
        forbidden(&[Field::Ipv6, Field::Icmpv6(REDIRECT)]),
        forbidden(&[Field::Ipv6, Field::Udp, Field::UdpSrc(DHCPV6_SERVER)]),
        // To hosts and groups of the link.
        forbidden(&[Field::Ipv6, Field::Fragment, Field::Ipv6Dst(link_local(0xfe80), 10)]),
        forbidden(&[Field::Ipv6, Field::Fragment, Field::Ipv6Dst(link_local(0xff02), 16)]),
        forbidden(&[Field::Ipv4, Field::Icmpv4(IPV4_REDIRECT)]),
        forbidden(&[Field::Ipv4, Field::Icmpv4(IPV4_ROUTER_ADVERTISEMENT)]),
        forbidden(&[Field::Ipv4, Field::Udp, Field::UdpSrc(DHCP_SERVER)]),
        forbidden(&[Field::Ipv4, Field::Fragment, Field::Ipv4Dst(Ipv4Addr::BROADCAST)]),
    ]
}

/// What the owner of an IPv4 address may send.
fn ipv4(mac: MacAddress, own: Ipv4Addr) -> [FlowRule; 3] {
    let arp = |spa, more: &[Field]| {
        let fields = [Field::Arp, Field::ArpSha(mac), Field::ArpSpa(spa)];
        rule(OWN, mac, fields.into_iter().chain(more.iter().copied()), true)
    };
    [
        arp(own, &[]),
        // Whether somebody else has the address, asked before it is used (RFC 5227, section 2.1.1).
        arp(Ipv4Addr::UNSPECIFIED, &[Field::ArpTpa(own)]),
        rule(OWN, mac, [Field::Ipv4, Field::Ipv4Src(own)], true),
    ]
}

/// What the owner of an IPv6 address may send.
fn ipv6(mac: MacAddress, own: Ipv6Addr) -> [FlowRule; 3] {
    let about = |source, kind| {
        let fields =
            [Field::Ipv6, Field::Ipv6Src(source), Field::Icmpv6(kind), Field::NdTarget(own)];
        rule(EXCEPTED, mac, fields, true)
    };
    [
        rule(OWN, mac, [Field::Ipv6, Field::Ipv6Src(own)], true),
        about(own, NEIGHBOUR_ADVERTISEMENT),
        about(Ipv6Addr::UNSPECIFIED, NEIGHBOUR_SOLICITATION),
    ]
}

fn rule(
    priority: u16,
    mac: MacAddress,
    fields: impl IntoIterator<Item = Field>,
    pass: bool,
) -> FlowRule {
    FlowRule { priority, fields: [Field::EthSrc(mac)].into_iter().chain(fields).collect(), pass }
}

/// What limits a port's rate.
pub(crate) fn limit(spec: &PortSpec) -> Option<Limit> {
    let rate = spec.config.ingress_rate?.get();
    Some(Limit { rate, burst: spec.config.ingress_burst.map_or(USUAL_BURST, crate::Kilobits::get) })
}

impl fmt::Display for FlowRule {
    /// As `ovs-ofctl` writes a flow's match, without its port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "priority={}", self.priority)?;
        self.fields.iter().try_for_each(|field| write!(f, ",{field}"))?;
        f.write_str(if self.pass { " pass" } else { " drop" })
    }
}

impl fmt::Display for Field {
    /// As `ovs-ofctl` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EthSrc(mac) => write!(f, "dl_src={mac}"),
            Self::Arp => f.write_str("arp"),
            Self::Ipv4 => f.write_str("ip"),
            Self::Ipv6 => f.write_str("ipv6"),
            Self::ArpSha(mac) => write!(f, "arp_sha={mac}"),
            Self::ArpSpa(address) => write!(f, "arp_spa={address}"),
            Self::ArpTpa(address) => write!(f, "arp_tpa={address}"),
            Self::Ipv4Src(address) => write!(f, "nw_src={address}"),
            Self::Ipv4Dst(address) => write!(f, "nw_dst={address}"),
            Self::Ipv6Src(address) => write!(f, "ipv6_src={address}"),
            Self::Ipv6Dst(address, prefix) => write!(f, "ipv6_dst={address}/{prefix}"),
            Self::Fragment => f.write_str("ip_frag=yes"),
            Self::Udp => f.write_str("nw_proto=17"),
            Self::UdpSrc(port) => write!(f, "tp_src={port}"),
            Self::Icmpv4(kind) => write!(f, "nw_proto=1,icmp_type={kind}"),
            Self::Icmpv6(kind) => write!(f, "nw_proto=58,icmp_type={kind}"),
            Self::NdTarget(address) => write!(f, "nd_target={address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done to the frames of a container with these addresses.
    fn flow_rules(address: &str, more: &[(&str, &str)], datapath: crate::Datapath) -> String {
        let labels = [&[("ovs.ip_address", address)], more].concat();
        let owned = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let container = crate::Container {
            id: "3f2a9c1b".repeat(8).parse().unwrap(),
            name: "web".into(),
            labels: owned.collect(),
            image: String::new(),
            image_labels: crate::ImageLabels::default(),
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
        let FlowRules { rules, limit } = desired.specs()[0].flow_rules(datapath);
        let lines: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
        format!("{lines}{limit:?}\n")
    }

    #[test]
    fn its_own_addresses_pass_and_nothing_else() {
        let mac = ("ovs.mac_address", "02:00:00:00:00:aa");
        let both = flow_rules("10.0.0.1/24,fd00::1/64", &[mac], crate::Datapath::Netdev);
        expect_test::expect![[r#"
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=58,icmp_type=134 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=58,icmp_type=137 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=17,tp_src=547 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,ip_frag=yes,ipv6_dst=fe80::/10 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,ip_frag=yes,ipv6_dst=ff02::/16 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=1,icmp_type=5 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=1,icmp_type=9 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=17,tp_src=67 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,ip_frag=yes,nw_dst=255.255.255.255 drop
            priority=20,dl_src=02:00:00:00:00:aa,arp,arp_sha=02:00:00:00:00:aa,arp_spa=10.0.0.1 pass
            priority=20,dl_src=02:00:00:00:00:aa,arp,arp_sha=02:00:00:00:00:aa,arp_spa=0.0.0.0,arp_tpa=10.0.0.1 pass
            priority=20,dl_src=02:00:00:00:00:aa,ip,nw_src=10.0.0.1 pass
            priority=20,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=fd00::1 pass
            priority=40,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=fd00::1,nw_proto=58,icmp_type=136,nd_target=fd00::1 pass
            priority=40,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=::,nw_proto=58,icmp_type=135,nd_target=fd00::1 pass
            priority=20,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=fe80::ff:fe00:aa pass
            priority=40,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=fe80::ff:fe00:aa,nw_proto=58,icmp_type=136,nd_target=fe80::ff:fe00:aa pass
            priority=40,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=::,nw_proto=58,icmp_type=135,nd_target=fe80::ff:fe00:aa pass
            priority=20,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=:: pass
            priority=30,dl_src=02:00:00:00:00:aa,ipv6,ipv6_src=::,nw_proto=58,icmp_type=135 drop
            priority=30,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=58,icmp_type=136 drop
            None
        "#]]
        .assert_eq(&both);
        let none = flow_rules("none", &[mac], crate::Datapath::Netdev);
        expect_test::expect![[r#"
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=58,icmp_type=134 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=58,icmp_type=137 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,nw_proto=17,tp_src=547 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,ip_frag=yes,ipv6_dst=fe80::/10 drop
            priority=50,dl_src=02:00:00:00:00:aa,ipv6,ip_frag=yes,ipv6_dst=ff02::/16 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=1,icmp_type=5 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=1,icmp_type=9 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,nw_proto=17,tp_src=67 drop
            priority=50,dl_src=02:00:00:00:00:aa,ip,ip_frag=yes,nw_dst=255.255.255.255 drop
            priority=20,dl_src=02:00:00:00:00:aa pass
            None
        "#]]
        .assert_eq(&none);
        let elsewhere = [mac, ("ovs.bridge", "ovsbr1")];
        let elsewhere = flow_rules("10.0.0.1/24", &elsewhere, crate::Datapath::Netdev);
        expect_test::expect![[r#"
            None
        "#]]
        .assert_eq(&elsewhere);
    }

    #[test]
    fn the_userspace_datapath_meters_and_the_kernels_polices_by_itself() {
        let labels = [("ovs.bridge", "ovsbr1"), ("ovs.ingress_rate", "20M")];
        let netdev = flow_rules("10.0.0.1/24", &labels, crate::Datapath::Netdev);
        assert_eq!(netdev, "Some(Limit { rate: 20000, burst: 8000 })\n");
        assert_eq!(flow_rules("10.0.0.1/24", &labels, crate::Datapath::System), "None\n");
    }

    #[test]
    fn the_link_local_address_is_the_kernels() {
        let mac = "4e:1c:ef:db:f2:32".parse::<MacAddress>().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::4c1c:efff:fedb:f232");
    }
}
