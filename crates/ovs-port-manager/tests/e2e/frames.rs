//! Frames of a test's own making, sent from a container's interface, and who hears them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result};
use lab::{Daemon, Lab, wait_for};
use serde_json::Value;

use crate::stage::{self, PATIENCE};

/// Sends frames as they are, in hexadecimal, from an interface of the namespace that it runs in.
const SENDER: &str = "import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
for frame in sys.argv[2:]: wire.send(bytes.fromhex(frame))";

/// Sends frames from a container's `eth1`.
pub(crate) fn send(lab: &Lab, container: &str, frames: &[Vec<u8>]) -> Result<()> {
    let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let frames: Vec<_> = frames.iter().map(hex).collect();
    let frames = frames.iter().map(String::as_str);
    let args: Vec<_> = ["-c", SENDER, "eth1"].into_iter().chain(frames).collect();
    lab.run_in_netns_of(container, "/usr/bin/python3", &args).map(drop)
}

/// Listens to what reaches a container's `eth1`; its log has a line for each frame.
pub(crate) fn listen(lab: &Lab, container: &str, filter: &str) -> Result<Daemon> {
    let target = format!("--target={}", lab.container_pid(container)?);
    let args = [&target, "--net", "tcpdump", "-lnei", "eth1", "-Q", "in", filter];
    let tcpdump = lab.spawn(Path::new("nsenter"), &args, &[])?;
    tcpdump.wait_log("listening on", PATIENCE)?;
    Ok(tcpdump)
}

/// Sends frames from one container until the last of them, which is allowed, has reached another one; returns what has.
pub(crate) fn heard(lab: &Lab, from: &str, to: &str, frames: &[Vec<u8>]) -> Result<String> {
    let marker = Ipv4Addr::new(10, 9, 9, 9);
    let tcpdump = listen(lab, to, "arp or icmp or icmp6 or udp or ip6")?;
    let own = address(lab, from, "inet")?;
    let last = arp(mac(lab, from)?, own.parse()?, marker);
    wait_for("an allowed frame", PATIENCE, || {
        send(lab, from, &[frames, std::slice::from_ref(&last)].concat())?;
        Ok(tcpdump.log().contains("who-has 10.9.9.9").then_some(()))
    })?;
    Ok(tcpdump.log())
}

/// The MAC address of a container's `eth1`.
pub(crate) fn mac(lab: &Lab, container: &str) -> Result<[u8; 6]> {
    let shown = stage::interface(lab, container, "eth1")?;
    let mac = shown.get("address").and_then(Value::as_str).context("no MAC address")?;
    let octets: Vec<_> =
        mac.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?;
    octets.try_into().ok().context("no MAC address")
}

/// The first address of a family of a container's `eth1` that is not link-local.
fn address(lab: &Lab, container: &str, family: &str) -> Result<String> {
    let shown = stage::interface(lab, container, "eth1")?;
    let all = shown.get("addr_info").and_then(Value::as_array).context("no addresses")?;
    let is = |one: &Value, key, value| one.get(key).and_then(Value::as_str) == Some(value);
    let of_family = |one: &&Value| is(one, "family", family) && is(one, "scope", "global");
    let found = all.iter().find(of_family).context("no such address")?;
    Ok(found.get("local").and_then(Value::as_str).context("no address")?.to_owned())
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes()].concat()
}

/// An ARP request.
pub(crate) fn arp(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A frame with a tag (IEEE 802.1Q).
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &0x8100_u16.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

/// An IPv6 packet to all nodes.
pub(crate) fn ipv6(mac: [u8; 6], from: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next_header, 255]);
    frame.extend(from.octets());
    frame.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    frame.extend(payload);
    frame
}

/// `ICMPv6` of a type, with a target where it has one. Its checksum is no matter to a switch.
pub(crate) fn icmpv6(mac: [u8; 6], from: Ipv6Addr, kind: u8, target: Ipv6Addr) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..]].concat();
    ipv6(mac, from, 58, &message)
}

/// An IPv4 packet to everybody.
pub(crate) fn ipv4(mac: [u8; 6], from: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    // Its checksum is no matter to a switch.
    let mut header = vec![0x45, 0];
    header.extend(((20 + payload.len()) as u16).to_be_bytes());
    header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend([255; 4]);
    [ethernet([0xff; 6], mac, 0x0800), header, payload.to_vec()].concat()
}

/// A UDP datagram without a checksum.
pub(crate) fn udp(source: u16, destination: u16) -> Vec<u8> {
    [source, destination, 12, 0, 0x6869, 0x6869].map(u16::to_be_bytes).concat()
}
