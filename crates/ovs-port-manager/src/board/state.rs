//! What is known, and how it changes. No IO, no clock.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use port_plan::{ContainerId, LinkName, Mistake, PortKey, PortSpec, Refusal};
use serde::{Deserialize, Serialize};

use super::metrics::Latency;
use super::row::{Milliseconds, Phase, Row, TakenStep, time};

/// Steps that are remembered of a container.
const STEPS: usize = 8;

/// Where this instance stands among others on the same database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Instance {
    /// It does not know yet.
    #[default]
    Starting,
    /// Another one acts; this one follows the database.
    Standby,
    /// It acts.
    Active,
}

/// Why a container does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    Mistake(Mistake),
    /// `interface` is `None` if it is for the whole container.
    Refused {
        interface: Option<LinkName>,
        refusal: Refusal,
    },
}

/// A failure that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) error: String,
    /// The interfaces that have no port because of it, with what they are to have; all of the container's if
    /// empty.
    pub(crate) interfaces: Vec<(LinkName, Option<PortSpec>)>,
    pub(crate) since: SystemTime,
    pub(crate) retry_at: SystemTime,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) instance: Instance,
    pub(super) docker: bool,
    pub(super) ovsdb: bool,
    pub(super) surveyed: bool,
    containers: BTreeMap<ContainerId, Box<Container>>,
    /// The ports that commands have made.
    pub(super) by_hand: Vec<Row>,
    /// The ports that are in place without their flow rules.
    unguarded: BTreeSet<PortKey>,
    /// The ports that are in place, and do not forward as they should.
    hindered: BTreeMap<PortKey, Hindrance>,
}

/// What is in the way of a port that is in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hindrance {
    /// `Blocked` or `Unguarded`.
    pub(crate) phase: Phase,
    pub(crate) reason: String,
    /// The container itself may have caused it.
    pub(crate) by_container: bool,
    pub(crate) since: SystemTime,
}

#[derive(Default)]
struct Container {
    name: Arc<str>,
    service: Option<String>,
    /// One for each interface.
    ports: Vec<Port>,
    denials: Vec<Denial>,
    denied_since: Option<SystemTime>,
    trouble: Option<Trouble>,
    steps: Vec<Taken>,
}

/// A step that was taken. There are some of every container for as long as it runs, so it is small.
pub(super) struct Taken {
    pub(super) at: SystemTime,
    pub(super) interface: LinkName,
    pub(super) step: Box<str>,
    pub(super) took: Duration,
    pub(super) error: Option<Box<str>>,
}

struct Port {
    name: LinkName,
    spec: Arc<PortSpec>,
    ofport: Option<i64>,
    since: SystemTime,
    latency: Option<Latency>,
}

impl State {
    pub(super) fn looked(
        &mut self,
        id: &ContainerId,
        name: &Arc<str>,
        service: Option<&str>,
        steps: Vec<Taken>,
    ) {
        let container = self.containers.entry(id.clone()).or_default();
        container.named(name);
        if let Some(service) = service {
            container.service = Some(service.to_owned());
        }
        container.steps.extend(steps);
        let surplus = container.steps.len().saturating_sub(STEPS);
        container.steps.drain(..surplus);
        container.steps.shrink_to_fit();
    }

    /// Whether that is news.
    pub(super) fn pending(
        &mut self,
        spec: &Arc<PortSpec>,
        port: &LinkName,
        now: SystemTime,
    ) -> bool {
        self.port(spec, port, None, now)
    }

    /// Whether that is news.
    pub(super) fn ready(
        &mut self,
        spec: &Arc<PortSpec>,
        port: &LinkName,
        ofport: i64,
        now: SystemTime,
    ) -> bool {
        self.unguarded.remove(&spec.key);
        self.port(spec, port, Some(ofport), now)
    }

    /// The port lets everything pass, until it is ready again.
    pub(super) fn unguarded(&mut self, key: &PortKey) {
        self.unguarded.insert(key.clone());
    }

    /// Something is in the way of a port, or nothing any more.
    pub(super) fn hindered(&mut self, key: &PortKey, hindrance: Option<Hindrance>) {
        match hindrance {
            Some(hindrance) => drop(self.hindered.insert(key.clone(), hindrance)),
            None => drop(self.hindered.remove(key)),
        }
    }

    fn port(
        &mut self,
        spec: &Arc<PortSpec>,
        name: &LinkName,
        ofport: Option<i64>,
        now: SystemTime,
    ) -> bool {
        let container = self.containers.entry(spec.key.container.clone()).or_default();
        container.named(&spec.container_name);
        let place = container.ports.iter().position(|port| port.of(&spec.key));
        let before = place.map(|place| container.ports.swap_remove(place));
        let before = before.filter(|port| port.name == *name);
        let latency = before.as_ref().and_then(|port| port.latency);
        let same = before.filter(|port| port.ofport.is_some() == ofport.is_some());
        let (since, news) = same.map_or((now, true), |port| (port.since, false));
        let port = Port { name: name.clone(), spec: Arc::clone(spec), ofport, since, latency };
        container.ports.reserve_exact(1);
        container.ports.push(port);
        news
    }

    pub(super) fn attached(&mut self, key: &PortKey, latency: Latency) {
        let container = self.containers.get_mut(&key.container);
        let port = container.and_then(|it| it.ports.iter_mut().find(|port| port.of(key)));
        if let Some(port) = port {
            port.latency = Some(latency);
        }
    }

    pub(super) fn denied(&mut self, id: &ContainerId, denials: Vec<Denial>, now: SystemTime) {
        let container = self.containers.entry(id.clone()).or_default();
        container.denied_since = (!denials.is_empty()).then_some(now);
        container.denials = denials;
    }

    pub(super) fn retrying(&mut self, id: &ContainerId, name: &Arc<str>, trouble: Trouble) {
        let container = self.containers.entry(id.clone()).or_default();
        container.named(name);
        let before = container.trouble.take();
        let since = before.map_or(trouble.since, |before| before.since);
        container.trouble = Some(Trouble { since, ..trouble });
    }

    pub(super) fn well(&mut self, id: &ContainerId) {
        if let Some(container) = self.containers.get_mut(id) {
            container.trouble = None;
        }
    }

    /// The container's name, if it had that port.
    pub(super) fn forget_port(&mut self, key: &PortKey) -> Option<Arc<str>> {
        self.unguarded.remove(key);
        self.hindered.remove(key);
        let container = self.containers.get_mut(&key.container)?;
        let place = container.ports.iter().position(|port| port.of(key))?;
        container.ports.swap_remove(place);
        Some(Arc::clone(&container.name))
    }

    pub(super) fn forget(&mut self, id: &ContainerId) {
        self.containers.remove(id);
        self.unguarded.retain(|key| key.container != *id);
        self.hindered.retain(|key, _| key.container != *id);
    }

    /// Nothing is known of any container.
    pub(super) fn forget_all(&mut self) {
        self.surveyed = false;
        self.containers.clear();
        self.unguarded.clear();
        self.hindered.clear();
    }

    pub(super) fn unready(&self) -> Option<Cow<'static, str>> {
        let reason = match self.instance {
            Instance::Standby => Some("standing by: another instance is at work"),
            _ if !self.ovsdb => Some("not connected to OVSDB"),
            _ if !self.docker => Some("not connected to Docker"),
            _ if !self.surveyed => Some("the first look at everything is not over"),
            _ if !self.unguarded.is_empty() => {
                Some("ports let everything pass, as their flow rules are not in force; see status")
            }
            _ => None,
        };
        reason.map(Cow::Borrowed).or_else(|| self.hindrance().map(Cow::Owned))
    }

    /// What is in the way of ports, but for what a container may have done to its own.
    fn hindrance(&self) -> Option<String> {
        let mut all = self.hindered.values().filter(|hindrance| !hindrance.by_container);
        let Hindrance { phase, reason, .. } = all.next()?;
        let ports = 1 + all.count();
        Some(format!("ports that are {phase}: {ports}; {reason}"))
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> =
            self.containers.iter().flat_map(|(id, container)| container.rows(id)).collect();
        for PortKey { container, interface } in &self.unguarded {
            let of_port = |row: &&mut Row| {
                row.container == container.as_str()
                    && row.interface.as_deref() == Some(interface.as_str())
            };
            rows.iter_mut().filter(of_port).for_each(|row| row.phase = Phase::Unguarded);
        }
        for row in rows.iter_mut().filter(|row| row.phase == Phase::Ready) {
            let is_of = |(key, _): &(&PortKey, &Hindrance)| {
                row.container == key.container.as_str()
                    && row.interface.as_deref() == Some(key.interface.as_str())
            };
            if let Some((_, hindrance)) = self.hindered.iter().find(is_of) {
                row.phase = hindrance.phase;
                row.error = Some(hindrance.reason.clone());
                row.since = Some(time(hindrance.since));
            }
        }
        rows.extend(self.by_hand.iter().cloned());
        rows.sort_by(|a, b| (&a.name, &a.interface).cmp(&(&b.name, &b.interface)));
        rows
    }
}

impl Port {
    fn of(&self, key: &PortKey) -> bool {
        self.spec.key.interface == key.interface
    }
}

impl Container {
    /// Takes note of its name, unless that is not known.
    fn named(&mut self, name: &Arc<str>) {
        if !name.is_empty() && self.name != *name {
            self.name = Arc::clone(name);
        }
    }

    fn rows(&self, id: &ContainerId) -> Vec<Row> {
        let mut rows: Vec<_> = self.ports.iter().map(|port| self.of_port(id, port)).collect();
        let mistakes: Vec<_> = self.denials.iter().filter_map(Denial::mistake).collect();
        if !mistakes.is_empty() {
            let error = mistakes.join("; ");
            rows.push(Row { error: Some(error), ..self.denied(id, Phase::Mistaken) });
        }
        for denial in &self.denials {
            if let Denial::Refused { interface, refusal } = denial {
                rows.push(Row {
                    interface: interface.as_ref().map(ToString::to_string),
                    error: Some(refusal.to_string()),
                    ..self.denied(id, Phase::Refused)
                });
            }
        }
        let Some(trouble) = &self.trouble else { return rows };
        for (interface, spec) in &trouble.interfaces {
            let interface = Some(interface.to_string());
            if !rows.iter().any(|row| row.interface == interface) {
                let row = self.blank(id, Phase::Retrying, trouble.since);
                let row = spec.iter().fold(row, |row, spec| row.with_spec(spec, None));
                rows.push(Row { interface, ..row });
            }
        }
        if rows.is_empty() {
            rows.push(self.blank(id, Phase::Retrying, trouble.since));
        }
        for row in &mut rows {
            let named = |(interface, _): &(LinkName, Option<PortSpec>)| {
                Some(interface.as_str()) == row.interface.as_deref()
            };
            let concerned = trouble.interfaces.is_empty() || trouble.interfaces.iter().any(named);
            if concerned && matches!(row.phase, Phase::Pending | Phase::Ready | Phase::Retrying) {
                row.phase = Phase::Retrying;
                row.since = Some(time(trouble.since));
                row.error = Some(trouble.error.clone());
                row.retry_at = Some(time(trouble.retry_at));
            }
        }
        rows
    }

    fn of_port(&self, id: &ContainerId, port: &Port) -> Row {
        let phase = if port.ofport.is_some() { Phase::Ready } else { Phase::Pending };
        let row = self.blank(id, phase, port.since);
        let latency = port.latency.map(Milliseconds::of);
        Row { ofport: port.ofport, latency, ..row.with_spec(&port.spec, Some(&port.name)) }
    }

    fn denied(&self, id: &ContainerId, phase: Phase) -> Row {
        self.blank(id, phase, self.denied_since.unwrap_or(SystemTime::UNIX_EPOCH))
    }

    fn blank(&self, id: &ContainerId, phase: Phase, since: SystemTime) -> Row {
        Row {
            service: self.service.clone(),
            since: Some(time(since)),
            steps: self.steps.iter().map(TakenStep::from).collect(),
            ..Row::new(id, &self.name, phase)
        }
    }
}

impl Denial {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Mistake(_) => Phase::Mistaken,
            Self::Refused { .. } => Phase::Refused,
        }
    }

    fn mistake(&self) -> Option<String> {
        match self {
            Self::Mistake(mistake) => Some(mistake.to_string()),
            Self::Refused { .. } => None,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistake(mistake) => mistake.fmt(f),
            Self::Refused { interface: None, refusal } => refusal.fmt(f),
            Self::Refused { interface: Some(interface), refusal } => {
                write!(f, "{interface}: {refusal}")
            }
        }
    }
}
