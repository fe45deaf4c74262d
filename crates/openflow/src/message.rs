//! Headers, framing, and the types of messages.

use crate::error::Error;
use crate::read::Reader;

/// The version in every header.
const VERSION: u8 = 4;
/// `struct ofp_header`: version, type, length, transaction.
pub(crate) const HEADER: usize = 8;

/// Types of messages (7.1).
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 0;
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const ECHO_REQUEST: u8 = 2;
    pub(crate) const ECHO_REPLY: u8 = 3;
    pub(crate) const EXPERIMENTER: u8 = 4;
    pub(crate) const SET_CONFIG: u8 = 9;
    pub(crate) const PORT_STATUS: u8 = 12;
    pub(crate) const FLOW_MOD: u8 = 14;
    pub(crate) const MULTIPART_REQUEST: u8 = 18;
    pub(crate) const MULTIPART_REPLY: u8 = 19;
    pub(crate) const BARRIER_REQUEST: u8 = 20;
    pub(crate) const BARRIER_REPLY: u8 = 21;
    pub(crate) const SET_ASYNC: u8 = 28;
    pub(crate) const METER_MOD: u8 = 29;
}

/// Types of multipart messages (7.3.5).
pub(crate) mod multipart {
    pub(crate) const FLOW: u16 = 1;
    pub(crate) const AGGREGATE: u16 = 2;
    pub(crate) const METER_CONFIG: u16 = 10;
    pub(crate) const PORT_DESC: u16 = 13;
}

/// A message without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: u8, body: Vec<u8>) -> Self {
        Self { kind, body }
    }

    /// Writes it with its header.
    pub(crate) fn write(&self, xid: u32, to: &mut Vec<u8>) {
        let length = (HEADER + self.body.len()) as u16;
        to.extend([VERSION, self.kind]);
        to.extend(length.to_be_bytes());
        to.extend(xid.to_be_bytes());
        to.extend(&self.body);
    }

    /// A multipart request (7.3.5) without flags.
    pub(crate) fn multipart(kind: u16, body: &[u8]) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0; 6]);
        bytes.extend(body);
        Self::new(kind::MULTIPART_REQUEST, bytes)
    }
}

/// A message that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) xid: u32,
    pub(crate) body: Vec<u8>,
}

/// Takes the first message out of what has been read, if it is whole.
pub(crate) fn take(buffer: &mut Vec<u8>) -> Result<Option<Received>, Error> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [version, kind, high, low, xid @ ..] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < HEADER {
        return Err(Error::Malformed("a message shorter than its header"));
    }
    // A hello, and the error that follows when versions do not meet, bear the switch's own version (6.3.1).
    if version != VERSION && !matches!(kind, kind::HELLO | kind::ERROR) {
        return Err(Error::Version);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let body = buffer.drain(..length).skip(HEADER).collect();
    Ok(Some(Received { version, kind, xid: u32::from_be_bytes(xid), body }))
}

impl Received {
    /// Whether this hello lets both speak our version: by the bitmap of its versions, or else by its own, which is its
    /// highest (6.3.1, 7.5.1).
    pub(crate) fn agrees(&self) -> bool {
        /// `OFPHET_VERSIONBITMAP`.
        const BITMAP: u16 = 1;
        let mut elements = Reader::new(&self.body);
        loop {
            let mut element = elements;
            let (Some(kind), Some(length)) = (element.u16(), element.u16()) else {
                return self.version >= VERSION;
            };
            if kind == BITMAP {
                // The first word has the versions up to 31.
                return element.u32().is_some_and(|versions| versions >> VERSION & 1 == 1);
            }
            let padded = usize::from(length).next_multiple_of(8);
            if elements.skip(padded.max(8)).is_none() {
                return self.version >= VERSION;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: u8, body: &[u8]) -> Received {
        let mut bytes = vec![version, kind::HELLO, 0, (HEADER + body.len()) as u8, 0, 0, 0, 1];
        bytes.extend(body);
        take(&mut bytes).unwrap().unwrap()
    }

    #[test]
    fn a_hello_agrees_if_our_version_is_among_its_own() {
        let bitmap = |versions: u8| [0, 1, 0, 8, 0, 0, 0, versions];
        assert!(hello(4, &[]).agrees());
        assert!(hello(6, &[]).agrees());
        assert!(!hello(1, &[]).agrees());
        assert!(hello(6, &bitmap(0b111_0010)).agrees());
        assert!(!hello(5, &bitmap(0b010_0010)).agrees());
        assert!(!hello(1, &bitmap(0b000_0010)).agrees());
    }

    #[test]
    fn a_message_of_another_version_is_an_error() {
        let mut echo = vec![1, kind::ECHO_REQUEST, 0, 8, 0, 0, 0, 1];
        assert!(matches!(take(&mut echo), Err(Error::Version)));
    }
}
