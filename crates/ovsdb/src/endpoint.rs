//! Where a server listens: `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT`, in the notation of
//! ovsdb(7).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

#[cfg(feature = "ssl")]
use crate::tls::Tls;

/// The address of an OVSDB server.
///
/// ```
/// use ovsdb::Endpoint;
///
/// let local: Endpoint = "unix:/run/openvswitch/db.sock".parse()?;
/// let cluster = Endpoint::parse_list("tcp:10.0.0.1:6641,tcp:[fd00::2]:6641")?;
/// assert_eq!(cluster[1].to_string(), "tcp:[fd00::2]:6641");
/// # Ok::<(), ovsdb::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// A name or an address; an IPv6 address is without its brackets here.
        host: String,
        /// The port.
        port: u16,
    },
    /// A TCP port with TLS.
    #[cfg(feature = "ssl")]
    Ssl {
        /// As in `Tcp`.
        host: String,
        /// The port.
        port: u16,
        /// Whom to trust, and who we are. The notation of endpoints has no place for it, see
        /// [`Endpoint::with_tls`].
        tls: Option<Tls>,
    },
}

/// Text that is no address of an OVSDB server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It has no scheme, or one that is not known.
    #[error("{0:?} is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT")]
    UnknownScheme(String),
    /// It asks for TLS, for which this crate has the feature `ssl`.
    #[error("{0:?}: this program was built without ssl, only unix:PATH and tcp:HOST:PORT")]
    SslUnsupported(String),
    /// It has no path.
    #[error("{0:?} lacks the path of the socket: expected unix:PATH")]
    MissingPath(String),
    /// It has no host.
    #[error("{0:?} lacks a host: expected tcp:HOST:PORT")]
    MissingHost(String),
    /// Its port is missing or no number from 1 to 65535.
    #[error("{0:?} lacks a port from 1 to 65535: expected tcp:HOST:PORT")]
    InvalidPort(String),
    /// An IPv6 address without brackets, or with only one of them.
    #[error("{0:?}: an IPv6 address needs brackets, as in tcp:[::1]:6640")]
    InvalidBrackets(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once(':') {
            Some(("unix", "")) => Err(EndpointError::MissingPath(text.to_owned())),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => {
                let (host, port) = parse_address(text, address)?;
                Ok(Self::Tcp { host, port })
            }
            #[cfg(feature = "ssl")]
            Some(("ssl", address)) => {
                let (host, port) = parse_address(text, address)?;
                let tls = None;
                Ok(Self::Ssl { host, port, tls })
            }
            #[cfg(not(feature = "ssl"))]
            Some(("ssl", _)) => Err(EndpointError::SslUnsupported(text.to_owned())),
            _ => Err(EndpointError::UnknownScheme(text.to_owned())),
        }
    }
}

fn parse_address(text: &str, address: &str) -> Result<(String, u16), EndpointError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => return Err(EndpointError::InvalidBrackets(text.to_owned())),
        },
        None => match address.rsplit_once(':') {
            Some((host, _)) if host.contains([':', ']']) => {
                return Err(EndpointError::InvalidBrackets(text.to_owned()));
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err(EndpointError::MissingHost(text.to_owned()));
    }
    // `u16` would accept a leading plus.
    let digits = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|port| port.parse().ok()).filter(|port| *port != 0) {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(EndpointError::InvalidPort(text.to_owned())),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp:{}:{port}", Host(host)),
            #[cfg(feature = "ssl")]
            Self::Ssl { host, port, .. } => write!(f, "ssl:{}:{port}", Host(host)),
        }
    }
}

/// A host as it stands before a port.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

impl Endpoint {
    /// This endpoint with certificates, if it is an `ssl:` one.
    #[cfg(feature = "ssl")]
    #[must_use]
    pub fn with_tls(mut self, new: Tls) -> Self {
        if let Self::Ssl { tls, .. } = &mut self {
            *tls = Some(new);
        }
        self
    }

    /// Reads several endpoints, separated by commas, such as the members of a cluster.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        text.split(',').map(|one| one.trim().parse()).collect()
    }
}

/// The reading half of a connection.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// The writing half of a connection.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

impl Endpoint {
    /// Connects.
    pub(crate) async fn open(&self) -> io::Result<(Reader, Writer)> {
        match self {
            Self::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
            Self::Tcp { host, port } => {
                let (reader, writer) = connect_tcp(host, *port).await?.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
            #[cfg(feature = "ssl")]
            Self::Ssl { host, port, tls } => {
                let config = Tls::load(tls.clone()).await?;
                let stream = connect_tcp(host, *port).await?;
                let (reader, writer) = tokio::io::split(config.handshake(host, stream).await?);
                Ok((Box::new(reader), Box::new(writer)))
            }
        }
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
