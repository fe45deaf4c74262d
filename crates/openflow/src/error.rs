//! Why the switch did not do what was asked.

use std::io;
use std::time::Duration;

use crate::read::Reader;

/// How long the switch may take over an answer. It answers between two packets.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// Why the switch did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("cannot speak OpenFlow with ovs-vswitchd")]
    Io(#[from] io::Error),
    /// There was no answer in time.
    #[error("ovs-vswitchd did not answer on OpenFlow within {} s", ANSWER.as_secs())]
    Silent,
    /// The bridge does not speak this version.
    #[error("it does not allow OpenFlow 1.3")]
    Version,
    /// A request was understood and refused (7.5.4).
    #[error("ovs-vswitchd refuses an OpenFlow message: error type {kind}, code {code}")]
    Refused {
        /// `enum ofp_error_type`.
        kind: u16,
        /// Its code, whose meaning depends on the type.
        code: u16,
    },
    /// An answer could not be read.
    #[error("ovs-vswitchd sent OpenFlow that makes no sense: {0}")]
    Malformed(&'static str),
}

/// `OFPET_HELLO_FAILED` (7.5.4.1).
const HELLO_FAILED: u16 = 0;

impl Error {
    /// Reads an error message's body.
    pub(crate) fn read(body: &[u8]) -> Self {
        let mut body = Reader::new(body);
        match (body.u16(), body.u16()) {
            (Some(HELLO_FAILED), Some(_)) => Self::Version,
            (Some(kind), Some(code)) => Self::Refused { kind, code },
            _ => Self::Malformed("an error without a code"),
        }
    }

    /// Whether this is a refusal of this type and code.
    pub fn is(&self, kind: u16, code: u16) -> bool {
        matches!(self, Self::Refused { kind: theirs, code: this } if (*theirs, *this) == (kind, code))
    }
}
