//! Addresses and routes inside containers, judged by `ip -j` and by what can be reached.

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};

use crate::stage::{self, PATIENCE, interface, reach, wait_ready};

/// The routes through eth1 that are not the kernel's own, as `ip route` writes them.
fn routes(lab: &Lab, container: &str, family: &str) -> Result<Vec<String>> {
    let args = [family, "route", "show", "dev", "eth1"];
    let shown = lab.container_ip_json(container, &args)?;
    let shown = shown.as_array().context("no array of routes")?;
    let written = shown.iter().filter(|route| route["protocol"] == "static").map(|route| {
        let field = |name: &str| match &route[name] {
            serde_json::Value::Null => String::new(),
            value => format!(" {name} {}", value.to_string().trim_matches('"')),
        };
        let destination = route["dst"].as_str().unwrap_or_default();
        format!("{destination}{}{}{}", field("gateway"), field("scope"), field("metric"))
    });
    let mut routes: Vec<_> = written.collect();
    routes.sort();
    Ok(routes)
}

#[test]
fn dual_stack_with_routes() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    // The router has the far networks on its own loopback.
    let router = lab.run_container_with(
        "router",
        &[("ovs.ip_address", "192.168.1.254/24,fd00::fe/64")],
        &["--network=none", "--cap-add=NET_ADMIN"],
        &[],
    )?;
    wait_ready(&lab, &router)?;
    for far in ["10.1.2.3/32", "172.16.0.1/32"] {
        lab.run_in_netns_of("router", "ip", &["address", "add", far, "dev", "lo"])?;
    }
    let labels = [
        ("ovs.ip_address", "192.168.1.100/24,fd00::100/64"),
        ("ovs.gateway", "192.168.1.254,fd00::fe"),
        ("ovs.routes", "10.0.0.0/8 via 192.168.1.254, 172.16.0.0/12 dev, fd01::/64 via fd00::fe"),
        ("ovs.metric", "50"),
    ];
    let id = lab.run_container("web", &labels)?;
    wait_ready(&lab, &id)?;
    ensure!(
        routes(&lab, "web", "-4")?
            == [
                "10.0.0.0/8 gateway 192.168.1.254 metric 50",
                "172.16.0.0/12 scope link metric 50",
                "default gateway 192.168.1.254 metric 50",
            ],
        "{:?}",
        routes(&lab, "web", "-4")?
    );
    let six = ["default gateway fd00::fe metric 50", "fd01::/64 gateway fd00::fe metric 50"];
    ensure!(routes(&lab, "web", "-6")? == six, "{:?}", routes(&lab, "web", "-6")?);
    reach(&lab, "web", "10.1.2.3")?;
    reach(&lab, "web", "172.16.0.1")?;
    reach(&lab, "web", "fd00::fe")?;

    lab.run_in_netns_of("web", "ip", &["route", "delete", "10.0.0.0/8"])?;
    wait_for("the route to come back", PATIENCE, || {
        Ok((routes(&lab, "web", "-4")?.len() == 3).then_some(()))
    })
}

#[test]
fn a_host_address_reaches_its_gateway_on_the_link() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let router =
        lab.run_container("router", &[("ovs.ip_address", "192.168.1.254/24,fd00::fe/64")])?;
    let labels =
        [("ovs.ip_address", "10.9.9.9/32,fd09::9/128"), ("ovs.gateway", "192.168.1.254,fd00::fe")];
    let id = lab.run_container("web", &labels)?;
    wait_ready(&lab, &router)?;
    wait_ready(&lab, &id)?;
    // The way back.
    lab.run_in_netns_of("router", "ip", &["route", "add", "10.9.9.9/32", "dev", "eth1"])?;
    lab.run_in_netns_of("router", "ip", &["route", "add", "fd09::9/128", "dev", "eth1"])?;
    reach(&lab, "web", "192.168.1.254")?;
    reach(&lab, "web", "fd00::fe")
}

#[test]
fn a_container_without_an_address_has_a_port_all_the_same() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let labels = [("ovs.ip_address", "none"), ("ovs.vlan", "7")];
    let id = lab.run_container("router", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "7");
    let eth1 = interface(&lab, "router", "eth1")?;
    ensure!(eth1["operstate"] == "UP", "{eth1}");
    ensure!(!eth1["addr_info"].to_string().contains("\"inet\""), "{eth1}");
    // The MAC address is the same for the next container of this name.
    let mac = eth1["address"].clone();
    lab.docker(&["rm", "-f", "router"])?;
    let id = lab.run_container("router", &labels)?;
    wait_ready(&lab, &id)?;
    ensure!(interface(&lab, "router", "eth1")?["address"] == mac);
    // What the container sets itself is its own affair.
    lab.run_in_netns_of("router", "ip", &["address", "add", "10.0.0.1/24", "dev", "eth1"])?;
    let other =
        lab.run_container("other", &[("ovs.ip_address", "10.0.0.2/24"), ("ovs.vlan", "7")])?;
    wait_ready(&lab, &other)?;
    reach(&lab, "other", "10.0.0.1")
}

#[test]
fn an_address_that_another_host_has_is_told_and_taken_once_it_is_free() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let other = lab.run_container("other", &[("ovs.ip_address", "fd00::1/64")])?;
    wait_ready(&lab, &other)?;
    // Nobody but the kernel can know of this one.
    lab.run_in_netns_of("other", "ip", &["address", "add", "fd00::5/64", "dev", "eth1", "nodad"])?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.5/24,fd00::5/64")])?;
    daemon.wait_log("eth1: another host on ovsbr0 has fd00::5/64 already", PATIENCE)?;
    let ready = format!("port is ready container=\"{}\"", &id[..12]);
    ensure!(!daemon.log().contains(&ready), "it does not count as ready");
    lab.run_in_netns_of("other", "ip", &["address", "delete", "fd00::5/64", "dev", "eth1"])?;
    daemon.wait_log(&ready, PATIENCE)?;
    reach(&lab, "other", "fd00::5")?;
    let flags = interface(&lab, "web", "eth1")?["addr_info"].to_string();
    ensure!(!flags.contains("dadfailed") && !flags.contains("tentative"), "{flags}");
    ensure!(stage::ports_of(&lab, &id)?.len() == 1, "it has kept its port");
    Ok(())
}
