//! A lab with a bridge, and the competitors on it.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab};
use serde_json::Value;

use crate::engine::Engine;
use crate::jsonrpc::JsonRpc;
use crate::measure::{PortWatch, Target};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The name of the label that the daemon goes by, and everybody when they are alone.
pub(crate) const LABEL: &str = "ovs.ip_address";

pub(crate) struct Stage {
    // First: what follows ovsdb-server ends before the lab does.
    pub(crate) engine: Option<Engine>,
    pub(crate) ports: PortWatch,
    pub(crate) lab: Lab,
    /// Where containers are started: Docker or its stand-in.
    docker: String,
}

impl Stage {
    /// With a real Docker.
    pub(crate) fn real() -> Result<Self> {
        let lab = Lab::start()?;
        let docker = lab.docker_endpoint();
        Self::new(lab, None, docker)
    }

    /// With stand-ins instead of containers.
    pub(crate) fn stand_ins() -> Result<Self> {
        let lab = Lab::builder().without_docker().start()?;
        let engine = Engine::start(&lab)?;
        let docker = engine.endpoint();
        Self::new(lab, Some(engine), docker)
    }

    fn new(lab: Lab, engine: Option<Engine>, docker: String) -> Result<Self> {
        let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
        lab.run("ip", &["address", "add", "10.255.255.254/8", "dev", "ovsbr0"])?;
        lab.run("ip", &["link", "set", "ovsbr0", "up"])?;
        let ports = PortWatch::start(&socket(&lab.ovsdb_endpoint()))?;
        Ok(Self { engine, ports, lab, docker })
    }

    pub(crate) fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().context("there is no stand-in for Docker here")
    }

    pub(crate) fn docker(&self) -> PathBuf {
        socket(&self.docker)
    }

    /// Whom to ping: the bridge itself.
    pub(crate) fn target(&self) -> Result<Target> {
        let links = self.lab.ip_json(&["link", "show", "ovsbr0"])?;
        let mac = links.pointer("/0/address").and_then(Value::as_str).context("no address")?;
        let octets: Result<Vec<u8>, _> =
            mac.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect();
        let mac = octets?.try_into().ok().context("no MAC address")?;
        Ok(Target { address: Ipv4Addr::new(10, 255, 255, 254), mac })
    }

    /// Puts ports on the bridge that are nobody's, and returns how many ovs-vswitchd carries.
    pub(crate) fn fill(&self, count: usize) -> Result<usize> {
        let (mut links, mut operations, mut names) = (String::new(), String::new(), Vec::new());
        for number in 0..count {
            writeln!(links, "link add other{number} up type veth peer name rehto{number}")?;
            writeln!(links, "link set rehto{number} up")?;
            write!(
                operations,
                r#"{{"op":"insert","table":"Port","row":{{"name":"other{number}","interfaces":["named-uuid","i{number}"]}},"uuid-name":"p{number}"}},{{"op":"insert","table":"Interface","row":{{"name":"other{number}"}},"uuid-name":"i{number}"}},"#
            )?;
            names.push(format!(r#"["named-uuid","p{number}"]"#));
        }
        if count > 0 {
            // What a thousand far ends multicast when they come up, ovs-vswitchd would pass on to a thousand.
            let quiet = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
            self.lab.run("sh", &["-c", quiet])?;
            self.ip_batch(&links)?;
            let ports = names.join(",");
            let bridge = format!(
                r#"{{"op":"mutate","table":"Bridge","where":[["name","==","ovsbr0"]],"mutations":[["ports","insert",["set",[{ports}]]]]}}"#
            );
            self.ovsdb()?.transact(&(operations + &bridge))?;
            self.settle()?;
        }
        let carried = ["--bare", "--columns=name", "find", "Interface", "ofport>0"];
        let carried = self.lab.vsctl(&carried)?;
        Ok(carried.lines().filter(|name| name.starts_with("other")).count())
    }

    /// Waits until ovs-vswitchd has taken over all that is in the database.
    pub(crate) fn settle(&self) -> Result<()> {
        // Without --no-wait, that is what ovs-vsctl does after a change.
        self.lab.vsctl(&["set", "Open_vSwitch", ".", "external_ids:settled=now"])?;
        self.lab.vsctl(&["remove", "Open_vSwitch", ".", "external_ids", "settled"]).map(drop)
    }

    /// Takes all ports but the bridge's own from the bridge, and deletes all links.
    pub(crate) fn clear(&self) -> Result<()> {
        let own = self.lab.vsctl(&["get", "Port", "ovsbr0", "_uuid"])?;
        self.lab.vsctl(&["set", "Bridge", "ovsbr0", &format!("ports={own}")])?;
        let links = self.lab.ip_json(&["link", "show", "type", "veth"])?;
        let names = links.as_array().into_iter().flatten();
        let mut batch = String::new();
        for name in names.filter_map(|link| link.get("ifname")?.as_str()) {
            writeln!(batch, "link set dev {name} group 7")?;
        }
        if !batch.is_empty() {
            // One by one each would take 16 ms.
            self.ip_batch(&(batch + "link delete group 7\n"))?;
        }
        self.ports.forget();
        Ok(())
    }

    fn ip_batch(&self, lines: &str) -> Result<()> {
        let path = self.lab.path().join("batch");
        fs::write(&path, lines)?;
        self.lab.run("ip", &["-batch", &path.display().to_string()]).map(drop)
    }

    fn ovsdb(&self) -> Result<JsonRpc> {
        JsonRpc::connect(&socket(&self.lab.ovsdb_endpoint()))
    }

    /// Starts the daemon.
    pub(crate) fn ours(&self) -> Result<Daemon> {
        self.ours_at(&self.lab.ovsdb_endpoint())
    }

    /// Starts the daemon on the database behind this endpoint.
    pub(crate) fn ours_at(&self, ovsdb: &str) -> Result<Daemon> {
        let args = ["run", "--docker", &self.docker, "--ovsdb", ovsdb];
        self.lab.spawn(Path::new(PROGRAM), &args, &[])
    }

    /// Starts the floor, which goes by this label.
    pub(crate) fn floor(&self, label: &str) -> Result<Daemon> {
        let ovsdb = socket(&self.lab.ovsdb_endpoint()).display().to_string();
        self.role(&["floor", &self.docker().display().to_string(), &ovsdb, label])
    }

    /// Starts the peer: `follow` the events or attach what runs in a `burst`.
    pub(crate) fn peer(&self, how: &str, label: &str) -> Result<Daemon> {
        self.role(&["peer", how, &self.docker().display().to_string(), label])
    }

    fn role(&self, args: &[&str]) -> Result<Daemon> {
        self.lab.spawn(&std::env::current_exe()?, args, &[])
    }

    /// The processes of the switch: ovsdb-server's and ovs-vswitchd's.
    pub(crate) fn switch(&self) -> Result<(u32, u32)> {
        let server = self.lab.ovsdb_server().pid().context("ovsdb-server has ended")?;
        Ok((server, self.lab.vswitchd().pid().context("ovs-vswitchd has ended")?))
    }
}

/// The path of `unix:PATH` or `unix://PATH`.
fn socket(endpoint: &str) -> PathBuf {
    let path = endpoint.strip_prefix("unix:").unwrap_or(endpoint);
    PathBuf::from(path.strip_prefix("//").unwrap_or(path))
}

/// Lets processes have as many open files as they may: each port costs ovs-vswitchd one.
pub(crate) fn raise_open_files() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    ensure!(maximum.is_none_or(|most| most >= 2048), "a thousand ports need 2,048 open files");
    Ok(())
}
