//! The lab as a test sees it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::builder::LabBuilder;
use crate::command::run;
use crate::daemon::Daemon;
use crate::image::IMAGE;
use crate::namespaces::Namespaces;
use crate::service::Service;
use crate::{docker, ovs};

/// A private Open vSwitch and a private Docker engine. Dropping it ends and removes all of it.
#[derive(Debug)]
pub struct Lab {
    // The services first: they are dropped before the namespaces that they live in.
    dockerd: Service,
    vswitchd: Service,
    ovsdb_server: Service,
    namespaces: Arc<Namespaces>,
}

impl Lab {
    pub(crate) fn new(
        ovsdb_server: Service,
        vswitchd: Service,
        dockerd: Service,
        namespaces: Arc<Namespaces>,
    ) -> Lab {
        Lab { dockerd, vswitchd, ovsdb_server, namespaces }
    }

    /// Starts `ovsdb-server`, `ovs-vswitchd` and `dockerd` with its image, and waits for all.
    ///
    /// # Errors
    ///
    /// When the machine lacks something (the error lists all of it), or something does not start.
    pub fn start() -> Result<Lab> {
        Lab::builder().start()
    }

    /// To start less, or with other options.
    pub fn builder() -> LabBuilder {
        LabBuilder::new()
    }

    /// The lab's folder, the same path inside and outside. It goes with the lab.
    pub fn path(&self) -> &Path {
        self.namespaces.folder()
    }

    /// The name of the lab's cgroup, directly below the root of each hierarchy.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn cgroup(&self) -> Result<String> {
        self.namespaces.cgroup()
    }

    /// The lab's first process, as seen from outside: `/proc/PID/ns/…` are the lab's namespaces.
    pub fn init_pid(&self) -> u32 {
        self.namespaces.init_pid()
    }

    /// Where `ovsdb-server` listens: `unix:/…/db.sock`. It can be reached from outside too.
    pub fn ovsdb_endpoint(&self) -> String {
        format!("unix:{}", ovs::socket(self.path()).display())
    }

    /// Where `dockerd` listens: `unix:///…/docker.sock`. It can be reached from outside too.
    pub fn docker_endpoint(&self) -> String {
        format!("unix://{}", docker::socket(self.path()).display())
    }

    /// The `daemon.json` of `dockerd`, at first empty. SIGHUP makes `dockerd` read it again.
    pub fn dockerd_config_file(&self) -> std::path::PathBuf {
        docker::config_file(self.path())
    }

    /// `ovsdb-server`, for fault tests.
    pub fn ovsdb_server(&self) -> &Service {
        &self.ovsdb_server
    }

    /// The folder of the database, inside the lab.
    pub fn database_folder(&self) -> std::path::PathBuf {
        ovs::database_folder(self.path())
    }

    /// Puts an empty database in the place of the one there is. `ovsdb-server` must not run.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn empty_database(&self) -> Result<()> {
        ovs::create_database(&self.namespaces)
    }

    /// `ovs-vswitchd`, for fault tests.
    pub fn vswitchd(&self) -> &Service {
        &self.vswitchd
    }

    /// `dockerd`, for fault tests.
    pub fn dockerd(&self) -> &Service {
        &self.dockerd
    }

    /// A command inside the lab. `docker`, `ovs-vsctl`, `ovs-ofctl` and `ovs-appctl` talk to the
    /// lab's daemons without further options.
    ///
    /// It starts in `/`; `current_dir` has no effect. `TMPDIR` is in the lab's folder. Signals to the child reach `nsenter`: for a
    /// process that gets signals there is [`spawn`](Self::spawn).
    pub fn command(&self, program: &str) -> Command {
        self.namespaces.command(program)
    }

    /// Runs a command inside the lab to its end and returns its stdout, trimmed at the end.
    ///
    /// # Errors
    ///
    /// When it fails: the command line, the status, stdout and stderr.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        run(self.command(program).args(args))
    }

    /// Runs `docker`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        self.run("docker", args)
    }

    /// Runs `ovs-vsctl`, for at most 20 seconds.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        run(self.command("ovs-vsctl").arg("--timeout=20").args(args))
    }

    /// Starts a container without a network that sleeps, and returns its full id. It stops at once
    /// when asked to.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_container(&self, name: &str, labels: &[(&str, &str)]) -> Result<String> {
        self.run_container_with(name, labels, &["--network=none"], &[])
    }

    /// Like [`run_container`](Self::run_container), with the caller's own options of `docker run`
    /// (`--network` among them) and own command (the image's, when empty).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_container_with(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        options: &[&str],
        command: &[&str],
    ) -> Result<String> {
        let mut docker = self.command("docker");
        // Process 1 of a container ignores SIGTERM, and `docker stop` would take ten seconds.
        docker.args(["run", "--detach", "--name", name, "--stop-signal=KILL"]);
        for (key, value) in labels {
            docker.arg("--label").arg(format!("{key}={value}"));
        }
        run(docker.args(options).arg(IMAGE).args(command))
    }

    /// Runs a command in a container (`docker exec`).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn exec(&self, container: &str, args: &[&str]) -> Result<String> {
        run(self.command("docker").args(["exec", container]).args(args))
    }

    /// The process id of a container's first process, as seen inside the lab.
    ///
    /// # Errors
    ///
    /// When the container does not run.
    pub fn container_pid(&self, container: &str) -> Result<u32> {
        let pid = self.docker(&["inspect", "--format={{.State.Pid}}", container])?;
        let pid: u32 = pid.parse().with_context(|| format!("{pid:?} is no process id"))?;
        (pid != 0).then_some(pid).with_context(|| format!("the container {container} does not run"))
    }

    /// Runs one of the machine's programs in a container's network namespace, such as `ethtool`.
    ///
    /// # Errors
    ///
    /// When the container does not run, or as [`run`](Self::run).
    pub fn run_in_netns_of(&self, container: &str, program: &str, args: &[&str]) -> Result<String> {
        let target = format!("--target={}", self.container_pid(container)?);
        run(self.command("nsenter").args([&target, "--net", "--", program]).args(args))
    }

    /// `ip -j …` in the lab's network namespace.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), or when the output is no JSON.
    pub fn ip_json(&self, args: &[&str]) -> Result<Value> {
        parse(&run(self.command("ip").arg("-j").args(args))?)
    }

    /// `ip -j …` in a container's network namespace, with the machine's own `ip`.
    ///
    /// # Errors
    ///
    /// As [`run_in_netns_of`](Self::run_in_netns_of), or when the output is no JSON.
    pub fn container_ip_json(&self, container: &str, args: &[&str]) -> Result<Value> {
        let mut all = vec!["-j"];
        all.extend_from_slice(args);
        parse(&self.run_in_netns_of(container, "ip", &all)?)
    }

    /// Starts a long-running process inside the lab, in `/`. What it prints goes to a file.
    ///
    /// # Errors
    ///
    /// When it cannot be started. A program that does not exist shows by its end and its log.
    pub fn spawn(&self, program: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Daemon> {
        let name = program.file_name().map(|name| name.to_string_lossy());
        let name = name.with_context(|| format!("{program:?} names no program"))?;
        self.namespaces.spawn(&name, program, args, env)
    }

    /// The folder with the logs of everything that runs in the lab.
    pub fn log_folder(&self) -> std::path::PathBuf {
        self.namespaces.log_folder()
    }

    /// The last lines of all logs. Printed by itself when a test panics with the lab in scope.
    pub fn log_tails(&self) -> String {
        self.namespaces.log_tails()
    }
}

/// `ip -j` prints nothing at all where there is nothing to list.
fn parse(text: &str) -> Result<Value> {
    if text.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))
}
