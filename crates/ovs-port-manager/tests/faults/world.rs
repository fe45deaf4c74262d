//! The lab, its containers, and what can be done to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::{Daemon, IMAGE, Lab, LabBuilder, Signal, wait_for};

use crate::check::CONVERGENCE;
use crate::proxy::Proxy;

/// The daemon under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");

pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) lab: Arc<Lab>,
    /// Between the daemon and dockerd.
    pub(crate) proxy: Proxy,
    /// What earlier daemons said.
    said: String,
    /// All containers, and how many ports their labels ask for.
    pub(crate) containers: BTreeMap<String, usize>,
    serial: u32,
    /// How many of them stay, the first ones.
    pub(crate) standing: usize,
    /// The first processes of those that ping, and whom they ping.
    pub(crate) pinging: Vec<u32>,
    pub(crate) peer: &'static str,
    /// The foreign rows and the foreign link as they were made.
    pub(crate) foreign: String,
}

impl World {
    pub(crate) fn start(lab: LabBuilder) -> Result<Self> {
        let lab = Arc::new(lab.start()?);
        lab.run("ip", &["link", "add", "theirs", "type", "veth", "peer", "name", "theirs2"])?;
        let proxy = Proxy::start(&lab.path().join("proxy.sock"), &lab.docker_endpoint())?;
        let daemon = spawn(&lab, &proxy, &[])?;
        let mut world = Self {
            lab,
            proxy,
            daemon,
            said: String::new(),
            containers: BTreeMap::new(),
            serial: 0,
            standing: 0,
            pinging: Vec::new(),
            peer: "10.0.0.2",
            foreign: String::new(),
        };
        world.make_foreign()?;
        Ok(world)
    }

    /// Makes a foreign bridge and port as their owner would, and the bridge that we share.
    pub(crate) fn make_foreign(&mut self) -> Result<()> {
        let ours = ["--may-exist", "add-br", "ovsbr0"];
        let ours_in_user_space = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        let bridge = ["--", "--may-exist", "add-br", "theirbr"];
        let in_user_space = ["--", "set", "bridge", "theirbr", "datapath_type=netdev"];
        let port = ["--", "--may-exist", "add-port", "ovsbr0", "theirs", "tag=99"];
        // The daemon may add the same bridge at the same instant.
        let all = [ours.as_slice(), &ours_in_user_space, &bridge, &in_user_space, &port].concat();
        wait_for("the foreign port", CONVERGENCE, || self.lab.vsctl(&all).map(Some))?;
        self.foreign = self.foreign_state()?;
        Ok(())
    }

    /// Runs a peer and containers that ping it, which stay.
    pub(crate) fn stand(&mut self, count: usize) -> Result<()> {
        for _ in 0..=count {
            self.run(None)?;
        }
        self.standing = self.containers.len();
        let pinging = self.containers.keys().filter(|name| *name != "c1");
        self.pinging = self.pids(pinging)?.into_iter().map(|(_, pid)| pid).collect();
        self.check()
    }

    /// Removes all containers but the standing ones.
    pub(crate) fn clear(&mut self) -> Result<()> {
        let stands = |name: &str| {
            let number = name.strip_prefix('c').and_then(|number| number.parse().ok());
            number.is_some_and(|number: usize| number <= self.standing)
        };
        let go: Vec<_> = self.containers.keys().filter(|name| !stands(name)).cloned().collect();
        let listed = self.lab.docker(&["ps", "-a", "--format={{.Names}}"])?;
        let left: Vec<_> = listed.lines().filter(|name| go.iter().any(|go| go == name)).collect();
        if !left.is_empty() {
            self.docker(&[&["rm", "-f"], left.as_slice()].concat())?;
        }
        self.containers.retain(|name, _| !go.contains(name));
        Ok(())
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        self.containers.keys().cloned().collect()
    }

    pub(crate) fn run(&mut self, vlan: Option<&str>) -> Result<()> {
        let name = self.create(vlan, &[])?;
        self.docker(&["start", &name])
    }

    /// Makes a container with sound labels, and does not start it.
    pub(crate) fn create(&mut self, vlan: Option<&str>, command: &[&str]) -> Result<String> {
        self.serial += 1;
        let (name, number) = (format!("c{}", self.serial), self.serial % 250 + 1);
        let address = format!("ovs.ip_address=10.0.{}.{number}/16", self.serial / 250);
        let vlan = vlan.map(|vlan| format!("--label=ovs.vlan={vlan}"));
        let mut args = vec!["create", "--name", &name, "--network=none", "--label", &address];
        args.extend(vlan.as_deref());
        args.push(IMAGE);
        args.extend(command);
        self.docker(&args)?;
        self.containers.insert(name.clone(), 1);
        Ok(name)
    }

    /// Runs a container with a second interface, on a bridge of its own.
    pub(crate) fn run_with_two(&mut self) -> Result<()> {
        self.serial += 1;
        let (name, number) = (format!("c{}", self.serial), self.serial % 250 + 1);
        let address = |net: u32| format!("10.{net}.{}.{number}/16", self.serial / 250);
        let labels = [
            ("ovs.ip_address", &*address(0)),
            ("ovs.eth2.ip_address", &address(1)),
            ("ovs.eth2.bridge", "ovsbr1"),
        ];
        self.lab.run_container(&name, &labels)?;
        self.containers.insert(name, 2);
        Ok(())
    }

    pub(crate) fn run_mistaken(&mut self) -> Result<()> {
        self.serial += 1;
        let name = format!("bad{}", self.serial);
        self.lab.run_container(&name, &[("ovs.ip_address", "10.0.0.1"), ("ovs.vlan", "0")])?;
        self.containers.insert(name, 0);
        Ok(())
    }

    pub(crate) fn docker(&self, args: &[&str]) -> Result<()> {
        self.lab.docker(args).map(drop)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.docker(&["rm", "-f", name])?;
        self.containers.remove(name);
        Ok(())
    }

    pub(crate) fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.kill9()?;
        self.replace_daemon(&[])
    }

    pub(crate) fn restart_daemon(&mut self) -> Result<()> {
        self.daemon.signal(Signal::TERM)?;
        let status = self.daemon.wait_exit(CONVERGENCE)?;
        ensure!(status.success(), "SIGTERM is an orderly end: {status}");
        self.replace_daemon(&[])
    }

    pub(crate) fn replace_daemon(&mut self, env: &[(&str, &str)]) -> Result<()> {
        self.said = self.daemon.log();
        self.daemon = spawn(&self.lab, &self.proxy, env)?;
        Ok(())
    }

    pub(crate) fn pause_daemon(&self) -> Result<()> {
        self.daemon.signal(Signal::STOP)?;
        // What happens meanwhile is what it has to catch up with.
        for name in self.containers.keys().take(2) {
            self.docker(&["restart", "-t", "0", name])?;
        }
        self.daemon.signal(Signal::CONT)
    }

    pub(crate) fn kill_ovsdb(&self) -> Result<()> {
        self.lab.ovsdb_server().kill9()?;
        self.lab.ovsdb_server().start()
    }

    /// The database is made anew, and what is not ours comes back to it.
    pub(crate) fn empty_database(&mut self) -> Result<()> {
        self.lab.ovsdb_server().kill9()?;
        self.lab.empty_database()?;
        self.lab.ovsdb_server().start()?;
        self.make_foreign()
    }

    /// Fills the disk under the database but for one page: some writes still succeed, of ours or of
    /// ovs-vswitchd, and the next one does not.
    pub(crate) fn fill_disk(&self) -> Result<()> {
        let file = self.filling();
        // The writing ends with "no space left", which is what it is for.
        let fill = format!("cat /dev/zero >{file} || truncate --size=-4K {file}");
        self.lab.run("sh", &["-c", &fill]).map(drop)
    }

    pub(crate) fn free_disk(&self) -> Result<()> {
        self.lab.run("rm", &[&self.filling()]).map(drop)
    }

    fn filling(&self) -> String {
        self.lab.database_folder().join("fill").display().to_string()
    }

    pub(crate) fn kill_vswitchd(&self) -> Result<()> {
        self.lab.vswitchd().kill9()?;
        self.lab.vswitchd().start()
    }

    pub(crate) fn kill_docker(&self) -> Result<()> {
        self.lab.dockerd().kill9()?;
        self.lab.dockerd().start()
    }

    pub(crate) fn restart_docker(&self) -> Result<()> {
        self.lab.dockerd().restart()
    }

    pub(crate) fn delete_a_port(&self, random: &mut Rng) -> Result<()> {
        let Some(port) = self.a_port(random)? else { return Ok(()) };
        let port = port.as_str();
        self.lab.vsctl(&["--if-exists", "del-port", port]).map(drop)
    }

    /// One of our ports, as soon as each of them forwards.
    fn a_port(&self, random: &mut Rng) -> Result<Option<String>> {
        let ports = wait_for("all ports to forward", CONVERGENCE, || self.our_ports().map(Some))?;
        Ok(random.choice(ports.into_keys()))
    }

    pub(crate) fn delete_a_link(&self, random: &mut Rng) -> Result<()> {
        let Some(port) = self.a_port(random)? else { return Ok(()) };
        let port = port.as_str();
        // It may have gone by itself with its container.
        self.lab.run("ip", &["link", "delete", port]).map(drop).or(Ok(()))
    }

    pub(crate) fn flush_an_interface(&self, random: &mut Rng) -> Result<()> {
        let running = self.running()?;
        let Some(name) = random.choice(running.keys()) else { return Ok(()) };
        // It may not be attached yet.
        let flush = ["addr", "flush", "dev", "eth1"];
        self.lab.run_in_netns_of(name, "ip", &flush).map(drop).or(Ok(()))
    }

    /// What the last two daemons said.
    pub(crate) fn said(&self) -> String {
        format!("{}--- and then\n{}", self.said, self.daemon.log())
    }

    /// Memory and open files of the daemon.
    pub(crate) fn resources(&self) -> Result<String> {
        let folder = format!("/proc/{}", self.daemon.pid());
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let memory = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        let files = fs::read_dir(format!("{folder}/fd"))?.count();
        Ok(format!("{memory}, {files} open files"))
    }
}

fn spawn(lab: &Lab, proxy: &Proxy, env: &[(&str, &str)]) -> Result<Daemon> {
    let (docker, ovsdb) = (proxy.endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "-v", "--wait-for-services", "--docker", &docker, "--ovsdb", &ovsdb];
    lab.spawn(Path::new(PROGRAM), &args, env)
}
