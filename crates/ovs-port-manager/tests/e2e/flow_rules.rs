//! Flow rules are for a port's own number, stay in force whatever others do, and keep a container from configuring
//! others.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use lab::{Daemon, Lab, wait_for};

use crate::frames::{self, arp, heard, icmpv6, ipv4, ipv6, mac, udp};
use crate::stage::{self, PATIENCE, ping, reach, wait_gone, wait_ready};

const SECURED: [&str; 2] = ["--port-security", "ovsbr0"];
const COOKIE: &str = "cookie=0x6f76732d706f7274/-1";

fn ofctl(lab: &Lab, args: &[&str]) -> Result<String> {
    lab.run("ovs-ofctl", &[&["-O", "OpenFlow13"], args].concat())
}

/// Our flows of a bridge, without what changes by itself.
fn flows(lab: &Lab, bridge: &str) -> Result<Vec<String>> {
    let shown = ofctl(lab, &["--no-stats", "dump-flows", bridge, COOKIE])?;
    let mut flows: Vec<_> = shown.lines().map(|line| line.trim().to_owned()).collect();
    flows.sort();
    Ok(flows)
}

fn attach(lab: &Lab, name: &str, labels: &[(&str, &str)]) -> Result<String> {
    wait_ready(lab, &lab.run_container(name, labels)?)
}

fn number(lab: &Lab, port: &str) -> Result<String> {
    lab.vsctl(&["get", "interface", port, "ofport"])
}

/// Whether a ping from an address that the container has given itself is answered.
fn spoofs(lab: &Lab, container: &str, to: &str) -> Result<bool> {
    // It is there already the second time.
    let _ = lab.run_in_netns_of(container, "ip", &["address", "add", "10.0.0.9/32", "dev", "eth1"]);
    Ok(lab.exec(container, &["ping", "-c", "2", "-W", "1", "-I", "10.0.0.9", to]).is_ok())
}

/// `one` with 10.0.0.1 and `two` with 10.0.0.2 on a secured bridge, and their ports.
fn pair(options: &[&str]) -> Result<(Lab, Daemon, [String; 2])> {
    let (lab, daemon) = stage::start_with(&[&SECURED, options].concat())?;
    let one = attach(&lab, "one", &[("ovs.ip_address", "10.0.0.1/24,fd00::1/64")])?;
    let two = attach(&lab, "two", &[("ovs.ip_address", "10.0.0.2/24,fd00::2/64")])?;
    reach(&lab, "one", "10.0.0.2")?;
    Ok((lab, daemon, [one, two]))
}

#[test]
fn a_number_that_another_port_has_is_refused_and_that_port_keeps_its_traffic() -> Result<()> {
    let (lab, daemon, [one, _]) = pair(&[])?;
    lab.vsctl(&[
        "add-port",
        "ovsbr0",
        "uplink",
        "--",
        "set",
        "interface",
        "uplink",
        "type=internal",
    ])?;
    lab.run("ip", &["address", "add", "10.0.0.254/24", "dev", "uplink"])?;
    lab.run("ip", &["link", "set", "uplink", "up"])?;
    reach(&lab, "one", "10.0.0.254")?;
    for (name, port) in [("asks-neighbour", one.as_str()), ("asks-uplink", "uplink")] {
        let asked = number(&lab, port)?;
        let labels = [("ovs.ip_address", "10.0.0.66/24"), ("ovs.ofport_request", asked.as_str())];
        let id = lab.run_container(name, &labels)?;
        let taken = format!("OpenFlow number {asked} on ovsbr0 is taken by port {port}");
        daemon.wait_log(&taken, PATIENCE)?;
        reach(&lab, "one", "10.0.0.2")?;
        reach(&lab, "one", "10.0.0.254")?;
        ensure!(number(&lab, port)? == asked);
        lab.docker(&["rm", "-f", name])?;
        wait_gone(&lab, &id)?;
        ping(&lab, "one", "10.0.0.2")?;
        ping(&lab, "one", "10.0.0.254")?;
    }
    Ok(())
}

#[test]
fn two_that_ask_for_the_same_number_get_it_one_after_the_other() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    let asks = |address| [("ovs.ip_address", address), ("ovs.ofport_request", "77")];
    let first = attach(&lab, "first", &asks("10.0.0.3/24"))?;
    lab.run_container("second", &asks("10.0.0.4/24"))?;
    daemon.wait_log("OpenFlow number 77 on ovsbr0 is", PATIENCE)?;
    ensure!(number(&lab, &first)? == "77");
    reach(&lab, "first", "10.0.0.2")?;
    lab.docker(&["rm", "-f", "first"])?;
    reach(&lab, "second", "10.0.0.2")?;
    // What the first was allowed is not the second's, though it has the number.
    ensure!(flows(&lab, "ovsbr0")?.iter().all(|flow| !flow.contains("10.0.0.3")));
    ensure!(!spoofs(&lab, "second", "10.0.0.2")?);
    reach(&lab, "second", "10.0.0.2")
}

#[test]
fn a_number_that_a_foreign_port_gives_back_is_granted() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    let add = ["add-port", "ovsbr0", "uplink", "--", "set", "interface", "uplink", "type=internal"];
    lab.vsctl(&[&add[..], &["ofport_request=88"]].concat())?;
    let id = lab.run_container(
        "asks",
        &[("ovs.ip_address", "10.0.0.3/24"), ("ovs.ofport_request", "88")],
    )?;
    daemon.wait_log("OpenFlow number 88 on ovsbr0 is taken by port uplink", PATIENCE)?;
    lab.vsctl(&["del-port", "uplink"])?;
    let port = wait_ready(&lab, &id)?;
    ensure!(number(&lab, &port)? == "88");
    reach(&lab, "asks", "10.0.0.2")
}

#[test]
fn meters_and_flows_of_an_operator_are_never_touched() -> Result<()> {
    let (lab, _daemon, _) = pair(&[])?;
    // The numbers that a port of number 7 could come to.
    for meter in ["7", "65543"] {
        ofctl(
            &lab,
            &["add-meter", "ovsbr0", &format!("meter={meter},pktps,bands=type=drop,rate=9")],
        )?;
        let flow = format!("table=9,priority=5,in_port=9,actions=meter:{meter}");
        ofctl(&lab, &["add-flow", "ovsbr0", &flow])?;
    }
    let theirs = |lab: &Lab| -> Result<_> {
        let of = |meter: &str| ofctl(lab, &["dump-meters", "ovsbr0", meter]);
        // The numbers of transactions in them differ.
        let meters = [of("meter=7")?, of("meter=65543")?]
            .map(|it| it.split_once(')').map(|it| it.1.to_owned()));
        Ok((meters, ofctl(lab, &["--no-stats", "dump-flows", "ovsbr0", "table=9"])?))
    };
    let before = theirs(&lab)?;
    let labels = [
        ("ovs.ip_address", "10.0.0.3/24"),
        ("ovs.ofport_request", "7"),
        ("ovs.ingress_rate", "20M"),
    ];
    let id = lab.run_container("limited", &labels)?;
    let port = wait_ready(&lab, &id)?;
    ensure!(number(&lab, &port)? == "7");
    reach(&lab, "limited", "10.0.0.2")?;
    ensure!(flows(&lab, "ovsbr0")?.iter().any(|flow| flow.contains("meter:131079")));
    ensure!(theirs(&lab)? == before);
    lab.docker(&["rm", "-f", "limited"])?;
    wait_gone(&lab, &id)?;
    wait_for("its meter to go", PATIENCE, || {
        Ok((!ofctl(&lab, &["dump-meters", "ovsbr0"])?.contains("131079")).then_some(()))
    })?;
    ensure!(theirs(&lab)? == before);
    Ok(())
}

/// Something that takes flow rules out of force: what it is called, and how it is done.
type Interference<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

#[test]
fn flow_rules_that_somebody_deletes_or_changes_come_back() -> Result<()> {
    let (lab, _daemon, [_, two]) = pair(&[])?;
    let labels = [("ovs.ip_address", "10.0.0.3/24"), ("ovs.ingress_rate", "20M")];
    attach(&lab, "spoofer", &labels)?;
    reach(&lab, "spoofer", "10.0.0.2")?;
    ensure!(!spoofs(&lab, "spoofer", "10.0.0.2")?);
    let before = flows(&lab, "ovsbr0")?;
    let ofport = number(&lab, &two)?;
    let entrance = format!("table=0,priority=65535,in_port={ofport},reg15=0");
    let ours = format!("{COOKIE},{entrance}");
    let vsctl = |args: &[&str]| lab.vsctl(args).map(drop);
    let interferences: [Interference<'_>; 8] = [
        ("del-flows", &|| ofctl(&lab, &["del-flows", "ovsbr0"]).map(drop)),
        ("del-flows of one", &|| {
            ofctl(&lab, &["--strict", "del-flows", "ovsbr0", &entrance]).map(drop)
        }),
        ("del-meters", &|| ofctl(&lab, &["del-meters", "ovsbr0"]).map(drop)),
        ("a flow in the place of ours", &|| {
            ofctl(&lab, &["add-flow", "ovsbr0", &format!("{entrance},actions=NORMAL")]).map(drop)
        }),
        ("mod-flows", &|| {
            ofctl(&lab, &["mod-flows", "ovsbr0", &format!("{ours},actions=NORMAL")]).map(drop)
        }),
        ("mod-meter", &|| {
            let meters = ofctl(&lab, &["dump-meters", "ovsbr0"])?;
            let meter = meters.split("meter=").nth(1).and_then(|it| it.split(' ').next());
            let meter = format!("meter={},kbps,bands=type=drop,rate=9", meter.context("no meter")?);
            ofctl(&lab, &["mod-meter", "ovsbr0", &meter]).map(drop)
        }),
        ("set-controller", &|| vsctl(&["set-controller", "ovsbr0", "tcp:127.0.0.1:1"])),
        ("del-controller", &|| vsctl(&["del-controller", "ovsbr0"])),
    ];
    for (what, interfere) in interferences {
        interfere().with_context(|| what.to_owned())?;
        let since = std::time::Instant::now();
        wait_for(&format!("all flows after {what}"), PATIENCE, || {
            let meters = ofctl(&lab, &["dump-meters", "ovsbr0"])?;
            let metered = meters.contains("rate=20000");
            Ok((flows(&lab, "ovsbr0")? == before && metered).then_some(()))
        })?;
        println!("{what}: back after {:?}", since.elapsed());
    }
    reach(&lab, "spoofer", "10.0.0.2")?;
    ensure!(!spoofs(&lab, "spoofer", "10.0.0.2")?);
    Ok(())
}

#[test]
fn flow_rules_follow_a_port_to_another_number() -> Result<()> {
    let (lab, _daemon, [one, _]) = pair(&[])?;
    let old = number(&lab, &one)?;
    lab.vsctl(&["set", "interface", &one, "ofport_request=99"])?;
    let of = |number: &str| format!("in_port={number},");
    wait_for("its flows to follow", PATIENCE, || {
        let flows = flows(&lab, "ovsbr0")?;
        let has = |number: &str| flows.iter().any(|flow| flow.contains(&of(number)));
        Ok((number(&lab, &one)? == "99" && has("99") && !has(&old)).then_some(()))
    })?;
    reach(&lab, "one", "10.0.0.2")?;
    ensure!(!spoofs(&lab, "one", "10.0.0.2")?);
    Ok(())
}

#[test]
fn a_bridge_that_refuses_openflow_13_holds_up_no_detaching_and_is_named() -> Result<()> {
    let (lab, daemon, _) = pair(&[])?;
    lab.vsctl(&["set", "bridge", "ovsbr0", "protocols=OpenFlow10"])?;
    let id = lab.run_container("waits", &[("ovs.ip_address", "10.0.0.3/24")])?;
    let advice = "allow it: ovs-vsctl add bridge ovsbr0 protocols OpenFlow13";
    wait_for("the waiting container to be named", PATIENCE, || {
        let named = |line: &str| line.contains(advice) && line.contains("name=\"waits\"");
        Ok(daemon.log().lines().any(named).then_some(()))
    })?;
    // Without its rules nothing of it passes.
    ensure!(ping(&lab, "waits", "10.0.0.2").is_err());
    lab.docker(&["rm", "-f", "one"])?;
    lab.docker(&["rm", "-f", "waits"])?;
    wait_gone(&lab, &id)?;

    lab.run_container("later", &[("ovs.ip_address", "10.0.0.4/24")])?;
    lab.vsctl(&["clear", "bridge", "ovsbr0", "protocols"])?;
    reach(&lab, "later", "10.0.0.2")?;
    ensure!(!spoofs(&lab, "later", "10.0.0.2")?);
    Ok(())
}

#[test]
fn a_port_without_its_flow_rules_is_shown_and_readyz_says_so() -> Result<()> {
    let (lab, daemon, _) = pair(&["--http", "127.0.0.1:9472"])?;
    let readyz = || lab.run("curl", &["-s", "http://127.0.0.1:9472/readyz"]);
    let ports = || lab.run("curl", &["-s", "http://127.0.0.1:9472/api/v1/ports"]);
    ensure!(!ports()?.contains("unguarded"));
    lab.vsctl(&["set", "bridge", "ovsbr0", "protocols=OpenFlow10"])?;
    // It forgets all flows, and speaks another version from now on.
    lab.vswitchd().restart()?;
    wait_for("the ports to be shown", PATIENCE, || {
        Ok((ports()?.matches("\"unguarded\"").count() == 2).then_some(()))
    })?;
    ensure!(readyz()?.contains("flow rules are not in force"), "{}", readyz()?);
    daemon.wait_log("are not in force", PATIENCE)?;
    lab.vsctl(&["clear", "bridge", "ovsbr0", "protocols"])?;
    wait_for("all to be well", PATIENCE, || {
        let (ports, readyz) = (ports()?, readyz()?);
        let well = !ports.contains("unguarded") && !readyz.contains("flow rules");
        ensure!(well, "{readyz}: {ports}\n{}", daemon.log());
        Ok(Some(()))
    })
}

#[test]
fn a_container_configures_nobody_else() -> Result<()> {
    let (lab, _daemon, _) = pair(&[])?;
    // The same on a bridge without port security, where all of it is heard.
    for (name, address) in [("free", "10.0.0.1/24,fd00::1/64"), ("other", "10.0.0.2/24,fd00::2/64")]
    {
        attach(&lab, name, &[("ovs.ip_address", address), ("ovs.bridge", "ovsbr1")])?;
    }
    let (own4, own6) = (Ipv4Addr::new(10, 0, 0, 1), "fd00::1".parse::<Ipv6Addr>()?);
    let (victim4, victim6) = (Ipv4Addr::new(10, 0, 0, 2), "fd00::2".parse::<Ipv6Addr>()?);
    for (from, to, all) in [("one", "two", false), ("free", "other", true)] {
        let mac = mac(&lab, from)?;
        let fragment = |next: u8, payload: &[u8]| [&[next, 0, 0, 1, 0, 0, 0, 7], payload].concat();
        let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let dhcp = udp(547, 546);
        let tries = [
            ("router advertisement", ipv6(mac, own6, 58, &advertisement)),
            ("redirect", icmpv6(mac, own6, 137, victim6)),
            ("neighbor advertisement, tgt is fd00::2", icmpv6(mac, own6, 136, victim6)),
            ("who has fd00::2", icmpv6(mac, Ipv6Addr::UNSPECIFIED, 135, victim6)),
            ("who-has 10.0.0.2 tell 0.0.0.0", arp(mac, Ipv4Addr::UNSPECIFIED, victim4)),
            (".547 > ff02::1.546", ipv6(mac, own6, 17, &dhcp)),
            ("10.0.0.1.67 > 255.255.255.255.68", ipv4(mac, own4, 17, &udp(67, 68))),
            (
                "10.0.0.1 > 255.255.255.255:",
                ipv4(mac, own4, 1, &[5, 1, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            ),
            ("frag (0", ipv6(mac, own6, 44, &fragment(58, &advertisement))),
        ];
        let sent: Vec<_> = tries.iter().map(|(_, frame)| frame.clone()).collect();
        let heard = heard(&lab, from, to, &sent)?;
        for (what, _) in tries {
            ensure!(heard.contains(what) == all, "{from}: {what}:\n{heard}");
        }
        // What it may say of itself.
        let own = [
            icmpv6(mac, Ipv6Addr::UNSPECIFIED, 135, own6),
            arp(mac, Ipv4Addr::UNSPECIFIED, own4),
            icmpv6(mac, own6, 136, own6),
            ipv4(mac, own4, 17, &udp(6767, 6868)),
        ];
        let heard = frames::heard(&lab, from, to, &own)?;
        for what in [
            "who has fd00::1",
            "who-has 10.0.0.1",
            "neighbor advertisement, tgt is fd00::1",
            "10.0.0.1.6767 > 255.255.255.255.6868",
        ] {
            ensure!(heard.contains(what), "{from}: {what}:\n{heard}");
        }
    }
    Ok(())
}
