//! Least privilege: what the daemon may do, and that it gives up all else before its work begins.
//!
//! Capabilities belong to a thread (capabilities(7)): they are dropped while there is only one, and every
//! later thread inherits what is left.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use tracing::{debug, info};

/// A capability that the work needs (capabilities(7)).
#[derive(Debug)]
pub(crate) struct Capability {
    /// Its name, as `setpriv` and systemd's `CapabilityBoundingSet` have it, in lower case without `cap_`.
    pub(crate) name: &'static str,
    set: CapabilitySet,
    /// What cannot be done without it.
    pub(crate) reason: &'static str,
}

/// All that the work needs.
pub(crate) const NEEDED: [Capability; 5] = [
    Capability {
        // NETLINK_LISTEN_ALL_NSID, netlink(7).
        name: "net_broadcast",
        set: CapabilitySet::NET_BROADCAST,
        reason: "hear of changes inside containers",
    },
    Capability { name: "net_admin", set: CapabilitySet::NET_ADMIN, reason: "make links" },
    Capability { name: "net_raw", set: CapabilitySet::NET_RAW, reason: "announce addresses" },
    Capability {
        // /proc/PID/ns/net of a process that has capabilities that this one lacks, ptrace(2).
        name: "sys_ptrace",
        set: CapabilitySet::SYS_PTRACE,
        reason: "open the namespaces of other users' processes",
    },
    Capability {
        // setns(2).
        name: "sys_admin",
        set: CapabilitySet::SYS_ADMIN,
        reason: "enter network namespaces",
    },
];

/// Lets the owner of a process reach sockets that belong to others.
const OTHERS_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// Why the privileges are not as they have to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "not permitted to {0}; run it as root, or give it the capabilities net_broadcast, \
         net_admin, net_raw, sys_ptrace and sys_admin"
    )]
    Missing(String),
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
}

/// The capabilities that the work needs and this process does not have.
pub(crate) fn missing() -> Result<Vec<&'static Capability>, Error> {
    let has = capabilities(None).map_err(system("tell which capabilities this process has"))?;
    Ok(NEEDED.iter().filter(|needed| !has.effective.contains(needed.set)).collect())
}

/// Makes sure that the process may do what it will have to do, and gives up every other privilege.
///
/// To be called while the process has a single thread. `sockets` are what it connects to: where one belongs
/// to another user and does not let this one in, the capability `dac_override` is kept.
///
/// # Errors
///
/// When a needed capability is missing, or the kernel refuses.
pub(crate) fn reduce(sockets: &[PathBuf]) -> Result<(), Error> {
    let missing = missing()?;
    if !missing.is_empty() {
        let told = missing.iter().map(|it| format!("{} ({})", it.reason, it.name));
        return Err(Error::Missing(told.collect::<Vec<_>>().join(", ")));
    }
    let mut kept = NEEDED.iter().fold(CapabilitySet::empty(), |set, needed| set | needed.set);
    let has = capabilities(None).map_err(system("tell which capabilities this process has"))?;
    if has.permitted.contains(OTHERS_FILES) {
        // Tried as it will be afterwards, with the way back still open.
        set(CapabilitySets { effective: kept, ..has })?;
        let denied = sockets.iter().find(|socket| is_denied(socket));
        set(has)?;
        if let Some(socket) = denied {
            info!(socket = %socket.display(), "keeping the capability dac_override for this socket");
            kept |= OTHERS_FILES;
        }
    }
    bound(kept, has)?;
    let wanted =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // A service manager may have given it just these, and not let it call capset(2) then.
    if wanted != has {
        set(wanted)?;
    }
    clear_ambient_capability_set().map_err(system("clear the ambient capabilities"))?;
    set_no_new_privs(true).map_err(system("set no_new_privs"))
}

/// Whether the effective rights do not suffice to connect, for which a socket must be writable (unix(7)).
fn is_denied(socket: &Path) -> bool {
    accessat(CWD, socket, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ACCESS)
}

fn set(sets: CapabilitySets) -> Result<(), Error> {
    set_capabilities(None, sets).map_err(system("drop capabilities"))
}

/// Takes all other capabilities out of the bounding set, where that is allowed (it takes `setpcap`).
fn bound(kept: CapabilitySet, has: CapabilitySets) -> Result<(), Error> {
    if !has.effective.contains(CapabilitySet::SETPCAP) {
        // With no_new_privs, the bounding set gives nothing to anybody.
        debug!("no capability setpcap: the bounding set stays as it is");
        return Ok(());
    }
    let what = "reduce the bounding set of capabilities";
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {
                remove_capability_from_bounding_set(capability).map_err(system(what))?;
            }
            Ok(_) => {}
            // Beyond the last capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(system(what)(error)),
        }
    }
    Ok(())
}

fn system(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |error| Error::System { what, source: error.into() }
}
