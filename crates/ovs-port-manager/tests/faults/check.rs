//! What must hold when the daemon has put everything right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::iter;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::wait_for;

use crate::world::World;

/// How long the daemon may take to put everything right.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(30);

/// The columns that ovs-vswitchd itself writes (ovs-vswitchd.conf.db(5)). All others are configuration.
const WRITTEN_BY_VSWITCHD: [&str; 24] = [
    "admin_state",
    "bfd_status",
    "cfm_fault",
    "cfm_fault_status",
    "cfm_flap_count",
    "cfm_health",
    "cfm_remote_mpids",
    "cfm_remote_opstate",
    "datapath_id",
    "datapath_version",
    "duplex",
    "error",
    "ifindex",
    "lacp_current",
    "link_resets",
    "link_speed",
    "link_state",
    "mac_in_use",
    "mtu",
    "ofport",
    "rstp_statistics",
    "rstp_status",
    "statistics",
    "status",
];

impl World {
    /// Waits until ports and links are those of the running containers with sound labels, each with its
    /// address, and foreign rows and links are as they were.
    pub(crate) fn check(&self) -> Result<()> {
        wait_for("the invariants to hold", CONVERGENCE, || {
            ensure!(self.daemon.is_running()?, "the daemon has ended");
            let running = self.running()?;
            let ports = self.our_ports()?;
            let asked_for = |(name, id): (&String, &String)| {
                let count = self.containers.get(name).copied().unwrap_or_default();
                iter::repeat_n(id.clone(), count)
            };
            let mut want: Vec<_> = running.iter().flat_map(asked_for).collect();
            let mut have: Vec<_> = ports.values().cloned().collect();
            want.sort_unstable();
            have.sort_unstable();
            ensure!(have == want, "ports of containers {have:?}, not {want:?}");
            let links = self.our_links()?;
            let names: BTreeSet<_> = ports.into_keys().collect();
            ensure!(links == names, "links {links:?}, ports {names:?}");
            for (name, pid) in self.pids(running.keys())? {
                let target = format!("--target={pid}");
                let addresses = ["--net", "--", "ip", "addr", "show", "dev", "eth1"];
                let addresses =
                    self.lab.run("nsenter", &[&[&*target], addresses.as_slice()].concat())?;
                ensure!(addresses.contains("inet 10.0."), "{name}: {addresses}");
            }
            let foreign = self.foreign_state()?;
            ensure!(foreign == self.foreign, "foreign: {foreign}, not {}", self.foreign);
            Ok(Some(()))
        })
    }

    /// The running containers with sound labels, and their ids.
    pub(crate) fn running(&self) -> Result<BTreeMap<String, String>> {
        let listed = self.lab.docker(&["ps", "--no-trunc", "--format={{.Names}} {{.ID}}"])?;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        let sound =
            pairs.filter(|(name, _)| self.containers.get(*name).is_some_and(|ports| *ports > 0));
        Ok(sound.map(|(name, id)| (name.to_owned(), id.to_owned())).collect())
    }

    /// The first processes of containers, as seen inside the lab.
    pub(crate) fn pids<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<Vec<(String, u32)>> {
        let mut args = vec!["inspect", "--format={{.Name}} {{.State.Pid}}"];
        args.extend(names.map(String::as_str));
        if args.len() == 2 {
            return Ok(Vec::new());
        }
        let told = self.lab.docker(&args)?;
        let pid = |line: &str| {
            let (name, pid) = line.split_once(' ')?;
            Some((name.trim_start_matches('/').to_owned(), pid.parse().ok()?))
        };
        Ok(told.lines().filter_map(pid).collect())
    }

    /// Our ports and the containers that they belong to. Each must forward.
    pub(crate) fn our_ports(&self) -> Result<BTreeMap<String, String>> {
        let columns = ["--format=csv", "--no-headings", "--columns=name,ofport,external_ids"];
        let find = ["find", "interface", "external_ids:owner=ovs-port-manager"];
        let found = self.lab.vsctl(&[columns, find].concat())?;
        let port = |line: &str| {
            let (name, rest) = line.split_once(',')?;
            let (ofport, ids) = rest.split_once(',')?;
            let id = ids.split_once("container_id=")?.1.trim_start_matches('"').get(..64)?;
            let forwards = ofport.parse::<u32>().is_ok_and(|ofport| ofport > 0);
            forwards.then(|| (name.trim_matches('"').to_owned(), id.to_owned()))
        };
        let ports: BTreeMap<_, _> = found.lines().filter_map(port).collect();
        ensure!(ports.len() == found.lines().count(), "a stale or dead row: {found}");
        Ok(ports)
    }

    pub(crate) fn our_links(&self) -> Result<BTreeSet<String>> {
        let links = self.lab.ip_json(&["link", "show"])?;
        let links = links.as_array().into_iter().flatten();
        let ours = links.filter(|link| {
            let alias = link.get("ifalias").and_then(|alias| alias.as_str());
            alias.is_some_and(|alias| alias.starts_with("ovs-port-manager"))
        });
        let names = ours.filter_map(|link| link.get("ifname")?.as_str().map(str::to_owned));
        Ok(names.collect())
    }

    /// The foreign rows, without what ovs-vswitchd writes, and the foreign link.
    pub(crate) fn foreign_state(&self) -> Result<String> {
        let rows: [&[&str]; 3] = [
            &["bridge", "theirbr"],
            &["port", "theirs", "theirbr", "ovsbr0"],
            &["interface", "theirs", "theirbr", "ovsbr0"],
        ];
        let mut state = String::new();
        for rows in rows {
            let listed = self.lab.vsctl(&[&["list"], rows].concat())?;
            let written = |line: &&str| {
                let column = line.split(' ').next().unwrap_or_default();
                WRITTEN_BY_VSWITCHD.contains(&column)
            };
            for line in listed.lines().filter(|line| !written(line)) {
                writeln!(state, "{line}")?;
            }
        }
        let link = self.lab.ip_json(&["link", "show", "dev", "theirs"])?;
        Ok(format!("{state}{link}"))
    }
}
