//! This crate beside `ovs-vsctl`, Python's `ovs` IDL and a raw socket: `cargo bench -p ovsdb`.
//!
//! All of them take turns on one private server. Each turn is a process of its own that times
//! itself, so that the start of an interpreter does not count, and whose peak memory is read at
//! its end. What counts are the ratios within one run.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that can't run should say where it stopped"
)]

mod ours;
mod raw;
mod server;
mod turn;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use server::Server;
use turn::Turn;

/// Ports added in the scenarios that write.
const PORTS: usize = 200;

/// Interfaces in the database that is loaded.
const INTERFACES: usize = 2000;

/// A way to do the same.
struct Competitor {
    name: &'static str,
    /// How many turns it gets.
    turns: usize,
    run: Box<dyn Fn(&Server) -> Turn>,
}

struct Scenario {
    title: &'static str,
    /// How many ports there are before each turn.
    ports: usize,
    /// The first is ours.
    competitors: Vec<Competitor>,
    /// Who is compared to whom, and the greatest share of the other's time that it may take.
    ///
    /// To be told of all changes costs the server time, whoever is told. So beside ours with its
    /// replica against a socket without one, like is compared to like.
    targets: &'static [(&'static str, &'static str, f64)],
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("child") {
        let args: Vec<String> = args.collect();
        return child(&args);
    }
    let python = install_python();
    let server = Server::start();
    println!("{}; {}", server.version(), python_version(&python));
    for scenario in scenarios(&python) {
        report(&scenario, &measure(&scenario, &server));
    }
}

/// One turn of ours or of the raw socket, in the child process.
fn child(args: &[String]) {
    let [who, what, socket] = args else { panic!("usage: child WHO WHAT SOCKET") };
    let elapsed = match who.as_str() {
        "ours" => ours::run(what, socket),
        _ => raw::run(what, socket),
    };
    turn::print(elapsed);
}

fn scenarios(python: &Path) -> Vec<Scenario> {
    let own = |name, who, what| Competitor {
        name,
        turns: 101,
        run: Box::new(move |server: &Server| {
            let program = std::env::current_exe().unwrap();
            turn::run(Command::new(program).args(["child", who, what]).arg(server.socket()))
        }),
    };
    let idl = |what: &'static str| {
        let python = python.to_owned();
        Competitor {
            name: "Python IDL",
            turns: 9,
            run: Box::new(move |server: &Server| {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/idl.py");
                turn::run(Command::new(&python).args([script, what]).arg(server.socket()))
            }),
        }
    };
    let vsctl = |arguments: fn(usize) -> Vec<String>, count| {
        let python = python.to_owned();
        Competitor {
            name: "ovs-vsctl",
            turns: 5,
            run: Box::new(move |server: &Server| {
                let calls = (0..count).map(|number| server.vsctl(&arguments(number)));
                let elapsed = turn::run_all(calls);
                // It does not measure itself, and the parent that could is a Python.
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/memory.py");
                let mut one_more = Command::new(&python);
                let call = server.vsctl(&arguments(count));
                one_more.arg(script).arg(call.get_program()).args(call.get_args());
                let memory = turn::run(&mut one_more).memory;
                Turn { elapsed, memory }
            }),
        }
    };
    vec![
        Scenario {
            title: "(a) load a database of 2,000 interfaces",
            ports: INTERFACES,
            competitors: vec![
                own("ours", "ours", "load"),
                own("raw, monitored, unread", "raw", "monitored-load"),
                idl("load"),
                vsctl(list, 1),
            ],
            targets: &[("ours", "Python IDL", 0.1)],
        },
        Scenario {
            title: "(b) 200 ports one by one, each acknowledged",
            ports: 0,
            competitors: vec![
                own("ours", "ours", "each"),
                own("raw socket", "raw", "each"),
                own("raw, monitored", "raw", "monitored-each"),
                own("ours, no replica", "ours", "unmonitored-each"),
                idl("each"),
                vsctl(add_port, PORTS),
            ],
            targets: &[
                ("ours", "raw socket", 1.3),
                ("ours", "raw, monitored", 1.3),
                ("ours, no replica", "raw socket", 1.3),
                ("ours", "Python IDL", 1.0 / 3.0),
            ],
        },
        Scenario {
            title: "(c) 200 ports from 200 concurrent callers, beside one transaction of 200 ports",
            ports: 0,
            competitors: vec![
                own("ours", "ours", "concurrent"),
                own("raw, one mutation", "raw", "together"),
                own("raw, one mutation, monitored", "raw", "monitored-together"),
                own("raw, 200 mutations", "raw", "repeated"),
                own("raw, 200 mutations, monitored", "raw", "monitored-repeated"),
                own("ours, no replica", "ours", "unmonitored-concurrent"),
                own("ours, one thread", "ours", "one-thread-concurrent"),
                own("ours, one thread, no replica", "ours", "one-thread-unmonitored-concurrent"),
                own("ours, one transaction", "ours", "together"),
                idl("together"),
            ],
            // Beside what the callers ask for, written by hand, and beside the cheapest way to write
            // it. A runtime with several threads wakes one for each of the callers.
            targets: &[
                ("ours", "raw, 200 mutations, monitored", 1.2),
                ("ours, no replica", "raw, 200 mutations", 1.2),
                ("ours", "raw, 200 mutations", 1.2),
                ("ours", "raw, one mutation, monitored", 1.2),
                ("ours, no replica", "raw, one mutation", 1.2),
                ("ours", "raw, one mutation", 1.2),
                ("ours, one thread", "raw, one mutation, monitored", 1.2),
                ("ours, one thread, no replica", "raw, one mutation", 1.2),
            ],
        },
    ]
}

fn list(_: usize) -> Vec<String> {
    ["--columns=name", "list", "Interface"].map(str::to_owned).into()
}

fn add_port(number: usize) -> Vec<String> {
    ["add-port", "br0", &format!("p{number}")].map(str::to_owned).into()
}

/// The turns of each competitor.
fn measure(scenario: &Scenario, server: &Server) -> Vec<Vec<Turn>> {
    let mut turns: Vec<Vec<Turn>> = scenario.competitors.iter().map(|_| Vec::new()).collect();
    let most = scenario.competitors.iter().map(|one| one.turns).max();
    let rounds = most.unwrap_or(0);
    for round in 0..rounds {
        for (competitor, turns) in scenario.competitors.iter().zip(&mut turns) {
            // Those with fewer turns have them spread over all rounds.
            if turns.len() < (round + 1) * competitor.turns / rounds {
                raw::fill(&server.socket(), scenario.ports);
                turns.push((competitor.run)(server));
            }
        }
    }
    turns
}

fn report(scenario: &Scenario, turns: &[Vec<Turn>]) {
    println!("\n{}\n", scenario.title);
    println!("| | median ms | least | most | ours / it | peak memory MB | turns |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ours = median(&turns[0]);
    for (competitor, turns) in scenario.competitors.iter().zip(turns) {
        let times = || turns.iter().map(|turn| turn.elapsed);
        let memory = turns.iter().map(|turn| turn.memory).max().unwrap();
        println!(
            "| {} | {} | {} | {} | {:.2} | {:.1} | {} |",
            competitor.name,
            milliseconds(median(turns)),
            milliseconds(times().min().unwrap()),
            milliseconds(times().max().unwrap()),
            ours.as_secs_f64() / median(turns).as_secs_f64(),
            memory as f64 / 1e6,
            turns.len(),
        );
    }
    println!();
    for (one, other, most) in scenario.targets {
        let median_of = |name: &str| {
            let mut competitors = scenario.competitors.iter().zip(turns);
            let (_, turns) = competitors.find(|(one, _)| one.name == name).unwrap();
            median(turns).as_secs_f64()
        };
        let ratio = median_of(one) / median_of(other);
        let verdict = if ratio <= *most { "met" } else { "MISSED" };
        println!("target: {one} / {other} at most {most:.2}: {ratio:.3}, {verdict}");
    }
}

fn median(turns: &[Turn]) -> Duration {
    let mut times: Vec<Duration> = turns.iter().map(|turn| turn.elapsed).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// The interpreter of a virtual environment with the package `ovs`.
fn install_python() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-ovs");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/install-ovs.sh");
    let status = Command::new("sh").arg(script).arg(&folder).status().unwrap();
    assert!(status.success(), "cannot install the Python package ovs");
    folder.join("bin/python")
}

fn python_version(python: &Path) -> String {
    let script = "import platform, ovs.version, ovs.json; print('Python', platform.python_version(), \
                  'with ovs', ovs.version.VERSION, \
                  'and its parser in', 'C' if ovs.json.PARSER == ovs.json.PARSER_C else 'Python')";
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
