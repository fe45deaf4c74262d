//! OVS Port Manager: gives each labelled Docker container its port on an Open vSwitch bridge, and takes
//! it away when the container stops.
//!
//! Nothing is decided here: `port_plan` decides; this program observes, applies and reports.

mod apply;
mod board;
mod bridge_watch;
mod cli;
mod compose;
mod config;
mod control;
mod daemon;
mod datapath;
mod docker;
mod error_chain;
mod escape;
mod ethtool;
mod failpoint;
mod flow_rules;
mod gathering;
mod http;
mod links;
mod logging;
mod memory;
mod netlink;
mod netns;
mod preflight;
mod privileges;
mod procfs;
mod reconcile;
mod service_manager;
mod surroundings;
mod switch;

use std::path::Path;
use std::process::{ExitCode, Termination};

use clap::Parser;
use cli::ovs_docker;

fn main() -> ExitCode {
    memory::share_one_pool();
    let name = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str());
    let (name, result) = if name == Some(ovs_docker::NAME) {
        let args: Vec<_> =
            std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        (ovs_docker::NAME, ovs_docker::execute(&args))
    } else {
        ("ovs-port-manager", cli::Cli::parse().execute())
    };
    match result {
        Ok(outcome) => outcome.report(),
        Err(error) => {
            eprintln!("{name}: {}", escape::escape(&error_chain::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
