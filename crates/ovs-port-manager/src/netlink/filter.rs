//! Filters in the kernel: sockets that hear only some kinds of message.
//!
//! The kernel looks up the number of the sender's namespace for every message that it delivers from another
//! one, by going through all of them, and wakes whoever listens. A container that starts is told of a dozen
//! times, most of it news of addresses and routes that nobody waits for.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::ptr;

use port_plan::MacAddress;

// Instructions of the classic BPF (linux/filter.h, linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF_WORD: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// Where `struct nlmsghdr` has its type (linux/netlink.h).
const TYPE: u32 = 4;
/// And its flags.
const FLAGS: u32 = 6;
/// As many bytes as there are.
const WHOLE: u32 = u32::MAX;

/// Lets only messages of these types reach the socket, and those that tell of a route in place of another. A datagram is judged by its first message, and the kernel
/// sends news one by one.
///
/// # Errors
///
/// When the kernel refuses the filter.
pub(super) fn attach(socket: &impl AsRawFd, types: &[u16]) -> io::Result<()> {
    set(socket, program(types))
}

/// Lets only those ARP messages reach the socket, one that gets them without their Ethernet header, by which others
/// than this MAC address use one of the addresses or probe for it. However many others there are, they take no room.
///
/// # Errors
///
/// When the kernel refuses the filter.
pub(super) fn attach_arp(
    socket: &impl AsRawFd,
    mac: MacAddress,
    addresses: &[Ipv4Addr],
) -> io::Result<()> {
    set(socket, arp_program(mac, addresses))
}

fn set(socket: &impl AsRawFd, mut program: Vec<libc::sock_filter>) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the option's value is a `sock_fprog` of its own size, and the instructions that it points to
    // outlive the call, which copies them.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            ptr::from_ref(&program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An instruction. Where a comparison fails, as many that follow are skipped.
fn instruction(code: u16, skip: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: skip, k }
}

/// The offsets are those of RFC 826.
fn arp_program(mac: MacAddress, addresses: &[Ipv4Addr]) -> Vec<libc::sock_filter> {
    let [a, b, c, d, e, f] = mac.octets();
    let mut program = vec![
        instruction(LOAD_WORD, 0, 8),
        instruction(JUMP_IF_EQUAL, 3, u32::from_be_bytes([a, b, c, d])),
        instruction(LOAD_HALF_WORD, 0, 12),
        instruction(JUMP_IF_EQUAL, 1, u16::from_be_bytes([e, f]).into()),
        instruction(RETURN, 0, 0),
        // The sender's address; that which is asked for, where there is no sender.
        instruction(LOAD_WORD, 0, 14),
        instruction(JUMP_IF_EQUAL, 1, 0),
        instruction(LOAD_WORD, 0, 24),
    ];
    for address in addresses {
        program.push(instruction(JUMP_IF_EQUAL, 1, address.to_bits()));
        program.push(instruction(RETURN, 0, WHOLE));
    }
    program.push(instruction(RETURN, 0, 0));
    program
}

fn program(types: &[u16]) -> Vec<libc::sock_filter> {
    let mut program = vec![instruction(LOAD_HALF_WORD, 0, TYPE)];
    for kind in types {
        // The filter reads in the network's byte order, netlink writes in the host's. Another type goes over the
        // return that follows.
        program.push(instruction(JUMP_IF_EQUAL, 1, kind.to_be().into()));
        program.push(instruction(RETURN, 0, WHOLE));
    }
    let replaced = (libc::NLM_F_REPLACE as u16).to_be();
    program.extend([
        instruction(JUMP_IF_EQUAL, 3, libc::RTM_NEWROUTE.to_be().into()),
        instruction(LOAD_HALF_WORD, 0, FLAGS),
        instruction(JUMP_IF_SET, 1, replaced.into()),
        instruction(RETURN, 0, WHOLE),
        instruction(RETURN, 0, 0),
    ]);
    program
}
