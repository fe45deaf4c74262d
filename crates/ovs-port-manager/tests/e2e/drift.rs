//! What somebody else changes of a port is put right, at once and not by the resync.

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::stage::{self, PATIENCE, PROGRAM, interface, ping, reach, wait_ready};

/// Two attached containers, one with all there is to lose, and a daemon that never resyncs by time.
fn stage() -> Result<(Lab, Daemon, String)> {
    let lab = Lab::start()?;
    let (docker, ovsdb) = (lab.docker_endpoint(), lab.ovsdb_endpoint());
    let args = ["run", "-v", "--resync-interval=0", "--docker", &docker, "--ovsdb", &ovsdb];
    let daemon = lab.spawn(PROGRAM.as_ref(), &args, &[])?;
    let labels = [
        ("ovs.ip_address", "10.0.0.1/24,fd00::1/64"),
        ("ovs.gateway", "10.0.0.254,fd00::fe"),
        ("ovs.mtu", "1400"),
        ("ovs.vlan", "7"),
    ];
    let one = lab.run_container("one", &labels)?;
    let labels = [("ovs.ip_address", "10.0.0.2/24,fd00::2/64"), ("ovs.vlan", "7")];
    let two = lab.run_container("two", &labels)?;
    wait_ready(&lab, &one)?;
    wait_ready(&lab, &two)?;
    ping(&lab, "two", "10.0.0.1")?;
    Ok((lab, daemon, one))
}

fn inside(lab: &Lab, command: &str) -> Result<String> {
    let words: Vec<&str> = command.split(' ').collect();
    lab.run_in_netns_of("one", "ip", &words)
}

/// Waits until container `one` has all that its labels say, and reaches and is reached.
fn wait_whole(lab: &Lab, daemon: &Daemon, one: &str) -> Result<()> {
    let whole = wait_for("all to be as it should", PATIENCE, || {
        let eth1 = interface(lab, "one", "eth1")?;
        let shown = eth1.to_string();
        ensure!(shown.contains("\"10.0.0.1\"") && shown.contains("\"fd00::1\""), "{shown}");
        ensure!(
            shown.contains("\"operstate\":\"UP\"") && shown.contains("\"mtu\":1400"),
            "{shown}"
        );
        for (family, gateway) in [("-4", "10.0.0.254"), ("-6", "fd00::fe")] {
            let routes = inside(lab, &format!("{family} route show default"))?;
            ensure!(routes.contains(gateway), "{routes}");
        }
        let port = wait_ready(lab, one)?;
        ensure!(lab.vsctl(&["get", "port", &port, "tag"])? == "7");
        ensure!(lab.vsctl(&["port-to-br", &port])? == "ovsbr0");
        ping(lab, "two", "10.0.0.1")?;
        reach(lab, "two", "fd00::1")?;
        Ok(Some(()))
    });
    whole.with_context(|| format!("the daemon said:\n{}", daemon.log()))
}

#[test]
fn what_changes_inside_the_container_is_put_right_without_a_new_link() -> Result<()> {
    let (lab, daemon, one) = stage()?;
    let port = wait_ready(&lab, &one)?;
    for harm in [
        "addr del 10.0.0.1/24 dev eth1",
        "-6 addr del fd00::1/64 dev eth1",
        "route del default",
        "-6 route del default",
        "addr flush dev eth1",
        "link set eth1 down",
    ] {
        inside(&lab, harm)?;
        wait_whole(&lab, &daemon, &one)?;
        ensure!(wait_ready(&lab, &one)? == port, "{harm}: the port stays");
    }
    ensure!(daemon.log().matches("set-link").count() >= 6, "{}", daemon.log());
    Ok(())
}

/// As it is left when ovs-vswitchd finds the database's disk full at the moment of its own write.
#[test]
fn a_port_number_that_ovs_vswitchd_could_not_write_is_written_again() -> Result<()> {
    let (lab, daemon, one) = stage()?;
    let port = wait_ready(&lab, &one)?;
    lab.vsctl(&["--no-wait", "clear", "interface", &port, "ofport"])?;
    wait_whole(&lab, &daemon, &one)?;
    ensure!(wait_ready(&lab, &one)? == port, "the port stays");
    ensure!(daemon.log().matches("has not taken the port").count() == 1, "{}", daemon.log());
    Ok(())
}

#[test]
fn a_link_that_is_deleted_or_taken_down_comes_back() -> Result<()> {
    let (lab, daemon, one) = stage()?;
    let port = wait_ready(&lab, &one)?;
    lab.run("ip", &["link", "delete", &port])?;
    wait_whole(&lab, &daemon, &one)?;
    inside(&lab, "link delete eth1")?;
    wait_whole(&lab, &daemon, &one)?;
    inside(&lab, "link set eth1 down")?;
    inside(&lab, "link set eth1 name mine")?;
    wait_whole(&lab, &daemon, &one)
}

#[test]
fn what_changes_in_the_database_is_put_right() -> Result<()> {
    let (lab, daemon, one) = stage()?;
    let port = wait_ready(&lab, &one)?;
    lab.vsctl(&["set", "port", &port, "tag=8"])?;
    wait_whole(&lab, &daemon, &one)?;
    lab.vsctl(&["clear", "port", &port, "tag"])?;
    wait_whole(&lab, &daemon, &one)?;
    ensure!(wait_ready(&lab, &one)? == port, "the port stays");

    lab.vsctl(&["del-port", &port])?;
    wait_whole(&lab, &daemon, &one)?;

    let port = wait_ready(&lab, &one)?;
    lab.vsctl(&[
        "add-br",
        "elsewhere",
        "--",
        "set",
        "bridge",
        "elsewhere",
        "datapath_type=netdev",
    ])?;
    let row = lab.vsctl(&["get", "port", &port, "_uuid"])?;
    let (take, give) = (
        ["remove", "bridge", "ovsbr0", "ports", &row],
        ["add", "bridge", "elsewhere", "ports", &row],
    );
    lab.vsctl(&[take.as_slice(), &["--"], &give].concat())?;
    wait_whole(&lab, &daemon, &one)?;

    lab.vsctl(&["del-br", "ovsbr0"])?;
    wait_whole(&lab, &daemon, &one)?;
    ensure!(stage::our_ports(&lab)?.len() == 2);
    Ok(())
}
