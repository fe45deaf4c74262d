//! `status`: how the ports of all containers stand.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use clap::Args;
use port_plan::{Desired, Forwarding, LinkName, PortPlan, PortSpec, Readiness};
use serde::Serialize;

use super::Outcome;
use super::connection::{self, Connection, Control};
use super::output::{self, Format};
use super::table::{self, Cell, Line};
use crate::board::{Instance, Phase, Row};
use crate::bridge_watch::{self, Told};
use crate::config::Config;
use crate::error_chain::chain;
use crate::netlink;
use crate::reconcile::{Observer, Preview, forwarding};

pub(crate) const EXAMPLES: &str = "\
It asks the daemon; where none runs, it asks Docker and Open vSwitch itself, and says so.

Phases: ready (forwards packets), pending (waits for ovs-vswitchd), blocked (nothing passes),
unguarded (more passes than its flow rules allow), retrying (something failed),
missing (has no port, and no daemon runs), mistaken (mistakes in its labels), refused (not allowed).

Examples:
  ovs-port-manager status
  ovs-port-manager status --watch
  ovs-port-manager status --output json | jq '.ports[] | select(.phase != \"ready\")'

Exit status: 0 all containers have their ports, 1 nobody could be asked, 3 some lack one";

/// The time between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    control: Control,

    /// Show it again each second, until interrupted
    #[arg(long)]
    watch: bool,

    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The answer, as JSON has it.
#[derive(Serialize)]
struct Answer {
    /// Where the daemon stands; none if none was asked.
    instance: Option<Instance>,
    /// What is to be known about the answer as a whole.
    note: Option<String>,
    ports: Vec<Row>,
}

impl Status {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let config = self.connection.load(Some(&self.control))?;
        connection::block_on(async {
            loop {
                let answer = answer(&config).await?;
                let clear = self.watch && std::io::stdout().is_terminal();
                if clear {
                    // Home, and erase what is below (ECMA-48, CUP and ED).
                    output::print("\x1b[H\x1b[J")?;
                }
                match self.output {
                    Format::Json => output::print_json(&answer)?,
                    Format::Table => output::print(&text(&answer, SystemTime::now()))?,
                }
                if !self.watch {
                    let well = answer.ports.iter().all(|row| row.phase.is_well());
                    return Ok(if well { Outcome::Well } else { Outcome::Amiss });
                }
                tokio::time::sleep(AGAIN).await;
            }
        })
    }
}

async fn answer(config: &Config) -> anyhow::Result<Answer> {
    let reason = match connection::ask_daemon(config).await {
        // One that stands by does not know the containers.
        Ok(daemon) if daemon.instance == Instance::Standby => {
            "the daemon that answers stands by for another".to_owned()
        }
        Ok(daemon) => {
            let (instance, ports) = (Some(daemon.instance), daemon.ports);
            return Ok(Answer { instance, note: daemon.unready, ports });
        }
        Err(reason) => reason,
    };
    let observer = connection::observer(config).await?;
    let ports = look(&observer).await?;
    let note = Some(format!("{reason}; this is what Docker and Open vSwitch say"));
    Ok(Answer { instance: None, note, ports })
}

/// How all containers stand, without a daemon's memory.
async fn look(observer: &Observer) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let told = bridge_watch::ask_of_all(&observer.world.switch).await;
    for id in observer.survey().await? {
        match observer.preview(&id).await {
            Ok(preview) => rows.extend(rows_of(observer, &told, &preview)),
            Err(error) => {
                let name = observer.world.switch.container_name(&id).unwrap_or_default();
                let error = Some(chain(&error));
                rows.push(Row { error, ..Row::new(&id, &name, Phase::Missing) });
            }
        }
    }
    rows.extend(observer.world.switch.by_hand().into_iter().map(Row::from));
    let links = netlink::traffic()?;
    rows.iter_mut().for_each(|row| row.add_link(&links));
    rows.sort_by(|a, b| (&a.name, &a.interface).cmp(&(&b.name, &b.interface)));
    Ok(rows)
}

fn rows_of(observer: &Observer, told: &HashMap<LinkName, Told>, preview: &Preview) -> Vec<Row> {
    let Some(container) = &preview.container else { return Vec::new() };
    let service = observer.compose_service(container);
    let row = |phase, error| Row {
        service: service.clone(),
        error,
        ..Row::new(&container.id, &container.name, phase)
    };
    match &preview.desired {
        Desired::Nothing => Vec::new(),
        Desired::Mistaken(mistakes) => {
            let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            vec![row(Phase::Mistaken, Some(told.join("; ")))]
        }
        Desired::Refused(refusal) => vec![row(Phase::Refused, Some(refusal.to_string()))],
        Desired::Ports(ports) => ports
            .specs
            .iter()
            .map(|spec| {
                let mut plans = preview.plan.ports.iter();
                let plan = plans.find(|plan| plan.interface == spec.key.interface);
                let (phase, ofport, error) = stands(observer, told, spec, plan);
                let port = plan.and_then(there);
                Row { ofport, ..row(phase, error) }.with_spec(spec, port)
            })
            .collect(),
    }
}

/// The port that is there already.
fn there(plan: &PortPlan) -> Option<&LinkName> {
    plan.placed().filter(|placed| !placed.fresh).map(|placed| &placed.port)
}

fn stands(
    observer: &Observer,
    told: &HashMap<LinkName, Told>,
    spec: &PortSpec,
    plan: Option<&PortPlan>,
) -> (Phase, Option<i64>, Option<String>) {
    if let Some(refusal) = plan.and_then(PortPlan::refusal) {
        return (Phase::Refused, None, Some(refusal.to_string()));
    }
    let Some(port) = plan.and_then(there) else { return (Phase::Missing, None, None) };
    match observer.world.switch.readiness(port) {
        Some(Readiness::Ready { ofport }) => {
            let told = told.get(&spec.bridge).cloned().unwrap_or_default();
            let forwarding = forwarding(&observer.world.switch, spec, port, &told);
            let reason = forwarding.to_string().replace("PORT", port.as_str());
            match forwarding {
                Forwarding::Works => (Phase::Ready, Some(ofport), None),
                Forwarding::Blocked(_) => (Phase::Blocked, Some(ofport), Some(reason)),
                Forwarding::Unguarded(_) => (Phase::Unguarded, Some(ofport), Some(reason)),
            }
        }
        Some(Readiness::Failed { error }) => (Phase::Retrying, None, Some(error)),
        Some(Readiness::Waiting) | None => (Phase::Pending, None, None),
    }
}

fn text(answer: &Answer, now: SystemTime) -> String {
    let heading = [
        "CONTAINER",
        "INTERFACE",
        "BRIDGE",
        "SETTINGS",
        "ADDRESSES",
        "MAC",
        "PORT",
        "OFPORT",
        "LINK",
        "RX",
        "TX",
        "PHASE",
        "SINCE",
    ];
    let mut lines = Vec::new();
    for row in &answer.ports {
        lines.push(Line::Cells(cells(row, now)));
        lines.extend(row.error.as_ref().map(|error| {
            let next = row.retry_at.as_deref().and_then(|at| until(at, now));
            Line::Remark(next.map_or_else(|| error.clone(), |next| format!("{error}; {next}")))
        }));
    }
    let note = answer.note.as_ref().map(|note| format!("{note}\n")).unwrap_or_default();
    if lines.is_empty() {
        return format!("{note}no container asks for a port\n");
    }
    format!("{note}{}", table::align(&heading, lines))
}

fn cells(row: &Row, now: SystemTime) -> Vec<Cell> {
    let or_dash = |text: Option<String>| text.filter(|it| !it.is_empty()).unwrap_or("-".to_owned());
    let bytes =
        |read: fn(&crate::board::Counters) -> u64| or_dash(row.counters.map(|it| size(read(&it))));
    let name = if row.name.is_empty() {
        row.container.chars().take(12).collect()
    } else {
        row.name.clone()
    };
    vec![
        name.into(),
        or_dash(row.interface.clone()).into(),
        or_dash(row.bridge.clone()).into(),
        or_dash(Some(row.settings.join(" "))).into(),
        or_dash(Some(row.addresses.join(","))).into(),
        or_dash(row.mac.clone()).into(),
        or_dash(row.port.clone()).into(),
        or_dash(row.ofport.map(|ofport| ofport.to_string())).into(),
        or_dash(row.link.clone()).into(),
        bytes(|it| it.rx_bytes).into(),
        bytes(|it| it.tx_bytes).into(),
        row.phase.into(),
        or_dash(row.since.as_deref().and_then(|since| ago(since, now))).into(),
    ]
}

/// How long ago a time was, in its two largest units.
pub(super) fn ago(since: &str, now: SystemTime) -> Option<String> {
    let since = humantime::parse_rfc3339(since).ok()?;
    Some(rough(now.duration_since(since).unwrap_or_default()))
}

/// When something happens.
pub(super) fn until(at: &str, now: SystemTime) -> Option<String> {
    let at = humantime::parse_rfc3339(at).ok()?;
    Some(match at.duration_since(now) {
        Ok(pause) => format!("next try in {}", rough(pause)),
        Err(_) => "next try now".to_owned(),
    })
}

fn rough(duration: Duration) -> String {
    let seconds = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    seconds.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Bytes in the largest unit that leaves at least one (IEC 80000-13).
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let fits = |(_, shift): &&(&str, u32)| bytes >= 1 << shift;
    UNITS.iter().find(fits).map_or_else(
        || bytes.to_string(),
        |(unit, shift)| format!("{:.1}{unit}", bytes as f64 / f64::from(2_u32).powi(*shift as i32)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 1023, 1024, 1_536, 5 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0", "1023", "1.0K", "1.5K", "5.0G", "16777216.0T"]);
        let now = humantime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
        assert_eq!(ago("2026-01-01T01:02:03Z", now).unwrap(), "1day 2h");
        assert_eq!(ago("2026-01-02T03:04:05.5Z", now).unwrap(), "0s");
        assert_eq!(until("2026-01-02T03:04:15Z", now).unwrap(), "next try in 10s");
        assert_eq!(ago("yesterday", now), None);
    }
}
