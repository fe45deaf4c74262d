//! The kernel's side of a port: veth pairs, and the interface inside the container.
//!
//! Everything here does as it is told by a [`LinkSpec`](port_plan::LinkSpec); nothing is decided. The
//! functions block, each for about a millisecond, and are called on a plain thread: the [`Worker`]'s.

mod address;
mod adopt;
mod announce;
mod arp_probe;
mod connection;
mod counters;
mod detector;
mod filter;
mod host;
mod interface;
mod mark;
mod route;
mod veth;
mod watch;
mod worker;

use std::io;

pub(crate) use adopt::{Adoption, adopt, ends};
pub(crate) use connection::Connection;
pub(crate) use counters::{LinkNow, traffic};
pub(crate) use detector::{Detector, Question, Taken};
pub(crate) use host::{HostNews, host_links};
pub(crate) use interface::Wanted;
pub(crate) use veth::{
    Candidate, Created, announce, create, delete, exists, host_end, list, observe, repair,
    repair_host_end, set_up, withdraw,
};
pub(crate) use watch::{Ears, News, hears_other_namespaces, watch};
pub(crate) use worker::{ANSWERED_TOGETHER, Worker};

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A request was understood and refused.
    #[error("cannot {what}: {}{}", errno, kernel.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// What was asked, to be read after "cannot".
        what: String,
        errno: io::Error,
        /// The kernel's own explanation (extended ack), if it gave one.
        kernel: Option<String>,
    },
    /// The interface's name is taken inside the container.
    #[error(
        "interface {0} exists in the container already and is not ours; choose another name with ovs.interface"
    )]
    InterfaceExists(port_plan::LinkName),
    /// A container has filled its namespace.
    #[error(
        "cannot {what} inside the container: {limit}; no more are read, so that no container holds up others"
    )]
    TooMuch {
        /// What was asked, to be read after "cannot".
        what: String,
        limit: String,
    },
    /// The system call around the request failed.
    #[error("cannot {what}")]
    System { what: String, source: io::Error },
    /// What is waited for has gone.
    #[error("{0} has gone meanwhile")]
    Vanished(String),
    /// The kernel's answer could not be read.
    #[error("the kernel's answer makes no sense: {0}")]
    Malformed(String),
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The error number, where there is one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => errno.raw_os_error(),
            Self::System { source, .. } => source.raw_os_error(),
            Self::InterfaceExists(_)
            | Self::TooMuch { .. }
            | Self::Vanished(_)
            | Self::Malformed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
