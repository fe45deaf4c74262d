//! A stand-in for Docker, so that Docker's own work is not what is measured: network namespaces with a
//! sleeping process each, behind as much of Docker's API as the daemon asks for.
//!
//! It runs inside the lab, as a process of its own. `client` is how the benchmark steers it.

mod api;
mod client;
mod containers;

pub(crate) use api::serve;
pub(crate) use client::{Engine, StandIn};
