//! What goes in and out of the task that does the IO.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::RequestError;

/// Who waits for a response.
pub(super) type Pending = oneshot::Sender<Result<Box<RawValue>, RequestError>>;

/// What other tasks ask of the task that does the IO.
#[derive(Debug)]
pub(crate) enum Command {
    /// To send a request.
    Request { id: u64, text: Vec<u8>, reply: Pending },
    /// To forget one, since nobody waits for its response any more.
    Cancel { id: u64 },
    /// To ask for a lock (RFC 7047 section 4.1.8), unless this connection did already.
    Lock { id: u64, name: Arc<str>, steal: bool },
    /// To give a lock up, or the place in its queue.
    Unlock { id: u64, name: Arc<str> },
}

/// What comes in without being asked for, or is for the connection's owner to know.
#[derive(Debug)]
pub(crate) enum Notice<'a> {
    /// A notification of the server.
    Notification { method: &'a str, params: &'a RawValue },
    /// The server's answer to [`Command::Lock`]: whether the lock is held.
    Lock { name: &'a str, held: bool },
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
