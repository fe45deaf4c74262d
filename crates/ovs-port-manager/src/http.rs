//! Metrics, health and API, over HTTP and over the control socket. Nothing can be changed here.
//!
//! Whoever can connect is a stranger: connections, streams of events and the time that a request may take have bounds,
//! for each of the two by itself, so that nobody on the HTTP port keeps root from the control socket.

mod connections;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::board::{self, Board, Instance, Row};
use crate::error_chain::chain;
use crate::netlink::{self, LinkNow};

/// The pause between tries to listen where another instance still does.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Streams of events at a time, of HTTP and of the control socket each.
const STREAMS: usize = 16;
/// How old the counters of links may be. The kernel lists all links for them, and others wait meanwhile.
const COUNTERS_AGE: Duration = Duration::from_millis(500);
/// How long the kernel may take to list them; after that, an answer goes without.
const COUNTERS: Duration = Duration::from_secs(2);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PAGES: &str = "/metrics, /healthz, /readyz, /api/v1/ports, /api/v1/events";

/// What `/api/v1/ports` answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) version: String,
    pub(crate) instance: Instance,
    /// What keeps containers from getting their ports, as `/readyz` says.
    pub(crate) unready: Option<String>,
    pub(crate) ports: Vec<Row>,
}

/// Serves the board on the control socket and on an address, as far as they are given.
pub(crate) fn serve(
    board: &Arc<Board>,
    control: Option<UnixListener>,
    address: Option<SocketAddr>,
) -> io::Result<()> {
    if let Some(control) = control {
        let listener = tokio::net::UnixListener::from_std(control)?;
        tokio::spawn(connections::serve(listener, "control socket", router(Arc::clone(board))));
    }
    if let Some(address) = address {
        let router = router(Arc::clone(board)).layer(middleware::from_fn(known_host));
        tokio::spawn(async move {
            connections::serve(listen(address).await, "HTTP", router).await;
        });
    }
    Ok(())
}

/// Listens on an address; while another instance does, waits for its end.
async fn listen(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "serving metrics and API over HTTP");
                return listener;
            }
            Err(error) if !told => {
                warn!(%address, "cannot serve HTTP, will try again: {error}");
                told = true;
            }
            Err(_) => {}
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// Refuses requests that name another host than this one. A browser that a hostile page has brought here by its own name
/// (DNS rebinding) sends that name.
async fn known_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_known) {
        return next.run(request).await;
    }
    let told = "this is not the host of that name; ask by its IP address, as localhost, or by its host name\n";
    (StatusCode::FORBIDDEN, told).into_response()
}

/// Whether a request may name a host like this: by an IP address, as localhost, or by this machine's own name.
fn is_known(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let own = rustix::system::uname();
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || own.nodename().to_str().is_ok_and(|own| own.eq_ignore_ascii_case(name))
}

/// What is served, and what those who ask share.
struct Served {
    board: Arc<Board>,
    /// Streams of events that are still to be had.
    streams: Arc<Semaphore>,
    /// The links' counters, and when they were read.
    counters: Mutex<Option<(Instant, Arc<Counters>)>>,
}

/// The counters of links, by name.
type Counters = BTreeMap<String, LinkNow>;

/// What can be asked.
pub(crate) fn router(board: Arc<Board>) -> Router {
    let unknown = |uri: Uri| async move {
        let path = uri.path().escape_debug().to_string();
        (StatusCode::NOT_FOUND, format!("there is no {path}; there are {PAGES}\n"))
    };
    let unchangeable = || async {
        (StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here; use GET\n".to_owned())
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/v1/ports", get(ports))
        .route("/api/v1/events", get(events))
        .method_not_allowed_fallback(unchangeable)
        .fallback(unknown)
        .with_state(Arc::new(Served {
            board,
            streams: Semaphore::new(STREAMS).into(),
            counters: Mutex::default(),
        }))
}

async fn ready(State(served): State<Arc<Served>>) -> (StatusCode, String) {
    match served.board.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    let rows = served.rows().await;
    let Ok(text) = board::exposition(&served.board, &rows) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n")
            .into_response();
    };
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/openmetrics-text") {
        ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
    } else {
        ([(CONTENT_TYPE, PROMETHEUS_TEXT)], board::prometheus_text(&text)).into_response()
    }
}

async fn ports(State(served): State<Arc<Served>>) -> Response {
    let ports = Ports {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: served.board.instance_now(),
        unready: served.board.unready().map(str::to_owned),
        ports: served.rows().await,
    };
    match serde_json::to_string(&ports) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Server-sent events: what happens from now on. `lagged` tells how many were lost to a slow reader.
async fn events(State(served): State<Arc<Served>>) -> Response {
    let Ok(place) = Arc::clone(&served.streams).try_acquire_owned() else {
        let told = "too many listen to the events already\n";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    };
    let receiver = served.board.listen();
    let events = stream::unfold((receiver, place), |(mut receiver, place)| async move {
        let event = match receiver.recv().await {
            Ok(event) => Event::default().event("port").data(event),
            Err(RecvError::Lagged(lost)) => Event::default().event("lagged").data(lost.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), (receiver, place)))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Served {
    /// The board's rows, with what the kernel knows of their links.
    async fn rows(&self) -> Vec<Row> {
        let mut rows = self.board.rows();
        match timeout(COUNTERS, self.counters()).await {
            Ok(Ok(links)) => rows.iter_mut().for_each(|row| row.add_link(&links)),
            Ok(Err(error)) => debug!("cannot read the links' counters: {}", chain(&error)),
            Err(_) => debug!("cannot read the links' counters in time"),
        }
        rows
    }

    /// The links' counters, read once for all who ask at about the same time.
    async fn counters(&self) -> io::Result<Arc<Counters>> {
        let mut kept = self.counters.lock().await;
        if let Some((read, links)) = &*kept
            && read.elapsed() < COUNTERS_AGE
        {
            return Ok(Arc::clone(links));
        }
        let links = spawn_blocking(netlink::traffic).await.map_err(io::Error::other)?;
        let links = Arc::new(links.map_err(io::Error::other)?);
        *kept = Some((Instant::now(), Arc::clone(&links)));
        Ok(links)
    }
}

#[cfg(test)]
mod tests;
