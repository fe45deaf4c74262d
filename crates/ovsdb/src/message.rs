//! JSON-RPC 1.0 messages, the ones of RFC 7047 section 4, as bytes and back. Pure.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod decoder;

pub use decoder::{DecodeError, Limits};

pub(crate) use decoder::Decoder;

/// A message received, still in the bytes that it came in.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A request, to be answered under its id; in OVSDB a server only ever asks for `echo`.
    Request { id: &'a RawValue, method: Cow<'a, str>, params: &'a RawValue },
    /// A request without an id, never to be answered.
    Notification { method: Cow<'a, str>, params: &'a RawValue },
    /// The answer to a request of ours. No number, no request of ours.
    Response { id: Option<u64>, result: Result<&'a RawValue, &'a RawValue> },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Reads one whole message.
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let envelope: Envelope<'a> = serde_json::from_slice(frame)?;
        let Envelope { id, method, params, result, error } = envelope;
        match (method, id) {
            (Some(method), id) => {
                let params = params.unwrap_or(RawValue::NULL);
                Ok(match id {
                    Some(id) => Self::Request { id, method, params },
                    None => Self::Notification { method, params },
                })
            }
            (None, Some(id)) => {
                let result = error.map_or(Ok(result.unwrap_or(RawValue::NULL)), Err);
                Ok(Self::Response { id: id.get().parse().ok(), result })
            }
            (None, None) => Err(DecodeError::NoMessage),
        }
    }
}

/// Writes a request (RFC 7047 section 4) to the end of `out`.
pub(crate) fn write_request<P: Serialize>(
    out: &mut Vec<u8>,
    id: impl Serialize,
    method: &str,
    params: P,
) -> Result<(), serde_json::Error> {
    #[derive(Serialize)]
    struct Request<'a, I, P> {
        method: &'a str,
        params: P,
        id: I,
    }

    serde_json::to_writer(out, &Request { method, params, id })
}

/// Writes the response to an `echo`, which sends the parameters back (RFC 7047 section 4.1.11).
pub(crate) fn write_echo(
    out: &mut Vec<u8>,
    id: &RawValue,
    params: &RawValue,
) -> Result<(), serde_json::Error> {
    write_response(out, id, Some(params), None)
}

/// Writes the response to a request whose method this client does not have.
pub(crate) fn write_unknown_method(
    out: &mut Vec<u8>,
    id: &RawValue,
) -> Result<(), serde_json::Error> {
    write_response(out, id, None, Some("unknown method"))
}

fn write_response(
    out: &mut Vec<u8>,
    id: &RawValue,
    result: Option<&RawValue>,
    error: Option<&str>,
) -> Result<(), serde_json::Error> {
    #[derive(Serialize)]
    struct Response<'a> {
        result: Option<&'a RawValue>,
        error: Option<&'a str>,
        id: &'a RawValue,
    }

    serde_json::to_writer(out, &Response { result, error, id })
}

#[cfg(test)]
mod tests;
