//! Cuts a stream of bytes into JSON objects, whatever pieces it comes in.
//!
//! Looks at each byte once and knows of JSON only strings and brackets; whether an object is
//! valid is for the parser to say. Bounds what a peer can make us hold.

use std::ops::Range;

/// What a peer may send at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message_size: usize,
    /// Brackets within brackets. OVSDB itself needs about ten.
    pub depth: usize,
}

impl Default for Limits {
    /// 256 MiB, the snapshot of a very large database, and a depth of 64.
    fn default() -> Self {
        Self { message_size: 256 << 20, depth: 64 }
    }
}

/// Bytes that are no OVSDB messages, or too many of them.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Something else than an object where a message should start.
    #[error("expected a JSON object, found {:?}", char::from(*.0))]
    NotAnObject(u8),
    /// A message larger than [`Limits::message_size`].
    #[error("a message of more than {0} bytes")]
    TooLarge(usize),
    /// A message nested deeper than [`Limits::depth`].
    #[error("a message nested deeper than {0} levels")]
    TooDeep(usize),
    /// An object that is not valid JSON, or has members of wrong types.
    #[error("malformed JSON-RPC message")]
    Json(#[from] serde_json::Error),
    /// An object with neither a method nor an id.
    #[error("a JSON object that is neither a request nor a response")]
    NoMessage,
}

/// How many bytes to make room for before a read.
const READ_SIZE: usize = 64 << 10;

/// An incremental decoder; its state lasts across reads.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where the message that is being scanned starts.
    start: usize,
    /// How far the scan has come: past the end of the buffer, if that is just after a backslash.
    scanned: usize,
    /// How many brackets are open there.
    depth: usize,
    /// Whether that is inside a string.
    string: bool,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), start: 0, scanned: 0, depth: 0, string: false }
    }

    /// The buffer, with room at its end for more bytes. Only ever append to it.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            // What is left started within the last read, so this moves each byte once at most.
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * READ_SIZE {
            // A snapshot can be large; what comes after it is not.
            self.buffer = Vec::new();
        }
        self.buffer.reserve(READ_SIZE);
        &mut self.buffer
    }

    /// The next whole message, if there is one.
    pub(crate) fn next_frame(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        let range = self.scan()?;
        Ok(range.and_then(|range| self.buffer.get(range)))
    }

    fn scan(&mut self) -> Result<Option<Range<usize>>, DecodeError> {
        if self.depth == 0 {
            self.skip_space()?;
        }
        while let Some((offset, byte)) = self.next_mark() {
            self.scanned += offset + 1;
            match byte {
                b'"' => self.string = !self.string,
                // Whatever it is, it says nothing, and it may be yet to come.
                b'\\' => self.scanned += 1,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > self.limits.depth {
                        return Err(DecodeError::TooDeep(self.limits.depth));
                    }
                }
                _ => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let range = self.start..self.scanned;
                        self.start = self.scanned;
                        return self.check_size(range.len()).map(|()| Some(range));
                    }
                }
            }
        }
        self.scanned = self.scanned.max(self.buffer.len());
        self.check_size(self.buffer.len() - self.start).map(|()| None)
    }

    /// The next byte that says something, and how many there are before it.
    fn next_mark(&self) -> Option<(usize, u8)> {
        let bytes = self.buffer.get(self.scanned..).unwrap_or_default();
        let offset = if self.string {
            memchr::memchr2(b'"', b'\\', bytes)
        } else {
            bytes.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))
        }?;
        bytes.get(offset).map(|byte| (offset, *byte))
    }

    /// Goes to the start of the next message, which must be an object.
    fn skip_space(&mut self) -> Result<(), DecodeError> {
        let bytes = self.buffer.get(self.scanned..).unwrap_or_default();
        let space = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.scanned += space;
        self.start = self.scanned;
        match bytes.get(space) {
            None | Some(b'{') => Ok(()),
            Some(other) => Err(DecodeError::NotAnObject(*other)),
        }
    }

    fn check_size(&self, size: usize) -> Result<(), DecodeError> {
        if size > self.limits.message_size {
            return Err(DecodeError::TooLarge(self.limits.message_size));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
