//! OVS Port Manager: gives each labelled Docker container its port on an Open vSwitch bridge, and takes
//! it away when the container stops.
//!
//! Nothing is decided here: `port_plan` decides; this program observes, applies and reports.

mod announce;
mod apply;
mod cli;
mod config;
mod daemon;
mod datapath;
mod docker;
mod error_chain;
mod ethtool;
mod failpoint;
mod gathering;
mod links;
mod logging;
mod memory;
mod netlink;
mod netns;
mod preflight;
mod reconcile;
mod service_manager;
mod switch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    memory::share_one_pool();
    match cli::Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ovs-port-manager: {}", error_chain::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
