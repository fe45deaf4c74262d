//! What the fuzz target drives, and what must hold there. Only with `--cfg fuzzing`.

use crate::connection::part;
use crate::message::{self, Received};
use crate::{Error, flow, meter, port};

/// Reads a stream as everything that a switch could have answered, in pieces and as a whole: both must give the same
/// messages, and nothing may panic.
pub fn answers(input: &[u8]) {
    let whole = messages(input, usize::MAX);
    let pieced = messages(input, usize::from(input.first().copied().unwrap_or_default()) + 1);
    assert_eq!(whole, pieced, "pieces make other messages");
    for received in whole {
        read(&received);
    }
}

/// The messages up to the first mistake.
fn messages(stream: &[u8], length: usize) -> Vec<Received> {
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for piece in stream.chunks(length) {
        buffer.extend_from_slice(piece);
        loop {
            match message::take(&mut buffer) {
                Ok(Some(received)) => messages.push(received),
                Ok(None) => break,
                Err(_) => return messages,
            }
        }
    }
    messages
}

fn read(received: &Received) {
    let xid = received.xid;
    let _ = part(received, xid, flow::read_list);
    let _ = part(received, xid, |body| Some(vec![flow::read_count(body)?]));
    let _ = part(received, xid, meter::read_list);
    let _ = part(received, xid, port::read_list);
    let _ = port::read_change(&received.body);
    let _ = Error::read(&received.body).to_string();
}
