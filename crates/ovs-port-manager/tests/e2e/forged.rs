//! Names and values of labels are a stranger's: they forge no line, move no cursor, and fill no memory.

use anyhow::{Result, ensure};
use lab::{IMAGE, Lab};
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
    let lines: String = (0..200).map(|number| format!("ovs.x{number}={long}\n")).collect();
    std::fs::write(&file, format!("ovs.ip_address=10.0.0.1/24\n{lines}"))?;
    let file = file.display().to_string();
    let args = ["run", "-d", "--name", "vast", "--network=none", "--label-file", &file];
    lab.docker(&[&args[..], &[IMAGE, "sleep", "1000"]].concat())?;
    let id = lab.run_container("good", &[("ovs.ip_address", "10.0.0.2/24")])?;
    stage::wait_ready(&lab, &id)?;
    daemon.wait_log("more than 65536 bytes", PATIENCE)?;
    ensure!(daemon.log().len() < 200_000);
    Ok(())
}
