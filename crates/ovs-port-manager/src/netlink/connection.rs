//! One netlink socket: requests sent together, their acknowledgements read in order.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tracing::trace;

use super::Error;

/// Room for one datagram of the kernel's; dumps come in pieces of at most 32 KiB (`net/netlink/af_netlink.c`).
const DATAGRAM: usize = 64 * 1024;
/// How many objects of a container's namespace are read. Whoever may change it may fill it, and meanwhile the others
/// wait.
pub(super) const MOST: usize = 16_384;
/// So many are read to their end, though enough is known: that is cheaper than another socket.
const FEW: usize = 128;
/// How long they are read.
const LONGEST: Duration = Duration::from_secs(1);
/// How long the kernel may keep its answer back. It answers at once, unless one was lost for want of memory.
const ANSWER: Duration = Duration::from_secs(10);
/// `struct nlmsghdr`, which precedes the attributes of a capped acknowledgement (linux/netlink.h).
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation of an error (linux/netlink.h).
const ATTR_MSG: u16 = 1;

/// One request and the words for its failure.
pub(super) struct Request {
    pub(super) message: RouteNetlinkMessage,
    /// `NLM_F_CREATE` and its like; request and acknowledgement are added.
    pub(super) flags: u16,
    /// What it asks, to be read after "cannot".
    pub(super) what: String,
}

/// A socket in the network namespace of the thread that opened it, usable from any other.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        let opened = || -> io::Result<Socket> {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Both, or an error's explanation would lie behind a copy of the request.
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            // With it the kernel goes by what a dump asks for. Before 4.20 it knows no such option, and lists all.
            let _ = socket.set_netlink_get_strict_chk(true);
            set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER))?;
            Ok(socket)
        };
        let socket = opened().map_err(Error::system("open a netlink socket"))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// The socket, for what takes any socket of the namespace.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends all requests at once and waits for every acknowledgement.
    ///
    /// # Errors
    ///
    /// The first refusal; later requests may have been carried out all the same.
    pub(super) fn batch(&mut self, requests: Vec<Request>) -> Result<(), Error> {
        self.batch_and_hear(requests, |_| {})
    }

    /// The same, and hears what the kernel tells of requests that ask for it (`NLM_F_ECHO`).
    pub(super) fn batch_and_hear(
        &mut self,
        requests: Vec<Request>,
        mut told: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Error> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut words = Vec::with_capacity(requests.len());
        for Request { message, flags, what } in requests {
            self.append(&mut bytes, message, flags | NLM_F_ACK);
            words.push(what);
        }
        self.send(&bytes, words.len())?;
        let mut refused = None;
        let mut outstanding = words.len();
        while outstanding > 0 {
            self.receive(|sequence, flags, payload| {
                let position = sequence.wrapping_sub(first) as usize;
                // What is left of a request that was given up is no answer to these.
                let Some(what) = words.get_mut(position) else { return };
                let ack = match payload {
                    NetlinkPayload::Error(ack) => ack,
                    NetlinkPayload::InnerMessage(message) => return told(message),
                    _ => return,
                };
                outstanding -= 1;
                if ack.code.is_some() && refused.is_none() {
                    refused = Some(refusal(std::mem::take(what), &ack, flags));
                }
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks for one object.
    pub(super) fn get(
        &mut self,
        message: RouteNetlinkMessage,
        what: &str,
    ) -> Result<RouteNetlinkMessage, Error> {
        let mut bytes = Vec::new();
        let wanted = self.append(&mut bytes, message, 0);
        self.send(&bytes, 1)?;
        let mut answer = None;
        while answer.is_none() {
            self.receive(|sequence, flags, payload| match payload {
                _ if sequence != wanted => {}
                NetlinkPayload::Error(ack) => answer = Some(Err(refusal(what.into(), &ack, flags))),
                NetlinkPayload::InnerMessage(message) => answer = Some(Ok(message)),
                _ => {}
            })?;
        }
        answer.unwrap_or_else(|| Err(Error::Malformed("no answer".to_owned())))
    }

    /// Asks for all objects of a kind. For the host's namespace: what a container may fill is [read](Self::read).
    pub(super) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        what: &str,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<(), Error> {
        let wanted = self.begin_dump(message)?;
        let mut end = None;
        while end.is_none() {
            self.receive(|sequence, flags, payload| match payload {
                _ if sequence != wanted => {}
                NetlinkPayload::Done(_) => end = Some(Ok(())),
                NetlinkPayload::Error(ack) => end = Some(Err(refusal(what.into(), &ack, flags))),
                NetlinkPayload::InnerMessage(message) => each(message),
                _ => {}
            })?;
        }
        end.unwrap_or(Ok(()))
    }

    /// Asks for objects of a kind in a container's namespace until enough is known. The calling thread must be there:
    /// what is not read stays in the socket, so that another one takes its place.
    ///
    /// # Errors
    ///
    /// The kernel's, or that there are too many to be read.
    pub(super) fn read(
        &mut self,
        message: RouteNetlinkMessage,
        what: &str,
        mut each: impl FnMut(RouteNetlinkMessage) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let wanted = self.begin_dump(message)?;
        let (begun, mut count, mut end, mut enough) = (Instant::now(), 0, None, false);
        while end.is_none() {
            let too_much = |limit| Error::TooMuch { what: what.to_owned(), limit };
            if count > MOST {
                end = Some(Err(too_much(format!("there are more than {MOST}"))));
            } else if begun.elapsed() > LONGEST {
                end = Some(Err(too_much(format!("it takes more than {LONGEST:?}"))));
            }
            if (enough && count > FEW) || end.is_some() {
                *self = Self::open()?;
                break;
            }
            self.receive(|sequence, flags, payload| match payload {
                _ if sequence != wanted => {}
                NetlinkPayload::Done(_) => end = Some(Ok(())),
                NetlinkPayload::Error(ack) => end = Some(Err(refusal(what.into(), &ack, flags))),
                NetlinkPayload::InnerMessage(message) => {
                    count += 1;
                    enough = enough || each(message).is_break();
                }
                _ => {}
            })?;
        }
        end.unwrap_or(Ok(()))
    }

    fn begin_dump(&mut self, message: RouteNetlinkMessage) -> Result<u32, Error> {
        let mut bytes = Vec::new();
        let wanted = self.append(&mut bytes, message, NLM_F_DUMP);
        self.send(&bytes, 1)?;
        Ok(wanted)
    }

    /// Adds a message to the bytes to be sent; returns its sequence number.
    fn append(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = bytes.len();
        // Every message begins on a 4-byte boundary (NLMSG_ALIGN).
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        if let Some(room) = bytes.get_mut(start..) {
            message.serialize(room);
        }
        self.sequence
    }

    fn send(&self, bytes: &[u8], messages: usize) -> Result<(), Error> {
        trace!(messages, "to the kernel");
        let sent = self.socket.send(bytes, 0).map_err(Error::system("send to the kernel"))?;
        if sent == bytes.len() { Ok(()) } else { Err(Error::Malformed("a cut request".to_owned())) }
    }

    /// Reads one datagram, which may hold several messages.
    fn receive(
        &mut self,
        mut each: impl FnMut(u32, u16, NetlinkPayload<RouteNetlinkMessage>),
    ) -> Result<(), Error> {
        self.buffer.clear();
        let length = self
            .socket
            .recv(&mut self.buffer, libc::MSG_TRUNC)
            .map_err(Error::system("read the kernel's answer"))?;
        if length > self.buffer.len() {
            return Err(Error::Malformed(format!("{length} bytes in one datagram")));
        }
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let malformed =
                |error: netlink_packet_core::DecodeError| Error::Malformed(error.to_string());
            let length = NetlinkBuffer::new_checked(rest).map_err(malformed)?.length() as usize;
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(malformed)?;
            each(message.header.sequence_number, message.header.flags, message.payload);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// An acknowledgement with an error in it, in words.
fn refusal(what: String, ack: &ErrorMessage, flags: u16) -> Error {
    let explained = flags & netlink_packet_core::NLM_F_ACK_TLVS != 0;
    let attributes = ack.header.get(HEADER..).filter(|_| explained).unwrap_or_default();
    let kernel = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == ATTR_MSG)
        .map(|attribute| {
            let text = String::from_utf8_lossy(attribute.value());
            text.trim_end_matches('\0').to_owned()
        });
    Error::Refused { what, errno: ack.to_io(), kernel }
}
