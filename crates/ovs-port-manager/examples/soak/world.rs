//! The lab, its containers, what can be done to them, and what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use lab::{Daemon, Lab, Signal, wait_for};

/// How long the daemon may take to put everything right.
const CONVERGENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    program: PathBuf,
    lab: Lab,
    daemon: Daemon,
    /// What earlier daemons said.
    said: String,
    /// All containers, and whether their labels are sound.
    containers: BTreeMap<String, bool>,
    serial: u32,
    /// The foreign row as it was made.
    foreign: String,
}

impl World {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let lab = Lab::start()?;
        let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
        lab.run("ip", &["link", "add", "theirs", "type", "veth", "peer", "name", "theirs2"])?;
        lab.vsctl(&["add-port", "ovsbr0", "theirs", "tag=99"])?;
        let daemon = spawn(&lab, program)?;
        let mut world = Self {
            program: program.to_owned(),
            lab,
            daemon,
            said: String::new(),
            containers: BTreeMap::new(),
            serial: 0,
            foreign: String::new(),
        };
        world.foreign = world.foreign_rows()?;
        Ok(world)
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        self.containers.keys().cloned().collect()
    }

    pub(crate) fn run(&mut self, vlan: Option<&str>) -> Result<()> {
        self.serial += 1;
        let (name, number) = (format!("c{}", self.serial), self.serial % 250 + 1);
        let address = format!("10.0.{}.{number}/16", self.serial / 250);
        let mut labels = vec![("ovs.ip_address", address.as_str())];
        labels.extend(vlan.map(|vlan| ("ovs.vlan", vlan)));
        self.lab.run_container(&name, &labels)?;
        self.containers.insert(name, true);
        Ok(())
    }

    pub(crate) fn run_mistaken(&mut self) -> Result<()> {
        self.serial += 1;
        let name = format!("bad{}", self.serial);
        self.lab.run_container(&name, &[("ovs.ip_address", "10.0.0.1"), ("ovs.vlan", "0")])?;
        self.containers.insert(name, false);
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
        self.replace_daemon()
    }

    pub(crate) fn restart_daemon(&mut self) -> Result<()> {
        self.daemon.signal(Signal::TERM)?;
        let status = self.daemon.wait_exit(CONVERGENCE)?;
        ensure!(status.success(), "SIGTERM is an orderly end: {status}");
        self.replace_daemon()
    }

    fn replace_daemon(&mut self) -> Result<()> {
        self.said = self.daemon.log();
        self.daemon = spawn(&self.lab, &self.program)?;
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

    pub(crate) fn kill_vswitchd(&self) -> Result<()> {
        self.lab.vswitchd().kill9()?;
        self.lab.vswitchd().start()
    }

    pub(crate) fn restart_docker(&self) -> Result<()> {
        self.lab.dockerd().restart()
    }

    pub(crate) fn delete_a_port(&self, random: &mut Rng) -> Result<()> {
        let ports = self.our_ports()?;
        let Some(port) = random.choice(ports.keys()) else { return Ok(()) };
        self.lab.vsctl(&["--if-exists", "del-port", port]).map(drop)
    }

    pub(crate) fn delete_a_link(&self, random: &mut Rng) -> Result<()> {
        let ports = self.our_ports()?;
        let Some(port) = random.choice(ports.keys()) else { return Ok(()) };
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

    /// Waits until ports and links are those of the running containers with sound labels, each with its
    /// address, and foreign rows are as they were.
    pub(crate) fn check(&self) -> Result<()> {
        wait_for("the invariants to hold", CONVERGENCE, || {
            ensure!(self.daemon.is_running()?, "the daemon has ended");
            let running = self.running()?;
            let wanted: BTreeSet<_> = running.values().collect();
            let ports = self.our_ports()?;
            ensure!(
                ports.len() == running.len(),
                "{} ports, {} containers",
                ports.len(),
                running.len()
            );
            ensure!(ports.values().collect::<BTreeSet<_>>() == wanted, "ports of other containers");
            let links = self.our_links()?;
            let names: BTreeSet<_> = ports.into_keys().collect();
            ensure!(links == names, "links {links:?}, ports {names:?}");
            for name in running.keys() {
                let addresses =
                    self.lab.run_in_netns_of(name, "ip", &["addr", "show", "dev", "eth1"])?;
                ensure!(addresses.contains("inet 10.0."), "{name}: {addresses}");
            }
            let foreign = self.foreign_rows()?;
            ensure!(foreign == self.foreign, "foreign rows: {foreign}");
            Ok(Some(()))
        })
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

    /// The running containers with sound labels, and their ids.
    fn running(&self) -> Result<BTreeMap<String, String>> {
        let listed = self.lab.docker(&["ps", "--no-trunc", "--format={{.Names}} {{.ID}}"])?;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        let sound = pairs.filter(|(name, _)| self.containers.get(*name) == Some(&true));
        Ok(sound.map(|(name, id)| (name.to_owned(), id.to_owned())).collect())
    }

    /// Our ports that ovs-vswitchd forwards for, and the containers that they belong to.
    fn our_ports(&self) -> Result<BTreeMap<String, String>> {
        let found = self.lab.vsctl(&[
            "--format=csv",
            "--no-headings",
            "--columns=name,ofport,external_ids",
            "find",
            "interface",
            "external_ids:owner=ovs-port-manager",
        ])?;
        let port = |line: &str| {
            let (name, rest) = line.split_once(',')?;
            let (ofport, ids) = rest.split_once(',')?;
            let id = ids.split_once("container_id=")?.1.trim_start_matches('"').get(..64)?;
            let forwards = ofport.parse::<u32>().is_ok_and(|ofport| ofport > 0);
            forwards.then(|| (name.trim_matches('"').to_owned(), id.to_owned()))
        };
        Ok(found.lines().filter_map(port).collect())
    }

    fn our_links(&self) -> Result<BTreeSet<String>> {
        let links = self.lab.ip_json(&["link", "show"])?;
        let links = links.as_array().into_iter().flatten();
        let ours = links.filter(|link| {
            let alias = link.get("ifalias").and_then(|alias| alias.as_str());
            alias.is_some_and(|alias| alias.starts_with("ovs-port-manager "))
        });
        let names = ours.filter_map(|link| link.get("ifname")?.as_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn foreign_rows(&self) -> Result<String> {
        let port = self.lab.vsctl(&["list", "port", "theirs"])?;
        let columns = "--columns=_uuid,name,type,external_ids,options";
        Ok(port + &self.lab.vsctl(&[columns, "list", "interface", "theirs"])?)
    }
}

fn spawn(lab: &Lab, program: &Path) -> Result<Daemon> {
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    lab.spawn(
        program,
        &["run", "-v", "--wait-for-services", "--docker", &docker, "--ovsdb", &ovsdb],
        &[],
    )
}
