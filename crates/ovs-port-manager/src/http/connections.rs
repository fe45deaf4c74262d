//! Connections, so many at a time, each for as long as it asks for something.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

/// Connections at a time. Each is a file, of which the daemon needs some itself.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take, the first one or one after another.
const HEAD: Duration = Duration::from_secs(5);
/// How much the head of a request may be, and what is read ahead, in bytes.
const BUFFER: usize = 16 * 1024;
/// How long a connection may last in all. Who follows events for longer connects again.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The pause after a connection that could not be accepted: the process has no file left, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// The time between two warnings that connections are refused.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Something to listen at.
pub(super) trait Listener {
    /// The next connection.
    fn next(
        &self,
    ) -> impl Future<Output = io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>> + Send;
}

impl Listener for TcpListener {
    async fn next(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for UnixListener {
    async fn next(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
        Ok(self.accept().await?.0)
    }
}

/// Serves connections for ever. Those beyond the bound are closed at once.
pub(super) async fn serve(listener: impl Listener, what: &'static str, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut warned: Option<Instant> = None;
    loop {
        let stream = match listener.next().await {
            Ok(stream) => stream,
            Err(error) => {
                debug!("cannot accept a connection to the {what}: {error}");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if warned.is_none_or(|before| before.elapsed() > WARN_AGAIN) {
                warn!("{CONNECTIONS} connections to the {what} are open, more are refused");
                warned = Some(Instant::now());
            }
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(LIFETIME, connection).await {
                debug!("a connection to the {what} ended: {error}");
            }
            drop(place);
        });
    }
}
