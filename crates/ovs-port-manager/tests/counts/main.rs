//! What an attach costs, in counts: a guard against work that creeps in.
//!
//! Times differ from machine to machine and from run to run; counts do not. The containers are the
//! benchmark's stand-ins. Counted are the daemon's transactions and their bytes as a tap on its connection
//! hears them, the inspections that the stand-in for Docker was asked for, and the netlink messages that the
//! daemon sends to the kernel by its own log (`-vv`).
//!
//! A change that costs more, or less, has to change the numbers here, on purpose:
//! `UPDATE_EXPECT=1 cargo test -p ovs-port-manager --test counts`.

#[path = "../../benches/suite/engine/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod engine;
#[path = "../../benches/suite/http.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod http;

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use expect_test::{Expect, expect};
use lab::{Daemon, Lab, Tap, wait_for};
use serde_json::Value;

use engine::{Engine, StandIn};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ovs-port-manager");
const PATIENCE: Duration = Duration::from_secs(30);
const BURST: usize = 50;
/// What filters of `cargo test` are compared with.
const NAME: &str = "counts";

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    if let ["engine", socket, cgroup] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return engine::serve(Path::new(socket), cgroup);
    }
    let listing = args.iter().any(|arg| arg == "--list" || arg == "--ignored");
    let filters: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = filters.is_empty() || filters.iter().any(|filter| NAME.contains(*filter));
    if listing || !wanted {
        return Ok(());
    }
    an_attach_and_a_detach_cost()?;
    a_burst_of_containers_costs()?;
    println!("2 passed, 0 failed");
    Ok(())
}

fn an_attach_and_a_detach_cost() -> Result<()> {
    let stage = Stage::start()?;
    let made = stage.engine.create(3, "ovs.ip_address")?;
    let daemon = stage.daemon()?;
    daemon.wait_log("looking at all labelled containers", PATIENCE)?;
    // The first one is not counted: with it goes what happens once.
    let [first, second, third] = made.as_slice() else { bail!("{} stand-ins", made.len()) };
    stage.engine.start_all(std::slice::from_ref(first))?;
    stage.wait_announced(&daemon, 1)?;
    let before = stage.count(&daemon)?;
    stage.engine.start_all(std::slice::from_ref(second))?;
    stage.wait_announced(&daemon, 2)?;
    check(
        &stage.count(&daemon)?.since(&before),
        &expect![[r#"
            Counts {
                inspections: 1,
                netlink_calls: 2,
                netlink_messages: 5,
                transactions: 1,
                bytes: 783,
            }
        "#]],
    );

    let before = stage.count(&daemon)?;
    stage.engine.stop_all(std::slice::from_ref(second))?;
    stage.wait_ports(1)?;
    // By the time that another one is there, all that follows from the end of the second has happened.
    stage.engine.start_all(std::slice::from_ref(third))?;
    stage.wait_announced(&daemon, 3)?;
    // Whether its link has gone by itself before it is asked for is a matter of luck.
    let after = stage.count(&daemon)?.since(&before);
    check(
        &Counts { netlink_calls: 0, netlink_messages: 0, ..after },
        &expect![[r#"
            Counts {
                inspections: 2,
                netlink_calls: 0,
                netlink_messages: 0,
                transactions: 2,
                bytes: 1030,
            }
        "#]],
    );
    Ok(())
}

fn a_burst_of_containers_costs() -> Result<()> {
    let stage = Stage::start()?;
    let made: Vec<StandIn> = stage.engine.create(BURST, "ovs.ip_address")?;
    stage.engine.let_run(&made)?;
    let daemon = stage.daemon()?;
    stage.wait_announced(&daemon, BURST)?;
    let counts = stage.count(&daemon)?;
    // On a machine that is busy with other things, those who are late make a transaction of their own.
    ensure!(counts.transactions <= 5, "{BURST} ports in {counts:?}");
    let bytes = (counts.bytes / BURST).next_multiple_of(50);
    check(
        &Counts { transactions: 1, bytes, ..counts },
        &expect![[r#"
            Counts {
                inspections: 50,
                netlink_calls: 105,
                netlink_messages: 255,
                transactions: 1,
                bytes: 600,
            }
        "#]],
    );
    Ok(())
}

/// What the daemon has done so far.
#[derive(Debug, Clone, Copy)]
struct Counts {
    inspections: u64,
    netlink_calls: usize,
    netlink_messages: usize,
    transactions: usize,
    bytes: usize,
}

impl Counts {
    fn since(self, before: &Self) -> Self {
        Self {
            inspections: self.inspections - before.inspections,
            netlink_calls: self.netlink_calls - before.netlink_calls,
            netlink_messages: self.netlink_messages - before.netlink_messages,
            transactions: self.transactions - before.transactions,
            bytes: self.bytes - before.bytes,
        }
    }
}

fn check(counts: &Counts, expected: &Expect) {
    expected.assert_eq(&format!("{counts:#?}\n"));
}

/// A bridge, the stand-in for Docker, and a tap between the daemon and the database.
struct Stage {
    tap: Tap,
    engine: Engine,
    lab: Lab,
}

impl Stage {
    fn start() -> Result<Self> {
        let lab = Lab::builder().without_docker().start()?;
        let netdev = ["--", "set", "bridge", "ovsbr0", "datapath_type=netdev"];
        lab.vsctl(&[&["add-br", "ovsbr0"], netdev.as_slice()].concat())?;
        let tap = Tap::start(&lab.path().join("tap.sock"), &lab.ovsdb_endpoint())?;
        Ok(Self { tap, engine: Engine::start(&lab)?, lab })
    }

    fn daemon(&self) -> Result<Daemon> {
        let (docker, ovsdb) =
            (self.engine.endpoint(), format!("unix:{}", self.tap.path().display()));
        let args = ["run", "-vv", "--docker", &docker, "--ovsdb", &ovsdb];
        self.lab.spawn(Path::new(PROGRAM), &args, &[])
    }

    /// Waits until so many containers have been announced, which is the last that is done for each.
    fn wait_announced(&self, daemon: &Daemon, count: usize) -> Result<()> {
        wait_for("all containers to be announced", PATIENCE, || {
            let announced = daemon.log().matches("announced the addresses").count();
            Ok((announced >= count).then_some(()))
        })
    }

    fn wait_ports(&self, count: usize) -> Result<()> {
        wait_for("the ports", PATIENCE, || {
            let ports = self.lab.vsctl(&["list-ports", "ovsbr0"])?;
            Ok((ports.lines().count() == count).then_some(()))
        })
    }

    fn count(&self, daemon: &Daemon) -> Result<Counts> {
        let (mut transactions, mut bytes) = (0, 0);
        let sent = self.tap.sent();
        for message in serde_json::Deserializer::from_slice(&sent).into_iter::<Value>() {
            let message = message?;
            if message.get("method").and_then(Value::as_str) == Some("transact") {
                transactions += 1;
                bytes += message.to_string().len();
            }
        }
        let log = daemon.log();
        let calls = log.lines().filter_map(|line| line.split_once("to the kernel messages="));
        let messages: Vec<usize> =
            calls.filter_map(|(_, count)| count.split_whitespace().next()?.parse().ok()).collect();
        Ok(Counts {
            inspections: self.engine.inspections()?,
            netlink_calls: messages.len(),
            netlink_messages: messages.iter().sum(),
            transactions,
            bytes,
        })
    }
}
