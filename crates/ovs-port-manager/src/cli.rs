//! The command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, Parser, Subcommand};
use port_plan::Defaults;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::apply::World;
use crate::config::{Config, DatapathType, FILE_VARIABLE, Options};
use crate::docker::Docker;
use crate::links::Links;
use crate::reconcile::Reconciler;
use crate::switch::Switch;
use crate::{datapath, logging, preflight};

/// Gives each labelled Docker container its port on an Open vSwitch bridge, and takes it away when the
/// container stops.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log more: -v for debug, -vv for everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch Docker and keep the ports of its labelled containers
    #[command(after_help = EXAMPLES)]
    Run {
        /// Configuration file [default: /etc/ovs-port-manager/ovs-port-manager.yaml, else
        /// configs/ovs-port-manager.yaml]
        #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
        config: Option<PathBuf>,

        #[command(flatten)]
        options: Box<Options>,
    },
}

const EXAMPLES: &str = "\
Every option is also a key of the configuration file (default_bridge: ovsbr0) and an environment
variable (OVS_PORT_MANAGER_DEFAULT_BRIDGE=ovsbr0). Flags win over variables, variables over the file.

Examples:
  ovs-port-manager run
  ovs-port-manager run --default-bridge br0 --datapath-type netdev -v
  docker run -d --label ovs.ip_address=192.168.1.100/24 nginx";

impl Cli {
    /// Does what the command line says.
    pub(crate) fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run { config, options } => {
                let config = Config::load(*options, config.as_deref())?;
                logging::start(config.log_level, self.verbose, config.log_format);
                run(config)
            }
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(config: Config) -> anyhow::Result<()> {
    // From here on: a signal that comes early must not kill what has begun.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    preflight::capabilities()?;
    if let ovsdb::Endpoint::Unix(path) = &config.ovsdb {
        preflight::ovsdb_socket(path)?;
    }
    preflight::docker_socket(config.docker.path())?;

    let datapath = match config.datapath_type {
        DatapathType::Fixed(datapath) => datapath,
        DatapathType::Auto => datapath::of_kernel()
            .context("cannot ask the kernel for the openvswitch module; set datapath_type")?,
    };
    let switch = Switch::connect(&config.ovsdb).await?;
    let docker = Docker::connect(&config.docker).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        docker = %config.docker,
        ovsdb = %config.ovsdb,
        bridge = %config.default_bridge,
        %datapath,
        "started"
    );
    let world = World { switch, links: Links::new().into() };
    let defaults =
        Defaults { bridge: config.default_bridge, interface: config.default_interface, datapath };
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Reconciler::new(docker, world, defaults).run(stop).await;
    Ok(())
}
