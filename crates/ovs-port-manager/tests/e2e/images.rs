//! Images that are removed while their containers run, and what else Docker cannot tell.

use std::fs;

use anyhow::{Result, ensure};
use lab::{Daemon, Lab, Signal};

use crate::filter::Filter;
use crate::stage::{self, PATIENCE, has_interface, reach, wait_gone, wait_ready};

const GONE: &str = "its image is gone";
const NO_IMAGE: (&str, &str, &str) =
    ("/images/", "404 Not Found", "{\"message\":\"No such image\"}");

/// Images with labels of ours, in a lab whose daemon runs by such a configuration and behind such a proxy.
fn start_with_images(yaml: &str) -> Result<(Lab, Filter, Daemon)> {
    let lab = Lab::start()?;
    lab.docker(&["create", "--name", "template", lab::IMAGE])?;
    for (image, label) in [("labelled", "LABEL ovs.vlan=7"), ("plain", "ENV plain=1")] {
        lab.docker(&["commit", "--change", label, "template", image])?;
    }
    lab.docker(&["rm", "template"])?;
    let filter = Filter::start(lab.path().join("filter.sock"), &lab.docker_endpoint(), &[])?;
    let daemon = start_configured(&lab, &filter, yaml)?;
    Ok((lab, filter, daemon))
}

fn start_configured(lab: &Lab, filter: &Filter, yaml: &str) -> Result<Daemon> {
    let file = lab.path().join("configuration.yaml");
    fs::write(&file, yaml)?;
    let file = file.display().to_string();
    stage::start_daemon_before(lab, &filter.endpoint(), &["--config", &file])
}

fn create(lab: &Lab, name: &str, image: &str, address: &str) -> Result<String> {
    let label = format!("ovs.ip_address={address}");
    let network = ["--network=none", "--stop-signal=KILL", "--label", &label];
    lab.docker(&[["create", "--name", name].as_slice(), &network, &[image]].concat())
}

fn run(lab: &Lab, name: &str, image: &str, address: &str) -> Result<String> {
    let id = create(lab, name, image, address)?;
    lab.docker(&["start", name])?;
    Ok(id)
}

/// Removes an image that no running container has.
fn remove_image(lab: &Lab, image: &str) -> Result<()> {
    let id = lab.docker(&["image", "inspect", "--format={{.Id}}", image])?;
    lab.docker(&["rmi", "-f", &id])?;
    ensure!(lab.docker(&["image", "inspect", &id]).is_err(), "{image} is still there");
    Ok(())
}

#[test]
fn a_container_keeps_its_port_when_its_image_is_gone_and_gives_all_back_at_its_end() -> Result<()> {
    let (lab, filter, daemon) = start_with_images("")?;
    let peer = lab.run_container("peer", &[("ovs.ip_address", "10.0.0.9/24")])?;
    wait_ready(&lab, &peer)?;
    let plain = run(&lab, "plain", "plain", "10.0.0.1/24")?;
    let labelled = run(&lab, "labelled", "labelled", "10.0.0.2/24")?;
    let ports = [wait_ready(&lab, &plain)?, wait_ready(&lab, &labelled)?];
    daemon.wait_log("labels of its image do not count: ovs.vlan", PATIENCE)?;

    // Engines differ in whether an image can go whose container runs; here, none is found any more.
    filter.set(&[NO_IMAGE]);
    // Whether this daemon remembers the image or the next one goes by the ports' rows.
    let same = || -> Result<()> {
        ensure!(ports == [wait_ready(&lab, &plain)?, wait_ready(&lab, &labelled)?]);
        let [_, labelled] = &ports;
        ensure!(lab.vsctl(&["get", "port", labelled, "tag"])? == "[]");
        reach(&lab, "peer", "10.0.0.1")?;
        reach(&lab, "peer", "10.0.0.2")
    };
    daemon.signal(Signal::HUP)?;
    daemon.wait_log("re-read the configuration", PATIENCE)?;
    same()?;
    drop(daemon);
    let daemon = start_configured(&lab, &filter, "")?;
    for id in [&plain, &labelled] {
        let placed = format!("port is in place container=\"{}\"", &id[..12]);
        daemon.wait_log(&placed, PATIENCE)?;
    }
    same()?;
    ensure!(filter.answered() > 0);
    ensure!(!daemon.log().contains(GONE), "{}", daemon.log());

    for name in ["plain", "labelled"] {
        lab.docker(&["stop", name])?;
    }
    wait_gone(&lab, &plain)?;
    wait_gone(&lab, &labelled)?;
    // Its address is free.
    filter.set(&[]);
    let next = lab.run_container("next", &[("ovs.ip_address", "10.0.0.2/24")])?;
    wait_ready(&lab, &next)?;
    reach(&lab, "peer", "10.0.0.2")
}

#[test]
fn a_stopped_container_without_image_is_cleaned_up_after_by_the_next_daemon() -> Result<()> {
    let (lab, filter, daemon) = start_with_images("")?;
    let labelled = run(&lab, "labelled", "labelled", "10.0.0.2/24")?;
    wait_ready(&lab, &labelled)?;
    drop(daemon);
    lab.docker(&["stop", "labelled"])?;
    remove_image(&lab, "labelled")?;
    ensure!(stage::ports_of(&lab, &labelled)?.len() == 1);
    let _daemon = start_configured(&lab, &filter, "")?;
    wait_gone(&lab, &labelled)
}

#[test]
fn a_new_start_without_image_is_refused_in_words_unless_labels_of_images_are_trusted() -> Result<()>
{
    let (lab, filter, daemon) = start_with_images("")?;
    let id = run(&lab, "labelled", "labelled", "10.0.0.2/24")?;
    wait_ready(&lab, &id)?;
    drop(daemon);
    lab.docker(&["stop", "labelled"])?;
    remove_image(&lab, "labelled")?;
    lab.docker(&["start", "labelled"])?;
    let daemon = start_configured(&lab, &filter, "")?;
    daemon.wait_log(GONE, PATIENCE)?;
    daemon.wait_log("or set image_labels: trust", PATIENCE)?;
    wait_gone(&lab, &id)?;
    ensure!(!has_interface(&lab, "labelled", "eth1")?);
    // Others go on meanwhile.
    let other = lab.run_container("other", &[("ovs.ip_address", "10.0.0.9/24")])?;
    wait_ready(&lab, &other)?;
    drop(daemon);
    let _daemon = start_configured(&lab, &filter, "image_labels: trust\n")?;
    let port = wait_ready(&lab, &id)?;
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "7");
    Ok(())
}

#[test]
fn while_an_image_cannot_be_inspected_its_new_containers_wait_and_are_attached_afterwards()
-> Result<()> {
    let (lab, filter, daemon) = start_with_images("")?;
    filter.set(&[("/images/", "500 Internal Server Error", "{\"message\":\"no luck\"}")]);
    let id = run(&lab, "labelled", "labelled", "10.0.0.2/24")?;
    daemon.wait_log("will try again: its image cannot be inspected", PATIENCE)?;
    daemon.wait_log("500 Internal Server Error: no luck", PATIENCE)?;
    ensure!(stage::ports_of(&lab, &id)?.is_empty());
    filter.set(&[]);
    wait_ready(&lab, &id).map(drop)
}

#[test]
fn a_policy_that_asks_where_labels_are_from_refuses_when_nobody_can_tell() -> Result<()> {
    let policy = "image_labels: trust\npolicy:\n  - {rule: own, labels_from: run}\n  - {rule: rest, vlans: [7]}\n";
    let (lab, filter, daemon) = start_with_images(policy)?;
    let kept = run(&lab, "kept", "labelled", "10.0.0.2/24")?;
    let port = wait_ready(&lab, &kept)?;
    drop(daemon);
    let late = create(&lab, "late", "labelled", "10.0.0.3/24")?;
    filter.set(&[NO_IMAGE]);
    lab.docker(&["start", "late"])?;
    let daemon = start_configured(&lab, &filter, policy)?;
    daemon.wait_log("whether the policy's rule 'own' is for it depends on", PATIENCE)?;
    ensure!(wait_ready(&lab, &kept)? == port);
    ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "7");
    ensure!(stage::ports_of(&lab, &late)?.is_empty());
    Ok(())
}
