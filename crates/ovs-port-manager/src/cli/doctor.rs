//! `doctor`: what could keep containers from their ports, and what to do about it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anstyle::AnsiColor;
use clap::Args;
use port_plan::{ContainerId, Datapath, Forwarding, LinkName, PortFacts, PortPlan, Refusal, Step};
use serde::Serialize;

use super::Outcome;
use super::connection::{self, Connection, Control};
use super::output::{self, Format};
use super::table::{self, Cell, Line};
use crate::board::Instance;
use crate::bridge_watch::{self, Told};
use crate::config::{Config, ignored_variables};
use crate::docker::Docker;
use crate::error_chain::chain;
use crate::reconcile::Observer;
use crate::switch::{Broken, Inventory, Switch};
use crate::{daemon, datapath, netlink, preflight, privileges, surroundings};

pub(crate) const EXAMPLES: &str = "\
Each line is ok, a warning or a problem; below a warning or a problem stands what to do. Nothing is
changed. Run it as root, as the daemon runs.

Examples:
  ovs-port-manager doctor
  ovs-port-manager doctor --output json | jq '.[] | select(.level != \"ok\")'

Exit status: 0 no problem, 1 it could not be found out, 2 the command line is wrong, 3 a problem";

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    control: Control,

    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// One thing that was examined.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    about: &'static str,
    found: String,
    /// What to do.
    advice: Option<String>,
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, about: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, about, found: found.into(), advice: None });
    }

    fn warning(&mut self, about: &'static str, found: impl Into<String>, advice: &str) {
        self.tell(Level::Warning, about, found.into(), advice);
    }

    fn problem(&mut self, about: &'static str, found: impl Into<String>, advice: &str) {
        self.tell(Level::Problem, about, found.into(), advice);
    }

    fn tell(&mut self, level: Level, about: &'static str, found: String, advice: &str) {
        let advice = Some(advice.to_owned()).filter(|advice| !advice.is_empty());
        self.0.push(Finding { level, about, found, advice });
    }
}

impl Doctor {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let config = self.connection.load(Some(&self.control))?;
        let findings = connection::block_on(async { Ok(examine(&config).await) })?.0;
        match self.output {
            Format::Json => output::print_json(&findings)?,
            Format::Table => output::print(&text(&findings))?,
        }
        let problem = findings.iter().any(|finding| finding.level == Level::Problem);
        Ok(if problem { Outcome::Amiss } else { Outcome::Well })
    }
}

async fn examine(config: &Config) -> Findings {
    let mut findings = Findings::default();
    for ignored in ignored_variables(|name| std::env::var_os(name).is_some()) {
        findings.warning("configuration", ignored, "");
    }
    capabilities(&mut findings);
    kernel(&mut findings);
    let kernel_datapath = forwarding(&mut findings);
    let docker = docker(config, &mut findings).await;
    let misplaced = misplaced(config, &mut findings).await;
    let switch = switch(config, kernel_datapath, misplaced, &mut findings).await;
    standing(config, &mut findings).await;
    if misplaced {
        let found = "ports and links are not examined: from here they look as if they were broken";
        findings.warning("stale", found, "");
    } else if let (Some(docker), Some(switch)) = (docker, switch) {
        match daemon::settings(config) {
            Ok(settings) => {
                let observer = connection::observer_of(docker, switch, settings.rules);
                ports(&observer, &mut findings).await;
            }
            Err(error) => findings.problem("configuration", chain(error.as_ref()), ""),
        }
    }
    findings
}

fn capabilities(findings: &mut Findings) {
    let about = "capabilities";
    match privileges::missing() {
        Ok(missing) if missing.is_empty() => {
            let names = privileges::NEEDED.map(|needed| needed.name);
            findings.ok(about, format!("this user has {}", names.join(", ")));
        }
        Ok(missing) => {
            let lost = missing.iter().map(|it| format!("{} (to {})", it.name, it.reason));
            let lost = lost.collect::<Vec<_>>().join(", ");
            let advice = "run the daemon as root, or give it these capabilities";
            findings.problem(about, format!("this user lacks {lost}"), advice);
        }
        Err(error) => findings.problem(about, chain(&error), ""),
    }
}

/// What the work needs of the kernel.
fn kernel(findings: &mut Findings) {
    let about = "kernel";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match netlink::hears_other_namespaces() {
        Ok(()) => {
            let found = format!("{} tells what happens inside containers", release.trim());
            findings.ok(about, found);
        }
        Err(error) => findings.problem(
            about,
            format!(
                "{} does not tell what happens inside containers: {}",
                release.trim(),
                chain(&error)
            ),
            "the daemon needs the capability net_broadcast, and a kernel of 4.2 or later",
        ),
    }
    if Path::new("/proc/sys/net/ipv6").exists() {
        findings.ok(about, "has IPv6");
    } else {
        let advice =
            "containers with an IPv6 address will not be attached; boot without ipv6.disable=1";
        findings.warning(about, "has no IPv6", advice);
    }
}

/// Whether this is a place from which the work cannot be done.
async fn misplaced(config: &Config, findings: &mut Findings) -> bool {
    let misplaced = surroundings::examine(config).await;
    for place in &misplaced {
        findings.problem("namespaces", place.to_string(), place.advice());
    }
    !misplaced.is_empty()
}

/// The datapath of bridges that are to be made.
fn forwarding(findings: &mut Findings) -> Option<Datapath> {
    let about = "datapath";
    match datapath::of_kernel() {
        Ok(Datapath::System) => {
            findings.ok(about, "the kernel has its openvswitch module");
            Some(Datapath::System)
        }
        Ok(Datapath::Netdev) => {
            let found =
                "the kernel has no openvswitch module; bridges forward in user space (netdev)";
            findings.ok(about, found);
            Some(Datapath::Netdev)
        }
        Err(error) => {
            let advice = "set datapath_type to system or netdev";
            findings.problem(about, format!("the kernel cannot be asked: {error}"), advice);
            None
        }
    }
}

async fn docker(config: &Config, findings: &mut Findings) -> Option<Docker> {
    let about = "docker";
    if let Err(error) = preflight::docker_socket(config.docker.path()) {
        findings.problem(about, chain(&error), "");
        return None;
    }
    let docker = match Docker::connect(&config.docker).await {
        Ok(docker) => docker,
        Err(error) => {
            findings.problem(about, chain(&error), "look at Docker's log (journalctl -u docker)");
            return None;
        }
    };
    match docker.version().await {
        Ok(version) => {
            let tested = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
            let found = format!("{} answers, version {version}", config.docker);
            match tested {
                Some(..20) => {
                    findings.warning(about, found, "tested with 20.10 and later; upgrade Docker");
                }
                _ => findings.ok(about, found),
            }
        }
        Err(error) => findings.problem(about, chain(&error), ""),
    }
    Some(docker)
}

async fn switch(
    config: &Config,
    kernel: Option<Datapath>,
    misplaced: bool,
    findings: &mut Findings,
) -> Option<Switch> {
    let about = "open vswitch";
    if let ovsdb::Endpoint::Unix(path) = &config.ovsdb
        && let Err(error) = preflight::ovsdb_socket(path)
    {
        findings.problem(about, chain(&error), "");
        return None;
    }
    let switch = match Switch::connect(&config.ovsdb).await {
        Ok(switch) => switch,
        Err(error) => {
            findings.problem(about, chain(&error), "look at the log of ovsdb-server");
            return None;
        }
    };
    let Inventory { version, initialised, bridges, broken, foreign: _ } = switch.inventory();
    let version = version.unwrap_or("unknown".to_owned());
    findings.ok(about, format!("{} answers, Open vSwitch version {version}", config.ovsdb));
    if !initialised {
        findings.problem(about, "the database has no Open_vSwitch row", "ovs-vsctl init");
    }
    let runs = switch.vswitchd_runs().await;
    let told = match runs {
        Ok(true) => bridge_watch::ask_of_all(&switch).await,
        _ => HashMap::new(),
    };
    match runs {
        Ok(true) => findings.ok(about, "ovs-vswitchd runs"),
        Ok(false) => findings.problem(
            about,
            "ovs-vswitchd does not run: ports are in the database and forward nothing",
            "start it (systemctl start openvswitch-switch)",
        ),
        Err(error) => findings.problem(about, chain(&error), ""),
    }
    for (bridge, kind) in &bridges {
        let system = matches!(kind.as_str(), "" | "system");
        if system && kernel == Some(Datapath::Netdev) {
            findings.problem(
                "bridge",
                format!("{bridge} forwards in the kernel, which has no openvswitch module"),
                &format!("ovs-vsctl set bridge {bridge} datapath_type=netdev, or load the module"),
            );
        } else {
            let kind = if system { "system" } else { kind };
            findings.ok("bridge", format!("{bridge}, datapath_type {kind}"));
        }
    }
    if !bridges.iter().any(|(name, _)| name == config.default_bridge.as_str()) {
        let found = format!("{} is not there; the first container makes it", config.default_bridge);
        findings.ok("bridge", found);
    }
    forwarding_of_bridges(&switch, &told, findings);
    for Broken { port, error, ours } in broken {
        let advice = match (misplaced, ours) {
            (true, _) => "do not delete it: it may be sound, see namespaces above".to_owned(),
            (false, true) => "it is one of ours, the daemon sees to it: look at its log".to_owned(),
            (false, false) => format!("if nobody needs it: ovs-vsctl del-port {port}"),
        };
        findings.warning("port", format!("ovs-vswitchd cannot use {port}: {error}"), &advice);
    }
    Some(switch)
}

/// What keeps the ports of bridges from forwarding, or may.
fn forwarding_of_bridges(switch: &Switch, told: &HashMap<LinkName, Told>, findings: &mut Findings) {
    let about = "bridge";
    for (bridge, told) in told {
        let Some(facts) = switch.bridge_facts(bridge, told) else { continue };
        for controller in &facts.controllers {
            let found = format!("{bridge} has the controller {controller}");
            match controller.connected {
                true => findings.ok(about, found),
                false => findings.warning(about, found, "start it, or look at ovs-vswitchd's log"),
            }
        }
        let remarks = switch.remarks(bridge, None).into_iter();
        for (what, remark) in remarks.filter(|(what, _)| *what != "controller") {
            findings.ok(about, format!("{bridge} has a {what}, {remark}"));
        }
        if let obstacle @ Forwarding::Blocked(_) = Forwarding::of(&PortFacts::default(), &facts) {
            findings.problem(about, format!("{bridge}: {obstacle}"), "");
        }
    }
    for (port, bridge) in switch.links_down() {
        let found = format!("{port} of bridge {bridge} has no link: nothing passes there");
        findings.warning("port", found, "look at its cable, or at what is at its other end");
    }
}

async fn standing(config: &Config, findings: &mut Findings) {
    let about = "daemon";
    match connection::ask_daemon(config).await {
        Ok(daemon) => match daemon.unready {
            None => {
                let ports = daemon.ports.len();
                findings.ok(about, format!("version {} runs; interfaces: {ports}", daemon.version));
            }
            Some(reason) if daemon.instance == Instance::Standby => findings.ok(about, reason),
            Some(reason) => findings.warning(about, reason, "look at its log"),
        },
        Err(reason) => findings.warning(
            about,
            reason,
            "containers get no ports until it runs (ovs-port-manager run)",
        ),
    }
}

/// What is out of place: of ours, and of others.
async fn ports(observer: &Observer, findings: &mut Findings) {
    let about = "stale";
    let containers = match observer.survey().await {
        Ok(containers) => containers,
        Err(error) => return findings.problem("ports", chain(&error), ""),
    };
    let mut stale = 0;
    // What becomes of ports of others.
    let mut others = BTreeMap::new();
    for id in &containers {
        match observer.preview(id).await {
            Ok(preview) => {
                others.extend(preview.plan.ports.iter().filter_map(becomes));
                let steps = preview.plan.ports.iter().flat_map(|port| &port.steps);
                for step in steps.filter(|step| removes(step)) {
                    stale += 1;
                    let found = format!("of ours, for container {}: {step}", id.short());
                    findings.warning(about, found, "the daemon does it when it runs");
                }
            }
            Err(error) => {
                findings.warning("ports", format!("{}: {}", id.short(), chain(&error)), "");
            }
        }
        for step in observer.stale_by_hand(id).await {
            stale += 1;
            let found = format!("made by add-port, its container has ended: {step}");
            findings.warning(about, found, "the daemon does it when it runs");
        }
    }
    if stale == 0 {
        findings.ok(about, "no rows and links of ours without their containers");
    }
    foreign(observer, &others, findings).await;
}

/// The port of somebody else's that a plan is about, and what the daemon does with it: an error says why it refuses it.
fn becomes(plan: &PortPlan) -> Option<(String, Result<(), String>)> {
    if let Some(refusal @ Refusal::ForeignPort { port, .. }) = plan.refusal() {
        return Some((port.to_string(), Err(refusal.to_string())));
    }
    plan.steps.iter().find_map(|step| match step {
        Step::AdoptPort { port, .. } => Some((port.to_string(), Ok(()))),
        _ => None,
    })
}

fn removes(step: &Step) -> bool {
    matches!(step, Step::DelPort { .. } | Step::DelLink { .. } | Step::Destroy(_))
}

/// Ports that look as if ovs-docker or an earlier program had made them.
async fn foreign(
    observer: &Observer,
    others: &BTreeMap<String, Result<(), String>>,
    findings: &mut Findings,
) {
    let about = "others";
    let foreign = observer.world.switch.inventory().foreign;
    if foreign.is_empty() {
        findings.ok(about, "no ports for containers that somebody else has made");
    }
    for port in foreign {
        let (name, interface) = (&port.port, &port.interface);
        let container = port.container.escape_debug().to_string();
        let word = port.id.as_ref().map_or(port.container.as_str(), ContainerId::as_str);
        let found = format!("{name}, {interface} of container {container}");
        match observer.docker.find(word).await {
            Ok(Some(container)) if matches!(container.state, port_plan::State::Running { .. }) => {
                let found = format!("{found}, which runs");
                match others.get(name) {
                    Some(Ok(())) => {
                        findings
                            .ok(about, format!("{found}; the daemon takes it over when it runs"));
                    }
                    Some(Err(refusal)) => {
                        findings.warning(
                            about,
                            format!("{found}, is in the way of its labels"),
                            refusal,
                        );
                    }
                    None => findings.ok(about, format!("{found}; it is left alone")),
                }
            }
            Ok(_) => findings.warning(
                about,
                format!("{found}, which does not run"),
                &format!("nobody clears it away: ovs-vsctl del-port {name}"),
            ),
            Err(error) => findings.warning(about, format!("{found}: {}", chain(&error)), ""),
        }
    }
}

fn text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for Finding { level, about, found, advice } in findings {
        let level = match level {
            Level::Ok => Cell::coloured("ok", AnsiColor::Green),
            Level::Warning => Cell::coloured("warning", AnsiColor::Yellow),
            Level::Problem => Cell::coloured("problem", AnsiColor::Red),
        };
        lines.push(Line::Cells(vec![level, (*about).into(), found.as_str().into()]));
        lines.extend(advice.clone().map(Line::Remark));
    }
    table::align(&["", "ABOUT", "FOUND"], lines)
}
