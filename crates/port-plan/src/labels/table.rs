//! The label table: one entry for each key, from which labels are read, printed and documented.

use super::read;
use super::wanted::{Addressing, Wanted};

/// One key that users may set, as `ovs.KEY` or `ovs.INTERFACE.KEY`.
#[derive(Debug)]
pub struct Label {
    /// Its key.
    pub key: &'static str,
    /// How its value is written.
    pub value: &'static str,
    /// What holds when it is not given, for people.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub meaning: &'static str,
    /// Keys and values that use it.
    pub example: &'static [(&'static str, &'static str)],
    /// Takes the value over into what is wanted, or says what is wrong with it.
    pub(super) read: fn(&str, &mut Wanted) -> Vec<String>,
    /// The value that asks for what is wanted; none if no label has to.
    pub(super) print: fn(&Wanted) -> Option<String>,
}

pub(super) const IP_ADDRESS: &str = "ip_address";
pub(super) const GATEWAY: &str = "gateway";
pub(super) const ROUTES: &str = "routes";
pub(super) const METRIC: &str = "metric";
pub(super) const MTU: &str = "mtu";
pub(super) const VLAN: &str = "vlan";
pub(super) const TRUNKS: &str = "trunks";
pub(super) const INGRESS_BURST: &str = "ingress_burst";
pub(super) const VLAN_MODE: &str = "vlan_mode";

/// All labels, in the order in which the documentation lists them.
pub const LABELS: &[Label] = &[
    Label {
        key: IP_ADDRESS,
        value: "`ADDRESS/LENGTH[,…]`, `auto` or `none`",
        default: "required",
        meaning: "The interface's addresses, IPv4 and IPv6, each with its prefix length, separated by commas. \
                  An address that another host turns out to have is not used; for IPv6, it takes a second or two to tell. \
                  `auto` takes one from each pool that the configuration has for bridge and VLAN, and keeps it for the container until that is removed. `none` gives it none, for a container that runs a DHCP client or a router of its own.",
        example: &[("ip_address", "192.168.1.100/24,fd00::100/64")],
        read: read::addresses,
        print: |wanted| match &wanted.addressing {
            Addressing::Given(addresses) => list(addresses),
            Addressing::Auto => Some("auto".to_owned()),
            Addressing::None => Some("none".to_owned()),
        },
    },
    Label {
        key: "bridge",
        value: "`NAME`",
        default: "`ovsbr0`, or `default_bridge` of the configuration",
        meaning: "The Open vSwitch bridge that the port goes on. It is created if it does not exist and nothing on the host has its name.",
        example: &[("ip_address", "192.168.1.100/24"), ("bridge", "ovsbr1")],
        read: read::bridge,
        print: |wanted| Some(wanted.bridge.to_string()),
    },
    Label {
        key: GATEWAY,
        value: "`ADDRESS[,ADDRESS]`",
        default: "none",
        meaning: "Default gateway inside the container, at most one of each family, inside one of the \
                  interface's prefixes or, where these are all /32 or /128, anywhere. It takes the place of a default route that Docker has set: ports that Docker publishes (`-p`) \
                  then no longer answer clients from outside the host, unless `metric` keeps Docker's route.",
        example: &[("ip_address", "192.168.1.100/24"), ("gateway", "192.168.1.1")],
        read: read::gateways,
        print: |wanted| list(&wanted.gateways),
    },
    Label {
        key: ROUTES,
        value: "`PREFIX via ADDRESS` or `PREFIX dev`, separated by commas",
        default: "none",
        meaning: "Further routes through the interface: through a router inside one of its prefixes, or with `dev` \
                  to what is on the link itself.",
        example: &[
            ("ip_address", "192.168.1.100/24"),
            ("routes", "10.0.0.0/8 via 192.168.1.254, 172.16.0.0/12 dev"),
        ],
        read: read::routes,
        print: |wanted| list(&wanted.routes),
    },
    Label {
        key: METRIC,
        value: "`1`–`4294967295`",
        default: "the kernel's: 0 for IPv4, 1024 for IPv6",
        meaning: "Metric of the gateway's route and of all others through the interface. A default route of another \
                  metric, such as Docker's, which has 0 and goes before, stays beside it.",
        example: &[
            ("ip_address", "192.168.1.100/24"),
            ("gateway", "192.168.1.1"),
            ("metric", "100"),
        ],
        read: read::metric,
        print: |wanted| wanted.metric.map(|metric| metric.to_string()),
    },
    Label {
        key: MTU,
        value: "`BYTES`",
        default: "the kernel's, 1500",
        meaning: "MTU of the interface, 68 to 65535; at least 1280 with an IPv6 address.",
        example: &[("ip_address", "192.168.1.100/24"), ("mtu", "9000")],
        read: read::mtu,
        print: |wanted| wanted.mtu.map(|mtu| mtu.to_string()),
    },
    Label {
        key: "mac_address",
        value: "`XX:XX:XX:XX:XX:XX`",
        default: "derived from bridge, VLAN and first address; without address, from the container's name",
        meaning: "MAC address of the interface, unicast.",
        example: &[("ip_address", "192.168.1.100/24"), ("mac_address", "02:00:00:00:00:aa")],
        read: read::mac,
        print: |wanted| wanted.mac.map(|mac| mac.to_string()),
    },
    Label {
        key: VLAN,
        value: "`1`–`4094`",
        default: "untagged",
        meaning: "VLAN that the port is an access port of, or with `vlan_mode` its native VLAN (column `tag` of \
                  the Port).",
        example: &[("ip_address", "192.168.1.100/24"), ("vlan", "100")],
        read: read::vlan,
        print: |wanted| wanted.vlan.map(|vlan| vlan.to_string()),
    },
    Label {
        key: TRUNKS,
        value: "`VLAN[-VLAN][,…]`",
        default: "none",
        meaning: "VLANs whose frames come and go with their tags; 0 are those without a tag. Without `vlan`, the \
                  port is a trunk.",
        example: &[("ip_address", "192.168.1.100/24"), ("trunks", "0,10,20,100-110")],
        read: read::trunks,
        print: |wanted| (!wanted.trunks.is_empty()).then(|| wanted.trunks.to_string()),
    },
    Label {
        key: VLAN_MODE,
        value: "`access`, `trunk`, `native-tagged`, `native-untagged` or `dot1q-tunnel`",
        default: "`access` with `vlan`, `trunk` with `trunks`",
        meaning: "What the port does with tags. The native modes need `vlan` and `trunks`. `dot1q-tunnel` puts all \
                  that comes, tags included, into the VLAN `vlan`; Open vSwitch needs `other_config:vlan-limit=0` or \
                  `2` for that.",
        example: &[
            ("ip_address", "192.168.1.100/24"),
            ("vlan", "10"),
            ("trunks", "20,30"),
            ("vlan_mode", "native-untagged"),
        ],
        read: read::vlan_mode,
        print: |wanted| wanted.vlan_mode.map(|mode| mode.to_string()),
    },
    Label {
        key: "ingress_rate",
        value: "`BITS[k|M|G]` in a second",
        default: "no limit",
        meaning: "What the container may send in a second; what is more is dropped.",
        example: &[("ip_address", "192.168.1.100/24"), ("ingress_rate", "20M")],
        read: read::ingress_rate,
        print: |wanted| wanted.ingress_rate.map(|rate| rate.to_string()),
    },
    Label {
        key: INGRESS_BURST,
        value: "`BITS[k|M|G]`",
        default: "Open vSwitch's, 8000k",
        meaning: "What it may send at once beyond the rate. TCP comes close to the rate with 80 % of it.",
        example: &[
            ("ip_address", "192.168.1.100/24"),
            ("ingress_rate", "20M"),
            ("ingress_burst", "16M"),
        ],
        read: read::ingress_burst,
        print: |wanted| wanted.ingress_burst.map(|burst| burst.to_string()),
    },
    Label {
        key: "egress_rate",
        value: "`BITS[k|M|G]` in a second",
        default: "no limit",
        meaning: "What is sent to the container in a second; what is more waits, and is dropped when too much waits.",
        example: &[("ip_address", "192.168.1.100/24"), ("egress_rate", "50M")],
        read: read::egress_rate,
        print: |wanted| wanted.egress_rate.map(|rate| rate.to_string()),
    },
    Label {
        key: "mirror",
        value: "`PORT`",
        default: "none",
        meaning: "A port of the same bridge that gets a copy of all that the container sends and gets, and nothing \
                  else. The configuration has to list it in `mirror_ports`.",
        example: &[("ip_address", "192.168.1.100/24"), ("mirror", "tap0")],
        read: read::mirror,
        print: |wanted| wanted.mirror.as_ref().map(ToString::to_string),
    },
    Label {
        key: "ofport_request",
        value: "`1`–`65279`",
        default: "Open vSwitch's choice",
        meaning: "OpenFlow port number of the port, for flows that name it. An interface that asks for the number of another port gets none.",
        example: &[("ip_address", "192.168.1.100/24"), ("ofport_request", "100")],
        read: read::ofport_request,
        print: |wanted| wanted.ofport_request.map(|number| number.to_string()),
    },
    Label {
        key: "interface",
        value: "`NAME`",
        default: "`eth1`, or `default_interface` of the configuration",
        meaning: "The name, inside the container, of the interface that labels without an interface's name \
                  are for. It must not exist there yet. Docker names its own interfaces `eth0`, `eth1` and so on, and \
                  fails to connect a network (`docker network connect`) when the next name is taken: choose another \
                  name, such as `ovs0`, for a container that gets a second network of Docker's.",
        example: &[("ip_address", "192.168.1.100/24"), ("interface", "net0")],
        read: read::interface,
        // The form that names the interface says it already.
        print: |_| None,
    },
];

/// Values separated by commas; none if there are none.
fn list<T: ToString>(values: &[T]) -> Option<String> {
    let texts: Vec<_> = values.iter().map(T::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}
