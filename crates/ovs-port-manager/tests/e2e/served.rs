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
        ("ovs_port_manager_connections_closed_total{listener=\"http\",reason=\"idle\"}", "=> 0 "),
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
    wait_told_ready(&lab, 5)?;
    let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count();
    ensure!(files < 200, "{files} open files");
    // Those that ask for nothing are closed, and others are served again.
    drop(crowd);
    wait_for("metrics", PATIENCE, || {
        Ok(lab.run("curl", &["-fsS", &format!("{HTTP}/metrics")]).ok())
    })?;
    ensure!(daemon.log().matches("new ones push out others").count() == 1, "{}", daemon.log());
    Ok(())
}

#[test]
fn connections_take_no_file_from_the_work() -> Result<()> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    // A service manager's usual soft limit is 1024, of which each container takes one.
    let args = ["--nofile=70:4096", PROGRAM, "run", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn("prlimit".as_ref(), &args, &[])?;
    daemon.wait_log("following Docker's events", PATIENCE)?;
    let crowd = lab.spawn("/usr/bin/python3".as_ref(), &["-c", CROWD, "300"], &[])?;
    crowd.wait_log("all open", PATIENCE)?;
    for number in 1..=5 {
        let address = format!("10.0.0.{number}/24");
        let id = lab.run_container(&format!("c{number}"), &[("ovs.ip_address", &address)])?;
        wait_ready(&lab, &id)?;
    }
    wait_told_ready(&lab, 5)
}

/// Waits until root is told that so many ports are ready.
fn wait_told_ready(lab: &Lab, number: usize) -> Result<()> {
    wait_for("ports that are ready", PATIENCE, || {
        let status = told(lab, &["status"])?;
        Ok((status.matches(" ready ").count() == number).then_some(()))
    })
}

/// Opens so many connections, sends a text over each for as long as that goes, reads nothing, and holds them until it is
/// ended.
const MUTE: &str = "import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
held = []
for _ in range(int(sys.argv[1])):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.connect(('127.0.0.1', 9472))
    one.setblocking(False)
    try:
        one.sendall(sys.argv[2].encode())
    except OSError:
        pass
    held.append(one)
print('all open', flush=True)
time.sleep(600)";

#[test]
fn who_reads_no_answer_keeps_others_from_none() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    let mute = lab.spawn("/usr/bin/python3".as_ref(), &["-c", MUTE, "200", &pipelined], &[])?;
    mute.wait_log("all open", PATIENCE)?;
    // Each at the first attempt.
    for path in ["metrics", "readyz", "api/v1/ports"].repeat(5) {
        lab.run("curl", &["-fsS", "-m", "5", &format!("{HTTP}/{path}")])?;
    }
    for number in 1..=3 {
        let address = format!("10.0.0.{number}/24");
        let id = lab.run_container(&format!("c{number}"), &[("ovs.ip_address", &address)])?;
        wait_ready(&lab, &id)?;
    }
    wait_told_ready(&lab, 3)?;
    // Nobody is answered twice over one connection, so nothing more comes of what the others have sent.
    let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count();
    ensure!(files < 200, "{files} open files");
    Ok(())
}

#[test]
fn streams_that_are_left_open_keep_nobody_from_the_events() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let events = format!("{HTTP}/api/v1/events");
    let request = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mute = lab.spawn("/usr/bin/python3".as_ref(), &["-c", MUTE, "100", request], &[])?;
    mute.wait_log("all open", PATIENCE)?;
    let counted = || lab.run("curl", &["-fsS", "-m", "5", &format!("{HTTP}/metrics")]);
    // The first ones have given way to the others: all are served, and nobody waits any more.
    let gave_way = |number: usize| {
        format!("connections_closed_total{{listener=\"http\",reason=\"stream\"}} {number}\n")
    };
    wait_for("the streams", PATIENCE, || {
        Ok(counted().is_ok_and(|text| text.contains(&gave_way(100 - 16))).then_some(()))
    })?;
    let last = lab.spawn("curl".as_ref(), &["-sSN", "-D", "/dev/stderr", &events], &[])?;
    last.wait_log("200 OK", PATIENCE)?;
    lab.run_container("web", &[("ovs.ip_address", "10.0.0.1/24")])?;
    last.wait_log("\"what\":\"ready\"", PATIENCE)?;
    ensure!(counted()?.contains(&gave_way(100 - 15)));
    Ok(())
}

/// Makes connections to a Unix socket for as long as it runs, asks over each of them, and reads nothing.
const FLOOD: &str = "import collections, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
held = collections.deque()
while True:
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    try:
        one.connect(sys.argv[1])
        one.send(b'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')
    except OSError:
        continue
    held.append(one)
    if len(held) == 5000:
        print('many', flush=True)
    if len(held) > 5000:
        held.popleft().close()";

#[test]
fn a_member_of_the_group_that_floods_the_control_socket_keeps_root_from_nothing() -> Result<()> {
    let lab = Lab::start()?;
    let socket = lab.path().join("control.sock").display().to_string();
    let options = ["--control-socket", &socket, "--control-group", "daemon"];
    let _daemon = stage::start_daemon_with(&lab, &options)?;
    let member =
        ["--reuid=65534", "--regid=daemon", "--clear-groups", "/usr/bin/python3", "-c", FLOOD];
    let flood = lab.spawn("setpriv".as_ref(), &[&member[..], &[&socket]].concat(), &[])?;
    flood.wait_log("many", PATIENCE)?;
    for _ in 0..5 {
        let status = lab.run(PROGRAM, &["status", "--control-socket", &socket])?;
        ensure!(status == "no container asks for a port", "{status}");
    }
    Ok(())
}

#[test]
fn who_takes_its_time_with_a_request_is_not_waited_for() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let slow = "import socket, time
one = socket.create_connection(('127.0.0.1', 9472))
try:
    for byte in b'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n' + b'A: b\\r\\n' * 1000:
        one.send(bytes([byte]))
        time.sleep(0.1)
except OSError:
    print('closed', flush=True)";
    let slow = lab.spawn("/usr/bin/python3".as_ref(), &["-c", slow], &[])?;
    slow.wait_log("closed", PATIENCE)?;
    let metrics = lab.run("curl", &["-fsS", &format!("{HTTP}/metrics")])?;
    let late = "connections_closed_total{listener=\"http\",reason=\"late\"} 1\n";
    ensure!(metrics.contains(late), "{metrics}");
    Ok(())
}

#[test]
fn a_page_that_names_this_host_by_another_name_learns_nothing() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let ask = |host: &str| asked(&lab, &[&format!("Host: {host}")]);
    for known in ["127.0.0.1:9472", "localhost:9472"] {
        ensure!(ask(known)?.ends_with(" 200"), "{}", ask(known)?);
    }
    let told = ask("evil.example:9472")?;
    ensure!(told.ends_with(" 403") && told.contains("http_hosts"), "{told}");
    Ok(())
}

/// What the API answers to a request with these headers, and its status.
fn asked(lab: &Lab, headers: &[&str]) -> Result<String> {
    let url = format!("{HTTP}/api/v1/ports");
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    let args = ["-s", "-w", " %{http_code}"].into_iter().chain(headers).chain([url.as_str()]);
    lab.run("curl", &args.collect::<Vec<_>>())
}

#[test]
fn a_page_of_another_origin_learns_nothing() -> Result<()> {
    let (lab, daemon) = stage::start()?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    for other in [
        "Origin: http://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let told = asked(&lab, &[other])?;
        ensure!(told.ends_with(" 403") && told.contains("another origin"), "{other}: {told}");
    }
    // Typed into the browser.
    ensure!(asked(&lab, &["Sec-Fetch-Site: none"])?.ends_with(" 200"));
    Ok(())
}

#[test]
fn this_host_may_be_asked_by_the_names_that_the_configuration_lists() -> Result<()> {
    let lab = Lab::start()?;
    let file = lab.path().join("names.yaml");
    std::fs::write(&file, "http_hosts: [metrics.example, ovs]\n")?;
    let daemon = stage::start_daemon_with(&lab, &["--config", &file.display().to_string()])?;
    daemon.wait_log("serving metrics and API over HTTP", PATIENCE)?;
    let ask = |host: &str| asked(&lab, &[&format!("Host: {host}")]);
    for known in ["metrics.example", "Metrics.Example:9472", "ovs:80", "localhost"] {
        ensure!(ask(known)?.ends_with(" 200"), "{}", ask(known)?);
    }
    for unknown in ["example", "a.metrics.example", "metrics.example.evil.example"] {
        ensure!(ask(unknown)?.ends_with(" 403"), "{}", ask(unknown)?);
    }
    Ok(())
}
