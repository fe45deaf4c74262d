//! What is set for a port: how somebody else breaks it, and what shows that it is whole again.

/// Where a command is run.
#[derive(Clone, Copy)]
pub(super) enum Where {
    /// In the host's network namespace.
    Host,
    /// In the container's.
    Inside,
    /// `ovs-vsctl`, which does not wait for ovs-vswitchd.
    Database,
}
use Where::{Database, Host, Inside};

/// A command. In it, PORT is the name of the port and ID the id of the container; `PORT_ROW`, `INTERFACE_ROW`, QOS, MIRROR
/// and METER are the port's rows and its meter, and `TAP_ROW` is the port that is mirrored to.
pub(super) type Command = (Where, &'static str);

/// One setting.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) harm: Command,
    pub(super) show: Command,
    /// What is shown of one that is whole.
    pub(super) has: &'static str,
    /// What is shown only of one that is harmed.
    pub(super) lacks: &'static str,
}

const fn setting(
    name: &'static str,
    harm: Command,
    show: Command,
    has: &'static str,
    lacks: &'static str,
) -> Setting {
    Setting { name, harm, show, has, lacks }
}

/// A column of which the command shows nothing but its value.
const fn column(
    name: &'static str,
    harm: &'static str,
    show: &'static str,
    has: &'static str,
) -> Setting {
    setting(name, (Database, harm), (Database, show), has, "never")
}

const HOST_END: Command = (Host, "ip -d link show PORT");
const INSIDE: Command = (Inside, "ip addr show eth1");

/// The link's two ends.
pub(super) const LINKS: &[Setting] = &[
    setting("host end: up", (Host, "ip link set PORT down"), HOST_END, "state UP", "state DOWN"),
    setting("host end: MTU", (Host, "ip link set PORT mtu 1300"), HOST_END, "mtu 1400", "1300"),
    setting("host end: alias", (Host, "ip link set PORT alias theirs"), HOST_END, "=ID ", "theirs"),
    setting("host end: no master", (Host, "ip link set PORT master lan"), HOST_END, "UP", "master"),
    setting(
        "host end: no link-local addresses",
        (Host, "ip link set PORT addrgenmode eui64"),
        HOST_END,
        "addrgenmode none",
        "eui64",
    ),
    setting("interface: up", (Inside, "ip link set eth1 down"), INSIDE, "state UP", "state DOWN"),
    setting(
        "interface: MAC address",
        (Inside, "ip link set eth1 address 02:00:00:00:00:99"),
        INSIDE,
        "02:00:00:00:00:aa",
        "00:99",
    ),
    setting("interface: MTU", (Inside, "ip link set eth1 mtu 1300"), INSIDE, "mtu 1400", "1300"),
    setting(
        "interface: IPv4 address",
        (Inside, "ip addr del 10.0.0.1/24 dev eth1"),
        INSIDE,
        "10.0.0.1/24",
        "never",
    ),
    setting(
        "interface: IPv6 address",
        (Inside, "ip -6 addr del fd00::1/64 dev eth1"),
        INSIDE,
        "fd00::1/64",
        "never",
    ),
    setting(
        "interface: IPv6 (`disable_ipv6`)",
        (Inside, "sysctl -q -w net.ipv6.conf.eth1.disable_ipv6=1"),
        INSIDE,
        "fd00::1/64",
        "never",
    ),
    setting(
        "interface: IPv4 route",
        (Inside, "ip route del default"),
        (Inside, "ip route show"),
        "default via 10.0.0.254",
        "never",
    ),
    setting(
        "interface: IPv6 route",
        (Inside, "ip -6 route del default"),
        (Inside, "ip -6 route show"),
        "default via fd00::fe",
        "never",
    ),
    setting(
        "interface: transmit checksums",
        (Inside, "ethtool -K eth1 tx on"),
        (Inside, "ethtool -k eth1"),
        "tx-checksumming: off",
        "tx-checksumming: on",
    ),
];

const TAG: &str = "get port PORT tag";
const MODE: &str = "get port PORT vlan_mode";
const TRUNKS: &str = "get port PORT trunks";

/// The rows of an access port.
pub(super) const ROWS: &[Setting] = &[
    column("Port: `tag`", "set port PORT tag=8", TAG, "7"),
    column("Port: `tag` cleared", "clear port PORT tag", TAG, "7"),
    column("Port: `vlan_mode`", "set port PORT vlan_mode=dot1q-tunnel", MODE, "[]"),
    column("Port: `trunks`", "set port PORT trunks=9", TRUNKS, "[]"),
    column(
        "Port: `interfaces`, a second one",
        "-- --id=@i create interface name=second type=internal -- add port PORT interfaces @i",
        "get port PORT interfaces",
        "[INTERFACE_ROW]",
    ),
    setting(
        "Interface: `type`",
        (Database, "set interface PORT type=internal"),
        (Database, "get interface PORT type"),
        "",
        "internal",
    ),
    column(
        "Interface: `mtu_request`",
        "set interface PORT mtu_request=1300",
        "get interface PORT mtu_request",
        "[]",
    ),
    column(
        "Interface: `ofport_request`",
        "set interface PORT ofport_request=43",
        "get interface PORT ofport_request",
        "42",
    ),
    column(
        "Interface: `ingress_policing_rate`",
        "set interface PORT ingress_policing_rate=1",
        "get interface PORT ingress_policing_rate",
        "100000",
    ),
    column(
        "Interface: `ingress_policing_burst`",
        "set interface PORT ingress_policing_burst=1",
        "get interface PORT ingress_policing_burst",
        "10000",
    ),
    column(
        "Interface: `external_ids`, our marks",
        "set interface PORT external_ids:ip_address=10.9.9.9/8",
        "get interface PORT external_ids:ip_address",
        "10.0.0.1/24",
    ),
    column(
        "Interface: `external_ids`, all",
        "clear interface PORT external_ids",
        "get interface PORT external_ids",
        "ID",
    ),
    column("Bridge: `ports`", "remove bridge ovsbr0 ports PORT_ROW", "list-ports ovsbr0", "_l"),
];

const OUR_QOS: &str = "--no-headings --format=csv --columns=type,other_config,queues find qos external_ids:container_id=ID";
const QOS_IS: &str = "linux-htb,{max-rate=100000000},{}";
const OUR_MIRROR: &str = "--no-headings --format=csv \
     --columns=name,output_port,output_vlan,select_all,select_dst_port,select_src_port,select_vlan,snaplen \
     find mirror external_ids:container_id=ID";
const MIRROR_IS: &str = "PORT,TAP_ROW,[],false,[PORT_ROW],[PORT_ROW],[],[]";

/// A setting of the Mirror row, of which there is one.
const fn mirror(name: &'static str, harm: &'static str) -> Setting {
    setting(name, (Database, harm), (Database, OUR_MIRROR), MIRROR_IS, "\n")
}

/// A setting of the `QoS` row, of which there is one.
const fn qos(name: &'static str, harm: &'static str) -> Setting {
    setting(name, (Database, harm), (Database, OUR_QOS), QOS_IS, "\n")
}

/// The rows beside those of a port.
pub(super) const BESIDE: &[Setting] = &[
    qos("QoS: `other_config`", "set qos QOS other_config:max-rate=1000"),
    qos("QoS: `type`", "set qos QOS type=linux-noop"),
    qos(
        "QoS: `queues`",
        "-- --id=@q create queue other_config:max-rate=1 -- set qos QOS queues:0=@q",
    ),
    qos("QoS: `external_ids`", "remove qos QOS external_ids owner"),
    qos("QoS: the row", "clear port PORT qos -- destroy qos QOS"),
    column("Port: `qos`", "clear port PORT qos", "get port PORT qos", "QOS"),
    mirror("Mirror: `select_all`", "set mirror MIRROR select_all=true"),
    mirror("Mirror: `select_src_port`", "clear mirror MIRROR select_src_port"),
    mirror("Mirror: `select_dst_port`", "clear mirror MIRROR select_dst_port"),
    mirror("Mirror: both `select_` columns", "clear mirror MIRROR select_src_port select_dst_port"),
    mirror("Mirror: `select_vlan`", "set mirror MIRROR select_vlan=9"),
    mirror("Mirror: `output_port`", "set mirror MIRROR output_port=PORT_ROW"),
    mirror(
        "Mirror: `output_vlan`",
        "clear mirror MIRROR output_port -- set mirror MIRROR output_vlan=9",
    ),
    mirror("Mirror: `snaplen`", "set mirror MIRROR snaplen=14"),
    mirror("Mirror: `name`", "set mirror MIRROR name=theirs"),
    mirror("Mirror: `external_ids`", "remove mirror MIRROR external_ids owner"),
    mirror("Mirror: `external_ids`, all", "clear mirror MIRROR external_ids"),
    mirror("Bridge: `mirrors`", "clear bridge ovsbr0 mirrors"),
];

/// Those of a trunk port with an address from a pool.
pub(super) const TRUNK: &[Setting] = &[
    column("Port: `trunks`, other ones", "set port PORT trunks=9", TRUNKS, "[10, 20]"),
    column("Port: `trunks` cleared", "clear port PORT trunks", TRUNKS, "[10, 20]"),
    column("Port: `vlan_mode` of a trunk", "set port PORT vlan_mode=access", MODE, "[]"),
    column("Port: `tag` of a trunk", "set port PORT tag=8", TAG, "[]"),
    column(
        "Bridge: `external_ids`, the address kept for the container",
        "clear bridge ovsbr0 external_ids",
        "get bridge ovsbr0 external_ids",
        "ID",
    ),
];

const FLOWS: Command = (Host, "ovs-ofctl -O OpenFlow13 --no-stats dump-flows ovsbr0 COOKIE");

/// Flow rules and meter of a port on a secured bridge.
pub(super) const GUARDS: &[Setting] = &[
    setting(
        "flows: deleted",
        (Host, "ovs-ofctl -O OpenFlow13 del-flows ovsbr0 COOKIE"),
        FLOWS,
        "priority=65535,",
        "never",
    ),
    setting(
        "flows: changed in place",
        (Host, "ovs-ofctl -O OpenFlow13 mod-flows ovsbr0 COOKIE,actions=NORMAL"),
        FLOWS,
        "actions=drop",
        "never",
    ),
    setting(
        "meter: deleted",
        (Host, "ovs-ofctl -O OpenFlow13 del-meters ovsbr0"),
        (Host, "ovs-ofctl -O OpenFlow13 dump-meters ovsbr0"),
        "rate=100000",
        "never",
    ),
    setting(
        "meter: changed in place",
        (Host, "ovs-ofctl -O OpenFlow13 mod-meter ovsbr0 meter=METER,kbps,bands=type=drop,rate=9"),
        (Host, "ovs-ofctl -O OpenFlow13 dump-meters ovsbr0"),
        "rate=100000",
        "never",
    ),
];

/// What nobody tells of.
pub(super) const SYSCTLS: &[Setting] = &[
    setting(
        "interface: `accept_ra`",
        (Inside, "sysctl -q -w net.ipv6.conf.eth1.accept_ra=2"),
        (Inside, "sysctl -n net.ipv6.conf.eth1.accept_ra"),
        "0",
        "2",
    ),
    setting(
        "interface: `autoconf`",
        (Inside, "sysctl -q -w net.ipv6.conf.eth1.autoconf=1"),
        (Inside, "sysctl -n net.ipv6.conf.eth1.autoconf"),
        "0",
        "1",
    ),
];
