//! The parts of the configuration file that say who may have what: pools and policy.

use std::net::IpAddr;

use ipnet::IpNet;
use port_plan::{
    AddressLimit, Glob, LinkName, MacPrefix, Policy, Pool, Rule, Source, Trunks, Vlan,
};
use serde::{Deserialize, Deserializer, de};

use super::{lists, parsed};

/// One entry of `pools`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolEntry {
    #[serde(default, deserialize_with = "parsed")]
    bridge: Option<LinkName>,
    #[serde(default, deserialize_with = "parsed")]
    vlan: Option<Vlan>,
    prefix: IpNet,
    range: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    gateway: Option<IpAddr>,
}

impl PoolEntry {
    /// The pool, or what is wrong with it.
    pub(super) fn pool(self, default_bridge: &LinkName) -> Result<Pool, String> {
        let Self { bridge, vlan, prefix, range, gateway } = self;
        let bridge = bridge.unwrap_or_else(|| default_bridge.clone());
        let range = range.as_deref().map(read_range).transpose()?;
        Pool::new(bridge, vlan, prefix, range, gateway)
            .map_err(|error| format!("pool {prefix}: {error}"))
    }
}

fn read_range(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let ends = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    ends.ok_or_else(|| format!("'{text}': not a range, such as 192.168.1.100-192.168.1.199"))
}

/// One entry of `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    rule: String,
    image: Option<String>,
    compose_project: Option<String>,
    container: Option<String>,
    #[serde(default, deserialize_with = "source")]
    labels_from: Option<Source>,
    #[serde(default, deserialize_with = "lists::list")]
    bridges: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lists::vlans")]
    vlans: Option<Trunks>,
    #[serde(default, deserialize_with = "lists::list")]
    addresses: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lists::list")]
    macs: Option<Vec<String>>,
}

impl RuleEntry {
    fn rule(self) -> Result<Rule, String> {
        let Self {
            rule: name,
            image,
            compose_project,
            container,
            labels_from,
            bridges,
            vlans,
            addresses,
            macs,
        } = self;
        let addresses = addresses.map(limit).transpose();
        let addresses = addresses.map_err(|text| {
            format!("rule '{name}': addresses: '{text}': neither a prefix, such as 10.0.0.0/24, nor none")
        })?;
        let mac = |text: String| {
            text.parse::<MacPrefix>()
                .map_err(|error| format!("rule '{name}': macs: '{text}': {error}"))
        };
        let macs = macs.map(|macs| macs.into_iter().map(mac).collect()).transpose()?;
        Ok(Rule {
            image: image.map(Glob::new),
            compose_project: compose_project.map(Glob::new),
            container: container.map(Glob::new),
            labels_from,
            bridges: bridges.map(|globs| globs.into_iter().map(Glob::new).collect()),
            vlans,
            addresses,
            macs,
            name,
        })
    }
}

/// The addresses that a rule allows; the entry that is none.
fn limit(entries: Vec<String>) -> Result<AddressLimit, String> {
    let mut limit = AddressLimit::default();
    for entry in entries {
        match (entry.trim(), entry.trim().parse()) {
            ("none", _) => limit.none = true,
            (_, Ok(prefix)) => limit.prefixes.push(prefix),
            (_, Err(_)) => return Err(entry),
        }
    }
    Ok(limit)
}

/// The policy of these entries.
pub(super) fn policy(entries: Vec<RuleEntry>) -> Result<Policy, String> {
    entries.into_iter().map(RuleEntry::rule).collect::<Result<_, _>>().map(Policy)
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Source>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "run" => Ok(Some(Source::Run)),
        "image" => Ok(Some(Source::Image)),
        other => Err(de::Error::custom(format!("'{other}': not one of run, image"))),
    }
}
