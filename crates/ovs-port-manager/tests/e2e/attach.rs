//! Containers get what their labels say, and give it back.

use anyhow::{Result, bail, ensure};
use lab::{WWW_TEXT, wait_for};
use serde_json::Value;

use crate::stage::{self, PATIENCE, PROGRAM, interface, ping, reach, wait_gone, wait_ready};

#[test]
fn a_container_gets_its_port_works_and_gives_it_back() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let address = [("ovs.ip_address", "192.168.1.100/24")];
    let httpd = ["httpd", "-f", "-h", "/www"];
    let web = lab.run_container_with("web", &address, &["--network=none"], &httpd)?;
    let client = lab.run_container("client", &[("ovs.ip_address", "192.168.1.101/24")])?;
    let port = wait_ready(&lab, &web)?;
    wait_ready(&lab, &client)?;

    ping(&lab, "client", "192.168.1.100")?;
    let page = lab.exec("client", &["timeout", "5", "wget", "-qO-", "http://192.168.1.100/"])?;
    ensure!(page.contains(WWW_TEXT.trim()), "{page}");

    let ids = lab.vsctl(&["get", "interface", &port, "external_ids"])?;
    for mark in ["container_iface=eth1", "container_name=web", "owner=ovs-port-manager"] {
        ensure!(ids.contains(mark), "{ids}");
    }
    let eth1 = interface(&lab, "web", "eth1")?;
    ensure!(eth1["operstate"] == "UP" && eth1["mtu"] == 1500, "{eth1}");

    lab.docker(&["stop", "web"])?;
    wait_gone(&lab, &web)?;
    ensure!(stage::our_ports(&lab)?.len() == 1, "the client keeps its port");
    lab.docker(&["rm", "-f", "client"])?;
    wait_gone(&lab, &client)
}

#[test]
fn every_label_is_honoured() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [
        ("ovs.ip_address", "192.168.1.100/24,192.168.7.1/32"),
        ("ovs.bridge", "br-test"),
        ("ovs.mtu", "1400"),
        ("ovs.mac_address", "02:00:00:00:00:aa"),
        ("ovs.vlan", "100"),
        ("ovs.interface", "net0"),
    ];
    let id = lab.run_container("web", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(lab.vsctl(&["port-to-br", &port])? == "br-test");
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "100");
    ensure!(lab.vsctl(&["get", "bridge", "br-test", "datapath_type"])? == "netdev");
    // As `ovs-vsctl add-br` makes it: with an internal port of its own name.
    ensure!(lab.vsctl(&["get", "interface", "br-test", "type"])? == "internal");

    let net0 = interface(&lab, "web", "net0")?;
    ensure!(net0["mtu"] == 1400 && net0["address"] == "02:00:00:00:00:aa", "{net0}");
    let addresses: Vec<_> = net0["addr_info"].as_array().into_iter().flatten().collect();
    let has = |local: &str, length: u64| {
        addresses.iter().any(|info| info["local"] == local && info["prefixlen"] == length)
    };
    ensure!(has("192.168.1.100", 24) && has("192.168.7.1", 32), "{net0}");
    let features = lab.run_in_netns_of("web", "ethtool", &["-k", "net0"])?;
    ensure!(features.contains("tx-checksumming: off"), "{features}");
    Ok(())
}

#[test]
fn containers_that_ran_before_the_daemon_are_attached() -> Result<()> {
    let lab = lab::Lab::start()?;
    let first = lab.run_container("first", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let second = lab.run_container("second", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let _daemon = stage::start_daemon(&lab)?;
    wait_ready(&lab, &first)?;
    wait_ready(&lab, &second)?;
    ping(&lab, "first", "10.0.0.2")
}

#[test]
fn ipv6_works_although_docker_switches_it_off() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let one = lab.run_container("one", &[("ovs.ip_address", "fd00::1/64")])?;
    let two = lab.run_container("two", &[("ovs.ip_address", "10.0.0.2/24,fd00::2/64")])?;
    wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    reach(&lab, "one", "fd00::2")?;
    let others = lab.exec("one", &["cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6"])?;
    let only_v4 = lab.run_container("three", &[("ovs.ip_address", "10.0.0.3/24")])?;
    wait_ready(&lab, &only_v4)?;
    let untouched = lab.exec("three", &["cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6"])?;
    ensure!(others == untouched, "only the interface's own setting changes");
    Ok(())
}

#[test]
fn two_vlans_are_isolated_from_each_other() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = |address, vlan| [("ovs.ip_address", address), ("ovs.vlan", vlan)];
    for (name, address, vlan) in [
        ("red1", "10.0.0.1/24", "10"),
        ("red2", "10.0.0.2/24", "10"),
        ("blue", "10.0.0.3/24", "20"),
    ] {
        let id = lab.run_container(name, &labels(address, vlan))?;
        wait_ready(&lab, &id)?;
    }
    ping(&lab, "red1", "10.0.0.2")?;
    ensure!(ping(&lab, "red1", "10.0.0.3").is_err(), "VLAN 10 reaches VLAN 20");
    ensure!(ping(&lab, "blue", "10.0.0.1").is_err(), "VLAN 20 reaches VLAN 10");
    Ok(())
}

#[test]
fn a_gateway_takes_the_place_of_dockers_route() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    lab.docker(&["network", "create", "--subnet=172.30.0.0/24", "inner"])?;
    let labels =
        [("ovs.ip_address", "192.168.1.100/24,fd00::1/64"), ("ovs.gateway", "192.168.1.1,fd00::2")];
    let id = lab.run_container_with("web", &labels, &["--network=inner"], &[])?;
    wait_ready(&lab, &id)?;
    let gateways = |family: &str| -> Result<Vec<Value>> {
        let routes = lab.container_ip_json("web", &[family, "route", "show", "default"])?;
        let routes = routes.as_array().into_iter().flatten();
        Ok(routes.map(|route| route["gateway"].clone()).collect())
    };
    ensure!(gateways("-4")? == ["192.168.1.1"], "{:?}", gateways("-4")?);
    ensure!(gateways("-6")? == ["fd00::2"], "{:?}", gateways("-6")?);
    daemon.wait_log("replaced the container's route: default via 172.30.0.1", PATIENCE)
}

#[test]
fn each_step_is_one_line_with_container_and_port() -> Result<()> {
    let lab = lab::Lab::start()?;
    let json = [("OVS_PORT_MANAGER_LOG_FORMAT", "json")];
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &json)?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    let port = wait_ready(&lab, &id)?;
    daemon.wait_log("port is ready", PATIENCE)?;
    lab.docker(&["rm", "-f", "web"])?;
    wait_gone(&lab, &id)?;
    daemon.wait_log("del-port", PATIENCE)?;

    let lines: Result<Vec<Value>, _> = daemon.log().lines().map(serde_json::from_str).collect();
    let lines = lines?;
    // The kernel deletes the link with the container's namespace, if it comes first.
    for step in ["add-link", "add-port ovsbr0", "del-port ovsbr0"] {
        let told = |line: &&Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with(&format!("{step} {port}"))
        };
        let told: Vec<_> = lines.iter().filter(told).collect();
        let [line] = told.as_slice() else { bail!("{step}: {told:?}") };
        ensure!(line["level"] == "INFO" && line["port"] == port.as_str(), "{line}");
        ensure!(line["name"] == "web", "{line}");
        ensure!(line["container"].as_str().is_some_and(|short| id.starts_with(short)), "{line}");
    }
    Ok(())
}

#[test]
fn an_attach_takes_one_look_and_one_announcement() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    for number in 1..=5 {
        // IPv6 addresses are made anew once the port forwards, which is looked at.
        let address = format!("10.0.0.{number}/24");
        let name = format!("web{number}");
        let id = lab.run_container(&name, &[("ovs.ip_address", &address)])?;
        wait_ready(&lab, &id)?;
    }
    wait_for("five announcements", PATIENCE, || {
        Ok((daemon.log().matches("announced the addresses").count() == 5).then_some(()))
    })?;
    let looks = daemon.log().matches("DEBUG planned").count();
    ensure!(looks == 5, "{looks} looks:\n{}", daemon.log());
    ensure!(daemon.log().matches("port is ready").count() == 5, "{}", daemon.log());
    Ok(())
}

#[test]
fn containers_without_labels_are_left_alone() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    lab.run_container("plain", &[("com.example.role", "database")])?;
    let id = lab.run_container("ours", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    ensure!(!stage::has_interface(&lab, "plain", "eth1")?);
    ensure!(stage::our_ports(&lab)?.len() == 1);
    ensure!(!daemon.log().contains("plain"), "it was not even inspected");
    Ok(())
}

#[test]
fn twenty_short_lived_containers_leave_nothing() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    for number in 0..20 {
        let address = format!("10.0.0.{}/24", number + 1);
        let name = format!("brief{number}");
        // Each ends by itself, some before they are attached, some while they are, some after.
        let life = format!("{}", f64::from(number) / 1000.0);
        let labels = [("ovs.ip_address", address.as_str())];
        lab.run_container_with(&name, &labels, &["--network=none", "--rm"], &["sleep", &life])?;
    }
    wait_for("all containers to end", PATIENCE, || {
        Ok(lab.docker(&["ps", "-aq"])?.is_empty().then_some(()))
    })?;
    // What comes last is looked at last.
    let last = lab.run_container("last", &[("ovs.ip_address", "10.0.0.100/24")])?;
    wait_ready(&lab, &last)?;
    wait_for("only the last port to be left", PATIENCE, || {
        let (ports, links) = (stage::our_ports(&lab)?, stage::our_links(&lab)?);
        ensure!(ports.len() == 1 && links.len() == 1, "ports {ports:?}, links {links:?}");
        Ok(Some(()))
    })?;
    ensure!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    Ok(())
}
