//! What the daemon serves: metrics, events, the control socket.

use std::process::Output;

use anyhow::{Result, ensure};
use lab::{Lab, wait_for};

use crate::answers::{populate, told};
use crate::stage::{self, PATIENCE, PROGRAM, ping, wait_ready};

const HTTP: &str = "http://127.0.0.1:9472";

#[test]
fn prometheus_scrapes_what_promtool_finds_clean() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let healthy = populate(&lab)?;
    wait_ready(&lab, &healthy)?;
    let peer = [("ovs.ip_address", "10.0.0.9/24"), ("ovs.vlan", "100")];
    let peer = lab.run_container("peer", &peer)?;
    wait_ready(&lab, &peer)?;
    wait_for("a ping", PATIENCE, || Ok(ping(&lab, "peer", "10.0.0.1").ok()))?;

    let check = format!("busybox wget -qO- {HTTP}/metrics | promtool check metrics 2>&1");
    let found = lab.run("sh", &["-c", &check])?;
    ensure!(found.is_empty(), "{found}");

    let config = lab.path().join("prometheus.yml");
    let job = "scrape_configs: [{job_name: ovs, scrape_interval: 1s, static_configs: [{targets: ['127.0.0.1:9472']}]}]";
    std::fs::write(&config, job)?;
    let data = lab.path().join("prometheus");
    let (config, data) = (
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", data.display()),
    );
    let args = [config.as_str(), &data, "--web.listen-address=127.0.0.1:9090"];
    let prometheus = lab.spawn("prometheus".as_ref(), &args, &[])?;
    prometheus.wait_log("Server is ready to receive web requests", PATIENCE)?;
    let query = |expression: &str| {
        lab.run("promtool", &["query", "instant", "http://127.0.0.1:9090", expression])
    };
    for (expression, value) in [
        ("ovs_port_manager_ports{phase=\"ready\"}", "=> 2 "),
        ("ovs_port_manager_ports{phase=\"mistaken\"}", "=> 1 "),
        ("ovs_port_manager_mistakes_total{label=\"mtu\"}", "=> 1 "),
        ("ovs_port_manager_refusals_total{reason=\"host_network\"}", "=> 1 "),
        ("ovs_port_manager_attach_seconds_count{part=\"total\"}", "=> 2 "),
        (
            "ovs_port_manager_port_receive_packets_total{service=\"shop\"} > 1",
            "container=\"healthy\"",
        ),
        (
            "histogram_quantile(0.5, ovs_port_manager_attach_seconds_bucket{part=\"ready\"}) > 0",
            "=> ",
        ),
        ("ovs_port_manager_ready", "=> 1 "),
    ] {
        wait_for(expression, PATIENCE, || Ok(query(expression)?.contains(value).then_some(())))?;
    }
    Ok(())
}

#[test]
fn events_tell_of_a_port_as_it_comes_and_goes() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let events =
        lab.spawn("busybox".as_ref(), &["wget", "-qO-", &format!("{HTTP}/api/v1/events")], &[])?;
    // It has to be connected before anything happens: a line comes once it is.
    let ready = || lab.run("busybox", &["wget", "-qO-", &format!("{HTTP}/readyz")]);
    wait_for("readiness", PATIENCE, || {
        Ok(ready().is_ok_and(|text| text == "ready").then_some(()))
    })?;
    wait_for("the listener", PATIENCE, || {
        let tcp = std::fs::read_to_string(format!("/proc/{}/net/tcp", daemon.pid()))?;
        // State 1 is ESTABLISHED; 0100007F is 127.0.0.1.
        let established = tcp.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields.get(1) == Some(&"0100007F:2500") && fields.get(3) == Some(&"01")
        });
        Ok(established.then_some(()))
    })?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    for what in ["\"what\":\"step\"", "\"what\":\"pending\"", "\"what\":\"ready\""] {
        events.wait_log(what, PATIENCE)?;
    }
    ensure!(events.log().contains(&id) && events.log().contains("event: port"));
    lab.docker(&["kill", "web"])?;
    events.wait_log("\"what\":\"gone\"", PATIENCE)
}

#[test]
fn a_standby_takes_over_the_control_socket_and_the_port_when_the_other_ends() -> Result<()> {
    let (lab, first) = stage::start()?;
    let id = lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    wait_ready(&lab, &id)?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "--docker", &docker, "--ovsdb", &ovsdb];
    let second = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    second.wait_log("standing by", PATIENCE)?;
    second.wait_log("cannot serve HTTP, will try again", PATIENCE)?;
    ensure!(told(&lab, &["status"])?.starts_with("the daemon that answers stands by for another;"));
    first.signal(lab::Signal::TERM)?;
    second.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    wait_for("its answer", PATIENCE, || {
        let told = told(&lab, &["status"])?;
        Ok((told.starts_with("CONTAINER ") && told.ends_with("[0]\n")).then_some(()))
    })
}

#[test]
fn only_root_and_the_group_may_ask_the_daemon() -> Result<()> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let socket = lab.path().join("control.sock").display().to_string();
    let control = ["--control-socket", &socket, "--control-group", "daemon", "--http", "none"];
    let args = [&["run", "--docker", &docker, "--ovsdb", &ovsdb], control.as_slice()].concat();
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    let ask = |group: &str| -> Result<Output> {
        let mut command = lab.command("setpriv");
        command.args(["--reuid=65534", &format!("--regid={group}"), "--clear-groups", PROGRAM]);
        Ok(command.args(["status", "--control-socket", &socket]).output()?)
    };
    let member = ask("daemon")?;
    ensure!(
        member.status.success() && member.stdout == b"no container asks for a port\n",
        "{member:?}"
    );
    let other = ask("nogroup")?;
    ensure!(other.status.code() == Some(1), "{other:?}");
    // HTTP is off.
    ensure!(lab.run("busybox", &["wget", "-qO-", &format!("{HTTP}/healthz")]).is_err());
    Ok(())
}

/// Opens so many connections to the HTTP port, says how many the daemon has kept, and holds them until it is ended.
const CROWD: &str = "import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
held = []
for _ in range(int(sys.argv[1])):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(('127.0.0.1', 9472))
    held.append(one)
print('all open', flush=True)
time.sleep(600)";

#[test]
fn ten_thousand_idle_connections_keep_nobody_from_being_attached_nor_root_from_asking() -> Result<()>
{
    let (lab, daemon) = stage::start()?;
    let crowd = ["-c", CROWD, "10000"];
    let crowd = lab.spawn("/usr/bin/python3".as_ref(), &crowd, &[])?;
    crowd.wait_log("all open", PATIENCE)?;
    for number in 1..=5 {
        let labels = [("ovs.ip_address", format!("10.0.0.{number}/24"))];
        let labels = labels.each_ref().map(|(key, value)| (*key, value.as_str()));
        let id = lab.run_container(&format!("c{number}"), &labels)?;
        wait_ready(&lab, &id)?;
    }
    let status = lab.run(PROGRAM, &["status"])?;
    ensure!(status.matches("ready").count() == 5, "{status}");
    let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count();
    ensure!(files < 200, "{files} open files");
    // Those that ask for nothing are closed, and others are served again.
    drop(crowd);
    wait_for("metrics", PATIENCE, || {
        Ok(lab.run("curl", &["-fsS", &format!("{HTTP}/metrics")]).ok())
    })?;
    ensure!(daemon.log().matches("connections to the HTTP are open").count() <= 1);
    Ok(())
}

#[test]
fn a_page_that_names_this_host_by_another_name_learns_nothing() -> Result<()> {
    let (lab, _daemon) = stage::start()?;
    let ask = |host: &str| {
        let (host, url) = (format!("Host: {host}"), format!("{HTTP}/api/v1/ports"));
        lab.run("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &host, &url])
    };
    wait_for("the API", PATIENCE, || Ok(ask("127.0.0.1:9472").ok().filter(|code| code == "200")))?;
    ensure!(ask("localhost:9472")? == "200");
    ensure!(ask("evil.example:9472")? == "403");
    Ok(())
}
