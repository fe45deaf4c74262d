//! The stand-ins: what Docker would know of them, and the processes that are them.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

/// An answer of Docker 20.10 to an inspection, of a container that was made as the benchmark makes them.
/// Its id is [`NO_ID`].
const INSPECTION: &str = include_str!("inspect.json");
const NO_ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) struct Container {
    pub(crate) id: String,
    number: u32,
    label: String,
    process: Child,
    state: &'static str,
    /// The answer to an inspection, kept up to date.
    pub(crate) inspection: Arc<str>,
}

/// All stand-ins, and who hears of what happens to them.
pub(crate) struct Containers {
    /// The cgroup that theirs lie below.
    cgroup: String,
    pub(crate) all: Vec<Container>,
    listeners: Vec<Sender<String>>,
    /// All that has been told, and when.
    told: Vec<(Duration, String)>,
    pub(crate) inspections: u64,
}

impl Containers {
    pub(crate) fn new(cgroup: String) -> Self {
        Self { cgroup, all: Vec::new(), listeners: Vec::new(), told: Vec::new(), inspections: 0 }
    }

    /// Makes so many, created but not started as far as Docker would say.
    pub(crate) fn create(&mut self, count: usize, label: &str) -> Result<Value> {
        let first = self.all.len();
        let processes = sleepers(count)?;
        for (number, process) in (first..).zip(processes) {
            let number = u32::try_from(number)?;
            let id = format!("{:064x}", u128::from(number) << 64 | 0x5eed_0000_0000_0000);
            // Digits that differ come first, as with Docker's ids.
            let id: String = id.chars().rev().collect();
            join_cgroup(&self.cgroup, &id, process.id())?;
            let mut container = Container {
                id,
                number,
                label: label.to_owned(),
                process,
                state: "created",
                inspection: "".into(),
            };
            container.describe(0)?;
            self.all.push(container);
        }
        let made = self.all.iter().skip(first);
        Ok(made.map(|made| json!({"id": made.id, "pid": made.process.id()})).collect())
    }

    /// Says that these have started.
    pub(crate) fn start(&mut self, ids: &[String]) -> Result<Value> {
        self.change(ids, "start", "running")
    }

    /// Makes these running without a word, as if they had been for long.
    pub(crate) fn let_run(&mut self, ids: &[String]) -> Result<()> {
        for container in self.all.iter_mut().filter(|container| ids.contains(&container.id)) {
            container.state = "running";
            container.describe(container.process.id())?;
        }
        Ok(())
    }

    /// Ends these, all before the first word of it.
    pub(crate) fn stop(&mut self, ids: &[String]) -> Result<Value> {
        for container in self.all.iter_mut().filter(|container| ids.contains(&container.id)) {
            container.process.kill()?;
            container.process.wait()?;
        }
        self.change(ids, "die", "exited")
    }

    /// Tells of a change; returns when it told so, in nanoseconds.
    fn change(&mut self, ids: &[String], action: &str, state: &'static str) -> Result<Value> {
        let mut times = Vec::new();
        for id in ids {
            let container = self.all.iter_mut().rev().find(|container| container.id == *id);
            let container = container.with_context(|| format!("no stand-in {id}"))?;
            container.state = state;
            container.describe(if state == "running" { container.process.id() } else { 0 })?;
            let time = SystemTime::now().duration_since(UNIX_EPOCH)?;
            times.push(u64::try_from(time.as_nanos())?);
            let event = container.event(action, time)?;
            self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
            self.told.push((time, event));
        }
        Ok(json!({"times": times}))
    }

    /// Tells of all that happens from now on, after what has happened since that time.
    pub(crate) fn listen(&mut self, since: Option<Duration>) -> Receiver<String> {
        let (sender, events) = channel();
        let since = since.unwrap_or(Duration::MAX);
        for (_, event) in self.told.iter().filter(|(time, _)| *time >= since) {
            // Cannot fail: the receiver is here.
            let _ = sender.send(event.clone());
        }
        self.listeners.push(sender);
        events
    }

    pub(crate) fn listing(&self) -> Value {
        let running = self.all.iter().filter(|container| container.state == "running");
        running
            .map(|container| {
                json!({
                    "Id": container.id, "Names": [format!("/{}", container.name())],
                    "Image": "busybox", "ImageID": format!("sha256:{}", container.id),
                    "Command": "sleep 1000000", "Created": 1_790_000_000, "Ports": [],
                    "Labels": container.labels(), "State": "running", "Status": "Up 1 second",
                    "HostConfig": {"NetworkMode": "none"},
                    "NetworkSettings": {"Networks": {"none": {"NetworkID": "", "MacAddress": ""}}},
                    "Mounts": []
                })
            })
            .collect()
    }

    pub(crate) fn inspection(&mut self, id: &str) -> Option<Arc<str>> {
        self.inspections += 1;
        // Newest first: those are asked for most.
        let found = self.all.iter().rev().find(|container| container.id == id)?;
        Some(Arc::clone(&found.inspection))
    }
}

impl Container {
    fn name(&self) -> String {
        format!("stand-in-{}", self.number)
    }

    fn address(&self) -> String {
        let number = self.number + 1;
        format!("10.{}.{}.{}/8", number >> 16, number >> 8 & 255, number & 255)
    }

    fn labels(&self) -> Value {
        json!({ self.label.as_str(): self.address() })
    }

    fn describe(&mut self, pid: u32) -> Result<()> {
        let mut inspection: Value = serde_json::from_str(&INSPECTION.replace(NO_ID, &self.id))?;
        let mut set = |pointer: &str, value: Value| {
            inspection.pointer_mut(pointer).map(|place| *place = value).context("no such place")
        };
        set("/Name", json!(format!("/{}", self.name())))?;
        set("/State/Status", json!(self.state))?;
        set("/State/Running", json!(self.state == "running"))?;
        set("/State/Pid", json!(pid))?;
        set("/State/StartedAt", json!(format!("2026-01-01T00:00:00.{:09}Z", self.number)))?;
        set("/Config/Labels", self.labels())?;
        self.inspection = inspection.to_string().into();
        Ok(())
    }

    fn event(&self, action: &str, time: Duration) -> Result<String> {
        let mut attributes = self.labels();
        let map = attributes.as_object_mut().context("labels are a map")?;
        map.insert("image".to_owned(), json!("busybox"));
        map.insert("name".to_owned(), json!(self.name()));
        let nanoseconds = u64::try_from(time.as_nanos())?;
        let event = json!({
            "status": action, "id": self.id, "from": "busybox", "Type": "container",
            "Action": action, "Actor": {"ID": self.id, "Attributes": attributes},
            "scope": "local", "time": time.as_secs(), "timeNano": nanoseconds
        });
        Ok(format!("{event}\n"))
    }
}

/// Starts sleeping processes, each in a network namespace of its own.
fn sleepers(count: usize) -> Result<Vec<Child>> {
    let make = move || -> Result<Vec<Child>> {
        let make_one = |_| {
            // SAFETY: only the network namespace of this thread changes, which ends here.
            #[allow(unsafe_code)]
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
            // As Docker does; a kernel without IPv6 has no such files.
            for which in ["all", "default"] {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
            let sleep =
                Command::new("busybox").args(["sleep", "1000000"]).stdin(Stdio::null()).spawn();
            sleep.context("cannot start busybox")
        };
        (0..count).map(make_one).collect()
    };
    std::thread::spawn(make).join().map_err(|_| anyhow!("the starting thread panicked"))?
}

/// Puts a process into a cgroup that is named after its container, as the engine does.
fn join_cgroup(parent: &str, id: &str, pid: u32) -> Result<()> {
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
    let base = if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
    let folder = format!("{base}/{parent}/{id}");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the cgroup {folder}"))?;
    fs::write(format!("{folder}/cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot move a process to {folder}"))
}
