//! Metrics, health and API, over HTTP and over the control socket. Nothing can be changed here.
//!
//! Whoever can connect is a stranger: connections, streams of events and the time that a request may take have bounds,
//! for each of the two by itself, so that nobody on the HTTP port keeps root from the control socket. Where all places are
//! taken, a new connection has that of another one, so that nobody keeps others out by staying.

mod connections;
mod places;
mod strangers;
mod traffic;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::board::{self, Board, Door, Instance, Row};
use crate::config::HostNames;
use crate::error_chain::chain;
use crate::netlink;
use connections::Endless;
use traffic::Traffic;

/// The pause between tries to listen where another instance still does.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

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

/// Where the board is served over HTTP.
pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    /// Names of this host, beside its own, that requests may be for.
    pub(crate) hosts: HostNames,
}

/// Serves the board on the control socket and over HTTP, as far as they are given.
///
/// That is the work of a thread of its own, so that who asks cannot take time from what attaches containers. It ends with
/// the process.
pub(crate) fn serve(
    board: &Arc<Board>,
    control: Option<UnixListener>,
    http: Option<Http>,
) -> io::Result<()> {
    // There is one thing that blocks: the question for the links' counters, of which there is one at a time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_name("counters")
        .build()?;
    let board = Arc::clone(board);
    let serve = move || {
        runtime.block_on(async {
            let control = async {
                if let Some(control) = control {
                    serve_control(&board, control).await;
                }
            };
            let http = async {
                if let Some(http) = http {
                    serve_http(&board, http).await;
                }
            };
            tokio::join!(control, http);
        });
    };
    thread::Builder::new().name("http".to_owned()).spawn(serve).map(drop)
}

async fn serve_control(board: &Arc<Board>, control: UnixListener) {
    match tokio::net::UnixListener::from_std(control) {
        Ok(listener) => {
            let router = router(Arc::clone(board));
            connections::serve(listener, Door::Control, Arc::clone(board), router).await;
        }
        Err(error) => warn!("cannot serve the control socket: {error}"),
    }
}

async fn serve_http(board: &Arc<Board>, Http { address, hosts }: Http) {
    let known = middleware::from_fn_with_state(Arc::new(hosts), strangers::refuse);
    let router = router(Arc::clone(board)).layer(known);
    connections::serve(listen(address).await, Door::Http, Arc::clone(board), router).await;
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

/// What is served, and what those who ask share.
struct Served {
    board: Arc<Board>,
    traffic: Traffic,
}

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
        .with_state(Arc::new(Served { board, traffic: Traffic::new(netlink::traffic) }))
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
        unready: served.board.unready().map(std::borrow::Cow::into_owned),
        ports: served.rows().await,
    };
    match serde_json::to_string(&ports) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Server-sent events: what happens from now on. `lagged` tells how many were lost to a slow reader.
async fn events(State(served): State<Arc<Served>>) -> Response {
    let events = stream::unfold(served.board.listen(), |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(event) => Event::default().event("port").data(event),
            Err(RecvError::Lagged(lost)) => Event::default().event("lagged").data(lost.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), receiver))
    });
    (Extension(Endless), Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

impl Served {
    /// The board's rows, with what the kernel knows of their links.
    async fn rows(&self) -> Vec<Row> {
        let mut rows = self.board.rows();
        match self.traffic.now().await {
            Some(Ok(links)) => rows.iter_mut().for_each(|row| row.add_link(&links)),
            Some(Err(error)) => debug!("cannot read the links' counters: {}", chain(&error)),
            None => debug!("cannot read the links' counters in time"),
        }
        rows
    }
}

#[cfg(test)]
mod tests;
