//! Connections: one request each, and only so long. [`Places`] says who may stay, what is here does it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::response::Response;
use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::{set_socket_linger, set_tcp_user_timeout};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::places::{Admission, Id, PLACES, Places, Source, Stage};
use crate::board::{Board, Closed, Door};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may take in all: to ask, to be answered, and to read the answer.
const ONE_REQUEST: Duration = Duration::from_secs(15);
/// How long a stream of events may last. Who follows events for longer connects again.
const STREAM: Duration = Duration::from_secs(3600);
/// How much the head of a request may be, and what is read ahead, in bytes.
const BUFFER: usize = 16 * 1024;
/// Connections that are accepted before those who have asked are read. Far fewer than there are places, so that nobody loses
/// one unread; and more than one, so that those who wait for the listener's queue to have room have a chance.
const BURST: usize = 16;
/// The pause after a connection that could not be accepted: the process has no file left, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// The time between two warnings that connections are refused.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// What one is told who has not asked yet and has to give way.
const GIVE_WAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 29\r\n\r\ntoo many connections are open";

/// Marks an answer that has no end, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endless;

/// Something to listen at.
pub(super) trait Listener {
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    /// The next connection, and where it is from.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Source)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Source)> {
        let (stream, peer) = self.accept().await?;
        // What is still in the kernel when the connection has ended is to go, too, if nobody reads it.
        let limit = u32::try_from(ONE_REQUEST.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&stream, limit)?;
        Ok((stream, peer.ip().into()))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Source)> {
        let (stream, _) = self.accept().await?;
        let user = stream.peer_cred()?.uid();
        Ok((stream, Source::User(user)))
    }
}

/// Serves connections for ever.
pub(super) async fn serve(listener: impl Listener, door: Door, board: Arc<Board>, router: Router) {
    let hall = Arc::new(Hall::new(door, board));
    let mut accepted = 0_usize;
    loop {
        match listener.next().await {
            Ok((stream, source)) => {
                let (place, lost) = hall.admit(source).await;
                tokio::spawn(attend(stream, place, lost, router.clone()));
                accepted = accepted.wrapping_add(1);
                if accepted.is_multiple_of(BURST) {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                debug!("cannot accept a connection to the {door}: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Where the connections of a listener are served.
struct Hall {
    door: Door,
    board: Arc<Board>,
    inner: Mutex<Inner>,
    /// Some connection has come to another stage, or to its end.
    moved: Notify,
}

#[derive(Default)]
struct Inner {
    places: Places,
    /// How to tell a connection that it has lost its place.
    tell: HashMap<Id, oneshot::Sender<Closed>>,
    warned: Option<Instant>,
}

impl Hall {
    fn new(door: Door, board: Arc<Board>) -> Self {
        Self { door, board, inner: Mutex::default(), moved: Notify::new() }
    }

    /// Gives a new connection its place, as soon as there is one, and what tells it when it has lost that.
    async fn admit(self: &Arc<Self>, source: Source) -> (Place, oneshot::Receiver<Closed>) {
        loop {
            // Before the look: what happens in between is not to be missed.
            let moved = self.moved.notified();
            if let Some(admitted) = self.try_admit(source) {
                return admitted;
            }
            moved.await;
        }
    }

    fn try_admit(self: &Arc<Self>, source: Source) -> Option<(Place, oneshot::Receiver<Closed>)> {
        let mut inner = self.lock();
        let Admission::Entered { id, instead_of } = inner.places.admit(source, Instant::now())
        else {
            return None;
        };
        if let Some((loser, stage)) = instead_of {
            let why = match stage {
                Stage::Asking => Closed::Idle,
                Stage::Reading => Closed::Unread,
                Stage::Waiting => Closed::Unanswered,
                Stage::Following => Closed::Stream,
            };
            inner.push_out(loser, why);
            if inner.warned.is_none_or(|before| before.elapsed() > WARN_AGAIN) {
                inner.warned = Some(Instant::now());
                let door = self.door;
                warn!(
                    "all {PLACES} connections to the {door} are in use: new ones push out others"
                );
            }
        }
        let (tell, lost) = oneshot::channel();
        inner.tell.insert(id, tell);
        Some((Place { hall: Arc::clone(self), id }, lost))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single call: a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push_out(&mut self, loser: Id, why: Closed) {
        if let Some(tell) = self.tell.remove(&loser) {
            // It may have ended by itself in this very moment.
            let _ = tell.send(why);
        }
    }
}

/// A connection's place, which it leaves when this is dropped.
struct Place {
    hall: Arc<Hall>,
    id: Id,
}

impl Place {
    fn reach(&self, stage: Stage) {
        let mut inner = self.hall.lock();
        if let Some(loser) = inner.places.reach(self.id, stage, Instant::now()) {
            inner.push_out(loser, Closed::Stream);
        }
        drop(inner);
        self.hall.moved.notify_waiters();
    }

    fn stage(&self) -> Option<Stage> {
        self.hall.lock().places.stage(self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.hall.lock();
        inner.places.leave(self.id);
        inner.tell.remove(&self.id);
        drop(inner);
        self.hall.moved.notify_waiters();
    }
}

/// Serves one connection to its end, which others may bring about.
async fn attend<S>(stream: S, place: Place, lost: oneshot::Receiver<Closed>, router: Router)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let place = &place;
    let service = service_fn(|request| answer(router.clone(), request, place));
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(BUFFER);
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let door = place.hall.door;
    let why = tokio::select! {
        ended = &mut connection => match ended {
            Err(error) if error.is_timeout() => Closed::Late,
            Err(error) => return debug!("a connection to the {door} ended: {error}"),
            Ok(()) => return,
        },
        // The sender goes with the place, which is here.
        Ok(why) = lost => why,
        () = too_late(place) => Closed::Late,
    };
    place.hall.board.connection_closed(door, why);
    debug!("a connection to the {door} is closed: {why}");
    let mut stream = connection.into_parts().io.into_inner();
    if why == Closed::Idle {
        // As far as it can be written at once: nobody waits for this one.
        let _ = stream.write(GIVE_WAY).now_or_never();
    } else {
        // What it has not read is not to stay in the kernel.
        let _ = set_socket_linger(&stream, Some(Duration::ZERO));
    }
}

/// Waits until a connection has taken as long as one may.
async fn too_late(place: &Place) {
    sleep(ONE_REQUEST).await;
    if place.stage() == Some(Stage::Following) {
        sleep(STREAM).await;
    }
}

/// Answers a connection's only request.
async fn answer(
    router: Router,
    request: Request<Incoming>,
    place: &Place,
) -> Result<Response, Infallible> {
    place.reach(Stage::Waiting);
    let head = request.method() == Method::HEAD;
    let response = TowerToHyperService::new(router).call(request).await?;
    let endless = !head && response.extensions().get::<Endless>().is_some();
    place.reach(if endless { Stage::Following } else { Stage::Reading });
    Ok(response)
}

#[cfg(test)]
mod tests;
