//! Ports that others made, taken over in place: those of the real `ovs-docker`, those of the Go version, which makes them
//! as [`go_port`] does, and those that a person made. A running ping judges that nothing is lost.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, Signal, wait_for};
use serde_json::Value;

use crate::answers::told;
use crate::stage::{
    self, PATIENCE, PROGRAM, has_interface, our_links, our_ports, reach, start_daemon,
    start_daemon_with, wait_gone, wait_ready,
};

const ADOPT: &str = "--adopt";

/// The arguments of a command with the option in its configuration.
fn adopting(lab: &Lab, command: &[&str]) -> Result<String> {
    let file = lab.path().join("adopt.yaml");
    fs::write(&file, "adopt: true\n")?;
    told(lab, &[command, &["--config", &file.display().to_string()]].concat())
}

/// A lab with a bridge that forwards without the kernel's module.
fn lab() -> Result<Lab> {
    let lab = Lab::start()?;
    add_bridge(&lab, "ovsbr0")?;
    Ok(lab)
}

fn add_bridge(lab: &Lab, bridge: &str) -> Result<()> {
    let netdev = ["--", "set", "bridge", bridge, "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", bridge], netdev.as_slice()].concat()).map(drop)
}

/// What the Go version does for a container (`internal/manager/manager.go`, `createAndConfigurePort`): a veth whose name
/// is twelve digits of the id, born with its peer inside; the rows in one transaction, marked with the full id; then up,
/// renamed and configured; the VLAN last.
fn go_port(
    lab: &Lab,
    id: &str,
    bridge: &str,
    interface: &str,
    address: &str,
    vlan: Option<&str>,
) -> Result<String> {
    let digits = &id[..12];
    let (host, inside) = (format!("{digits}_l"), format!("{digits}_c"));
    let pid = lab.docker(&["inspect", "--format", "{{.State.Pid}}", id])?;
    let veth = ["type", "veth", "peer", "name", &inside, "netns", pid.trim()];
    lab.run("ip", &[&["link", "add", &host], veth.as_slice()].concat())?;
    let marks = [
        &format!("external_ids:container_id={id}"),
        &format!("external_ids:container_iface={interface}") as &str,
    ];
    let add = ["add-port", bridge, &host, "--", "set", "interface", &host];
    lab.vsctl(&[add.as_slice(), &marks].concat())?;
    lab.run("ip", &["link", "set", &host, "up"])?;
    lab.run_in_netns_of(id, "ip", &["link", "set", &inside, "name", interface])?;
    lab.run_in_netns_of(id, "ip", &["addr", "add", address, "dev", interface])?;
    lab.run_in_netns_of(id, "ip", &["link", "set", interface, "up"])?;
    if let Some(vlan) = vlan {
        lab.vsctl(&["set", "port", &host, &format!("tag={vlan}")])?;
    }
    Ok(host)
}

/// A port of the real `ovs-docker`; returns its name.
fn ovs_docker_port(lab: &Lab, container: &str, flags: &[&str]) -> Result<String> {
    let before = lab.vsctl(&["list-ports", "ovsbr0"])?;
    let add = ["add-port", "ovsbr0", "eth1", container];
    lab.run("ovs-docker", &[add.as_slice(), flags].concat())?;
    let after = lab.vsctl(&["list-ports", "ovsbr0"])?;
    let new = after.lines().find(|port| !before.lines().any(|known| known == *port));
    new.map(str::to_owned).context("no new port")
}

/// Pings every 10 ms, until they are ended.
struct Pings {
    from: String,
    /// A file in the container whose existence ends them.
    end: String,
    process: Daemon,
}

impl Pings {
    /// Begins; returns when the first is answered.
    fn begin(lab: &Lab, from: &str, to: &str) -> Result<Self> {
        let end = format!("/end-of-pings-to-{to}");
        let script =
            format!("rm -f {end}; until [ -e {end} ]; do ping -i 0.01 -c 100 -W 1 {to}; done");
        let args = ["exec", from, "sh", "-c", &script];
        let docker = [("DOCKER_HOST", lab.docker_endpoint())];
        let docker = docker.each_ref().map(|(name, value)| (*name, value.as_str()));
        let process = lab.spawn(Path::new("docker"), &args, &docker)?;
        process.wait_log("bytes from", PATIENCE)?;
        Ok(Self { from: from.to_owned(), end, process })
    }

    /// Ends them; how many were not answered, and what ping printed.
    fn lost(self, lab: &Lab) -> Result<(u32, String)> {
        ensure!(self.process.is_running()?, "{}", self.process.log());
        lab.exec(&self.from, &["touch", &self.end])?;
        self.process.wait_exit(PATIENCE)?;
        let log = self.process.log();
        let mut lost = None;
        for series in log.lines().filter(|line| line.contains("packet loss")) {
            let mut numbers = series.split(' ').filter_map(|word| word.parse::<u32>().ok());
            let (sent, received) = (numbers.next(), numbers.next());
            let (sent, received) = sent.zip(received).with_context(|| series.to_owned())?;
            *lost.get_or_insert(0) += sent - received;
        }
        Ok((lost.context("no series has ended")?, log))
    }
}

fn ensure_none_lost(lab: &Lab, all: impl IntoIterator<Item = Pings>) -> Result<()> {
    for pings in all {
        let (lost, log) = pings.lost(lab)?;
        ensure!(lost == 0, "{log}");
    }
    Ok(())
}

fn wait_ours(lab: &Lab, ports: &[&str]) -> Result<()> {
    wait_for("the ports to be ours", PATIENCE, || {
        let ours = our_ports(lab)?;
        Ok(ports.iter().all(|port| ours.iter().any(|one| one == port)).then_some(()))
    })
}

fn mac(lab: &Lab, container: &str, interface: &str) -> Result<String> {
    let shown = stage::interface(lab, container, interface)?;
    Ok(shown.get("address").and_then(Value::as_str).context("no MAC address")?.to_owned())
}

fn mark(lab: &Lab, port: &str, key: &str) -> Result<String> {
    let value = lab.vsctl(&["get", "interface", port, &format!("external_ids:{key}")])?;
    Ok(value.trim_matches('"').to_owned())
}

fn log_of_steps(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let steps = log.lines().filter_map(|line| line.split_once(" INFO "));
    let steps = steps.map(|(_, step)| step.to_owned());
    steps.filter(|step| ["add-", "del-"].iter().any(|it| step.starts_with(it))).collect()
}

#[test]
fn ports_of_ovs_docker_are_taken_over_and_no_packet_is_lost() -> Result<()> {
    let lab = lab()?;
    let label = |address| [("ovs.ip_address", address), ("ovs.vlan", "7")];
    let one = lab.run_container("one", &label("10.0.0.1/24"))?;
    let two = lab.run_container("two", &label("10.0.0.2/24"))?;
    let three = lab.run_container("three", &label("10.0.0.3/24"))?;
    // It writes down what it is given: a name, the beginning of an id, an id.
    let ports = [
        ovs_docker_port(&lab, "one", &["--ipaddress=10.0.0.1/24"])?,
        ovs_docker_port(&lab, &two[..12], &["--ipaddress=10.0.0.2/24"])?,
        ovs_docker_port(&lab, &three, &["--ipaddress=10.0.0.3/24", "--mtu=1400"])?,
    ];
    for (container, port) in ["one", &two[..12], &three].iter().zip(&ports) {
        lab.run("ovs-docker", &["set-vlan", "ovsbr0", "eth1", container, "7"])?;
        lab.vsctl(&["get", "interface", port, "ofport"])?;
    }
    reach(&lab, "one", "10.0.0.2")?;
    reach(&lab, "three", "10.0.0.2")?;
    let macs = ["one", "two", "three"].map(|name| mac(&lab, name, "eth1"));
    let ofports = ports.each_ref().map(|port| lab.vsctl(&["get", "interface", port, "ofport"]));

    let pings = [Pings::begin(&lab, "one", "10.0.0.2")?, Pings::begin(&lab, "two", "10.0.0.3")?];
    let daemon = start_daemon_with(&lab, &[ADOPT])?;
    let names = ports.each_ref().map(String::as_str);
    wait_ours(&lab, &names)?;
    ensure_none_lost(&lab, pings)?;
    ensure!(log_of_steps(&daemon).is_empty(), "{}", daemon.log());

    let facts = [("one", &one), ("two", &two), ("three", &three)];
    for (((name, id), port), (before, ofport)) in
        facts.into_iter().zip(&ports).zip(macs.into_iter().zip(ofports))
    {
        let before = before?;
        ensure!(mac(&lab, name, "eth1")? == before, "its neighbours know its MAC address");
        ensure!(lab.vsctl(&["get", "interface", port, "ofport"])? == ofport?);
        ensure!(mark(&lab, port, "container_id")? == *id);
        ensure!(mark(&lab, port, "container_name")? == name);
        ensure!(mark(&lab, port, "mac_address")? == before);
        ensure!(lab.vsctl(&["get", "port", port, "other_config:transient"])? == "\"true\"");
        let alias = our_links(&lab)?.into_iter().find(|alias| alias.contains(id));
        ensure!(alias.is_some_and(|alias| alias.contains("iface=eth1")), "the link is marked");
        let offloads = lab.run_in_netns_of(name, "ethtool", &["-k", "eth1"])?;
        ensure!(offloads.contains("tx-checksumming: off"), "TCP would fail: {offloads}");
    }
    let status = told(&lab, &["status"])?;
    ensure!(status.matches(" ready ").count() == 3, "{status}");
    let plan = adopting(&lab, &["plan"])?;
    ensure!(plan.contains("nothing to do for 3 containers"), "{plan}");

    // From here on it is a port like any other.
    lab.docker(&["rm", "-f", "three"])?;
    wait_gone(&lab, &three)?;
    lab.vsctl(&["clear", "port", names[0], "tag"])?;
    wait_for("the tag to be put right", PATIENCE, || {
        Ok((lab.vsctl(&["get", "port", names[0], "tag"])? == "7").then_some(()))
    })?;
    let kept = mac(&lab, "one", "eth1")?;
    lab.docker(&["restart", "-t", "0", "one"])?;
    wait_for("a port of its next start", PATIENCE, || {
        let ports = stage::ports_of(&lab, &one)?;
        Ok((ports.len() == 1 && ports[0] != names[0]).then_some(()))
    })?;
    let port = wait_ready(&lab, &one)?;
    ensure!(mac(&lab, "one", "eth1")? != kept, "the next start has the derived MAC address");
    ensure!(mark(&lab, &port, "adopted_mac").is_err(), "nothing is kept any more");
    reach(&lab, "one", "10.0.0.2")
}

#[test]
fn ports_of_the_go_version_are_taken_over_and_no_packet_is_lost() -> Result<()> {
    let lab = lab()?;
    let mut ports = Vec::new();
    for number in 1..=8 {
        let address = format!("10.0.0.{number}/24");
        let labels = [("ovs.ip_address", address.as_str()), ("ovs.vlan", "100")];
        let id = lab.run_container(&format!("c{number}"), &labels)?;
        // A VLAN that it fails to set stays unset, and the port a trunk.
        let vlan = (number < 8).then_some("100");
        ports.push(go_port(&lab, &id, "ovsbr0", "eth1", &address, vlan)?);
    }
    for number in 2..=7 {
        reach(&lab, "c1", &format!("10.0.0.{number}"))?;
    }
    let before = mac(&lab, "c1", "eth1")?;
    let pings = (2..=7).map(|to| Pings::begin(&lab, "c1", &format!("10.0.0.{to}")));
    let pings = pings.collect::<Result<Vec<_>>>()?;
    let daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &ports.iter().map(String::as_str).collect::<Vec<_>>())?;
    ensure_none_lost(&lab, pings)?;
    reach(&lab, "c1", "10.0.0.8")?;
    ensure!(lab.vsctl(&["get", "port", &ports[7], "tag"])? == "100", "the label asks for it");
    ensure!(log_of_steps(&daemon).is_empty(), "{}", daemon.log());

    // Whoever comes after this instance keeps them as they are.
    daemon.kill9()?;
    drop(daemon);
    let pings = [Pings::begin(&lab, "c1", "10.0.0.2")?];
    let daemon = start_daemon(&lab)?;
    daemon.wait_log("looking at all labelled containers containers=8", PATIENCE)?;
    ensure_none_lost(&lab, pings)?;
    ensure!(mac(&lab, "c1", "eth1")? == before);
    ensure!(log_of_steps(&daemon).is_empty(), "{}", daemon.log());
    Ok(())
}

#[test]
fn a_tcp_stream_goes_on_while_its_ports_are_taken_over() -> Result<()> {
    let lab = lab()?;
    for (name, address) in [("web", "10.0.0.1/24"), ("client", "10.0.0.2/24")] {
        lab.run_container(name, &[("ovs.ip_address", address)])?;
        ovs_docker_port(&lab, name, &[&format!("--ipaddress={address}")])?;
        // Without this, TCP fails over the userspace datapath.
        lab.run_in_netns_of(name, "ethtool", &["-K", "eth1", "tx", "off"])?;
    }
    reach(&lab, "client", "10.0.0.1")?;
    let inside = |name: &str, args: &[&str]| -> Result<Daemon> {
        let target = format!("--target={}", lab.container_pid(name)?);
        let args = [&[target.as_str(), "--net", "--", "iperf3"], args].concat();
        lab.spawn(Path::new("nsenter"), &args, &[])
    };
    let server = inside("web", &["--server", "--one-off", "--forceflush"])?;
    server.wait_log("Server listening", PATIENCE)?;
    let flags = ["--client", "10.0.0.1", "--time=8", "--interval=0.5", "--bitrate=50M"];
    let stream = inside("client", &[flags.as_slice(), &["--forceflush"]].concat())?;
    stream.wait_log("its/sec", PATIENCE)?;
    let ports = lab.vsctl(&["list-ports", "ovsbr0"])?;
    let _daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &ports.lines().collect::<Vec<_>>())?;
    ensure!(stream.is_running()?, "the stream has ended before: {}", stream.log());
    ensure!(stream.wait_exit(PATIENCE)?.success(), "{}", stream.log());
    let log = stream.log();
    let intervals = log.lines().filter(|line| line.contains("its/sec") && line.contains("KBytes"));
    let stalled: Vec<_> = intervals.filter(|line| line.contains(" 0.00 Bytes")).collect();
    ensure!(stalled.is_empty(), "{log}");
    Ok(())
}

#[test]
fn whatever_it_dies_after_the_ports_stay_and_the_next_one_takes_them_over() -> Result<()> {
    let lab = lab()?;
    let label = |address| [("ovs.ip_address", address), ("ovs.mtu", "1400")];
    let one = lab.run_container("one", &label("10.0.0.1/24"))?;
    let two = lab.run_container("two", &label("10.0.0.2/24"))?;
    let first = go_port(&lab, &one, "ovsbr0", "eth1", "10.0.0.1/24", None)?;
    let second = go_port(&lab, &two, "ovsbr0", "eth1", "10.0.0.2/24", None)?;
    reach(&lab, "one", "10.0.0.2")?;
    let macs = || Ok::<_, anyhow::Error>([mac(&lab, "one", "eth1")?, mac(&lab, "two", "eth1")?]);
    let before = macs()?;
    let pings = [Pings::begin(&lab, "one", "10.0.0.2")?];
    for boundary in 1..=4 {
        let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
        let args = ["run", ADOPT, "--docker", &docker, "--ovsdb", &ovsdb];
        let failpoint = [("FAILPOINT", format!("{boundary}"))];
        let failpoint = failpoint.each_ref().map(|(name, value)| (*name, value.as_str()));
        let daemon = lab.spawn(Path::new(PROGRAM), &args, &failpoint)?;
        ensure!(!daemon.wait_exit(PATIENCE)?.success(), "{}", daemon.log());
    }
    let _daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &[&first, &second])?;
    ensure_none_lost(&lab, pings)?;
    ensure!(macs()? == before, "their neighbours know them");
    for (name, port) in [("one", &first), ("two", &second)] {
        ensure!(lab.vsctl(&["get", "port", port, "other_config:transient"])? == "\"true\"");
        wait_for("its MTU", PATIENCE, || {
            Ok((stage::interface(&lab, name, "eth1")?["mtu"] == 1400).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn what_does_not_match_is_refused_in_words_and_left_as_it_is() -> Result<()> {
    let lab = lab()?;
    add_bridge(&lab, "ovs_bond0")?;
    let elsewhere = lab.run_container("elsewhere", &[("ovs.ip_address", "10.0.0.1/24")])?;
    go_port(&lab, &elsewhere, "ovs_bond0", "eth1", "10.0.0.1/24", None)?;
    let by_default = lab.run_container("by-default", &[("ovs.ip_address", "10.0.0.2/24")])?;
    go_port(&lab, &by_default, "ovs_bond0", "bond0", "10.0.0.2/24", None)?;
    lab.run_container("other-address", &[("ovs.ip_address", "10.0.0.3/24")])?;
    ovs_docker_port(&lab, "other-address", &["--ipaddress=10.0.0.33/24"])?;
    let unlinked = lab.run_container("unlinked", &[("ovs.ip_address", "10.0.0.4/24")])?;
    let row = [
        "--",
        "set",
        "interface",
        "tap4",
        "type=internal",
        &format!("external_ids:container_id={unlinked}"),
        "external_ids:container_iface=eth1",
    ];
    lab.vsctl(&[&["add-port", "ovsbr0", "tap4"], row.as_slice()].concat())?;
    let by_command = lab.run_container("by-command", &[("ovs.ip_address", "10.0.0.5/24")])?;
    go_port(&lab, &by_command, "ovsbr0", "eth1", "10.0.0.5/24", None)?;
    let owner = "external_ids:owner=ovs-port-manager/by-hand";
    lab.vsctl(&["set", "interface", &format!("{}_l", &by_command[..12]), owner])?;

    let rows = || lab.vsctl(&["--columns=name,external_ids", "list", "interface"]);
    let before = rows()?;
    let daemon = start_daemon_with(&lab, &[ADOPT])?;
    for (name, reason) in [
        ("elsewhere", "it is on bridge ovs_bond0, and the labels are for ovsbr0"),
        ("by-default", "its interface is bond0, and the labels are for eth1"),
        ("other-address", "eth1 has 10.0.0.33/24, and the labels ask for 10.0.0.3/24"),
        ("unlinked", "its link does not lead to eth1 of this container"),
        ("by-command", "was made for the same interface by the command add-port"),
    ] {
        daemon.wait_log(reason, PATIENCE)?;
        let explained = adopting(&lab, &["explain", name])?;
        ensure!(explained.contains(reason), "{name}: {explained}");
    }
    ensure!(rows()? == before, "nothing was touched");
    ensure!(our_links(&lab)?.is_empty());
    ensure!(!has_interface(&lab, "by-default", "eth1")?, "no address twice");
    ensure!(log_of_steps(&daemon).is_empty(), "{}", daemon.log());
    Ok(())
}

#[test]
fn without_the_option_a_port_of_others_is_refused_and_doctor_names_the_option() -> Result<()> {
    let lab = lab()?;
    lab.run_container("one", &[("ovs.ip_address", "10.0.0.1/24")])?;
    ovs_docker_port(&lab, "one", &["--ipaddress=10.0.0.1/24"])?;
    let daemon = start_daemon(&lab)?;
    daemon.wait_log("set adopt: true to take it over as it is", PATIENCE)?;
    let plan = adopting(&lab, &["plan"])?;
    ensure!(plan.contains("adopt-port ovsbr0 PORT peer=eth1"), "{plan}");
    let doctor = told(&lab, &["doctor"])?;
    ensure!(doctor.contains("adopt: true"), "{doctor}");
    let doctor = adopting(&lab, &["doctor"])?;
    ensure!(doctor.contains("the daemon takes it over"), "{doctor}");
    ensure!(our_ports(&lab)?.is_empty(), "nothing is done without it");
    Ok(())
}

#[test]
fn a_port_that_is_taken_over_at_sighup_gets_the_flow_rules_of_its_bridge() -> Result<()> {
    let lab = lab()?;
    for (name, address) in [("one", "10.0.0.1/24"), ("two", "10.0.0.2/24")] {
        lab.run_container(name, &[("ovs.ip_address", address)])?;
        ovs_docker_port(&lab, name, &[&format!("--ipaddress={address}")])?;
    }
    lab.run_in_netns_of("one", "ip", &["addr", "add", "10.0.0.77/24", "dev", "eth1"])?;
    let spoof = || lab.exec("one", &["ping", "-c", "1", "-W", "1", "-I", "10.0.0.77", "10.0.0.2"]);
    wait_for("the other address to pass", PATIENCE, || Ok(spoof().ok()))?;
    let file = lab.path().join("config.yaml");
    fs::write(&file, "port_security: [ovsbr0]\n")?;
    let daemon = start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    daemon.wait_log("set adopt: true to take it over as it is", PATIENCE)?;
    ensure!(our_ports(&lab)?.is_empty());

    let pings = [Pings::begin(&lab, "one", "10.0.0.2")?];
    fs::write(&file, "port_security: [ovsbr0]\nadopt: true\n")?;
    daemon.signal(Signal::HUP)?;
    let ports = lab.vsctl(&["list-ports", "ovsbr0"])?;
    wait_ours(&lab, &ports.lines().collect::<Vec<_>>())?;
    wait_for("the other address to be dropped", PATIENCE, || Ok(spoof().is_err().then_some(())))?;
    ensure_none_lost(&lab, pings)?;
    let status = told(&lab, &["status"])?;
    ensure!(status.matches(" ready ").count() == 2, "{status}");
    Ok(())
}

#[test]
fn a_mac_address_that_a_label_asks_for_is_announced_when_the_port_is_taken_over() -> Result<()> {
    let lab = lab()?;
    let wanted = "02:00:00:00:00:aa";
    lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.mac_address", wanted)])?;
    lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = ovs_docker_port(&lab, "web", &["--ipaddress=10.0.0.1/24"])?;
    ovs_docker_port(&lab, "peer", &["--ipaddress=10.0.0.2/24"])?;
    reach(&lab, "peer", "10.0.0.1")?;
    let pings = Pings::begin(&lab, "peer", "10.0.0.1")?;
    let _daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &[&port])?;
    wait_for("the label's MAC address", PATIENCE, || {
        Ok((mac(&lab, "web", "eth1")? == wanted).then_some(()))
    })?;
    let (lost, log) = pings.lost(&lab)?;
    // The kernel would find out after seconds by itself.
    ensure!(lost < 100, "{lost} lost: {log}");
    let neighbours = lab.container_ip_json("peer", &["neigh", "show", "10.0.0.1"])?;
    ensure!(neighbours.to_string().contains(wanted), "{neighbours}");
    Ok(())
}

#[test]
fn a_word_that_names_two_containers_is_the_one_that_the_link_leads_into() -> Result<()> {
    let lab = lab()?;
    let meant = lab.run_container("meant", &[("ovs.ip_address", "10.0.0.1/24")])?;
    // Its name is the beginning of the other's id, which Docker's own commands would take for its name.
    let word = &meant[..12];
    let named = lab.run_container(word, &[("ovs.ip_address", "10.0.0.2/24")])?;
    let port = ovs_docker_port(&lab, &meant, &["--ipaddress=10.0.0.1/24"])?;
    lab.vsctl(&["set", "interface", &port, &format!("external_ids:container_id={word}")])?;
    let _daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &[&port])?;
    ensure!(mark(&lab, &port, "container_id")? == meant);
    ensure!(wait_ready(&lab, &named)? != port, "it gets one of its own");
    reach(&lab, word, "10.0.0.1")
}

#[test]
fn a_port_that_a_person_made_by_hand_is_taken_over_and_a_stale_row_is_no_obstacle() -> Result<()> {
    let lab = lab()?;
    // Its row was left behind by an earlier container of the same name.
    let ids = ["external_ids:container_id=web", "external_ids:container_iface=eth1"];
    let add = ["add-port", "ovsbr0", "stale", "--", "set", "interface", "stale"];
    lab.vsctl(&[add.as_slice(), &ids].concat())?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.2/24,fd00::2/64")])?;
    let pid = lab.docker(&["inspect", "--format", "{{.State.Pid}}", "peer"])?;
    lab.run(
        "ip",
        &["link", "add", "uplink7", "type", "veth", "peer", "name", "eth1", "netns", pid.trim()],
    )?;
    lab.run("ip", &["link", "set", "uplink7", "up", "alias", "the peer's"])?;
    for args in [
        ["addr", "add", "10.0.0.2/24", "dev", "eth1"].as_slice(),
        &["link", "set", "eth1", "up", "address", "02:00:00:00:00:77"],
    ] {
        lab.run_in_netns_of("peer", "ip", args)?;
    }
    let sysctl = "net.ipv6.conf.eth1.disable_ipv6=0";
    lab.run_in_netns_of("peer", "sysctl", &["-q", "-w", sysctl])?;
    lab.run_in_netns_of("peer", "ip", &["addr", "add", "fd00::2/64", "dev", "eth1", "nodad"])?;
    let ids =
        [&format!("external_ids:container_id={}", &peer[..5]), "external_ids:container_iface=eth1"];
    let add = ["add-port", "ovsbr0", "uplink7", "--", "set", "interface", "uplink7"];
    lab.vsctl(&[add.as_slice(), &ids].concat())?;

    let _daemon = start_daemon_with(&lab, &[ADOPT])?;
    wait_ours(&lab, &["uplink7"])?;
    let web = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24,fd00::1/64")])?;
    wait_ready(&lab, &web)?;
    reach(&lab, "web", "10.0.0.2")?;
    ensure!(mac(&lab, "peer", "eth1")? == "02:00:00:00:00:77");
    let shown: Value = stage::interface(&lab, "web", "eth1")?;
    ensure!(shown["operstate"] == "UP", "{shown}");
    ensure!(lab.vsctl(&["get", "interface", "stale", "external_ids:container_id"])? == "web");
    lab.docker(&["kill", "peer"])?;
    wait_gone(&lab, &peer)
}
