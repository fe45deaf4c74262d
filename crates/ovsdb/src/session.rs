//! One connection: requests matched to responses by id, `echo` answered, silence noticed.
//!
//! Knows JSON-RPC and time. What notifications mean, and what comes after a lost connection, is
//! for [`client`](crate::client) to know.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::endpoint::{Reader, Writer};
use crate::inactivity::{Inactivity, Silence};
use crate::message::{self, DecodeError, Decoder, Limits, Message};
use crate::reply::RpcError;
use crate::update::FoldError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak OVSDB")]
    Protocol(#[from] DecodeError),
    /// The peer was silent, even when probed.
    #[error("no sign of life from the server for {} ms", .after.as_millis())]
    Inactive {
        /// For how long.
        after: Duration,
    },
    /// The server sent a table update that the replica can't take.
    #[error("the server's update does not fit the replica")]
    Update(#[from] FoldError),
    /// The server stopped a monitor, so that the replica would go stale.
    #[error("the server cancelled the monitor")]
    MonitorCanceled,
    /// The peer asks and asks and does not read the answers.
    #[error("the server does not read what it is sent")]
    Congested,
    /// A message could not be written as JSON.
    #[error("cannot encode a message")]
    Encode(#[source] serde_json::Error),
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It was not sent, because there is no connection.
    #[error("not connected to the OVSDB server: {reason}")]
    NotConnected {
        /// Why there is none.
        reason: Arc<str>,
    },
    /// The connection ended before the response: the server may have executed the request, or not.
    #[error("the connection to the OVSDB server was lost, the outcome is unknown: {reason}")]
    ConnectionLost {
        /// Why it ended.
        reason: Arc<str>,
    },
    /// The server refused it.
    #[error("the OVSDB server refused the request")]
    Refused(#[source] RpcError),
}

/// What other tasks ask of the task that does the IO.
#[derive(Debug)]
pub(crate) enum Command {
    /// To send a request.
    Request { id: u64, text: Vec<u8>, reply: oneshot::Sender<Result<Box<RawValue>, RequestError>> },
    /// To forget one, since nobody waits for its response any more.
    Cancel { id: u64 },
}

impl Command {
    /// Answers a request that can't be sent.
    pub(crate) fn refuse(self, reason: &Arc<str>) {
        if let Self::Request { reply, .. } = self {
            // Nobody may be waiting any more, here and below.
            let _ = reply.send(Err(RequestError::NotConnected { reason: Arc::clone(reason) }));
        }
    }
}

/// How much may wait to be written before further requests have to wait in their channel.
const HIGH_WATER: usize = 1 << 20;

/// A connection. Whoever owns it drives it.
pub(crate) struct Session {
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
    outgoing: Outgoing,
    pending: PendingReplies,
    inactivity: Inactivity,
    probe_interval: Duration,
    limits: Limits,
}

/// Bytes on their way out.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// Why nothing can be written any more.
    error: Option<io::Error>,
}

impl Outgoing {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Whether there is something to write and somewhere to write it to.
    fn is_waiting(&self) -> bool {
        self.written < self.bytes.len() && self.error.is_none()
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(HIGH_WATER);
        }
    }
}

impl Session {
    pub(crate) fn new(
        (reader, writer): (Reader, Writer),
        limits: Limits,
        probe_interval: Duration,
    ) -> Self {
        Self {
            reader,
            writer,
            decoder: Decoder::new(limits),
            outgoing: Outgoing::default(),
            pending: HashMap::new(),
            inactivity: Inactivity::new(probe_interval, Instant::now()),
            probe_interval,
            limits,
        }
    }

    /// Sends a request and waits for its response, before [`Self::run`] takes over.
    ///
    /// `parse` reads the response where it lies. Messages after it stay for later.
    pub(crate) async fn call<T>(
        &mut self,
        method: &str,
        params: impl Serialize,
        parse: impl FnOnce(&RawValue) -> T,
    ) -> Result<Result<T, RpcError>, SessionError> {
        const ID: u64 = 0;
        message::write_request(&mut self.outgoing.bytes, ID, method, params)
            .map_err(SessionError::Encode)?;
        let mut parse = Some(parse);
        loop {
            let response = self.receive(|_, message| {
                Ok(match (message, &mut parse) {
                    (Message::Response { id: Some(ID), result }, parse @ Some(_)) => {
                        match (result, parse.take()) {
                            (Ok(result), Some(parse)) => ControlFlow::Break(Ok(parse(result))),
                            (Err(error), _) => ControlFlow::Break(Err(RpcError::parse(error))),
                            (Ok(_), None) => ControlFlow::Continue(()),
                        }
                    }
                    _ => ControlFlow::Continue(()),
                })
            })?;
            match response {
                Some(response) => return Ok(response),
                None => self.wake().await?,
            }
        }
    }

    /// Serves `commands` and hands notifications over, in the order in which they came, until the
    /// connection ends (with an error) or all senders of commands are gone.
    ///
    /// A response reaches its request only after the notifications before it were taken, so a
    /// transaction's effects are in the replica by then (RFC 7047 section 4.1.6).
    pub(crate) async fn run(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        mut take: impl FnMut(&str, &RawValue) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        loop {
            self.receive::<()>(|pending, message| {
                match message {
                    Message::Notification { method, params } => take(&method, params)?,
                    Message::Response { id: Some(id), result } => {
                        if let Some(reply) = pending.remove(&id) {
                            let result = result
                                .map(RawValue::to_owned)
                                .map_err(|error| RequestError::Refused(RpcError::parse(error)));
                            let _ = reply.send(result);
                        }
                    }
                    // The answer to a probe, or nothing of ours.
                    Message::Response { id: None, .. } | Message::Request { .. } => {}
                }
                Ok(ControlFlow::Continue(()))
            })?;
            // Requests first: those at hand leave in one write. They can't starve the rest, as
            // each of them waits for a response.
            tokio::select! {
                biased;
                command = commands.recv(), if self.outgoing.rest().len() < HIGH_WATER => {
                    match command {
                        Some(command) => self.accept(command)?,
                        None => return Ok(()),
                    }
                }
                woken = self.wake() => woken?,
            }
        }
    }

    /// Fails the requests whose responses will not come any more.
    pub(crate) fn fail_pending(&mut self, reason: &Arc<str>) {
        for (_, reply) in self.pending.drain() {
            let _ = reply.send(Err(RequestError::ConnectionLost { reason: Arc::clone(reason) }));
        }
    }

    fn accept(&mut self, command: Command) -> Result<(), SessionError> {
        match command {
            Command::Request { id, text, reply } => {
                if reply.is_closed() {
                    return Ok(());
                }
                self.outgoing.bytes.extend(text);
                self.pending.insert(id, reply);
            }
            Command::Cancel { id } => {
                if self.pending.remove(&id).is_some() {
                    // A notification; the response to the request itself is "canceled", or what
                    // it would have been (RFC 7047 section 4.1.4).
                    message::write_request(&mut self.outgoing.bytes, (), "cancel", [id])
                        .map_err(SessionError::Encode)?;
                }
            }
        }
        Ok(())
    }

    /// Hands over the messages that are there until `take` breaks; answers the server's requests.
    fn receive<T>(
        &mut self,
        mut take: impl FnMut(&mut PendingReplies, Message<'_>) -> Result<ControlFlow<T>, SessionError>,
    ) -> Result<Option<T>, SessionError> {
        while let Some(frame) = self.decoder.next_frame()? {
            match Message::parse(frame)? {
                Message::Request { id, method, params } => {
                    let out = &mut self.outgoing.bytes;
                    match method.as_ref() {
                        "echo" => message::write_echo(out, id, params),
                        _ => message::write_unknown_method(out, id),
                    }
                    .map_err(SessionError::Encode)?;
                    if out.len() > self.limits.message_size {
                        return Err(SessionError::Congested);
                    }
                }
                other => {
                    if let ControlFlow::Break(value) = take(&mut self.pending, other)? {
                        return Ok(Some(value));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Waits for the next thing to do on the wire, and does it. Cancelling it loses nothing.
    async fn wake(&mut self) -> Result<(), SessionError> {
        // The timer last: it only counts when there is nothing to read.
        tokio::select! {
            biased;
            written = self.writer.write(self.outgoing.rest()), if self.outgoing.is_waiting() => {
                match written {
                    Ok(0) => self.outgoing.error = Some(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.outgoing.advance(count),
                    // A peer that hung up may have said why, so read on; that will end soon.
                    Err(error) => self.outgoing.error = Some(error),
                }
                Ok(())
            }
            read = self.reader.read_buf(self.decoder.space()) => match read {
                Ok(0) => Err(self.outgoing.error.take().map_or(SessionError::Closed, Into::into)),
                Ok(_) => {
                    self.inactivity.heard(Instant::now());
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            () = sleep_until(self.inactivity.deadline()) => self.silence(),
        }
    }

    fn silence(&mut self) -> Result<(), SessionError> {
        match self.inactivity.expired(Instant::now()) {
            Silence::Probe => {
                message::write_request(&mut self.outgoing.bytes, "probe", "echo", [(); 0])
                    .map_err(SessionError::Encode)
            }
            Silence::Dead => {
                Err(SessionError::Inactive { after: self.probe_interval.saturating_mul(2) })
            }
        }
    }
}

/// Who waits for which response.
type PendingReplies = HashMap<u64, oneshot::Sender<Result<Box<RawValue>, RequestError>>>;

#[cfg(test)]
mod tests;
