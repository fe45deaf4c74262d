//! `explain`: all about one container.

use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::Args;
use port_plan::{Container, ObservedInterface, ObservedPort, PortConfig, PortSpec, State, labels};
use serde::Serialize;

use super::connection::{self, Connection, Control};
use super::output::{self, Format};
use super::table::{self, Line};
use super::{Outcome, plan, status};
use crate::board::{Denial, Row};
use crate::escape::escape;
use crate::http::Ports;
use crate::reconcile::{Observer, Preview};

pub(crate) const EXAMPLES: &str = "\
It has to see into the container, so it takes root. What was tried and when it is tried again is what
the daemon remembers; without a daemon, that part is missing.

Examples:
  ovs-port-manager explain web
  ovs-port-manager explain 3f2a9c1b0d47 --output json

Exit status: 0 the container has all that it asks for, 1 it could not be found out, 3 it has not";

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name, id, or the beginning of an id
    container: String,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    control: Control,

    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The answer, as JSON has it.
#[derive(Serialize)]
struct Answer {
    container: String,
    name: String,
    running_since: Option<String>,
    /// Its labels that are for this program.
    labels: Vec<String>,
    /// Why it does not get what it asks for.
    denied: Vec<String>,
    properties: Vec<Property>,
    /// What is to be done.
    steps: Vec<String>,
    /// How the daemon sees it.
    ports: Vec<Row>,
    note: Option<String>,
    /// A daemon runs that has not heard yet of something that the container asks for.
    #[serde(skip)]
    unheard: bool,
}

/// Something that is wanted of an interface, and what is there.
#[derive(Serialize)]
struct Property {
    interface: String,
    property: &'static str,
    desired: String,
    observed: String,
}

impl Explain {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let config = self.connection.load(Some(&self.control))?;
        let answer = connection::block_on(async {
            let observer = connection::observer(&config).await?;
            let asked = self.container.escape_debug();
            let found = observer.docker.find(&self.container).await?;
            let Some(container) = found else {
                bail!("Docker knows no container {asked}; docker ps -a lists them");
            };
            // Its links must be known before it is looked at.
            observer.survey().await?;
            let preview = observer.preview(&container.id).await?;
            let container = preview.container.as_ref().context("it has just been removed")?;
            let daemon = connection::ask_daemon(&config).await;
            let mut answer = answer(container, &preview, daemon);
            answer.properties.extend(remarks(&observer, &preview));
            Ok(answer)
        })?;
        match self.output {
            Format::Json => output::print_json(&answer)?,
            Format::Table => output::print(&text(&answer, SystemTime::now()))?,
        }
        let well = answer.denied.is_empty()
            && answer.steps.is_empty()
            && !answer.unheard
            && answer.ports.iter().all(|row| row.phase.is_well());
        Ok(if well { Outcome::Well } else { Outcome::Amiss })
    }
}

fn answer(container: &Container, preview: &Preview, daemon: Result<Ports, String>) -> Answer {
    let ours = container.labels.iter().filter(|(name, _)| name.starts_with(labels::PREFIX));
    let id = container.id.to_string();
    let answered = daemon.is_ok();
    let (ports, note) = match daemon {
        Ok(daemon) => {
            let of_it = daemon.ports.into_iter().filter(|row| row.container == id);
            (of_it.collect(), daemon.unready)
        }
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let steps = preview.plan.ports.iter().flat_map(|port| &port.steps);
    let is_known = |spec: &PortSpec| {
        let interface = spec.key.interface.as_str();
        ports.iter().any(|row: &Row| row.interface.as_deref() == Some(interface))
    };
    let unheard = answered && !preview.desired.specs().iter().all(is_known);
    Answer {
        name: container.name.to_string(),
        running_since: match &container.state {
            State::Running { start, .. } => Some(start.to_string()),
            State::Stopped => None,
        },
        labels: ours
            .map(|(name, value)| format!("{}={}", name.escape_debug(), value.escape_debug()))
            .collect(),
        denied: plan::denials(preview).iter().map(Denial::to_string).collect(),
        properties: preview.desired.specs().iter().flat_map(|it| properties(it, preview)).collect(),
        steps: steps.map(ToString::to_string).collect(),
        container: id,
        ports,
        note,
        unheard,
    }
}

/// What others have set that decides what passes.
fn remarks(observer: &Observer, preview: &Preview) -> Vec<Property> {
    let of_spec = |spec: &PortSpec| {
        let port = preview.observed.ports.iter().find(|port| port.key == spec.key);
        let remarks =
            observer.world.switch.remarks(&spec.bridge, port.map(|port| &port.name)).into_iter();
        let interface = spec.key.interface.to_string();
        remarks.map(move |(property, observed)| Property {
            interface: interface.clone(),
            property,
            desired: "-".to_owned(),
            observed,
        })
    };
    preview.desired.specs().iter().flat_map(of_spec).collect()
}

fn properties(spec: &PortSpec, preview: &Preview) -> Vec<Property> {
    let PortSpec {
        key,
        container_name: _,
        start: _,
        bridge,
        bridge_datapath: _,
        config,
        secured: _,
        mac,
        mac_given: _,
        adopt: _,
        mtu,
        addresses,
        detect_duplicates: _,
        leased: _,
        routes,
    } = spec;
    let port = preview.observed.ports.iter().find(|port| port.key == *key);
    let absent = || "-".to_owned();
    let of_port = |read: &dyn Fn(&ObservedPort) -> String| port.map_or_else(absent, read);
    let mut heeds_advertisements = false;
    let inside = match preview.observed.interfaces.get(&key.interface) {
        Some(ObservedInterface::Present {
            up,
            mac,
            mtu,
            heeds_advertisements: heeds,
            tx_checksum_offload: _,
            addresses,
            routes,
        }) => {
            heeds_advertisements = *heeds;
            let mac = mac.map_or_else(absent, |mac| mac.to_string());
            let state = if *up { "up" } else { "down" };
            [list(addresses), list(routes), mac, mtu.to_string(), state.to_owned()]
        }
        Some(ObservedInterface::Missing) | None => std::array::from_fn(|_| absent()),
    };
    let row = |property, desired, observed| Property {
        interface: key.interface.to_string(),
        property,
        desired,
        observed,
    };
    let mut rows = vec![
        row("bridge", bridge.to_string(), of_port(&|port| port.bridge.to_string())),
        row("port", "one of ours".to_owned(), of_port(&|port| port.name.to_string())),
    ];
    let columns = config.columns().into_iter().zip(PortConfig::default().columns());
    rows.extend(columns.enumerate().filter_map(|(at, (wanted, default))| {
        let found = port.and_then(|port| port.config.columns().get(at).cloned());
        // What nobody asked for and is not there goes without saying.
        let telling = wanted != default || found.as_ref().is_some_and(|found| *found != default);
        let found = found.map_or_else(absent, |found| found.to_string());
        // Marks say what addresses and MAC address say below.
        (telling && !wanted.is_mark()).then(|| row("setting", wanted.to_string(), found))
    }));
    let wanted = [
        ("addresses", list(addresses)),
        ("routes", list(routes)),
        ("mac", mac.to_string()),
        ("mtu", mtu.map_or("any".to_owned(), |mtu| mtu.to_string())),
        ("state", "up".to_owned()),
    ];
    let pairs = wanted.into_iter().zip(inside);
    rows.extend(pairs.map(|((property, wanted), found)| row(property, wanted, found)));
    // As they should be, they go without saying.
    let heeds = heeds_advertisements && spec.ignores_advertisements();
    let advertisements = || row("setting", "accept_ra=0 autoconf=0".to_owned(), "other".to_owned());
    rows.extend(heeds.then(advertisements));
    rows
}

fn list<T: ToString>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(",") }
}

fn text(answer: &Answer, now: SystemTime) -> String {
    let since = answer.running_since.as_deref();
    let state = since.map_or("not running".to_owned(), |since| format!("running since {since}"));
    let mut text = format!("{} ({}), {state}\n", escape(&answer.name), answer.container);
    section(&mut text, "labels", &answer.labels, "none that begin with ovs.");
    section(&mut text, "not attached", &answer.denied, "");
    if !answer.properties.is_empty() {
        let line = |row: &Property| {
            Line::Cells(vec![
                row.interface.as_str().into(),
                row.property.into(),
                row.desired.as_str().into(),
                row.observed.as_str().into(),
            ])
        };
        let lines = answer.properties.iter().map(line).collect();
        let heading = ["INTERFACE", "PROPERTY", "DESIRED", "OBSERVED"];
        text.push_str(&format!("\n{}", table::align(&heading, lines)));
    }
    section(&mut text, "to do", &answer.steps, "nothing");
    let mut daemon: Vec<_> = answer.ports.iter().map(|row| stands(row, now)).collect();
    daemon.extend(answer.note.clone());
    section(&mut text, "daemon", &daemon, "it knows nothing of this container");
    let steps = answer.ports.first().map(|row| row.steps.as_slice()).unwrap_or_default();
    let steps: Vec<_> = steps
        .iter()
        .map(|taken| {
            let failed = taken.error.as_ref().map(|error| format!(": failed: {error}"));
            let (at, milliseconds) = (&taken.at, taken.milliseconds);
            format!("{at} {} ({milliseconds} ms){}", taken.step, failed.unwrap_or_default())
        })
        .collect();
    section(&mut text, "steps taken lately", &steps, "");
    text
}

fn section(text: &mut String, title: &str, lines: &[String], otherwise: &str) {
    if lines.is_empty() && otherwise.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}:\n"));
    for line in lines {
        text.push_str(&format!("  {}\n", escape(line)));
    }
    if lines.is_empty() {
        text.push_str(&format!("  {otherwise}\n"));
    }
}

fn stands(row: &Row, now: SystemTime) -> String {
    let interface = row.interface.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let since = row.since.as_deref().and_then(|since| status::ago(since, now));
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let error = row.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let next = row.retry_at.as_deref().and_then(|at| status::until(at, now));
    let next = next.map(|next| format!("; {next}")).unwrap_or_default();
    let latency = row.latency.map(|latency| format!(", attached in {latency}")).unwrap_or_default();
    format!("{interface}{}{since}{latency}{error}{next}", row.phase)
}
