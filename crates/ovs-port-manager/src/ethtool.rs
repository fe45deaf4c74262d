//! Offload settings of an interface, by the ethtool ioctl (linux/ethtool.h).

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use port_plan::LinkName;

/// `ETHTOOL_GTXCSUM`: get transmit checksum offload.
const ETHTOOL_GTXCSUM: u32 = 0x16;
/// `ETHTOOL_STXCSUM`: set transmit checksum offload.
const ETHTOOL_STXCSUM: u32 = 0x17;
/// `SIOCETHTOOL` (linux/sockios.h).
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches transmit checksum offload of an interface of the socket's namespace on or off, as
/// `ethtool -K NAME tx on|off` does. Segmentation offload, which needs it, goes off with it. Any socket will do.
pub(crate) fn set_tx_checksum(socket: &impl AsRawFd, name: &LinkName, on: bool) -> io::Result<()> {
    call(socket, name, Value { command: ETHTOOL_STXCSUM, data: on.into() }).map(drop)
}

/// Whether an interface of the socket's namespace leaves transmit checksums to others. Any socket will do.
pub(crate) fn tx_checksum(socket: &impl AsRawFd, name: &LinkName) -> io::Result<bool> {
    call(socket, name, Value { command: ETHTOOL_GTXCSUM, data: 0 }).map(|data| data != 0)
}

/// Calls the kernel; returns the value that it leaves.
fn call(socket: &impl AsRawFd, name: &LinkName, mut value: Value) -> io::Result<u32> {
    // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
    #[allow(unsafe_code)]
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // At most 15 bytes: the last of the 16 stays zero.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut value).cast();
    // SAFETY: the request and the value that it points to live until the call returns, and SIOCETHTOOL
    // with these commands reads and writes exactly one `ethtool_value`.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result == 0 { Ok(value.data) } else { Err(io::Error::last_os_error()) }
}
