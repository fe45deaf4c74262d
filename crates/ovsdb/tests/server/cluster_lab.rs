//! A RAFT cluster of `ovsdb-server`s in a temporary directory.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ovsdb::Endpoint;
use tempfile::TempDir;

use crate::lab::{SCHEMA, run, wait_until};

/// Three servers with one database. They die with this value.
pub(crate) struct Cluster {
    dir: TempDir,
    members: Vec<Option<Child>>,
}

impl Cluster {
    /// A cluster with an initialised database of Open vSwitch, and with a leader.
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("ovsdb-cluster-").unwrap();
        let mut cluster = Self { dir, members: Vec::new() };
        for index in 0..3 {
            let mut create = Command::new("ovsdb-tool");
            create.current_dir(cluster.dir.path());
            if index == 0 {
                create.args(["create-cluster", "db0", SCHEMA, "unix:raft0"]);
            } else {
                let (db, address) = (format!("db{index}"), format!("unix:raft{index}"));
                create.args(["join-cluster", &db, "Open_vSwitch", &address, "unix:raft0"]);
            }
            run(&mut create);
            cluster.members.push(None);
            cluster.start_member(index);
            wait_until("the member has joined", || cluster.has_joined(index));
        }
        run(Command::new("ovs-vsctl")
            .arg(format!("--db={}", cluster.endpoint(cluster.leader())))
            .args(["--no-wait", "init"]));
        cluster
    }

    pub(crate) fn start_member(&mut self, index: usize) {
        let log = File::create(self.path(&format!("log{index}"))).unwrap();
        let child = Command::new("ovsdb-server")
            .current_dir(self.dir.path())
            // Where relative names of sockets are looked for.
            .env("OVS_RUNDIR", self.dir.path())
            .arg(format!("db{index}"))
            .arg(format!("--remote=punix:socket{index}"))
            .arg(format!("--unixctl={}", self.control(index).display()))
            .args(["--no-chdir", "-vconsole:info", "-vjsonrpc:console:dbg"])
            .arg("-vsyslog:off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this test needs ovsdb-server: install openvswitch-switch");
        self.members[index] = Some(child);
        wait_until("the member listens", || {
            std::os::unix::net::UnixStream::connect(self.path(&format!("socket{index}"))).is_ok()
        });
    }

    /// Kills a member at once.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _ = std::fs::remove_file(self.path(&format!("socket{index}")));
    }

    /// The member that leads, once there is one.
    pub(crate) fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("the cluster has a leader", || {
            let mut running =
                (0..self.members.len()).filter(|index| self.members[*index].is_some());
            leader = running.find(|index| self.status(*index).contains("Role: leader"));
            leader.is_some()
        });
        leader.unwrap()
    }

    pub(crate) fn endpoint(&self, index: usize) -> Endpoint {
        Endpoint::Unix(self.path(&format!("socket{index}")))
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        (0..self.members.len()).map(|index| self.endpoint(index)).collect()
    }

    /// Which member an endpoint is.
    pub(crate) fn member(&self, endpoint: &Endpoint) -> usize {
        let mut endpoints = self.endpoints().into_iter();
        endpoints.position(|member| member == *endpoint).unwrap()
    }

    /// What a member has logged of its messages since it was started.
    pub(crate) fn log(&self, index: usize) -> String {
        let log = std::fs::read(self.path(&format!("log{index}"))).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn has_joined(&self, index: usize) -> bool {
        let status = self.status(index);
        status.contains("Status: cluster member") && !status.contains("Leader: unknown")
    }

    /// Nothing while the member is not there yet.
    fn status(&self, index: usize) -> String {
        let output = Command::new("ovs-appctl")
            .arg("-t")
            .arg(self.control(index))
            .args(["--timeout=5", "cluster/status", "Open_vSwitch"])
            .output()
            .expect("this test needs ovs-appctl: install openvswitch-switch");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn control(&self, index: usize) -> PathBuf {
        self.path(&format!("control{index}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}
