//! A private Open vSwitch and a private Docker engine for tests, the demo and the benchmarks.
//!
//! A [`Lab`] runs `ovsdb-server`, `ovs-vswitchd` (in user space) and `dockerd` in their own mount,
//! network and PID namespaces. It never touches the machine's own Docker, switches and addresses.
//! However its owner ends, by a panic or by SIGKILL, nothing of it stays behind.
//!
//! It needs root and a few programs (`scripts/install-deps.sh`), and says so when it lacks them.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let lab = lab::Lab::start()?;
//! lab.vsctl(&["add-br", "ovsbr0", "--", "set", "Bridge", "ovsbr0", "datapath_type=netdev"])?;
//! lab.run_container("web", &[("role", "server")])?;
//! let links = lab.container_ip_json("web", &["link"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Two things are shared with the machine: `/sys`, so `/sys/class/net` shows the machine's own
//! interfaces, and the file system, except that `/run` is empty and private.

mod builder;
mod command;
mod daemon;
mod docker;
mod folder;
mod image;
mod lab;
mod namespaces;
mod ovs;
mod requirements;
mod service;
mod tap;
mod wait;

pub use rustix::process::Signal;

pub use builder::LabBuilder;
pub use daemon::{Daemon, ended_by};
pub use image::{IMAGE, WWW_TEXT};
pub use lab::Lab;
pub use service::Service;
pub use tap::Tap;
pub use wait::wait_for;
