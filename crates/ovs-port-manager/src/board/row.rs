//! How a port stands, as it is shown: in tables, in JSON, over HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use port_plan::{ContainerId, LinkName, PortSpec};
use serde::{Deserialize, Serialize};

use super::metrics::Latency;
use super::state::Taken;
use crate::netlink::LinkNow;
use crate::switch::ByHandNow;

/// One interface of one container, or one container where there is no interface to speak of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The container's full id.
    pub(crate) container: String,
    pub(crate) name: String,
    /// The Compose service that it belongs to.
    pub(crate) service: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) bridge: Option<String>,
    /// The port's name, which is that of the link in the host.
    pub(crate) port: Option<String>,
    /// The settings of the port's rows, as `ovs-vsctl set` writes them.
    pub(crate) settings: Vec<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) mac: Option<String>,
    pub(crate) ofport: Option<i64>,
    /// The link in the host: `up`, `down` (no carrier) or `gone`.
    pub(crate) link: Option<String>,
    pub(crate) counters: Option<Counters>,
    pub(crate) phase: Phase,
    /// Since when it is in this phase (RFC 3339).
    pub(crate) since: Option<String>,
    pub(crate) error: Option<String>,
    /// When it is tried again (RFC 3339).
    pub(crate) retry_at: Option<String>,
    /// What its way to this port took, if it is one that this daemon has made.
    pub(crate) latency: Option<Milliseconds>,
    /// The last steps taken for the container, oldest first.
    pub(crate) steps: Vec<TakenStep>,
}

/// What has gone through an interface, as its container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) rx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_dropped: u64,
}

/// How far a container's interface has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// It forwards packets.
    Ready,
    /// It is in place; ovs-vswitchd has not taken it yet.
    Pending,
    /// It is to have a port and has none. Only who looks without the daemon sees that.
    Missing,
    /// It is in place and lets packets pass that its flow rules would drop: they are not in force, or not the first.
    Unguarded,
    /// It is in place, and something that is known keeps all packets from passing.
    Blocked,
    /// Something failed and will be tried again.
    Retrying,
    /// Its labels have mistakes.
    Mistaken,
    /// What it asks for is not allowed.
    Refused,
    /// A command has made it, for a container without labels.
    #[serde(rename = "by-hand")]
    ByHand,
}

/// What the parts of an interface's way to its port took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Milliseconds {
    pub(crate) docker: f64,
    pub(crate) netlink: f64,
    pub(crate) ovsdb: f64,
    pub(crate) ready: f64,
    pub(crate) total: f64,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TakenStep {
    /// When (RFC 3339).
    pub(crate) at: String,
    pub(crate) interface: String,
    pub(crate) step: String,
    pub(crate) milliseconds: u64,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

impl Row {
    pub(crate) fn new(id: &ContainerId, name: &str, phase: Phase) -> Self {
        Self {
            container: id.to_string(),
            name: name.to_owned(),
            service: None,
            interface: None,
            bridge: None,
            port: None,
            settings: Vec::new(),
            addresses: Vec::new(),
            mac: None,
            ofport: None,
            link: None,
            counters: None,
            phase,
            since: None,
            error: None,
            retry_at: None,
            latency: None,
            steps: Vec::new(),
        }
    }

    /// With what a port is to be, and its name if it has one.
    pub(crate) fn with_spec(self, spec: &PortSpec, port: Option<&LinkName>) -> Self {
        // Addresses and MAC address stand for themselves, not as marks.
        let settings = spec.config.given().into_iter().filter(|column| !column.is_mark());
        Self {
            interface: Some(spec.key.interface.to_string()),
            bridge: Some(spec.bridge.to_string()),
            port: port.map(ToString::to_string),
            settings: settings.map(|column| column.to_string()).collect(),
            addresses: spec.addresses.iter().map(ToString::to_string).collect(),
            mac: Some(spec.mac.to_string()),
            ..self
        }
    }

    /// With what the kernel knows of its link.
    pub(crate) fn add_link(&mut self, links: &BTreeMap<String, LinkNow>) {
        let Some(port) = &self.port else { return };
        let link = links.get(port);
        self.link =
            Some(link.map_or("gone", |link| if link.up { "up" } else { "down" }).to_owned());
        self.counters = link.map(|link| link.counters);
    }
}

impl From<ByHandNow> for Row {
    fn from(port: ByHandNow) -> Self {
        let ByHandNow { container, given, interface, bridge, port, ofport } = port;
        Self {
            interface: Some(interface),
            bridge: Some(bridge.to_string()),
            port: Some(port),
            ofport,
            ..Self::new(&container, &given, Phase::ByHand)
        }
    }
}

impl Milliseconds {
    pub(super) fn of(latency: Latency) -> Self {
        let Latency { docker, netlink, ovsdb, ready, total } = latency;
        // To the microsecond: what is beyond is noise.
        let in_full = |part: Duration| (part.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            docker: in_full(docker),
            netlink: in_full(netlink),
            ovsdb: in_full(ovsdb),
            ready: in_full(ready),
            total: in_full(total),
        }
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { docker, netlink, ovsdb, ready, total } = self;
        write!(
            f,
            "{total:.1} ms: docker {docker:.1}, netlink {netlink:.1}, ovsdb {ovsdb:.1}, ready {ready:.1}"
        )
    }
}

impl From<&Taken> for TakenStep {
    fn from(taken: &Taken) -> Self {
        let Taken { at, interface, step, took, error } = taken;
        Self {
            at: time(*at),
            interface: interface.to_string(),
            step: step.to_string(),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            error: error.as_ref().map(ToString::to_string),
        }
    }
}

impl Phase {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ready,
        Self::Pending,
        Self::Missing,
        Self::Unguarded,
        Self::Blocked,
        Self::Retrying,
        Self::Mistaken,
        Self::Refused,
        Self::ByHand,
    ];

    /// Whether there is nothing to do about it.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Ready | Self::ByHand)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending => "pending",
            Self::Missing => "missing",
            Self::Unguarded => "unguarded",
            Self::Blocked => "blocked",
            Self::Retrying => "retrying",
            Self::Mistaken => "mistaken",
            Self::Refused => "refused",
            Self::ByHand => "by-hand",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A time as RFC 3339 writes it, in UTC.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// One line of JSON for something that has happened.
pub(super) fn event(
    now: SystemTime,
    container: &ContainerId,
    name: &str,
    interface: Option<&str>,
    what: &str,
    detail: Option<&str>,
) -> String {
    serde_json::json!({
        "at": time(now), "container": container.as_str(), "name": name, "interface": interface,
        "what": what, "detail": detail,
    })
    .to_string()
}
