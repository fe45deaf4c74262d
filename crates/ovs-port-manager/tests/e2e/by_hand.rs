//! Ports by command: the verbs of `ovs-docker`, on that program and on this one under its name.

use std::os::unix::fs::symlink;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use lab::{Lab, Signal, wait_for};
use serde_json::Value;

use crate::answers::told;
use crate::stage::{self, PATIENCE, PROGRAM, has_interface, ping};

/// Two programs that are to do the same.
struct Programs {
    lab: Lab,
    ours: String,
}

impl Programs {
    fn start() -> Result<Self> {
        let lab = Lab::start()?;
        let ours = lab.path().join("ovs-docker");
        symlink(PROGRAM, &ours)?;
        Ok(Self { ours: ours.display().to_string(), lab })
    }

    fn both(&self) -> [&str; 2] {
        ["ovs-docker", &self.ours]
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<Output> {
        let mut command = self.lab.command(program);
        // Under the other name there are no flags for these.
        command.env("OVS_PORT_MANAGER_DOCKER", self.lab.docker_endpoint());
        command.env("OVS_PORT_MANAGER_OVSDB", self.lab.ovsdb_endpoint());
        Ok(command.args(args).output()?)
    }

    fn done(&self, program: &str, args: &[&str]) -> Result<()> {
        let output = self.run(program, args)?;
        ensure!(output.status.success(), "{program} {args:?}: {output:?}");
        ensure!(output.stdout.is_empty(), "{program} {args:?}: {output:?}");
        Ok(())
    }
}

/// A bridge that works on the userspace datapath.
fn add_bridge(lab: &Lab) -> Result<()> {
    let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
    lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat()).map(drop)
}

/// The ports that a container has, by the word that it was attached with.
fn ports(lab: &Lab, word: &str) -> Result<Vec<String>> {
    let wanted = format!("external_ids:container_id={word}");
    let names = lab.vsctl(&["--bare", "--columns=name", "find", "interface", &wanted])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// The rows and links of a container's one port, without what no two ports share.
fn facts(lab: &Lab, container: &str) -> Result<Vec<String>> {
    let ports = ports(lab, container)?;
    let [port] = ports.as_slice() else { anyhow::bail!("not one port: {ports:?}") };
    ensure!(port.len() == 15 && port.ends_with("_l"), "{port}");
    let mut facts = Vec::new();
    for (table, columns) in [
        ("port", "tag,trunks,vlan_mode,other_config,external_ids,qos,fake_bridge"),
        ("interface", "type,options,other_config,ofport_request,mtu_request"),
    ] {
        facts.push(lab.vsctl(&[&format!("--columns={columns}"), "list", table, port])?);
    }
    facts.push(lab.vsctl(&["port-to-br", port])?);
    for key in ["container_id", "container_iface"] {
        facts.push(lab.vsctl(&["get", "interface", port, &format!("external_ids:{key}")])?);
    }
    let host = lab.ip_json(&["-d", "link", "show", "dev", port])?;
    facts.push(format!(
        "{:?}",
        ["/0/operstate", "/0/linkinfo/info_kind"].map(|it| host.pointer(it))
    ));
    let inside = stage::interface(lab, container, "eth1")?;
    facts.push(format!("{:?}", ["/operstate", "/mtu"].map(|it| inside.pointer(it))));
    let addresses = inside.get("addr_info").and_then(Value::as_array).context("addresses")?;
    let own = addresses.iter().filter(|it| it.get("scope").is_some_and(|it| it == "global"));
    facts.extend(own.map(|it| format!("{:?}", [it.get("local"), it.get("prefixlen")])));
    let routes = lab.container_ip_json(container, &["route", "show"])?;
    let routes = routes.as_array().context("routes")?.iter();
    facts
        .extend(routes.map(|it| format!("{:?}", ["dst", "gateway", "dev"].map(|key| it.get(key)))));
    Ok(facts.into_iter().map(|fact| fact.replace(container, "CONTAINER")).collect())
}

#[test]
fn the_verbs_leave_the_same_rows_and_links_as_those_of_ovs_docker() -> Result<()> {
    let programs = Programs::start()?;
    let lab = &programs.lab;
    add_bridge(lab)?;
    let mut seen = Vec::new();
    for (program, name) in programs.both().into_iter().zip(["theirs", "ours"]) {
        let mut told = Vec::new();
        lab.run_container(name, &[])?;
        let mac = "--macaddress=a2:c3:0d:49:7f:f8";
        let add = ["add-port", "ovsbr0", "eth1", name];
        let flags = ["--ipaddress=10.0.0.2/24", "--gateway=10.0.0.1", mac];
        programs.done(program, &[add.as_slice(), &flags].concat())?;
        ensure!(stage::interface(lab, name, "eth1")?["address"] == "a2:c3:0d:49:7f:f8");
        told.push(facts(lab, name)?);
        programs.done(program, &["set-vlan", "ovsbr0", "eth1", name, "5"])?;
        told.push(facts(lab, name)?);
        programs.done(program, &["del-port", "ovsbr0", "eth1", name])?;
        ensure!(ports(lab, name)?.is_empty() && !has_interface(lab, name, "eth1")?, "{program}");

        programs.done(program, &add)?;
        told.push(facts(lab, name)?);
        programs.done(program, &["add-port", "ovsbr0", "eth2", name, "--ipaddress=10.1.0.2"])?;
        ensure!(ports(lab, name)?.len() == 2);
        programs.done(program, &["del-ports", "ovsbr0", name])?;
        ensure!(ports(lab, name)?.is_empty() && !has_interface(lab, name, "eth2")?, "{program}");
        programs.done(program, &["del-ports", "ovsbr0", name])?;

        programs
            .done(program, &[add.as_slice(), &["--ipaddress=10.0.0.3", "--mtu=1400"]].concat())?;
        told.push(facts(lab, name)?);
        seen.push(told);
    }
    ensure!(seen[0] == seen[1], "ovs-docker:\n{:#?}\nours:\n{:#?}", seen[0], seen[1]);
    // Each changes what the other has made.
    for (program, name) in programs.both().into_iter().zip(["ours", "theirs"]) {
        programs.done(program, &["set-vlan", "ovsbr0", "eth1", name, "7"])?;
        let [port] =
            <[String; 1]>::try_from(ports(lab, name)?).map_err(|it| anyhow::anyhow!("{it:?}"))?;
        ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "7");
        programs.done(program, &["del-port", "ovsbr0", "eth1", name])?;
        ensure!(ports(lab, name)?.is_empty() && !has_interface(lab, name, "eth1")?, "{program}");
    }
    let links = lab.ip_json(&["link", "show", "type", "veth"])?.to_string();
    ensure!(!links.contains("_l"), "{links}");
    Ok(())
}

#[test]
fn bad_calls_end_with_the_same_status_and_complain_on_the_same_stream() -> Result<()> {
    let programs = Programs::start()?;
    let lab = &programs.lab;
    add_bridge(lab)?;
    lab.run_container("web", &[])?;
    programs.done("ovs-docker", &["add-port", "ovsbr0", "eth1", "web"])?;
    for args in [
        &[][..],
        &["--help"],
        &["-h"],
        &["fly"],
        &["add-port"],
        &["add-port", "ovsbr0", "eth1"],
        &["add-port", "ovsbr0", "eth2", "web", "--vlan=5"],
        &["add-port", "ovsbr0", "eth2", "web", "--mtu", "1400"],
        &["add-port", "ovsbr0", "eth1", "web"],
        &["add-port", "ovsbr0", "eth1", "nobody"],
        &["del-port", "ovsbr0", "eth1"],
        &["del-port", "ovsbr0", "eth9", "web"],
        &["del-port", "ovsbr0", "eth1", "nobody"],
        &["del-ports", "ovsbr0"],
        &["del-ports", "ovsbr0", "nobody"],
        &["set-vlan", "ovsbr0", "eth1", "web"],
        &["set-vlan", "ovsbr0", "eth9", "web", "5"],
        // What ovs-docker would try all the same is told before anything is done; where ovs-vsctl refuses it, the
        // status is the same.
        &["set-vlan", "ovsbr0", "eth1", "web", "9999"],
    ] {
        let [theirs, ours] = programs.both().map(|program| programs.run(program, args));
        let (theirs, ours) = (theirs?, ours?);
        let last = args.last() == Some(&"9999");
        // ovs-docker ends with 0 when its last command fails.
        ensure!(
            last || theirs.status.code() == ours.status.code(),
            "{args:?}: {theirs:?} {ours:?}"
        );
        ensure!(last || theirs.stdout.is_empty() == ours.stdout.is_empty(), "{args:?}: {ours:?}");
        if ours.status.code() == Some(1) {
            let told = String::from_utf8(ours.stderr)?;
            ensure!(
                told.starts_with("ovs-docker: ") && told.lines().count() == 1,
                "{args:?}: {told}"
            );
        }
    }
    ensure!(ports(lab, "web")?.len() == 1, "nothing was changed");
    Ok(())
}

#[test]
fn a_port_by_command_lives_as_long_as_its_container() -> Result<()> {
    let programs = Programs::start()?;
    let (lab, ours) = (&programs.lab, programs.ours.as_str());
    let daemon = stage::start_daemon(lab)?;
    let labels = [("ovs.ip_address", "10.0.0.1/24")];
    let labelled = lab.run_container("labelled", &labels)?;
    let id = lab.run_container("web", &[])?;
    programs.done(ours, &["add-port", "ovsbr0", "eth1", "web", "--ipaddress=10.0.0.2/24"])?;
    wait_for("a ping", PATIENCE, || Ok(ping(lab, "web", "10.0.0.1").ok()))?;

    wait_for("it to be shown", PATIENCE, || {
        let told = told(lab, &["status"])?;
        let shown = |line: &str| line.starts_with("web eth1 ovsbr0 ") && line.contains(" by-hand ");
        Ok(told.lines().any(shown).then_some(()))
    })?;

    let before = facts(lab, "web")?;
    let looks = || daemon.log().matches("looking at everything").count();
    let seen = looks();
    daemon.signal(Signal::HUP)?;
    wait_for("a look at everything", PATIENCE, || Ok((looks() > seen).then_some(())))?;
    stage::wait_ready(lab, &labelled)?;
    ensure!(facts(lab, "web")? == before, "the daemon leaves it alone");

    // What labels have made is not for commands.
    for args in [
        &["del-port", "ovsbr0", "eth1", "labelled"][..],
        &["del-ports", "ovsbr0", "labelled"],
        &["set-vlan", "ovsbr0", "eth1", "labelled", "5"],
        &["add-port", "ovsbr0", "eth1", "labelled"],
    ] {
        let output = programs.run(ours, args)?;
        ensure!(output.status.code() == Some(1), "{args:?}: {output:?}");
    }
    ensure!(stage::ports_of(lab, &labelled)?.len() == 1);

    lab.docker(&["kill", "web"])?;
    let gone =
        || wait_for("the port to go", PATIENCE, || Ok(ports(lab, "web")?.is_empty().then_some(())));
    gone()?;

    // Attached by id, and ended while the daemon is away.
    lab.docker(&["start", "web"])?;
    programs.done(ours, &["add-port", "ovsbr0", "eth1", &id, "--ipaddress=10.0.0.2/24"])?;
    ensure!(ports(lab, &id)?.len() == 1);
    daemon.signal(Signal::TERM)?;
    daemon.wait_exit(PATIENCE)?;
    lab.docker(&["restart", "web"])?;
    ensure!(ports(lab, &id)?.len() == 1, "nobody has cleared it");
    let _daemon = stage::start_daemon(lab)?;
    wait_for("the port to go", PATIENCE, || Ok(ports(lab, &id)?.is_empty().then_some(())))
}

#[test]
fn a_port_by_command_is_refused_where_it_would_be_the_host_s_or_in_the_way() -> Result<()> {
    let programs = Programs::start()?;
    let (lab, ours) = (&programs.lab, programs.ours.as_str());
    lab.run_container_with("host", &[], &["--network=host"], &[])?;
    lab.docker(&["network", "create", "--subnet=172.30.0.0/24", "inner"])?;
    lab.run_container_with("inner", &[], &["--network=inner"], &[])?;
    lab.run_container("ended", &[])?;
    lab.docker(&["kill", "ended"])?;
    for (args, told) in [
        (["add-port", "ovsbr0", "eth1", "host"], "is in the host's network namespace"),
        (
            ["add-port", "ovsbr0", "eth0", "inner"],
            "interface eth0 exists in container inner already",
        ),
        (["add-port", "ovsbr0", "eth1", "ended"], "container ended does not run; start it first"),
    ] {
        let output = programs.run(ours, &args)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1) && stderr.contains(told), "{args:?}: {stderr}");
    }
    ensure!(!lab.ip_json(&["link", "show"])?.to_string().contains("_l"), "nothing is left");
    Ok(())
}
