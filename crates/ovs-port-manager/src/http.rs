//! Metrics, health and API, over HTTP and over the control socket. Nothing can be changed here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::board::{self, Board, Instance, Row};
use crate::error_chain::chain;
use crate::netlink;

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

/// Serves the board on the control socket and on an address, as far as they are given.
pub(crate) fn serve(
    board: &Arc<Board>,
    control: Option<UnixListener>,
    address: Option<SocketAddr>,
) -> io::Result<()> {
    if let Some(control) = control {
        let listener = tokio::net::UnixListener::from_std(control)?;
        let router = router(Arc::clone(board));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    if let Some(address) = address {
        let router = router(Arc::clone(board));
        tokio::spawn(async move {
            let listener = listen(address).await;
            axum::serve(listener, router).await
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
        .with_state(board)
}

async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, String) {
    match board.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(board): State<Arc<Board>>, headers: HeaderMap) -> Response {
    let rows = rows(&board).await;
    let Ok(text) = board::exposition(&board, &rows) else {
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

async fn ports(State(board): State<Arc<Board>>) -> Response {
    let ports = Ports {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: board.instance_now(),
        unready: board.unready().map(str::to_owned),
        ports: rows(&board).await,
    };
    match serde_json::to_string(&ports) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Server-sent events: what happens from now on. `lagged` tells how many were lost to a slow reader.
async fn events(State(board): State<Arc<Board>>) -> Response {
    let Some(receiver) = board.listen() else {
        let told = "too many listen to the events already\n";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    };
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(event) => Event::default().event("port").data(event),
            Err(RecvError::Lagged(lost)) => Event::default().event("lagged").data(lost.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// The board's rows, with what the kernel knows of their links.
async fn rows(board: &Board) -> Vec<Row> {
    let mut rows = board.rows();
    let traffic = spawn_blocking(netlink::traffic).await.map_err(io::Error::other);
    match traffic {
        Ok(Ok(links)) => rows.iter_mut().for_each(|row| row.add_link(&links)),
        Ok(Err(error)) => debug!("cannot read the links' counters: {}", chain(&error)),
        Err(error) => debug!("cannot read the links' counters: {error}"),
    }
    rows
}

#[cfg(test)]
mod tests;
