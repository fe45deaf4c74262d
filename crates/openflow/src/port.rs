//! The ports of a bridge, and what happens to them.

use crate::message::{Message, multipart};
use crate::read::Reader;

/// `struct ofp_port` (7.2.1).
const SIZE: usize = 64;
/// `OFPPC_NO_RECV` and `OFPPC_NO_FWD` (7.2.1).
const NO_RECEIVE: u32 = 1 << 2;
const NO_FORWARD: u32 = 1 << 5;
/// The highest number of a port that is one (`OFPP_MAX`, 7.2.1).
const MAX: u32 = 0xffff_ff00;

/// A port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u32,
    /// Its name, as far as there is room for it: 15 bytes.
    pub name: String,
    /// What it sends is dropped (`OFPPC_NO_RECV`).
    pub no_receive: bool,
    /// What is sent to it is dropped (`OFPPC_NO_FWD`).
    pub no_forward: bool,
}

/// What has happened to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChange {
    /// It is there, perhaps with another number than before.
    Present(Port),
    /// It has gone.
    Gone(Port),
}

/// Asks for all ports.
pub(crate) fn list_request() -> Message {
    Message::multipart(multipart::PORT_DESC, &[])
}

/// Reads one part of an answer.
pub(crate) fn read_list(body: &[u8]) -> Option<Vec<Port>> {
    let mut rest = Reader::new(body);
    let mut ports = Vec::new();
    while !rest.is_empty() {
        ports.extend(read(&mut rest)?);
    }
    Some(ports)
}

/// Reads a port status message (7.4.3); `None` inside if it is about a port that is none, such as the bridge's own.
pub(crate) fn read_change(body: &[u8]) -> Option<Option<PortChange>> {
    /// `OFPPR_DELETE`.
    const DELETE: u8 = 1;
    let mut body = Reader::new(body);
    let reason = body.u8()?;
    body.skip(7)?;
    Some(read(&mut body)?.map(|port| match reason {
        DELETE => PortChange::Gone(port),
        _ => PortChange::Present(port),
    }))
}

fn read(from: &mut Reader<'_>) -> Option<Option<Port>> {
    let mut port = Reader::new(from.take(SIZE)?);
    let number = port.u32()?;
    // Padding, the MAC address, padding.
    port.skip(4 + 6 + 2)?;
    let name = port.take(16)?.split(|byte| *byte == 0).next()?;
    let name = String::from_utf8_lossy(name).into_owned();
    let config = port.u32()?;
    let (no_receive, no_forward) = (config & NO_RECEIVE != 0, config & NO_FORWARD != 0);
    Some((number < MAX).then_some(Port { number, name, no_receive, no_forward }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(number: u32, name: &str) -> Vec<u8> {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend(name.bytes());
        bytes.resize(SIZE, 0);
        bytes
    }

    #[test]
    fn ports_are_known_by_name_and_the_bridges_own_is_none() {
        let body = [shown(7, "3f2a9c1bk4x2q_l"), shown(0xffff_fffe, "ovsbr0")].concat();
        let name = "3f2a9c1bk4x2q_l".to_owned();
        let port = Port { number: 7, name, no_receive: false, no_forward: false };
        assert_eq!(read_list(&body), Some(vec![port.clone()]));
        let gone = [vec![1, 0, 0, 0, 0, 0, 0, 0], shown(7, "3f2a9c1bk4x2q_l")].concat();
        assert_eq!(read_change(&gone), Some(Some(PortChange::Gone(port))));
    }

    #[test]
    fn what_an_operator_has_forbidden_a_port_is_read() {
        let mut shown = shown(7, "p");
        shown[32..36].copy_from_slice(&NO_FORWARD.to_be_bytes());
        let port = &read_list(&shown).unwrap()[0];
        assert!(port.no_forward && !port.no_receive);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_list(&bytes);
            let _ = read_change(&bytes);
        }
    }
}
