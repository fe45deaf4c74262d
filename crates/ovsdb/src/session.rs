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
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::endpoint::{Reader, Writer};
use crate::inactivity::{Inactivity, Silence};
use crate::message::{self, Decoder, Limits, Message};
use crate::reply::RpcError;

mod command;
mod error;

pub(crate) use command::{Command, Notice};
pub use error::{RequestError, SessionError};

/// How much may wait to be written before further requests have to wait in their channel.
const HIGH_WATER: usize = 1 << 20;
/// Room that is kept for what is sent next, however much has been sent.
const KEPT: usize = 64 << 10;

/// A connection. Whoever owns it drives it.
pub(crate) struct Session {
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
    outgoing: Outgoing,
    pending: PendingReplies,
    /// The locks asked for, and the requests that did.
    locks: HashMap<Arc<str>, u64>,
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
            self.bytes.shrink_to(KEPT);
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
            locks: HashMap::new(),
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
        mut take: impl FnMut(Notice<'_>) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        loop {
            self.receive::<()>(|waiting, message| {
                match message {
                    Message::Notification { method, params } => {
                        take(Notice::Notification { method: &method, params })?;
                    }
                    Message::Response { id: Some(id), result } => {
                        if let Some(reply) = waiting.pending.remove(&id) {
                            let result = result
                                .map(RawValue::to_owned)
                                .map_err(|error| RequestError::Refused(RpcError::parse(error)));
                            let _ = reply.send(result);
                        } else if let Some(name) = waiting.lock_of(id) {
                            let held = lock_is_held(name, result);
                            take(Notice::Lock { name, held })?;
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

    /// Does what a command says, but for the writing.
    pub(crate) fn accept(&mut self, command: Command) -> Result<(), SessionError> {
        match command {
            Command::Request { id, text, reply } => {
                if reply.is_closed() {
                    return Ok(());
                }
                if self.outgoing.bytes.is_empty() {
                    self.outgoing.bytes = text;
                } else {
                    self.outgoing.bytes.extend(text);
                }
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
            Command::Lock { id, name, steal } => {
                if !self.locks.contains_key(&name) {
                    let method = if steal { "steal" } else { "lock" };
                    self.write(id, method, [name.as_ref()])?;
                    self.locks.insert(name, id);
                }
            }
            Command::Unlock { id, name } => {
                if self.locks.remove(&name).is_some() {
                    self.write(id, "unlock", [name.as_ref()])?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, id: u64, method: &str, params: impl Serialize) -> Result<(), SessionError> {
        message::write_request(&mut self.outgoing.bytes, id, method, params)
            .map_err(SessionError::Encode)
    }

    /// Hands over the messages that are there until `take` breaks; answers the server's requests.
    fn receive<T>(
        &mut self,
        mut take: impl FnMut(Waiting<'_>, Message<'_>) -> Result<ControlFlow<T>, SessionError>,
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
                    let waiting = Waiting { pending: &mut self.pending, locks: &self.locks };
                    if let ControlFlow::Break(value) = take(waiting, other)? {
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

/// Who waits for what.
struct Waiting<'a> {
    pending: &'a mut PendingReplies,
    locks: &'a HashMap<Arc<str>, u64>,
}

impl Waiting<'_> {
    /// The lock that was asked for by this request. One that was given up since is none.
    fn lock_of(&self, id: u64) -> Option<&str> {
        let mut locks = self.locks.iter();
        locks.find(|(_, request)| **request == id).map(|(name, _)| name.as_ref())
    }
}

/// Reads the response to `lock` or `steal` (RFC 7047 section 4.1.8).
fn lock_is_held(name: &str, result: Result<&RawValue, &RawValue>) -> bool {
    #[derive(serde::Deserialize)]
    struct Locked {
        locked: bool,
    }

    match result {
        Ok(result) => serde_json::from_str(result.get()).is_ok_and(|Locked { locked }| locked),
        Err(error) => {
            let error = RpcError::parse(error);
            tracing::warn!(lock = name, %error, "the OVSDB server refused a lock");
            false
        }
    }
}

/// Who waits for which response.
type PendingReplies = HashMap<u64, command::Pending>;

#[cfg(test)]
mod tests;
