//! The label table, and how a container's labels are read.
//!
//! Labels are untrusted: whoever can start a container, or publish an image, writes them. Every mistake
//! of a container is reported at once, and a container with any mistake gets nothing (it fails closed).

mod mistake;
mod read;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub use mistake::Mistake;

use crate::link_name::LinkName;
use crate::mac::MacAddress;
use crate::spec::Defaults;
use crate::vlan::Vlan;

/// What the names of all our labels begin with. A container without any such label is not ours.
pub const PREFIX: &str = "ovs.";

/// One label that users may set.
#[derive(Debug)]
pub struct Label {
    /// Its full name.
    pub name: &'static str,
    /// How its value is written.
    pub value: &'static str,
    /// What holds when it is not given, for people.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub meaning: &'static str,
    /// Takes the value over into what is wanted, or says what is wrong with it.
    read: fn(&str, &mut Wanted) -> Vec<String>,
}

/// The required label.
const IP_ADDRESS: &str = "ovs.ip_address";
const GATEWAY: &str = "ovs.gateway";
const MTU: &str = "ovs.mtu";

/// All labels, in the order in which the documentation lists them.
pub const LABELS: &[Label] = &[
    Label {
        name: IP_ADDRESS,
        value: "`ADDRESS/LENGTH[,…]`",
        default: "required",
        meaning: "The interface's addresses, IPv4 and IPv6, each with its prefix length, separated by commas.",
        read: read::addresses,
    },
    Label {
        name: "ovs.bridge",
        value: "`NAME`",
        default: "`ovsbr0`, or `default_bridge` of the configuration",
        meaning: "The Open vSwitch bridge that the port goes on. It is created if it does not exist.",
        read: read::bridge,
    },
    Label {
        name: GATEWAY,
        value: "`ADDRESS[,ADDRESS]`",
        default: "none",
        meaning: "Default gateway inside the container, at most one of each family, inside one of the \
                  interface's prefixes. It takes the place of a default route that Docker has set.",
        read: read::gateways,
    },
    Label {
        name: MTU,
        value: "`BYTES`",
        default: "the kernel's, 1500",
        meaning: "MTU of the interface, 68 to 65535; at least 1280 with an IPv6 address.",
        read: read::mtu,
    },
    Label {
        name: "ovs.mac_address",
        value: "`XX:XX:XX:XX:XX:XX`",
        default: "derived from bridge, VLAN and first address",
        meaning: "MAC address of the interface, unicast.",
        read: read::mac,
    },
    Label {
        name: "ovs.vlan",
        value: "`1`–`4094`",
        default: "untagged",
        meaning: "VLAN that the port is an access port of (column `tag` of the Port).",
        read: read::vlan,
    },
    Label {
        name: "ovs.interface",
        value: "`NAME`",
        default: "`eth1`, or `default_interface` of the configuration",
        meaning: "The interface's name inside the container. It must not exist there yet.",
        read: read::interface,
    },
];

/// What the labels of one container ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The bridge.
    pub bridge: LinkName,
    /// The interface's name inside the container.
    pub interface: LinkName,
    /// The interface's addresses, at least one.
    pub addresses: Vec<IpNet>,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// MTU in bytes.
    pub mtu: Option<u16>,
    /// MAC address.
    pub mac: Option<MacAddress>,
    /// Access VLAN.
    pub vlan: Option<Vlan>,
}

/// Whether a container with these label names is any business of ours.
pub fn concern_us<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name.starts_with(PREFIX))
}

/// Reads a container's labels: `None` without any `ovs.` label.
///
/// # Errors
///
/// Every mistake in them, in the order of the labels' names; never an empty list.
pub fn parse(
    labels: &BTreeMap<String, String>,
    defaults: &Defaults,
) -> Result<Option<Wanted>, Vec<Mistake>> {
    if !concern_us(labels.keys().map(String::as_str)) {
        return Ok(None);
    }
    let mut wanted = Wanted {
        bridge: defaults.bridge.clone(),
        interface: defaults.interface.clone(),
        addresses: Vec::new(),
        gateways: Vec::new(),
        mtu: None,
        mac: None,
        vlan: None,
    };
    let mut mistakes = Vec::new();
    for (name, value) in labels.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match LABELS.iter().find(|label| label.name == name) {
            Some(label) => mistakes.extend(
                (label.read)(value.trim(), &mut wanted)
                    .into_iter()
                    .map(|problem| Mistake::new(label.name, Some(value), problem)),
            ),
            None => mistakes.push(Mistake::unknown(name, value)),
        }
    }
    if !labels.contains_key(IP_ADDRESS) {
        let problem = "missing; give an address with prefix length, such as 192.168.1.100/24";
        mistakes.push(Mistake::new(IP_ADDRESS, None, problem.to_owned()));
    }
    // Labels are judged together only where each is good by itself: no mistake is told twice.
    let problems =
        [(GATEWAY, read::gateways_reachable(&wanted)), (MTU, read::mtu_suffices(&wanted))];
    if mistakes.is_empty() {
        for (label, problem) in problems {
            let mistake = problem
                .err()
                .map(|text| Mistake::new(label, labels.get(label).map(String::as_str), text));
            mistakes.extend(mistake);
        }
    }
    if mistakes.is_empty() { Ok(Some(wanted)) } else { Err(mistakes) }
}

/// The label table as a Markdown page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Labels\n\nGenerated from the label table by `cargo xtask docs`.\n\n\
         | label | value | default | meaning |\n| --- | --- | --- | --- |\n",
    );
    for Label { name, value, default, meaning, read: _ } in LABELS {
        page.push_str(&format!("| `{name}` | {value} | {default} | {meaning} |\n"));
    }
    page.push_str(
        "\nA label that starts with `ovs.` and is not in this table is a mistake. A container with any \
         mistake is not attached;\nall its mistakes are logged together at WARN, once for each start.\n",
    );
    page
}

#[cfg(test)]
mod tests;
