//! OpenFlow 1.3 as far as it takes to keep flows and meters of one's own in an Open vSwitch bridge, and to know which
//! port has which number.
//!
//! It knows nothing of containers: who calls it says which flows. Section numbers are those of the OpenFlow Switch
//! Specification 1.3.5; extensions of Open vSwitch are described in ovs-fields(7) and ovs-actions(7), bundles in the
//! ONF's extension 230.
//!
//! # Layout
//!
//! From the socket down:
//!
//! - [`Connection`]: one connection to a bridge's management socket; requests and their answers, changes of ports.
//! - `flow`, `matching`: flows as they are sent, and as the switch shows them.
//! - `meter`, `port`: the same for meters and ports.
//! - `bundle`: changes of many flows that take effect as one.
//! - `message`: headers and framing.
//! - `read`: bytes in network order, never beyond their end.

mod bundle;
mod connection;
mod error;
mod flow;
#[cfg(fuzzing)]
pub mod fuzzing;
mod matching;
mod message;
mod meter;
mod port;
mod read;

pub use connection::Connection;
pub use error::Error;
pub use flow::{Action, Flow, FlowChange, FlowEntry, Instruction};
pub use matching::Match;
pub use meter::{MAX_METER, Meter};
pub use port::{Port, PortChange};
