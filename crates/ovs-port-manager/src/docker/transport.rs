//! Connections to the engine that are used again.
//!
//! By itself the client opens one for each request, which costs the engine as much as a short answer does.

use std::path::Path;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::{BollardRequest, ClientVersion, Docker};
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
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(connections)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(UnixConnector);
    let transport = move |request: BollardRequest| {
        let response = client.request(request);
        async move { response.await.map_err(BollardError::from) }
    };
    // The host of the URI is the path in hexadecimal digits, as the connector wants it.
    let uri: hyper::Uri = hyperlocal::Uri::new(path, "/").into();
    let address = uri.to_string();
    let address = address.trim_end_matches('/');
    Docker::connect_with_custom_transport(transport, Some(address), answer.as_secs(), version)
}
