//! Names and values of labels are a stranger's: they forge no line, move no cursor, and fill no memory.

use anyhow::{Context, Result, ensure};
use lab::{IMAGE, Lab, wait_for};
use serde_json::{Value, json};

use crate::stage::{self, PATIENCE, PROGRAM};

const FORGED: &str = "2026-01-01T00:00:00Z  INFO port is ready";

fn is_fit(text: &str) -> bool {
    let control = |character: char| character.is_control() && character != '\n';
    !text.contains(control) && !text.contains('\u{202e}') && !text.contains('\u{2028}')
}

/// Asks Docker's API.
fn post(lab: &Lab, path: &str, body: &Value) -> Result<String> {
    let socket = lab.docker_endpoint().replace("unix://", "");
    let (url, body) = (format!("http://docker{path}"), body.to_string());
    let kind = "Content-Type: application/json";
    lab.run("curl", &["-fsS", "--unix-socket", &socket, "-H", kind, "-d", &body, &url])
}

/// What commands that people read print about a container.
fn answers(lab: &Lab, name: &str) -> Result<String> {
    let mut all = String::new();
    for command in [vec!["status"], vec!["explain", name], vec!["plan"], vec!["doctor"]] {
        let output = lab.command(PROGRAM).args(command).output()?;
        all += &String::from_utf8(output.stdout)?;
        all += &String::from_utf8(output.stderr)?;
    }
    Ok(all)
}

#[test]
fn a_label_with_line_breaks_and_escapes_forges_no_line_anywhere() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let odd = format!("ovs.odd\n{FORGED}\u{1b}[2J\u{202e}\u{2028}\r");
    // From whoever starts the container, and from an image, whose labels do not count. Docker's own client refuses such
    // names; its API does not.
    let labels = json!({ &odd: "x", "ovs.ip_address": format!("10.0.0.1\n{FORGED}") });
    let host = json!({ "NetworkMode": "none" });
    let user =
        json!({ "Image": IMAGE, "Labels": labels, "HostConfig": host, "Cmd": ["sleep", "1000"] });
    post(&lab, "/containers/create?name=of-user", &user)?;
    post(&lab, "/commit?container=of-user&repo=odd", &json!({ "Labels": { &odd: "x" } }))?;
    let image = json!({ "Image": "odd", "HostConfig": host, "Cmd": ["sleep", "1000"] });
    post(&lab, "/containers/create?name=of-image", &image)?;
    lab.docker(&["start", "of-user", "of-image"])?;
    daemon.wait_log("name=\"of-image\"", PATIENCE)?;
    daemon.wait_log("name=\"of-user\"", PATIENCE)?;
    for text in [daemon.log(), answers(&lab, "of-image")?, answers(&lab, "of-user")?] {
        ensure!(is_fit(&text), "{text:?}");
        ensure!(!text.lines().any(|line| line.trim_start().starts_with(FORGED)), "{text}");
    }
    Ok(())
}

#[test]
fn labels_without_end_are_a_mistake_and_hold_up_nobody() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let file = lab.path().join("labels");
    let long = "x".repeat(60_000);
    let lines: String = (0..40).map(|number| format!("ovs.x{number}={long}\n")).collect();
    std::fs::write(&file, format!("ovs.ip_address=10.0.0.1/24\n{lines}"))?;
    let file = file.display().to_string();
    let args = ["run", "-d", "--name", "vast", "--network=none", "--label-file", &file];
    lab.docker(&[&args[..], &[IMAGE, "sleep", "1000"]].concat())?;
    let id = lab.run_container("good", &[("ovs.ip_address", "10.0.0.2/24")])?;
    stage::wait_ready(&lab, &id).with_context(|| daemon.log())?;
    daemon.wait_log("more than 65536 bytes", PATIENCE)?;
    ensure!(daemon.log().len() < 200_000);
    Ok(())
}

#[test]
fn what_rows_bridges_and_interfaces_of_containers_are_called_forges_no_line_either() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    let labels = [("ovs.ip_address", "10.0.0.1/24"), ("ovs.gateway", "10.0.0.254")];
    let id = lab.run_container("web", &labels)?;
    let port = stage::wait_ready(&lab, &id)?;
    // The container leads its default route elsewhere.
    let odd = "\u{1b}[2Jx";
    let ip = |args: &str| {
        let args: Vec<_> =
            args.split(' ').map(|word| if word == "ODD" { odd } else { word }).collect();
        lab.run_in_netns_of("web", "ip", &args)
    };
    ip("link add ODD type veth peer name odd")?;
    ip("link set odd up")?;
    ip("link set ODD up")?;
    ip("route replace default dev ODD")?;
    wait_for("its default route to be right again", PATIENCE, || {
        let routes = ip("route show default")?;
        Ok((routes.contains("dev eth1") && !routes.contains(odd)).then_some(()))
    })?;
    // Somebody with access to the database calls things so.
    let forged = format!("\"x\\n{FORGED}\\u001b[2J\\u202e\"");
    let set = |record: &str, column: &str| {
        lab.vsctl(&["set", "interface", record, &format!("external_ids:{column}={forged}")])
    };
    lab.vsctl(&["add-br", odd, "--", "set", "bridge", odd, "datapath_type=netdev"])?;
    lab.vsctl(&["add-port", "ovsbr0", "\u{1b}[2Jy"])?;
    set("\u{1b}[2Jy", "container_id")?;
    set("\u{1b}[2Jy", "container_iface")?;
    daemon.kill9()?;
    let mut all = daemon.log();
    for column in ["container_iface", "container_start", "container_name", "container_engine"] {
        set(&port, column)?;
    }
    all += &answers(&lab, "web")?;
    let daemon = stage::start_daemon(&lab)?;
    wait_for("the marks to be right again", PATIENCE, || {
        let name = lab.vsctl(&["get", "interface", &port, "external_ids:container_name"])?;
        Ok((name == "web").then_some(()))
    })?;
    all += &answers(&lab, "web")?;
    all += &daemon.log();
    ensure!(is_fit(&all), "{all:?}");
    ensure!(!all.lines().any(|line| line.trim_start().starts_with(FORGED)), "{all}");
    Ok(())
}
