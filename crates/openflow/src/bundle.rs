//! Bundles: changes of many flows that take effect as one, or not at all.
//!
//! OpenFlow 1.4 has them (7.3.9 there); for 1.3 they are the ONF's extension 230, which Open vSwitch has under the
//! experimenter `ONF` (include/openvswitch/ofp-bundle.h).

use crate::message::{Message, kind};
use crate::read::Reader;

/// The experimenter and its types of messages.
const ONF: u32 = 0x4f4e_4600;
const CONTROL: u32 = 2300;
const ADD: u32 = 2301;
/// `OFPBF_ATOMIC` and `OFPBF_ORDERED`.
const FLAGS: u16 = 0b11;

/// `enum ofp_bundle_ctrl_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Open = 0,
    Commit = 4,
    Discard = 6,
}

/// What a control message asks for.
pub(crate) fn control(bundle: u32, what: Control) -> Message {
    let mut body = ONF.to_be_bytes().to_vec();
    body.extend(CONTROL.to_be_bytes());
    body.extend(bundle.to_be_bytes());
    body.extend((what as u16).to_be_bytes());
    body.extend(FLAGS.to_be_bytes());
    Message::new(kind::EXPERIMENTER, body)
}

/// Puts a message into a bundle. Both must have the same transaction's number.
pub(crate) fn add(bundle: u32, xid: u32, message: &Message) -> Message {
    let mut body = ONF.to_be_bytes().to_vec();
    body.extend(ADD.to_be_bytes());
    body.extend(bundle.to_be_bytes());
    body.extend([0; 2]);
    body.extend(FLAGS.to_be_bytes());
    message.write(xid, &mut body);
    Message::new(kind::EXPERIMENTER, body)
}

/// Whether this answers a control message: the answer's type is the question's and one.
pub(crate) fn is_answer(body: &[u8], bundle: u32, to: Control) -> bool {
    let mut body = Reader::new(body);
    let header = (body.u32(), body.u32(), body.u32(), body.u16());
    header == (Some(ONF), Some(CONTROL), Some(bundle), Some(to as u16 + 1))
}
