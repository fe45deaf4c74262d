//! Connections to the engine that are used again.
//!
//! By itself the client opens one for each request, which costs the engine as much as a short answer does.

use std::path::Path;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::{BollardRequest, ClientVersion, Docker};
use http_body_util::Empty;
use hyper::body::{Body, Bytes};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(5);

/// A client of the engine at this socket, which keeps up to so many connections for a while.
pub(super) fn client(
    path: &Path,
    connections: usize,
    answer: Duration,
    version: &ClientVersion,
) -> Result<Docker, BollardError> {
    let client = kept(connections);
    let transport = move |request: BollardRequest| {
        let response = client.request(request);
        async move { response.await.map_err(BollardError::from) }
    };
    let address = base(path);
    Docker::connect_with_custom_transport(transport, Some(address), answer.as_secs(), version)
}

/// What asks for answers that are read here.
pub(super) fn asker(connections: usize) -> Client<UnixConnector, Empty<Bytes>> {
    kept(connections)
}

/// The URI of the engine at this socket, without a slash at its end.
pub(super) fn base(path: &Path) -> String {
    // The host of the URI is the path in hexadecimal digits, as the connector wants it.
    let uri: hyper::Uri = hyperlocal::Uri::new(path, "/").into();
    uri.to_string().trim_end_matches('/').to_owned()
}

fn kept<B: Body + Send>(connections: usize) -> Client<UnixConnector, B>
where
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(connections)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(UnixConnector)
}
