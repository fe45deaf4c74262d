//! What is counted, in the form that Prometheus scrapes (OpenMetrics 1.0).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use port_plan::{Refusal, Step, labels};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::row::{Counters, Phase, Row};
use super::{Board, Denial};

type Labels = Vec<(&'static str, String)>;
type Counts = Family<Labels, Counter>;

const PREFIX: &str = "ovs_port_manager";

/// Ports with counters of their own; a scrape must not grow without bound with the containers of a host.
const PORTS: usize = 1_000;

/// Upper bounds of the latency's buckets in seconds: a port takes some milliseconds, a bad day seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The parts of the way to a port, as the values of the label `part`.
const PARTS: [&str; 5] = ["docker", "netlink", "ovsdb", "ready", "total"];

/// Why an interface is refused, as the values of the label `reason`.
const REASONS: [&str; 12] = [
    "host_network",
    "container_network",
    "foreign_port",
    "mirror_port",
    "image_labels",
    "image_unknown",
    "policy",
    "taken",
    "no_pool",
    "pool_exhausted",
    "reserved",
    "misfit",
];

/// Where others connect to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Control,
}

/// Why a connection was closed before its answer had been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It asked for nothing, and gave way to another one.
    Idle,
    /// It did not read its answer, and gave way.
    Unread,
    /// Its answer was being made; it gave way to one from where fewer come.
    Unanswered,
    /// It followed events, and gave way to another such stream.
    Stream,
    /// It took longer than one may.
    Late,
}

impl Door {
    const ALL: [Self; 2] = [Self::Http, Self::Control];

    fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP port",
            Self::Control => "control socket",
        })
    }
}

impl Closed {
    const ALL: [Self; 5] = [Self::Idle, Self::Unread, Self::Unanswered, Self::Stream, Self::Late];

    fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Unanswered => "unanswered",
            Self::Stream => "stream",
            Self::Late => "late",
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What the way of one container to its new port took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Latency {
    /// Until Docker had said what the container is.
    pub(crate) docker: Duration,
    /// The kernel's part.
    pub(crate) netlink: Duration,
    /// Transactions.
    pub(crate) ovsdb: Duration,
    /// From then until ovs-vswitchd forwarded.
    pub(crate) ready: Duration,
    /// From the beginning of the look to the end.
    pub(crate) total: Duration,
}

pub(super) struct Metrics {
    registry: Registry,
    pub(super) retries: Counter,
    pub(super) resyncs: Counter,
    resync_writes: Counter,
    steps: Counts,
    reconnects: Counts,
    mistakes: Counts,
    refusals: Counts,
    closed: Counts,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Self {
            retries: Counter::default(),
            resyncs: Counter::default(),
            resync_writes: Counter::default(),
            steps: Counts::default(),
            reconnects: Counts::default(),
            mistakes: Counts::default(),
            refusals: Counts::default(),
            closed: Counts::default(),
            latency: Family::new_with_constructor(histogram as fn() -> Histogram),
            registry: Registry::default(),
        };
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        registry.register("retries", "Failures that were tried again", metrics.retries.clone());
        registry.register("resyncs", "Looks at all containers", metrics.resyncs.clone());
        let help = "Steps that a look at all containers led to";
        registry.register("resync_writes", help, metrics.resync_writes.clone());
        registry.register("steps", "Steps carried out, by kind", metrics.steps.clone());
        let help = "Connections lost and made again, by service";
        registry.register("reconnects", help, metrics.reconnects.clone());
        let help = "Mistakes in labels, by label, each once for each start of a container";
        registry.register("mistakes", help, metrics.mistakes.clone());
        let help = "Interfaces refused, by reason, each once for each start of a container";
        registry.register("refusals", help, metrics.refusals.clone());
        let help = "Connections closed before their answer had been read, by listener and reason";
        registry.register("connections_closed", help, metrics.closed.clone());
        let help = "From the event of a container to its port, by part of the way";
        registry.register_with_unit("attach", help, Unit::Seconds, metrics.latency.clone());
        // Prometheus sees an increase only from a value that it has seen: there is one before the first event.
        for service in ["docker", "ovsdb"] {
            let _ = metrics.reconnects.get_or_create(&vec![("service", service.to_owned())]);
        }
        for label in labels::LABELS.iter().map(|label| label.key).chain(["unknown"]) {
            let _ = metrics.mistakes.get_or_create(&vec![("label", label.to_owned())]);
        }
        for door in Door::ALL {
            for why in Closed::ALL {
                let _ = metrics.closed.get_or_create(&closed(door, why));
            }
        }
        for part in PARTS {
            let _ = metrics.latency.get_or_create(&vec![("part", part.to_owned())]);
        }
        for reason in REASONS {
            let _ = metrics.refusals.get_or_create(&vec![("reason", reason.to_owned())]);
        }
        Self { registry, ..metrics }
    }

    pub(super) fn step(&self, step: &Step, resync: bool) {
        let kind = match step {
            Step::AddBridge { .. } => "add-br",
            Step::AddLink(_) => "add-link",
            Step::AdoptPort { .. } => "adopt-port",
            Step::SetLink(_) => "set-link",
            Step::DelLink { .. } => "del-link",
            Step::AddPort { .. } => "add-port",
            Step::SetPort { .. } => "set-port",
            Step::SetFlows { .. } => "set-flows",
            Step::DelPort { .. } => "del-port",
            Step::SetHostLink(_) => "set-link",
            Step::Destroy(_) => "destroy",
        };
        count(&self.steps, "step", kind);
        if resync {
            self.resync_writes.inc();
        }
    }

    pub(super) fn reconnect(&self, service: &'static str) {
        count(&self.reconnects, "service", service);
    }

    pub(super) fn connection_closed(&self, door: Door, why: Closed) {
        self.closed.get_or_create(&closed(door, why)).inc();
    }

    /// Labels' names are untrusted: only those of the table become values of ours.
    pub(super) fn denied(&self, denial: &Denial) {
        match denial {
            Denial::Mistake(mistake) => {
                let key = mistake.label.rsplit('.').next().unwrap_or_default();
                let known = labels::LABELS.iter().find(|label| label.key == key);
                count(&self.mistakes, "label", known.map_or("unknown", |label| label.key));
            }
            Denial::Refused { refusal, .. } => {
                let reason = match refusal {
                    Refusal::HostNetwork => "host_network",
                    Refusal::ContainerNetwork(_) => "container_network",
                    Refusal::ForeignPort { .. } => "foreign_port",
                    Refusal::MirrorPort(_) => "mirror_port",
                    Refusal::ImageLabels(_) => "image_labels",
                    Refusal::ImageUnknown(_) => "image_unknown",
                    Refusal::Policy(_) => "policy",
                    Refusal::Taken(_) | Refusal::NumberTaken(_) => "taken",
                    Refusal::Reserved(_) => "reserved",
                    Refusal::NoPool { .. } => "no_pool",
                    Refusal::PoolExhausted(_) => "pool_exhausted",
                    Refusal::Misfit(_) => "misfit",
                };
                count(&self.refusals, "reason", reason);
            }
        }
    }

    pub(super) fn attached(&self, latency: Latency) {
        let Latency { docker, netlink, ovsdb, ready, total } = latency;
        for (part, took) in PARTS.into_iter().zip([docker, netlink, ovsdb, ready, total]) {
            let labels = vec![("part", part.to_owned())];
            self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }
}

fn closed(door: Door, why: Closed) -> Labels {
    vec![("listener", door.label().to_owned()), ("reason", why.label().to_owned())]
}

fn count(counts: &Counts, label: &'static str, value: &str) {
    counts.get_or_create(&vec![(label, value.to_owned())]).inc();
}

/// All metrics, as OpenMetrics text.
pub(crate) fn exposition(board: &Board, rows: &[Row]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, &board.metrics.registry)?;
    encode_registry(&mut text, &of_now(board, rows))?;
    encode_eof(&mut text)?;
    Ok(text)
}

/// What is true now, as opposed to what has been counted.
fn of_now(board: &Board, rows: &[Row]) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let phases = Family::<Labels, Gauge>::default();
    for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Missing) {
        let number = rows.iter().filter(|row| row.phase == phase).count();
        let labels = vec![("phase", phase.as_str().to_owned())];
        phases.get_or_create(&labels).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    registry.register("ports", "Interfaces that containers ask for, by phase", phases);
    let connected = Family::<Labels, Gauge>::default();
    let (docker, ovsdb) = {
        let state = board.state();
        (state.docker, state.ovsdb)
    };
    for (service, connected_now) in [("docker", docker), ("ovsdb", ovsdb)] {
        let labels = vec![("service", service.to_owned())];
        connected.get_or_create(&labels).set(connected_now.into());
    }
    registry.register("connected", "Whether the service is connected", connected);
    let ready = Gauge::<i64>::default();
    ready.set(board.unready().is_none().into());
    registry.register("ready", "Whether containers get their ports, as /readyz says", ready);

    let counted: Vec<_> = rows.iter().filter_map(|row| Some((row, row.counters?))).collect();
    let left_out = Gauge::<i64>::default();
    left_out.set(i64::try_from(counted.len().saturating_sub(PORTS)).unwrap_or(i64::MAX));
    let help = "Ports beyond the bound on ports with counters of their own";
    registry.register("ports_without_counters", help, left_out);
    traffic(&mut registry, counted.get(..PORTS.min(counted.len())).unwrap_or_default());
    registry
}

fn traffic(registry: &mut Registry, ports: &[(&Row, Counters)]) {
    type Read = fn(&Counters) -> u64;
    let kinds: [(&str, &str, Unit, Read); 6] = [
        ("receive", "received", Unit::Bytes, |it| it.rx_bytes),
        ("transmit", "sent", Unit::Bytes, |it| it.tx_bytes),
        ("receive", "received", Unit::Other("packets".into()), |it| it.rx_packets),
        ("transmit", "sent", Unit::Other("packets".into()), |it| it.tx_packets),
        ("receive_dropped", "dropped on the way in", Unit::Other("packets".into()), |it| {
            it.rx_dropped
        }),
        ("transmit_dropped", "dropped on the way out", Unit::Other("packets".into()), |it| {
            it.tx_dropped
        }),
    ];
    for (name, what, unit, read) in kinds {
        let family = Counts::default();
        for (row, counters) in ports {
            let labels = vec![
                ("container", row.name.clone()),
                ("service", row.service.clone().unwrap_or_default()),
                ("interface", row.interface.clone().unwrap_or_default()),
            ];
            family.get_or_create(&labels).inc_by(read(counters));
        }
        let help =
            format!("What the container has {what}, by container, Compose service and interface");
        registry.register_with_unit(format!("port_{name}"), help, unit, family);
    }
}

/// OpenMetrics text as the older text format of Prometheus (version 0.0.4), for those who do not ask for
/// OpenMetrics: there a counter's name has its ending in `HELP` and `TYPE`, too, and there is no type `info`.
pub(crate) fn prometheus_text(open_metrics: &str) -> String {
    let mut types = BTreeMap::new();
    for line in open_metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            types.insert(name, kind);
        }
    }
    let ending = |name: &str| match types.get(name) {
        Some(&"counter") => "_total",
        Some(&"info") => "_info",
        _ => "",
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(kind @ ("HELP" | "TYPE")), Some(name), Some(rest)) => {
                let rest = if rest == "info" { "gauge" } else { rest };
                text.push_str(&format!("# {kind} {name}{} {rest}", ending(name)));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}
