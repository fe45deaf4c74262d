//! When something came true and what it cost, by the word of the kernel and of the switch's database.

mod inside;
mod links;
mod ports;
mod process;

pub(crate) use inside::{Inside, Target, netns_of, netns_of_next_start};
pub(crate) use links::{Changes, LinkWatch};
pub(crate) use ports::PortWatch;
pub(crate) use process::{Usage, cpu};
