//! `run`: connects to everything, then reconciles until told to stop.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use port_plan::{Backoff, Datapath, Defaults, Rules};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::apply::World;
use crate::board::Board;
use crate::config::{Config, DatapathType, ImageLabels, Options};
use crate::docker::Docker;
use crate::error_chain::{chain, kind};
use crate::http::{self, Http};
use crate::logging::{self, Logging};
use crate::netlink::HostNews;
use crate::reconcile::{Control, Reconciler, Settings};
use crate::switch::Switch;
use crate::{control, datapath, preflight, privileges, surroundings};

/// The longest pause between tries to reach Docker and OVSDB at the start.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

/// Open files that suffice for any number of containers that a host can have.
const FILES: u64 = 65_536;

/// Where the configuration comes from, so that it can be read again.
pub(crate) struct Sources {
    pub(crate) flags: Options,
    pub(crate) file: Option<PathBuf>,
    /// How many `-v` flags there were.
    pub(crate) verbosity: u8,
}

impl Sources {
    fn load(&self) -> Result<Config, crate::config::Error> {
        Config::load(self.flags.clone(), self.file.as_deref())
    }
}

/// The signals that steer the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Runs until SIGTERM or SIGINT. SIGHUP re-reads the configuration and looks at everything.
pub(crate) fn run(sources: Sources) -> anyhow::Result<()> {
    let config = sources.load()?;
    let logging = logging::start(config.log_level, sources.verbosity, config.log_format);
    for ignored in crate::config::ignored_variables(|name| std::env::var_os(name).is_some()) {
        warn!("{ignored}");
    }
    raise_files();
    let control = control_socket(&config);
    privileges::reduce(&sockets(&config))?;
    // From here on there are other threads, which have the capabilities that are left.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Not on this thread, which would be one more to wake for each thing that happens.
    runtime.block_on(async { tokio::spawn(serve(sources, config, logging, control)).await? })
}

/// Raises the limit on open files as far as this process may: each container takes one, and so does whoever asks, who must
/// not be able to take them from the containers.
fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!("cannot raise the limit on open files to {wanted}: {error}");
    }
}

/// The sockets in the file system that the daemon connects to.
fn sockets(config: &Config) -> Vec<PathBuf> {
    let ovsdb = match &config.ovsdb {
        ovsdb::Endpoint::Unix(path) => Some(path.clone()),
        _ => None,
    };
    ovsdb.into_iter().chain([config.docker.path().to_owned()]).collect()
}

/// The socket that commands ask. The network is worth more: without it, the daemon goes on.
fn control_socket(config: &Config) -> Option<UnixListener> {
    let path = config.control_socket.0.as_deref()?;
    match control::listen(path, config.control_group.as_deref()) {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!(
                "no control socket, so status and explain will not ask this daemon: {}",
                chain(&error)
            );
            None
        }
    }
}

async fn serve(
    sources: Sources,
    config: Config,
    logging: Logging,
    control: Option<UnixListener>,
) -> anyhow::Result<()> {
    // From here on: a signal that comes early must not kill what has begun.
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };
    let settings = settings(&config)?;
    let board = Arc::new(Board::new());
    let address = config.http.0;
    let http = address.map(|address| Http { address, hosts: config.http_hosts.clone() });
    http::serve(&board, control, http).context("cannot start the thread that serves")?;
    let Some((mut switch, docker)) = connect(&config, &mut signals).await? else {
        return Ok(());
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        docker = %config.docker,
        ovsdb = %config.ovsdb,
        bridge = %config.default_bridge,
        datapath = %settings.rules.defaults.datapath,
        "started"
    );
    for place in surroundings::examine(&config).await {
        warn!("{place}; {}", place.advice());
    }
    let mandate = switch.claim()?;
    let (world, flows) = World::new(switch);
    let (controls, steering) = mpsc::channel(1);
    tokio::spawn(steer(signals, sources, config, logging, controls));
    let news = world.links.watch()?;
    let host = HostNews::listen()?;
    let reconciler = Reconciler::new(docker, world, mandate, settings, board);
    reconciler.run(news, flows, host, steering).await;
    Ok(())
}

/// Connects to OVSDB and Docker; `None` if told to stop before they were there.
async fn connect(
    config: &Config,
    signals: &mut Signals,
) -> anyhow::Result<Option<(Switch, Docker)>> {
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        let error = match try_connect(config).await {
            Ok(connected) => return Ok(Some(connected)),
            Err(error) if config.wait_for_services => chain(error.as_ref()),
            Err(error) => return Err(error),
        };
        let kind = kind(&error);
        if told != kind {
            warn!("waiting: {error}");
            told = kind;
        }
        tokio::select! {
            () = sleep(backoff.fail(fastrand::f64()).min(CONNECT_AGAIN)) => {}
            _ = signals.terminate.recv() => return Ok(None),
            _ = signals.interrupt.recv() => return Ok(None),
        }
    }
}

/// Connects to OVSDB and Docker, or says what is missing and what to do.
pub(crate) async fn try_connect(config: &Config) -> anyhow::Result<(Switch, Docker)> {
    if let ovsdb::Endpoint::Unix(path) = &config.ovsdb {
        preflight::ovsdb_socket(path)?;
    }
    preflight::docker_socket(config.docker.path())?;
    let (switch, docker) =
        tokio::join!(Switch::connect(&config.ovsdb), Docker::connect(&config.docker));
    Ok((switch?, docker?))
}

/// Turns signals into what the loop understands.
async fn steer(
    mut signals: Signals,
    sources: Sources,
    mut config: Config,
    logging: Logging,
    controls: mpsc::Sender<Control>,
) {
    loop {
        let control = tokio::select! {
            _ = signals.terminate.recv() => Control::Stop,
            _ = signals.interrupt.recv() => Control::Stop,
            _ = signals.hangup.recv() => match reread(&sources, &mut config, &logging) {
                Ok(settings) => Control::Reload(settings),
                Err(error) => {
                    let reason = chain(error.as_ref());
                    warn!("the configuration is not re-read, the old one stays in force: {reason}");
                    continue;
                }
            }
        };
        if controls.send(control).await.is_err() {
            return;
        }
    }
}

/// Reads the configuration again and puts into force what can be changed while running.
fn reread(sources: &Sources, config: &mut Config, logging: &Logging) -> anyhow::Result<Settings> {
    let new = sources.load()?;
    let settings = settings(&new)?;
    let fixed = [
        ("docker", new.docker != config.docker),
        ("ovsdb", new.ovsdb != config.ovsdb),
        ("control_socket", new.control_socket != config.control_socket),
        ("control_group", new.control_group != config.control_group),
        ("http", new.http != config.http),
        ("http_hosts", new.http_hosts != config.http_hosts),
        ("log_format", new.log_format != config.log_format),
    ];
    for (key, _) in fixed.into_iter().filter(|(_, changed)| *changed) {
        warn!("the new value of {key} takes effect at the next start");
    }
    logging.set_level(new.log_level, sources.verbosity);
    *config = new;
    info!("re-read the configuration");
    Ok(settings)
}

/// What the configuration says of the work.
pub(crate) fn settings(config: &Config) -> anyhow::Result<Settings> {
    Ok(Settings {
        rules: Rules {
            defaults: Defaults {
                bridge: config.default_bridge.clone(),
                interface: config.default_interface.clone(),
                datapath: datapath_of(config.datapath_type)?,
            },
            mirror_ports: config.mirror_ports.0.iter().cloned().collect(),
            port_security: config.port_security.0.iter().cloned().collect(),
            pools: config.pools.clone(),
            trust_image_labels: config.image_labels == ImageLabels::Trust,
            policy: config.policy.clone(),
            adopt: config.adopt,
        },
        resync_interval: Some(Duration::from_secs(config.resync_interval.0))
            .filter(|interval| !interval.is_zero()),
        detach_on_exit: config.detach_on_exit,
    })
}

fn datapath_of(kind: DatapathType) -> anyhow::Result<Datapath> {
    match kind {
        DatapathType::Fixed(datapath) => Ok(datapath),
        DatapathType::Auto => datapath::of_kernel()
            .context("cannot ask the kernel for the openvswitch module; set datapath_type"),
    }
}
