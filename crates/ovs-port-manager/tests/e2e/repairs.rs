//! Everything that is set for a port, changed by somebody else: who notices, and how soon.
//!
//! Each setting is broken and judged by independent tools. With `REPAIRS_TABLE=RUNS` in the environment, each is broken so
//! many times, and the medians are printed as the table of `docs/operations.md`.

mod settings;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, wait_gone, wait_ready};
use settings::Where::{Database, Host, Inside};
use settings::{BESIDE, Command, GUARDS, LINKS, ROWS, SYSCTLS, Setting, TRUNK};

/// Within this, whoever notices must have done so.
const SOON: Duration = Duration::from_secs(10);
/// A container that is harmed more often than this in a row has its port restored now and then only.
const HARMS: usize = 8;
/// What marks our flows.
const COOKIE: &str = "cookie=0x6f76732d706f7274/-1";

/// An access port with all that can be set.
const ACCESS: &[(&str, &str)] = &[
    ("ovs.ip_address", "10.0.0.1/24,fd00::1/64"),
    ("ovs.gateway", "10.0.0.254,fd00::fe"),
    ("ovs.mac_address", "02:00:00:00:00:aa"),
    ("ovs.mtu", "1400"),
    ("ovs.vlan", "7"),
    ("ovs.egress_rate", "100M"),
    ("ovs.ingress_rate", "100M"),
    ("ovs.ingress_burst", "10M"),
    ("ovs.ofport_request", "42"),
    ("ovs.mirror", "tap0"),
];

/// A lab with a daemon and one container at a time.
struct Stage {
    lab: Lab,
    daemon: Daemon,
    labels: &'static [(&'static str, &'static str)],
    id: String,
    port: String,
    harms: usize,
}

impl Stage {
    fn start(labels: &'static [(&'static str, &'static str)], configuration: &str) -> Result<Self> {
        let lab = Lab::start()?;
        let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
        let internal = ["--", "set", "interface", "tap0", "type=internal"];
        lab.vsctl(&[&["add-port", "ovsbr0", "tap0"], internal.as_slice()].concat())?;
        lab.run("ip", &["link", "add", "lan", "type", "bridge"])?;
        let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
        let file = lab.path().join("config.yaml");
        std::fs::write(&file, format!("mirror_ports: [tap0]\n{configuration}\n"))?;
        let file = file.display().to_string();
        let args = ["run", "-v", "--config", &file, "--docker", &docker, "--ovsdb", &ovsdb];
        let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
        daemon.wait_log("following Docker's events", PATIENCE)?;
        let (id, port) = (String::new(), String::new());
        let mut stage = Self { lab, daemon, labels, id, port, harms: 0 };
        stage.attach()?;
        Ok(stage)
    }

    /// Has a new container in the place of the one that there is.
    fn attach(&mut self) -> Result<()> {
        let Self { lab, daemon, labels, .. } = self;
        if !self.id.is_empty() {
            lab.docker(&["rm", "-f", "one"])?;
            wait_gone(lab, &self.id)?;
        }
        let before = daemon.log().len();
        self.id = lab.run_container("one", labels)?;
        let ready = wait_for("the port to be ready", PATIENCE, || {
            Ok(said(daemon, before).contains("port is ready").then_some(()))
        });
        ready.with_context(|| format!("the daemon said:\n{}", daemon.log()))?;
        self.port = wait_ready(lab, &self.id)?;
        self.harms = 0;
        Ok(())
    }

    fn run(&self, (place, command): Command) -> Result<String> {
        let command = self.fill(command)?;
        let words: Vec<&str> = command.split_whitespace().collect();
        let (program, args) = words.split_first().context("no command")?;
        match place {
            Host => self.lab.run(program, args),
            Inside => self.lab.run_in_netns_of("one", program, args),
            Database => self.lab.vsctl(&[&["--no-wait"], words.as_slice()].concat()),
        }
    }

    /// Puts names and rows into a text.
    fn fill(&self, text: &str) -> Result<String> {
        let Self { lab, id, port, .. } = self;
        let mirror = format!("name={port}");
        let rows: [(&str, &[&str]); 5] = [
            ("INTERFACE_ROW", &["get", "interface", port, "_uuid"]),
            ("PORT_ROW", &["get", "port", port, "_uuid"]),
            ("TAP_ROW", &["get", "port", "tap0", "_uuid"]),
            ("QOS", &["get", "port", port, "qos"]),
            ("MIRROR", &["--bare", "--columns=_uuid", "find", "mirror", &mirror]),
        ];
        let mut text = text.replace("COOKIE", COOKIE);
        for (word, query) in rows {
            if text.contains(word) {
                text = text.replace(word, &lab.vsctl(query)?);
            }
        }
        if text.contains("METER") {
            let meters = lab.run("ovs-ofctl", &["-O", "OpenFlow13", "dump-meters", "ovsbr0"])?;
            let meter = meters.split("meter=").nth(1).and_then(|it| it.split(' ').next());
            text = text.replace("METER", meter.context("no meter")?);
        }
        Ok(text.replace("PORT", port).replace("ID", id))
    }

    fn whole(&self, setting: &Setting) -> Result<Option<()>> {
        // Whether a value is in quotes depends on what it begins with.
        let shown = self.run(setting.show)?.replace('"', "");
        let has = self.fill(setting.has)?;
        ensure!(shown.contains(&has) && !shown.contains(setting.lacks), "{shown}, not {has}");
        Ok(Some(()))
    }

    /// Harms a setting; returns how long it took until it was whole again.
    fn harm(&mut self, setting: &Setting) -> Result<Duration> {
        if self.harms >= HARMS {
            self.attach()?;
        }
        self.harms += 1;
        self.port = wait_ready(&self.lab, &self.id)?;
        // It was whole before: otherwise nothing would be shown.
        wait_for("it to be as it was made", PATIENCE, || self.whole(setting))?;
        let before = self.daemon.log().len();
        self.run(setting.harm).context("the harm")?;
        let begun = Instant::now();
        // A harm that does none would look as if it had been put right.
        let noticed = |said: &str| STEPS.iter().any(|step| said.contains(step));
        wait_for("a step", SOON, || Ok(noticed(&said(&self.daemon, before)).then_some(())))?;
        let mended = wait_for("it to be whole", SOON, || {
            self.port = wait_ready(&self.lab, &self.id)?;
            self.whole(setting)
        });
        mended.map(|()| begun.elapsed())
    }

    /// Harms each setting and waits until it is whole again.
    fn walk(&mut self, who: &str, settings: &[Setting]) -> Result<()> {
        let runs = std::env::var("REPAIRS_TABLE").ok().and_then(|runs| runs.parse().ok());
        let mut failures = Vec::new();
        for setting in settings {
            let mut took = Vec::new();
            for _ in 0..runs.unwrap_or(1) {
                let before = self.daemon.log().len();
                match self.harm(setting) {
                    Ok(one) => took.push(one),
                    Err(error) => {
                        let said = said(&self.daemon, before);
                        failures
                            .push(format!("{}: {error:#}; the daemon said:\n{said}", setting.name));
                        self.attach()?;
                    }
                }
            }
            took.sort();
            if let (Some(_), Some(median)) = (runs, took.get(took.len() / 2)) {
                println!("| {} | {who} | {} ms |", setting.name, median.as_millis());
            }
        }
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(())
    }
}

/// What the log says when something is put right.
const STEPS: &[&str] = &["set-link ", "set-port ", "add-port ", "flow rules"];

fn said(daemon: &Daemon, before: usize) -> String {
    daemon.log().get(before..).unwrap_or_default().to_owned()
}

#[test]
fn whatever_is_set_of_a_link_is_put_right_at_once() -> Result<()> {
    let mut stage = Stage::start(ACCESS, "resync_interval: 0")?;
    stage.walk("the kernel's message", LINKS)?;
    let addresses = stage.lab.run("ip", &["-6", "addr", "show", &stage.port])?;
    ensure!(!addresses.contains("fe80"), "{addresses}");
    stage::ping(&stage.lab, "one", "10.0.0.1")
}

#[test]
fn whatever_is_set_of_a_ports_rows_is_put_right_at_once() -> Result<()> {
    Stage::start(ACCESS, "resync_interval: 0")?.walk("OVSDB's update", ROWS)
}

#[test]
fn whatever_is_set_of_the_rows_beside_a_port_is_put_right_at_once() -> Result<()> {
    Stage::start(ACCESS, "resync_interval: 0")?.walk("OVSDB's update", BESIDE)
}

#[test]
fn whatever_is_set_of_a_trunk_and_of_a_kept_address_is_put_right_at_once() -> Result<()> {
    const LABELS: &[(&str, &str)] = &[("ovs.ip_address", "auto"), ("ovs.trunks", "10,20")];
    let pool = "resync_interval: 0\npools: [{bridge: ovsbr0, prefix: 10.0.0.0/24}]";
    Stage::start(LABELS, pool)?.walk("OVSDB's update", TRUNK)
}

#[test]
fn whatever_guards_a_port_is_put_right_at_once() -> Result<()> {
    let secured = "resync_interval: 0\nport_security: [ovsbr0]";
    Stage::start(ACCESS, secured)?.walk("the check every 500 ms", GUARDS)
}

#[test]
fn what_nobody_tells_of_is_put_right_by_the_resync() -> Result<()> {
    Stage::start(ACCESS, "resync_interval: 1")?.walk("the next resync, here every second", SYSCTLS)
}
