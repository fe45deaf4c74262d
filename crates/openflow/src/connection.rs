//! One connection to a bridge's management socket (ovs-vswitchd(8)): requests and their answers.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::bundle::{self, Control};
use crate::error::{ANSWER, Error};
use crate::flow::{self, FlowChange, FlowEntry};
use crate::message::{self, Message, Received, kind};
use crate::meter::{self, Command, Meter};
use crate::port::{self, Port, PortChange};
use crate::read::Reader;

/// `OFPET_METER_MOD_FAILED` with `OFPMMFC_METER_EXISTS` and `OFPMMFC_UNKNOWN_METER` (7.5.4.13).
const METER_EXISTS: (u16, u16) = (12, 1);
const UNKNOWN_METER: (u16, u16) = (12, 3);
/// So many changes of ports may wait to be taken note of while an answer is waited for, and so many entries may an
/// answer have: no bridge has that many.
const MOST: usize = 1 << 20;

/// A connection on which versions have been agreed.
pub struct Connection {
    stream: UnixStream,
    xid: u32,
    bundle: u32,
    /// What has been read and not yet understood.
    incoming: Vec<u8>,
    /// What is to be sent.
    outgoing: Vec<u8>,
    /// Changes of ports that came while something else was waited for.
    changes: VecDeque<PortChange>,
}

impl Connection {
    /// Connects, and asks to be told of changes of ports.
    ///
    /// # Errors
    ///
    /// [`Error::Version`] if the bridge does not allow OpenFlow 1.3; those of the socket.
    pub async fn open(socket: &Path) -> Result<Self, Error> {
        let stream =
            timeout(ANSWER, UnixStream::connect(socket)).await.map_err(|_| Error::Silent)??;
        let mut connection = Self {
            stream,
            xid: 0,
            bundle: 0,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            changes: VecDeque::new(),
        };
        // A hello without versions offers the header's and all before it (6.3.1); the switch has 1.3 or refuses.
        connection.send([Message::new(kind::HELLO, Vec::new())]).await?;
        let hello = connection.receive_in_time().await?;
        match hello.kind {
            kind::HELLO if hello.agrees() => {}
            kind::HELLO => return Err(Error::Version),
            kind::ERROR => return Err(Error::read(&hello.body)),
            _ => return Err(Error::Malformed("something else than a hello")),
        }
        // A management connection is told of nothing unless it has set a miss length (ovs-ofctl(8), `monitor`), and then
        // of packets, too, which nobody here wants (7.3.10: no packets, all changes of ports, no flows that end).
        let config = [0_u16, 128].map(u16::to_be_bytes).concat();
        let wanted = [0_u32, 0, 7, 7, 0, 0].map(u32::to_be_bytes).concat();
        let ask = [Message::new(kind::SET_CONFIG, config), Message::new(kind::SET_ASYNC, wanted)];
        connection.exchange(ask.to_vec()).await?;
        Ok(connection)
    }

    /// Changes flows: all of them in one go, or none.
    ///
    /// # Errors
    ///
    /// The switch's first refusal; then nothing has changed.
    pub async fn commit(&mut self, changes: &[FlowChange]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        self.bundle = self.bundle.wrapping_add(1);
        let bundle = self.bundle;
        let mut messages = vec![bundle::control(bundle, Control::Open)];
        for (xid, change) in (2..).zip(changes) {
            messages.push(bundle::add(bundle, self.xid.wrapping_add(xid), &change.message()));
        }
        // A bundle that lacks what was refused could still be committed.
        if let Err(refusal) = self.exchange(messages).await {
            if matches!(refusal, Error::Refused { .. }) {
                self.control(bundle, Control::Discard).await?;
            }
            return Err(refusal);
        }
        self.control(bundle, Control::Commit).await
    }

    async fn control(&mut self, bundle: u32, what: Control) -> Result<(), Error> {
        let request = self.send([bundle::control(bundle, what)]).await?;
        loop {
            match self.receive_in_time().await? {
                Received { kind: kind::ERROR, xid, body, .. } if xid == request => {
                    return Err(Error::read(&body));
                }
                Received { kind: kind::EXPERIMENTER, xid, body, .. }
                    if xid == request && bundle::is_answer(&body, bundle, what) =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// All flows of a cookie.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn flows(&mut self, cookie: u64) -> Result<Vec<FlowEntry>, Error> {
        self.list(flow::list_request(cookie), flow::read_list).await
    }

    /// How many flows there are of a cookie. Cheap: the switch keeps them by cookie.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn count(&mut self, cookie: u64) -> Result<u32, Error> {
        self.read_count(flow::count_request(cookie)).await
    }

    /// How many flows of other cookies there are in a table. The switch goes through the flows of that table.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn count_others(&mut self, table: u8, cookie: u64) -> Result<u32, Error> {
        let all = self.read_count(flow::count_in_table_request(table, 0, 0)).await?;
        if all == 0 {
            return Ok(0);
        }
        let request = flow::count_in_table_request(table, cookie, u64::MAX);
        // One of them may have come or gone in between.
        Ok(all.saturating_sub(self.read_count(request).await?))
    }

    async fn read_count(&mut self, request: Message) -> Result<u32, Error> {
        let counts = self.list(request, |body| Some(vec![flow::read_count(body)?]));
        counts.await?.first().copied().ok_or(Error::Malformed("no count"))
    }

    /// All ports but the bridge's own.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn ports(&mut self) -> Result<Vec<Port>, Error> {
        self.list(port::list_request(), port::read_list).await
    }

    /// All meters with one band that drops.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn meters(&mut self) -> Result<Vec<Meter>, Error> {
        self.list(meter::list_request(), meter::read_list).await
    }

    /// Makes a meter; whether its number was free.
    ///
    /// # Errors
    ///
    /// The switch's refusal.
    pub async fn add_meter(&mut self, meter: Meter) -> Result<bool, Error> {
        self.unless(METER_EXISTS, meter::change(Command::Add, meter)).await
    }

    /// Changes the rate of a meter; whether there was one of this number.
    ///
    /// # Errors
    ///
    /// The switch's refusal.
    pub async fn set_meter(&mut self, meter: Meter) -> Result<bool, Error> {
        self.unless(UNKNOWN_METER, meter::change(Command::Modify, meter)).await
    }

    /// Deletes a meter and the flows that use it. One that is gone is fine.
    ///
    /// # Errors
    ///
    /// The switch's refusal.
    pub async fn delete_meter(&mut self, number: u32) -> Result<(), Error> {
        let meter = Meter { number, rate: 0, burst: 0 };
        self.unless(UNKNOWN_METER, meter::change(Command::Delete, meter)).await.map(drop)
    }

    async fn unless(&mut self, refusal: (u16, u16), message: Message) -> Result<bool, Error> {
        match self.exchange(vec![message]).await {
            Ok(()) => Ok(true),
            Err(error) if error.is(refusal.0, refusal.1) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next change of a port. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// When the connection ends.
    pub async fn next_change(&mut self) -> Result<PortChange, Error> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(change);
            }
            // Nobody waits for an answer now.
            let _ = self.receive().await?;
        }
    }

    /// The changes of ports that have come meanwhile.
    pub fn changes(&mut self) -> impl Iterator<Item = PortChange> {
        std::mem::take(&mut self.changes).into_iter()
    }

    /// Sends messages and waits until the switch has carried out all. The first refusal counts.
    async fn exchange(&mut self, mut messages: Vec<Message>) -> Result<(), Error> {
        messages.push(Message::new(kind::BARRIER_REQUEST, Vec::new()));
        let first = self.xid.wrapping_add(1);
        let count = messages.len() as u32;
        let barrier = self.send(messages).await?;
        let mut refused = None;
        loop {
            let Received { kind, xid, body, .. } = self.receive_in_time().await?;
            match kind {
                kind::BARRIER_REPLY if xid == barrier => return refused.map_or(Ok(()), Err),
                kind::ERROR if xid.wrapping_sub(first) < count => {
                    refused.get_or_insert(Error::read(&body));
                }
                _ => {}
            }
        }
    }

    /// Asks for a list that comes in parts.
    async fn list<T>(
        &mut self,
        request: Message,
        read: impl Fn(&[u8]) -> Option<Vec<T>>,
    ) -> Result<Vec<T>, Error> {
        let request = self.send([request]).await?;
        let mut entries = Vec::new();
        loop {
            let received = self.receive_in_time().await?;
            let Some(part) = part(&received, request, &read)? else { continue };
            entries.extend(part.entries);
            if part.last {
                return Ok(entries);
            }
            if entries.len() > MOST {
                return Err(Error::Malformed("an endless answer"));
            }
        }
    }

    /// Sends messages in one piece; returns the last one's transaction.
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<u32, Error> {
        for message in messages {
            self.xid = self.xid.wrapping_add(1);
            message.write(self.xid, &mut self.outgoing);
        }
        timeout(ANSWER, self.flush()).await.map_err(|_| Error::Silent)??;
        Ok(self.xid)
    }

    async fn receive_in_time(&mut self) -> Result<Received, Error> {
        timeout(ANSWER, self.receive()).await.map_err(|_| Error::Silent)?
    }

    /// Reads one message. Echo requests are answered and changes of ports noted on the way. May be dropped at any
    /// time: what has been read of a message stays in the buffer.
    async fn receive(&mut self) -> Result<Received, Error> {
        loop {
            if let Some(received) = message::take(&mut self.incoming)? {
                match received.kind {
                    kind::ECHO_REQUEST => {
                        let reply = Message::new(kind::ECHO_REPLY, received.body);
                        reply.write(received.xid, &mut self.outgoing);
                    }
                    kind::PORT_STATUS => {
                        let change = port::read_change(&received.body);
                        self.changes.extend(change.ok_or(Error::Malformed("a port's change"))?);
                        if self.changes.len() > MOST {
                            return Err(Error::Malformed("endless changes of ports"));
                        }
                        return Ok(received);
                    }
                    _ => return Ok(received),
                }
                continue;
            }
            self.flush().await?;
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
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

/// One part of an answer to a multipart request.
pub(crate) struct Part<T> {
    pub(crate) entries: Vec<T>,
    pub(crate) last: bool,
}

/// Reads a part of an answer to a multipart request; `None` for what is no part of it.
pub(crate) fn part<T>(
    received: &Received,
    request: u32,
    read: impl Fn(&[u8]) -> Option<Vec<T>>,
) -> Result<Option<Part<T>>, Error> {
    /// `OFPMPF_REPLY_MORE`.
    const MORE: u16 = 1;
    match received.kind {
        _ if received.xid != request => Ok(None),
        kind::ERROR => Err(Error::read(&received.body)),
        kind::MULTIPART_REPLY => {
            let mut body = Reader::new(&received.body);
            let head = (|| {
                body.skip(2)?;
                let flags = body.u16()?;
                body.skip(4)?;
                Some(flags)
            })();
            let flags = head.ok_or(Error::Malformed("an answer without a head"))?;
            let entries = read(body.rest()).ok_or(Error::Malformed("an answer's entry"))?;
            Ok(Some(Part { entries, last: flags & MORE == 0 }))
        }
        _ => Ok(None),
    }
}
