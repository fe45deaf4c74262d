//! Addresses and MAC addresses that are the host's or the configuration's: no label may claim them.
//!
//! A container that announced the gateway's address, or that of the bridge's own interface, would take it from
//! everybody on the bridge.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::container::Container;
use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::registry::{Claim, Registry};
use crate::rules::Rules;
use crate::spec::PortSpec;
use crate::vlan::Vlan;
use crate::vlans::Vlans;

/// What the host has on the bridges, by its own interfaces there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved(BTreeMap<Claim, Why>);

/// A port of a bridge that is not a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The bridge.
    pub bridge: LinkName,
    /// The port's VLAN (column `tag`).
    pub vlan: Option<Vlan>,
    /// The name of its interface.
    pub interface: LinkName,
}

/// A link in the host's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLink {
    /// Its name.
    pub name: LinkName,
    /// Its MAC address.
    pub mac: Option<MacAddress>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The link that it is a VLAN of, and which.
    pub vlan_of: Option<(LinkName, Vlan)>,
}

/// A claim that no container can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was claimed.
    pub claim: Claim,
    /// Why it is not to be had.
    pub why: Why,
}

/// Why a claim is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is that of an interface of the host's.
    Host(LinkName),
    /// It is the gateway of a pool of this prefix.
    Gateway(IpNet),
    /// It is the network's or the broadcast address of this prefix.
    Subnet(IpNet),
}

impl Reserved {
    /// What these links have on the bridges that they are ports of.
    pub fn of(ports: &[HostPort], links: &[HostLink]) -> Self {
        let mut reserved = Self::default();
        for HostPort { bridge, vlan, interface } in ports {
            for link in links {
                let vlan = match &link.vlan_of {
                    _ if link.name == *interface => *vlan,
                    // A port that is in one VLAN has no other ones.
                    Some((parent, tagged)) if parent == interface && vlan.is_none() => {
                        Some(*tagged)
                    }
                    _ => continue,
                };
                reserved.add(bridge, vlan, link);
            }
        }
        reserved
    }

    fn add(&mut self, bridge: &LinkName, vlan: Option<Vlan>, link: &HostLink) {
        let address =
            |address| Claim::Address { bridge: bridge.clone(), address, vlans: vlan.into() };
        for net in &link.addresses {
            for special in subnet(*net) {
                self.0.entry(address(special)).or_insert(Why::Subnet(net.trunc()));
            }
        }
        let own = link.addresses.iter().map(|net| address(net.addr()));
        let mac = link.mac.map(|mac| Claim::Mac { bridge: bridge.clone(), mac });
        // The host's own weigh more: another's broadcast address may be one of them.
        self.0.extend(own.chain(mac).map(|claim| (claim, Why::Host(link.name.clone()))));
    }

    /// Whether all of it is the host's in another list, too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.keys().all(|claim| other.0.contains_key(claim))
    }

    /// Why a claim, or a part of it, is the host's, if it is.
    pub(crate) fn why<'a>(&'a self, claim: &'a Claim) -> Option<&'a Why> {
        let overlapping = claim.overlapping(&self.0).next();
        overlapping.map(|(_, why)| why)
    }
}

/// The first thing of a port's that is not to be had.
///
/// A gateway may be a container, but only where a rule of the policy names its address. What the host came to have
/// after the port's container did stays that container's.
pub(crate) fn reservation(
    container: &Container,
    spec: &PortSpec,
    rules: &Rules,
    registry: &Registry,
) -> Option<Reservation> {
    let pools = rules.pools.iter();
    let pools = pools.filter(|pool| pool.bridge == spec.bridge);
    let trust = rules.trust_image_labels;
    let of_pool = |address: IpAddr, vlans: &Vlans| {
        let mut reached = pools.clone().filter(|pool| vlans.contains(pool.vlan));
        let why = reached.find_map(|pool| pool.reserves(address))?;
        let named = || rules.policy.names(container, trust, address);
        (!matches!(why, Why::Gateway(_)) || !named()).then_some(why)
    };
    crate::registry::claims_of(spec).into_iter().find_map(|claim| {
        let configured = match &claim {
            Claim::Address { address, vlans, .. } => of_pool(*address, vlans),
            Claim::Mac { .. } | Claim::Number { .. } => None,
        };
        let host = || {
            let why = registry.reserved().why(&claim)?;
            (!registry.holds(&claim, &spec.key)).then(|| why.clone())
        };
        let why = configured.or_else(host)?;
        Some(Reservation { claim, why })
    })
}

/// The addresses of a prefix that no host has: those that stand for the network and for all of its hosts. Prefixes of
/// two addresses have none (RFC 3021, RFC 6164), and IPv6 has no broadcast.
pub(crate) fn subnet(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let special = net.max_prefix_len() - net.prefix_len() > 1;
    let broadcast = net.addr().is_ipv4().then(|| net.broadcast());
    [Some(net.network()), broadcast].into_iter().flatten().filter(move |_| special)
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, why } = self;
        match why {
            Why::Host(link) => write!(f, "{claim} is that of the host's interface {link}"),
            Why::Gateway(prefix) => write!(
                f,
                "{claim} is the gateway of the configuration's pool {prefix}, which a container gets only by a rule of \
                 the policy that names the address"
            ),
            Why::Subnet(prefix) => {
                write!(f, "{claim} is the network's or the broadcast address of {prefix}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Network, State};
    use crate::desired::Desired;
    use crate::policy::{AddressLimit, Policy, Rule};
    use crate::pool::Pool;
    use crate::spec::{Datapath, Defaults};

    fn link(name: &str, addresses: &[&str]) -> HostLink {
        HostLink {
            name: name.parse().unwrap(),
            mac: "02:00:00:00:00:01".parse().ok(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            vlan_of: None,
        }
    }

    fn port(interface: &str, vlan: Option<&str>) -> HostPort {
        HostPort {
            bridge: "ovsbr0".parse().unwrap(),
            vlan: vlan.map(|vlan| vlan.parse().unwrap()),
            interface: interface.parse().unwrap(),
        }
    }

    fn text(reserved: &Reserved) -> String {
        let all = reserved.0.iter().map(|(claim, why)| {
            let (claim, why) = (claim.clone(), why.clone());
            format!("{}\n", Reservation { claim, why })
        });
        all.collect()
    }

    #[test]
    fn what_the_hosts_interfaces_on_a_bridge_have_is_reserved_in_their_vlan() {
        let tagged = HostLink {
            vlan_of: Some(("ovsbr0".parse().unwrap(), "20".parse().unwrap())),
            mac: None,
            ..link("ovsbr0.20", &["10.20.0.1/32"])
        };
        let links = [
            link("ovsbr0", &["10.0.0.1/24", "fe80::1/64"]),
            HostLink { mac: None, ..link("vlan10", &["10.10.0.1/31"]) },
            tagged,
            link("eth0", &["192.168.0.1/24"]),
        ];
        let reserved = Reserved::of(&[port("ovsbr0", None), port("vlan10", Some("10"))], &links);
        expect_test::expect![[r#"
            10.0.0.0 on ovsbr0 is the network's or the broadcast address of 10.0.0.0/24
            10.0.0.1 on ovsbr0 is that of the host's interface ovsbr0
            10.0.0.255 on ovsbr0 is the network's or the broadcast address of 10.0.0.0/24
            10.10.0.1 on ovsbr0, VLAN 10, is that of the host's interface vlan10
            10.20.0.1 on ovsbr0, VLAN 20, is that of the host's interface ovsbr0.20
            fe80:: on ovsbr0 is the network's or the broadcast address of fe80::/64
            fe80::1 on ovsbr0 is that of the host's interface ovsbr0
            MAC address 02:00:00:00:00:01 on ovsbr0 is that of the host's interface ovsbr0
        "#]]
        .assert_eq(&text(&reserved));
    }

    fn rules(policy: Policy) -> Rules {
        let defaults = Defaults {
            bridge: "ovsbr0".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            datapath: Datapath::Netdev,
        };
        let pool = |range: Option<(&str, &str)>, gateway: &str| {
            let range = range.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()));
            let (bridge, prefix) = ("ovsbr0".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
            Pool::new(bridge, None, prefix, range, gateway.parse().ok()).unwrap()
        };
        let pools = vec![pool(Some(("10.0.0.252", "10.0.0.255")), "10.0.0.254")];
        Rules { policy, pools, ..Rules::new(defaults) }
    }

    /// The addresses that a container gets, or why it gets none.
    fn ask(registry: &mut Registry, rules: &Rules, labels: &[(&str, &str)]) -> String {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let container = Container {
            id: "3f".repeat(32).parse().unwrap(),
            name: "web".into(),
            labels: labels.collect(),
            image: "busybox".to_owned(),
            image_labels: crate::ImageLabels::default(),
            state: State::Running { pid: 4711, start: "now".into() },
            network: Network::Own,
        };
        let desired = Desired::of(&container, rules, registry);
        registry.settle(&container.id, desired.specs());
        match desired.refused() {
            [(_, refusal), ..] => refusal.to_string(),
            [] => {
                let addresses = desired.specs().iter().flat_map(|spec| &spec.addresses);
                addresses.map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn a_pools_gateway_and_its_broadcast_address_are_nobodys() {
        let (mut registry, rules) = (Registry::default(), rules(Policy::default()));
        let told: String =
            ["10.0.0.254/24", "10.0.0.254/32", "10.0.0.255/16", "10.0.0.0/32", "10.0.0.9/24"]
                .iter()
                .map(|address| ask(&mut registry, &rules, &[("ovs.ip_address", address)]) + "\n")
                .collect();
        expect_test::expect![[r#"
            10.0.0.254 on ovsbr0 is the gateway of the configuration's pool 10.0.0.0/24, which a container gets only by a rule of the policy that names the address; choose another one
            10.0.0.254 on ovsbr0 is the gateway of the configuration's pool 10.0.0.0/24, which a container gets only by a rule of the policy that names the address; choose another one
            10.0.0.255 on ovsbr0 is the network's or the broadcast address of 10.0.0.0/24; choose another one
            10.0.0.0 on ovsbr0 is the network's or the broadcast address of 10.0.0.0/24; choose another one
            10.0.0.9/24
        "#]].assert_eq(&told);
        let trunk = |trunks| [("ovs.ip_address", "10.0.0.254/24"), ("ovs.trunks", trunks)];
        assert!(ask(&mut registry, &rules, &trunk("0,7")).contains("is the gateway"));
        // In another VLAN they are other addresses.
        let labels = [("ovs.ip_address", "10.0.0.254/24"), ("ovs.vlan", "7")];
        assert_eq!(ask(&mut registry, &rules, &labels), "10.0.0.254/24");
        // Of the range's four addresses two can be given away.
        let given = ask(&mut registry, &rules, &[("ovs.ip_address", "auto")]);
        assert!(["10.0.0.252/24", "10.0.0.253/24"].contains(&given.as_str()), "{given}");
    }

    #[test]
    fn a_rule_that_names_the_gateways_address_gives_it_to_a_container() {
        let limit =
            |prefix: &str| AddressLimit { prefixes: vec![prefix.parse().unwrap()], none: false };
        let policy =
            |prefix| Policy(vec![Rule { addresses: Some(limit(prefix)), ..Rule::default() }]);
        let labels = [("ovs.ip_address", "10.0.0.254/24")];
        let mut registry = Registry::default();
        assert!(
            ask(&mut registry, &rules(policy("10.0.0.0/24")), &labels).contains("is the gateway")
        );
        assert_eq!(ask(&mut registry, &rules(policy("10.0.0.254/32")), &labels), "10.0.0.254/24");
    }

    #[test]
    fn what_the_host_has_is_refused_and_what_a_container_had_before_stays_its() {
        let host = Reserved::of(&[port("ovsbr0", None)], &[link("ovsbr0", &["10.0.0.1/24"])]);
        let rules = rules(Policy::default());
        let address = [("ovs.ip_address", "10.0.0.1/24")];
        let mut registry = Registry::default();
        assert!(!registry.reserve(host.clone()), "nothing was given up");
        let refused = ask(&mut registry, &rules, &address);
        assert_eq!(
            refused,
            "10.0.0.1 on ovsbr0 is that of the host's interface ovsbr0; choose another one"
        );
        let mac = [("ovs.ip_address", "10.0.0.2/24"), ("ovs.mac_address", "02:00:00:00:00:01")];
        let refused = ask(&mut registry, &rules, &mac);
        assert!(
            refused.contains("MAC address 02:00:00:00:00:01 on ovsbr0 is that of the host's"),
            "{refused}"
        );
        registry.forget();
        assert!(ask(&mut registry, &rules, &address).contains("is that of the host's"));

        let vlan = link("vlan10", &["10.10.0.1/24"]);
        registry.reserve(Reserved::of(&[port("vlan10", Some("10"))], &[vlan]));
        let trunk = |trunks| [("ovs.ip_address", "10.10.0.1/24"), ("ovs.trunks", trunks)];
        let refused = ask(&mut registry, &rules, &trunk("5-15"));
        assert!(refused.starts_with("10.10.0.1 on ovsbr0, VLANs 0,5-15, is that of"), "{refused}");
        assert_eq!(ask(&mut registry, &rules, &trunk("11-15")), "10.10.0.1/24");

        let mut registry = Registry::default();
        assert_eq!(ask(&mut registry, &rules, &address), "10.0.0.1/24");
        registry.reserve(host);
        assert_eq!(ask(&mut registry, &rules, &address), "10.0.0.1/24");
        assert!(registry.reserve(Reserved::default()), "it was given up");
    }
}
