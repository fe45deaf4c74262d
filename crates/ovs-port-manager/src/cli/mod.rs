//! The command line: one file for each command.

mod by_hand;
mod check;
mod connection;
mod doctor;
mod explain;
mod generate;
mod output;
pub(crate) mod ovs_docker;
mod plan;
mod status;
mod table;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::config::{FILE_VARIABLE, Options};
use crate::daemon::{self, Sources};
pub(crate) use output::Outcome;

/// Gives each labelled Docker container its port on an Open vSwitch bridge, and takes it away when the
/// container stops.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = output::EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log more: -v for debug, -vv for everything
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 998)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch Docker and keep the ports of its labelled containers
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// Configuration file [default: /etc/ovs-port-manager/ovs-port-manager.yaml]
        #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
        config: Option<PathBuf>,

        #[command(flatten)]
        options: Box<Options>,
    },
    /// Show which containers have their ports, and how each stands
    #[command(after_help = status::EXAMPLES)]
    Status(status::Status),
    /// Show what the daemon would do now, and do nothing
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Plan),
    /// Tell all about one container: its labels, what is there, what was tried
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Find the mistakes in the labels of compose files, before anything runs
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// Find what could keep containers from their ports, and say what to do
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Doctor),
    /// Attach a container without labels, as ovs-docker does
    #[command(after_help = by_hand::EXAMPLES)]
    AddPort(by_hand::AddPort),
    /// Detach an interface that add-port or ovs-docker has attached
    #[command(after_help = by_hand::EXAMPLES)]
    DelPort(by_hand::DelPort),
    /// Detach all interfaces of a container that add-port or ovs-docker has attached
    #[command(after_help = by_hand::EXAMPLES)]
    DelPorts(by_hand::DelPorts),
    /// Make a port that add-port or ovs-docker has made an access port of a VLAN
    #[command(after_help = by_hand::EXAMPLES)]
    SetVlan(by_hand::SetVlan),
    /// Print the completions for a shell
    #[command(after_help = generate::COMPLETIONS_EXAMPLES)]
    Completions(generate::Completions),
    /// Print the manual page, or write the pages of all commands
    #[command(after_help = generate::MAN_EXAMPLES)]
    Man(generate::Man),
}

const RUN_EXAMPLES: &str = "\
Every option is also a key of the configuration file (default_bridge: ovsbr0) and an environment
variable (OVS_PORT_MANAGER_DEFAULT_BRIDGE=ovsbr0). Flags win over variables, variables over the file.

Examples:
  ovs-port-manager run
  ovs-port-manager run --default-bridge br0 --datapath-type netdev -v
  docker run -d --label ovs.ip_address=192.168.1.100/24 nginx";

impl Cli {
    /// Does what the command line says.
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Run { config, options } => {
                let (flags, verbosity) = (*options, self.verbose);
                daemon::run(Sources { flags, file: config, verbosity })?;
                Ok(Outcome::Well)
            }
            Command::Status(status) => status.execute(),
            Command::Plan(plan) => plan.execute(),
            Command::Explain(explain) => explain.execute(),
            Command::Check(check) => check.execute(),
            Command::Doctor(doctor) => doctor.execute(),
            Command::AddPort(add) => add.execute(),
            Command::DelPort(del) => del.execute(),
            Command::DelPorts(del) => del.execute(),
            Command::SetVlan(set) => set.execute(),
            Command::Completions(completions) => completions.execute(),
            Command::Man(man) => man.execute(),
        }
    }
}
