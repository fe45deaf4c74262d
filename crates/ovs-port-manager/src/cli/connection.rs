//! How commands reach the daemon, Docker and Open vSwitch.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use port_plan::Rules;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::apply::World;
use crate::config::{Config, ControlSocket, FILE_VARIABLE, Options};
use crate::docker::Docker;
use crate::http::Ports;
use crate::reconcile::Observer;
use crate::switch::Switch;
use crate::{daemon, docker};

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the others are, for commands that ask Docker and Open vSwitch.
#[derive(Debug, Default, Args)]
pub(crate) struct Connection {
    /// Configuration file, as of run
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    config: Option<PathBuf>,

    /// Docker's socket [default: that of the configuration]
    #[arg(long, value_name = "unix:///PATH")]
    docker: Option<docker::Endpoint>,

    /// The OVSDB server [default: that of the configuration]
    #[arg(long, value_name = "unix:/PATH|tcp:HOST:PORT")]
    ovsdb: Option<ovsdb::Endpoint>,
}

/// Where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The daemon's control socket, none to ask no daemon [default: that of the configuration]
    #[arg(long, value_name = "PATH|none")]
    control_socket: Option<ControlSocket>,
}

impl Connection {
    /// The configuration, as the daemon would read it.
    pub(crate) fn load(&self, control: Option<&Control>) -> anyhow::Result<Config> {
        let options = Options {
            docker: self.docker.clone(),
            ovsdb: self.ovsdb.clone(),
            control_socket: control.and_then(|control| control.control_socket.clone()),
            ..Options::default()
        };
        Ok(Config::load(options, self.config.as_deref())?)
    }
}

/// What looks at containers as the daemon does, and changes nothing.
pub(crate) async fn observer(config: &Config) -> anyhow::Result<Observer> {
    let (switch, docker) = daemon::try_connect(config).await?;
    Ok(observer_of(docker, switch, daemon::settings(config)?.rules))
}

/// The same, of connections that are there.
pub(crate) fn observer_of(docker: Docker, switch: Switch, rules: Rules) -> Observer {
    let observer = Observer::new(docker, World::new(switch).0, rules);
    observer.learn();
    observer
}

/// Runs a command's work to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// What the daemon knows, or why none answers.
pub(crate) async fn ask_daemon(config: &Config) -> Result<Ports, String> {
    let Some(path) = &config.control_socket.0 else {
        return Err("no daemon asked".to_owned());
    };
    let ports = match timeout(ANSWER, get(path, "/api/v1/ports")).await {
        Ok(answer) => answer.and_then(|text| {
            serde_json::from_str::<Ports>(&text).context("it answers in words of another version")
        }),
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", ANSWER.as_secs())),
    };
    ports.map_err(|error| {
        let reason = match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                "it does not run, or has another control socket (--control-socket)".to_owned()
            }
            Some(io::ErrorKind::PermissionDenied) => {
                "permission denied; ask as root, or as a member of its control_group".to_owned()
            }
            _ => crate::error_chain::chain(error.as_ref()),
        };
        format!("no daemon at {}: {reason}", path.display())
    })
}

/// Connects to a Unix socket, and waits where many others do. A socket that does not block would be refused then.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // It bounds connecting, too (unix(7)).
    set_socket_timeout(&socket, Timeout::Send, Some(ANSWER))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// One request over a Unix socket.
async fn get(path: &Path, uri: &str) -> anyhow::Result<String> {
    let stream = connect(path)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(uri).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        bail!("it answers {status}");
    }
    Ok(String::from_utf8(body.to_vec())?)
}
