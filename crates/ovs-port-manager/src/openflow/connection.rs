//! One connection to a bridge's management socket: messages out, their outcome in.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{self, HEADER, kind};

/// How long the switch may take over an answer. It answers between two packets.
const ANSWER: Duration = Duration::from_secs(5);

/// Why the switch did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot speak OpenFlow with ovs-vswitchd")]
    Io(#[from] io::Error),
    #[error("ovs-vswitchd did not answer within {} s", ANSWER.as_secs())]
    Silent,
    #[error(
        "ovs-vswitchd refuses OpenFlow 1.3 messages: error type {kind}, code {code}; does the bridge allow OpenFlow13?"
    )]
    Refused { kind: u16, code: u16 },
    #[error("an answer makes no sense")]
    Malformed,
}

/// `OFPET_METER_MOD_FAILED` with `OFPMMFC_METER_EXISTS` (7.5.4): the message after it changes that meter.
const METER_EXISTS: (u16, u16) = (12, 1);

/// A message to be sent: its type and its body.
pub(super) type Message = (u8, Vec<u8>);

/// A connection on which versions have been agreed.
pub(super) struct Connection {
    stream: UnixStream,
    xid: u32,
    /// What has been read and not yet understood.
    incoming: Vec<u8>,
    /// What is to be sent.
    outgoing: Vec<u8>,
}

/// A message that was read.
struct Received {
    kind: u8,
    xid: u32,
    body: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(socket: &Path) -> Result<Self, Error> {
        let stream =
            timeout(ANSWER, UnixStream::connect(socket)).await.map_err(|_| Error::Silent)??;
        let mut connection = Self { stream, xid: 0, incoming: Vec::new(), outgoing: Vec::new() };
        // A hello without versions offers the header's and all before it (6.3.1); the switch has 1.3 or refuses.
        connection.send(&[(kind::HELLO, Vec::new())]).await?;
        let hello = connection.receive_in_time().await?;
        if hello.kind == kind::HELLO { Ok(connection) } else { Err(refusal(&hello.body)) }
    }

    /// Sends messages and waits until the switch has carried out all.
    pub(super) async fn exchange(&mut self, mut messages: Vec<Message>) -> Result<(), Error> {
        messages.push((kind::BARRIER_REQUEST, Vec::new()));
        let barrier = self.send(&messages).await?;
        let mut refused = None;
        loop {
            let Received { kind, xid, body } = self.receive_in_time().await?;
            match kind {
                kind::BARRIER_REPLY if xid == barrier => return refused.map_or(Ok(()), Err),
                kind::ERROR if error_of(&body) != Some(METER_EXISTS) => {
                    refused.get_or_insert(refusal(&body));
                }
                _ => {}
            }
        }
    }

    /// The ports that there are flows of ours for.
    pub(super) async fn ports(&mut self) -> Result<Vec<u32>, Error> {
        let request = self.send(&[(kind::MULTIPART_REQUEST, wire::flow_stats_request())]).await?;
        let mut ports = Vec::new();
        loop {
            let Received { kind, xid, body } = self.receive_in_time().await?;
            match kind {
                kind::MULTIPART_REPLY if xid == request => {
                    let (some, more) = wire::flow_stats(&body).ok_or(Error::Malformed)?;
                    ports.extend(some);
                    if !more {
                        return Ok(ports);
                    }
                }
                kind::ERROR => return Err(refusal(&body)),
                _ => {}
            }
        }
    }

    /// Reads and answers what the switch sends by itself, until the connection ends. May be dropped at any time.
    pub(super) async fn serve(&mut self) -> Error {
        loop {
            if let Err(error) = self.receive().await {
                return error;
            }
        }
    }

    /// Sends messages in one piece; returns the last one's transaction.
    async fn send(&mut self, messages: &[Message]) -> Result<u32, Error> {
        for (kind, body) in messages {
            self.xid = self.xid.wrapping_add(1);
            self.outgoing.extend(wire::message(*kind, self.xid, body));
        }
        self.flush().await?;
        Ok(self.xid)
    }

    async fn receive_in_time(&mut self) -> Result<Received, Error> {
        timeout(ANSWER, self.receive()).await.map_err(|_| Error::Silent)?
    }

    /// Reads one message. Echo requests are answered on the way. May be dropped at any time: what has been read
    /// of a message stays in the buffer.
    async fn receive(&mut self) -> Result<Received, Error> {
        loop {
            if let Some(received) = self.take_message()? {
                if received.kind != kind::ECHO_REQUEST {
                    return Ok(received);
                }
                let reply = wire::message(kind::ECHO_REPLY, received.xid, &received.body);
                self.outgoing.extend(reply);
                continue;
            }
            self.flush().await?;
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// The first message of the buffer, if it is whole.
    fn take_message(&mut self) -> Result<Option<Received>, Error> {
        let Some(header) = self.incoming.first_chunk::<HEADER>() else { return Ok(None) };
        let [_version, kind, high, low, xid @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < HEADER {
            return Err(Error::Malformed);
        }
        if self.incoming.len() < length {
            return Ok(None);
        }
        let body = self.incoming.drain(..length).skip(HEADER).collect();
        Ok(Some(Received { kind, xid: u32::from_be_bytes(xid), body }))
    }

    /// Writes what is to be sent. May be dropped at any time.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let written = self.stream.write(&self.outgoing).await?;
            self.outgoing.drain(..written);
        }
        Ok(())
    }
}

/// Type and code of an error message (7.5.4).
fn error_of(body: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = body.get(..4)?.try_into().ok()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn refusal(body: &[u8]) -> Error {
    error_of(body).map_or(Error::Malformed, |(kind, code)| Error::Refused { kind, code })
}
