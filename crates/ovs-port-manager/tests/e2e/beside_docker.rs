//! Our port beside what Docker itself gives a container: its networks and its published ports. Where they do not get on,
//! the pages say so.

use anyhow::{Context, Result, ensure};
use lab::{Lab, wait_for};

use crate::stage::{self, PATIENCE, has_interface, reach, start_daemon, wait_ready};

const NETWORK: [&str; 1] = ["--network=net1"];

/// A container on a network of Docker's, with these labels.
fn run(lab: &Lab, name: &str, labels: &[(&str, &str)]) -> Result<()> {
    let id = lab.run_container_with(name, labels, &NETWORK, &[])?;
    wait_ready(lab, &id).map(drop)
}

#[test]
fn docker_connects_a_network_beside_our_interface_unless_it_has_the_name_that_docker_takes_next()
-> Result<()> {
    let (lab, _daemon) = stage::start()?;
    for network in ["net1", "net2"] {
        lab.docker(&["network", "create", network])?;
    }
    run(&lab, "named", &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.interface", "ovs0")])?;
    lab.docker(&["network", "connect", "net2", "named"])?;
    ensure!(has_interface(&lab, "named", "eth1")?, "Docker's second network");
    run(&lab, "default", &[("ovs.ip_address", "10.0.0.2/24")])?;
    let refused = lab.docker(&["network", "connect", "net2", "default"]);
    let refused = refused.err().context("Docker takes another name than eth1")?.to_string();
    ensure!(refused.contains("to \"eth1\": file exists"), "{refused}");
    ensure!(has_interface(&lab, "default", "eth1")?, "ours stays");
    reach(&lab, "default", "10.0.0.1")
}

/// Somebody outside of the host, at 203.0.113.2, behind 203.0.113.1 of the host.
fn outside(lab: &Lab) -> Result<()> {
    lab.run_container("outside", &[])?;
    let pid = lab.docker(&["inspect", "--format", "{{.State.Pid}}", "outside"])?;
    let veth = ["type", "veth", "peer", "name", "eth0", "netns", pid.trim()];
    lab.run("ip", &[["link", "add", "wan"].as_slice(), &veth].concat())?;
    lab.run("ip", &["addr", "add", "203.0.113.1/24", "dev", "wan"])?;
    lab.run("ip", &["link", "set", "wan", "up"])?;
    for args in [
        ["addr", "add", "203.0.113.2/24", "dev", "eth0"].as_slice(),
        &["link", "set", "eth0", "up"],
        &["route", "add", "default", "via", "203.0.113.1"],
    ] {
        lab.run_in_netns_of("outside", "ip", args)?;
    }
    Ok(())
}

#[test]
fn a_published_port_answers_the_outside_if_our_gateway_has_a_metric() -> Result<()> {
    let lab =
        Lab::builder().dockerd_arg("--iptables=true").dockerd_arg("--ip-forward=true").start()?;
    let _daemon = start_daemon(&lab)?;
    lab.docker(&["network", "create", "net1"])?;
    outside(&lab)?;
    let gateway = ("ovs.gateway", "10.0.0.254");
    let mut reached = Vec::new();
    for (number, name, more) in [
        (1, "without-gateway", [].as_slice()),
        (2, "with-metric", &[gateway, ("ovs.metric", "100")]),
        (3, "with-gateway", &[gateway]),
    ] {
        let address = format!("10.0.0.{number}/24");
        let labels = [[("ovs.ip_address", address.as_str())].as_slice(), more].concat();
        let publish = format!("--publish=1808{number}:80");
        let options = [NETWORK[0], &publish];
        let id = lab.run_container_with(name, &labels, &options, &["httpd", "-f", "-h", "/www"])?;
        wait_ready(&lab, &id)?;
        let url = format!("http://203.0.113.1:1808{number}/");
        let get = ["timeout", "3", "wget", "-qO-", &url];
        let page = || lab.exec("outside", &get);
        if name == "with-gateway" {
            let field = "{{.NetworkSettings.Networks.net1.IPAddress}}";
            let url =
                format!("http://{}/", lab.docker(&["inspect", "--format", field, name])?.trim());
            let near = ["timeout", "3", "wget", "-qO-", &url];
            wait_for("its page, seen from its own network", PATIENCE, || {
                Ok(lab.exec("with-metric", &near).ok())
            })?;
            reached.push((name, page().is_ok()));
            continue;
        }
        wait_for(&format!("a page of {name}"), PATIENCE, || Ok(page().ok()))?;
    }
    ensure!(
        reached == [("with-gateway", false)],
        "the default route takes the answers: {reached:?}"
    );
    Ok(())
}
