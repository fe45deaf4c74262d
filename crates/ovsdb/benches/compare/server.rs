//! The private server that all take turns on.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::raw;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// It dies with this value.
pub(crate) struct Server {
    dir: TempDir,
    process: Child,
}

impl Server {
    /// A server with the bridge `br0`, without ports.
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("ovsdb-bench-").unwrap();
        let db = dir.path().join("db");
        let create = Command::new("ovsdb-tool").arg("create").arg(&db).arg(SCHEMA).status();
        let created = create.expect("this benchmark needs ovsdb-tool: install openvswitch-switch");
        assert!(created.success());
        let process = Command::new("ovsdb-server")
            .arg(&db)
            .arg(format!("--remote=punix:{}", dir.path().join("socket").display()))
            .arg(format!("--unixctl={}", dir.path().join("control").display()))
            .args(["--no-chdir", "-vconsole:off", "-vsyslog:off"])
            .stdin(Stdio::null())
            .spawn()
            .expect("this benchmark needs ovsdb-server: install openvswitch-switch");
        let server = Self { dir, process };
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(server.socket()).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::yield_now();
        }
        raw::add_bridge(&server.socket());
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// A call of `ovs-vsctl`, to be run.
    pub(crate) fn vsctl(&self, args: &[String]) -> Command {
        let mut command = Command::new("ovs-vsctl");
        command.arg(format!("--db=unix:{}", self.socket().display())).arg("--no-wait").args(args);
        command
    }

    pub(crate) fn version(&self) -> String {
        let output = Command::new("ovsdb-server").arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
