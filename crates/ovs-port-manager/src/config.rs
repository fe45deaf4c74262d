//! The configuration: defaults, under a file, under the environment, under flags.

mod access;
mod file;
mod go_version;
mod host_name;
mod lists;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::config::{ConfigError, Environment, File, FileFormat, Map};
use port_plan::{Datapath, InvalidLinkName, LinkName, Policy, Pool};
use serde::{Deserialize, Deserializer, de};

use access::{PoolEntry, RuleEntry};
pub(crate) use go_version::ignored_variables;
pub(crate) use host_name::HostNames;

use crate::docker;

/// Where a configuration file is looked for when `--config` is not given. Nowhere else: what lies in the folder that
/// somebody happens to stand in is not root's.
const PLACE: &str = "/etc/ovs-port-manager/ovs-port-manager.yaml";
/// What the names of environment variables begin with: `OVS_PORT_MANAGER_DEFAULT_BRIDGE` and so on.
const PREFIX: &str = "OVS_PORT_MANAGER";
/// The variable that names the file; it is no option of the file's.
pub(crate) const FILE_VARIABLE: &str = "OVS_PORT_MANAGER_CONFIG";

/// Where the commands find the daemon.
const CONTROL_SOCKET: &str = "/run/ovs-port-manager/control.sock";
/// Where Prometheus finds it.
const HTTP: &str = "127.0.0.1:9472";

/// Every option, each given or not: one layer of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Docker's socket
    #[arg(
        long,
        value_name = "unix:///PATH",
        help = "Docker's socket [default: unix:///var/run/docker.sock]"
    )]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) docker: Option<docker::Endpoint>,

    /// The OVSDB server
    #[arg(
        long,
        value_name = "unix:/PATH|tcp:HOST:PORT",
        help = "The OVSDB server [default: unix:/var/run/openvswitch/db.sock]"
    )]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) ovsdb: Option<ovsdb::Endpoint>,

    /// Bridge of containers without the label ovs.bridge [default: ovsbr0]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) default_bridge: Option<LinkName>,

    /// Interface of containers without the label ovs.interface [default: eth1]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) default_interface: Option<LinkName>,

    /// Datapath of bridges that have to be created: auto takes the kernel's where its openvswitch module
    /// is there, else the userspace one [default: auto]
    #[arg(long, value_name = "auto|system|netdev")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) datapath_type: Option<DatapathType>,

    /// Ports that the label ovs.mirror may name, separated by commas [default: none]
    #[arg(long, value_name = "NAMES")]
    #[serde(default, deserialize_with = "lists::names")]
    pub(crate) mirror_ports: Option<Names>,

    /// Bridges on which a port may send its own MAC address and addresses alone, separated by commas [default: none]
    #[arg(long, value_name = "NAMES")]
    #[serde(default, deserialize_with = "lists::names")]
    pub(crate) port_security: Option<Names>,

    /// Whether labels count that a container has from its image: ignore or trust [default: ignore]
    #[arg(long, value_name = "ignore|trust")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) image_labels: Option<ImageLabels>,

    /// Take over, as they are, ports that ovs-docker or the Go version made, where labels ask for the same
    /// [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) adopt: Option<bool>,

    /// Addresses for `ovs.ip_address=auto`. In the file alone.
    #[arg(skip)]
    pub(crate) pools: Option<Vec<PoolEntry>>,

    /// Who may ask for what. In the file alone.
    #[arg(skip)]
    pub(crate) policy: Option<Vec<RuleEntry>>,

    /// Seconds between looks at everything, 0 for never [default: 300]
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) resync_interval: Option<Seconds>,

    /// At the end, take away the ports of running containers [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) detach_on_exit: Option<bool>,

    /// At the start, wait for Docker and OVSDB instead of giving up [default: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) wait_for_services: Option<bool>,

    /// Socket that status and explain ask, none for no such socket
    /// [default: /run/ovs-port-manager/control.sock]
    #[arg(long, value_name = "PATH|none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) control_socket: Option<ControlSocket>,

    /// Group that may use the control socket, besides root [default: root]
    #[arg(long, value_name = "GROUP")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) control_group: Option<String>,

    /// Address for metrics, health and API over HTTP, none for no HTTP [default: 127.0.0.1:9472]
    #[arg(long, value_name = "ADDRESS:PORT|none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) http: Option<HttpAddress>,

    /// Names of this host that HTTP requests may be for, beside its host name, localhost and addresses, separated by
    /// commas [default: none]
    #[arg(long, value_name = "NAMES")]
    #[serde(default, deserialize_with = "lists::hosts")]
    pub(crate) http_hosts: Option<HostNames>,

    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) log_level: Option<LogLevel>,

    /// How to log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) log_format: Option<LogFormat>,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) docker: docker::Endpoint,
    pub(crate) ovsdb: ovsdb::Endpoint,
    pub(crate) default_bridge: LinkName,
    pub(crate) default_interface: LinkName,
    pub(crate) datapath_type: DatapathType,
    pub(crate) mirror_ports: Names,
    pub(crate) port_security: Names,
    pub(crate) image_labels: ImageLabels,
    pub(crate) adopt: bool,
    pub(crate) pools: Vec<Pool>,
    pub(crate) policy: Policy,
    pub(crate) resync_interval: Seconds,
    pub(crate) detach_on_exit: bool,
    pub(crate) wait_for_services: bool,
    pub(crate) control_socket: ControlSocket,
    pub(crate) control_group: Option<String>,
    pub(crate) http: HttpAddress,
    pub(crate) http_hosts: HostNames,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

/// What a bridge that has to be created forwards packets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatapathType {
    /// Whatever the kernel can serve.
    Auto,
    /// This one.
    Fixed(Datapath),
}

/// A whole number of seconds, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

/// What labels count for that a container has from its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageLabels {
    Ignore,
    Trust,
}

/// Where the control socket is, if there is to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlSocket(pub(crate) Option<PathBuf>);

/// Where HTTP is served, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpAddress(pub(crate) Option<SocketAddr>);

/// Names of links, separated by commas; none if the text is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<LinkName>);

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLevel(pub(crate) tracing::Level);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot use the configuration file {path}", path = path.display())]
    Refused { path: PathBuf, source: file::Refused },
    #[error("{layer}: {reason}")]
    Invalid { layer: String, reason: String },
    #[error("the default {0} is invalid")]
    Default(&'static str),
}

impl Config {
    /// Layers flags over the environment over the file over the defaults.
    pub(crate) fn load(flags: Options, file: Option<&Path>) -> Result<Self, Error> {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::layered(flags, std::env::vars_os().filter_map(text), file)
    }

    fn layered(
        flags: Options,
        variables: impl Iterator<Item = (String, String)>,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        let file = file.or_else(|| Some(Path::new(PLACE)).filter(|path| file::may_exist(path)));
        let file = file.map_or_else(|| Ok(Options::default()), read_file)?;
        let variables = read_environment(variables)?;
        let given = flags.over(variables).over(file);
        let default_bridge = or_default(given.default_bridge, "default_bridge", "ovsbr0")?;
        let invalid =
            |key: &'static str| move |reason| Error::Invalid { layer: key.to_owned(), reason };
        let pools = given.pools.unwrap_or_default();
        let pools = pools.into_iter().map(|entry| entry.pool(&default_bridge));
        Ok(Self {
            docker: or_default(given.docker, "docker", "unix:///var/run/docker.sock")?,
            ovsdb: or_default(given.ovsdb, "ovsdb", "unix:/var/run/openvswitch/db.sock")?,
            pools: pools.collect::<Result<_, _>>().map_err(invalid("pools"))?,
            policy: access::policy(given.policy.unwrap_or_default()).map_err(invalid("policy"))?,
            default_bridge,
            default_interface: or_default(given.default_interface, "default_interface", "eth1")?,
            datapath_type: given.datapath_type.unwrap_or(DatapathType::Auto),
            port_security: given.port_security.unwrap_or_default(),
            image_labels: given.image_labels.unwrap_or(ImageLabels::Ignore),
            mirror_ports: given.mirror_ports.unwrap_or_default(),
            adopt: given.adopt.unwrap_or(false),
            resync_interval: given.resync_interval.unwrap_or(Seconds(300)),
            detach_on_exit: given.detach_on_exit.unwrap_or(false),
            wait_for_services: given.wait_for_services.unwrap_or(false),
            control_socket: or_default(given.control_socket, "control_socket", CONTROL_SOCKET)?,
            control_group: given.control_group,
            http: or_default(given.http, "http", HTTP)?,
            http_hosts: given.http_hosts.unwrap_or_default(),
            log_level: given.log_level.unwrap_or(LogLevel(tracing::Level::INFO)),
            log_format: given.log_format.unwrap_or(LogFormat::Text),
        })
    }
}

impl Options {
    /// This layer's options, and the other's where this one has none.
    fn over(self, under: Self) -> Self {
        Self {
            docker: self.docker.or(under.docker),
            ovsdb: self.ovsdb.or(under.ovsdb),
            default_bridge: self.default_bridge.or(under.default_bridge),
            default_interface: self.default_interface.or(under.default_interface),
            datapath_type: self.datapath_type.or(under.datapath_type),
            port_security: self.port_security.or(under.port_security),
            image_labels: self.image_labels.or(under.image_labels),
            adopt: self.adopt.or(under.adopt),
            pools: self.pools.or(under.pools),
            policy: self.policy.or(under.policy),
            mirror_ports: self.mirror_ports.or(under.mirror_ports),
            resync_interval: self.resync_interval.or(under.resync_interval),
            detach_on_exit: self.detach_on_exit.or(under.detach_on_exit),
            wait_for_services: self.wait_for_services.or(under.wait_for_services),
            control_socket: self.control_socket.or(under.control_socket),
            control_group: self.control_group.or(under.control_group),
            http: self.http.or(under.http),
            http_hosts: self.http_hosts.or(under.http_hosts),
            log_level: self.log_level.or(under.log_level),
            log_format: self.log_format.or(under.log_format),
        }
    }
}

fn or_default<T: FromStr>(
    given: Option<T>,
    name: &'static str,
    default: &'static str,
) -> Result<T, Error> {
    given.map_or_else(|| default.parse().map_err(|_| Error::Default(name)), Ok)
}

fn read_file(path: &Path) -> Result<Options, Error> {
    let text =
        file::read(path).map_err(|source| Error::Refused { path: path.to_owned(), source })?;
    let layer = path.display().to_string();
    if let Some(reason) = file::bomb(&text) {
        return Err(Error::Invalid { layer, reason });
    }
    read(File::from_str(&text, FileFormat::Yaml), &layer, go_version::file)
}

fn read_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Options, Error> {
    let variables: Map<_, _> = variables.filter(|(name, _)| name != FILE_VARIABLE).collect();
    let layer = format!("environment variables {PREFIX}_…");
    let mut keys: Vec<_> =
        variables.keys().filter_map(|name| name.strip_prefix(PREFIX)?.strip_prefix('_')).collect();
    keys.sort_unstable();
    if let Some(reason) = keys.into_iter().find_map(go_version::variable) {
        return Err(Error::Invalid { layer, reason });
    }
    let source = Environment::with_prefix(PREFIX).prefix_separator("_").source(Some(variables));
    read(source, &layer, |_| None)
}

fn read(
    source: impl ::config::Source + Send + Sync + 'static,
    layer: &str,
    foreign: impl FnOnce(&::config::Config) -> Option<String>,
) -> Result<Options, Error> {
    let invalid = |reason| Error::Invalid { layer: layer.to_owned(), reason };
    let built = ::config::Config::builder().add_source(source).build();
    let built = built.map_err(|error| invalid(error.to_string()))?;
    if let Some(reason) = foreign(&built) {
        return Err(invalid(reason));
    }
    built.try_deserialize().map_err(|error: ConfigError| invalid(error.to_string()))
}

/// Reads an option as the flag of the same name is read.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error| de::Error::custom(format!("'{text}': {error}")))
}

/// Why a text is not one of a few words.
#[derive(Debug, thiserror::Error)]
#[error("not one of {0}")]
pub(crate) struct NotOneOf(&'static str);

impl FromStr for DatapathType {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "system" => Ok(Self::Fixed(Datapath::System)),
            "netdev" => Ok(Self::Fixed(Datapath::Netdev)),
            _ => Err(NotOneOf("auto, system, netdev")),
        }
    }
}

impl FromStr for ImageLabels {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ignore" => Ok(Self::Ignore),
            "trust" => Ok(Self::Trust),
            _ => Err(NotOneOf("ignore, trust")),
        }
    }
}

impl FromStr for Names {
    type Err = InvalidLinkName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Why a text is not a number of [`Seconds`].
#[derive(Debug, thiserror::Error)]
#[error("not a number of seconds between 0 and {}", Seconds::MAX)]
pub(crate) struct InvalidSeconds;

impl Seconds {
    const MAX: u64 = 24 * 60 * 60;
}

impl FromStr for Seconds {
    type Err = InvalidSeconds;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(seconds @ 0..=Self::MAX) => Ok(Self(seconds)),
            _ => Err(InvalidSeconds),
        }
    }
}

/// Why a text is not a [`ControlSocket`].
#[derive(Debug, thiserror::Error)]
#[error("neither an absolute path nor none")]
pub(crate) struct InvalidControlSocket;

impl FromStr for ControlSocket {
    type Err = InvalidControlSocket;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            path if Path::new(path).is_absolute() => Ok(Self(Some(path.into()))),
            _ => Err(InvalidControlSocket),
        }
    }
}

/// Why a text is not an [`HttpAddress`].
#[derive(Debug, thiserror::Error)]
#[error("neither ADDRESS:PORT, such as 127.0.0.1:9472, nor none")]
pub(crate) struct InvalidHttpAddress;

impl FromStr for HttpAddress {
    type Err = InvalidHttpAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            address => address.parse().map(|it| Self(Some(it))).map_err(|_| InvalidHttpAddress),
        }
    }
}

impl FromStr for LogLevel {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = ["error", "warn", "info", "debug", "trace"];
        match text.parse() {
            Ok(level) if words.contains(&text) => Ok(Self(level)),
            _ => Err(NotOneOf("error, warn, info, debug, trace")),
        }
    }
}

impl FromStr for LogFormat {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(NotOneOf("text, json")),
        }
    }
}

#[cfg(test)]
mod tests;
