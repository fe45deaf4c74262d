//! Watches from inside a container's network namespace: its `eth1` is up with an address, and the first ping
//! is answered.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use lab::Lab;
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::{self, RecvFlags, SendFlags, SocketAddrV4, SocketFlags, SocketType, ipproto};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Multicast groups of links and of IPv4 addresses (linux/rtnetlink.h, as bits).
const GROUPS: u32 = 1 | (1 << 4);
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two pings.
const PING: Duration = Duration::from_micros(200);

/// Whom to ping.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: Ipv4Addr,
    /// Told to the kernel, so that nobody waits a second for a lost ARP request.
    pub(crate) mac: [u8; 6],
}

/// A watch that has begun.
pub(crate) struct Inside {
    thread: JoinHandle<Result<Seen>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// The kernel told that the interface was up with its address.
    pub(crate) address: SystemTime,
    /// The first answer came.
    pub(crate) ping: Option<SystemTime>,
}

impl Inside {
    /// Begins to watch a namespace that has no `eth1` yet.
    pub(crate) fn watch(netns: File, target: Option<Target>) -> Result<Self> {
        let (sender, listening) = channel();
        let thread = thread::spawn(move || {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            drop(netns);
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            let icmp = net::socket_with(
                net::AddressFamily::INET,
                SocketType::RAW,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                Some(ipproto::ICMP),
            )?;
            sender.send(())?;
            let index = first_usable(&socket)?;
            let address = SystemTime::now();
            let ping =
                target.map(|target| first_answer(&socket, &icmp, index, target)).transpose()?;
            Ok(Seen { address, ping })
        });
        listening.recv().context("the watch could not start")?;
        Ok(Self { thread })
    }

    pub(crate) fn wait(self) -> Result<Seen> {
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

/// Returns the index of the first `eth1` that is up with an address.
fn first_usable(socket: &Socket) -> Result<u32> {
    let (mut addressed, mut up) = (None, None);
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        match NetlinkMessage::deserialize(&datagram)?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                addressed = Some(address.header.index);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                let ours = LinkAttribute::IfName("eth1".to_owned());
                if link.attributes.contains(&ours) && link.header.flags.contains(LinkFlags::Up) {
                    up = Some(link.header.index);
                }
            }
            _ => {}
        }
        if let (Some(index), true) = (up, addressed == up) {
            return Ok(index);
        }
    }
}

fn first_answer(
    netlink: &Socket,
    icmp: &OwnedFd,
    index: u32,
    target: Target,
) -> Result<SystemTime> {
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.family = AddressFamily::Inet;
    neighbour.header.ifindex = index;
    neighbour.header.state = NeighbourState::Permanent;
    neighbour.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(target.address)),
        NeighbourAttribute::LinkLayerAddress(target.mac.to_vec()),
    ];
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(neighbour));
    message.header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    netlink.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // Echo request, no code, its checksum, and nothing else (RFC 792).
        let request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        let to = SocketAddrV4::new(target.address, 0);
        // Until the port forwards, the route may be missing or the queue full.
        let _ = net::sendto(icmp, &request, SendFlags::empty(), &to);
        thread::sleep(PING);
        let mut answer = [0_u8; 128];
        while let Ok((_, length)) = net::recv(icmp, &mut answer, RecvFlags::empty()) {
            // Behind an IPv4 header without options: echo reply.
            if length >= 28 && answer.get(20) == Some(&0) {
                return Ok(SystemTime::now());
            }
        }
    }
    bail!("no ping was answered within {PATIENCE:?}")
}

/// The namespace of a process, by its number inside the lab.
pub(crate) fn netns_of(lab: &Lab, pid: u32) -> Result<File> {
    let path = format!("/proc/{}/root/proc/{pid}/ns/net", lab.init_pid());
    File::open(&path).with_context(|| format!("cannot open {path}"))
}

/// The namespace of a container that is about to start: its first process is found by its cgroup, long
/// before Docker tells that it has started.
pub(crate) fn netns_of_next_start(lab: &Lab, id: &str) -> Result<File> {
    let inode = |path: &str| fs::metadata(path).map(|meta| meta.ino());
    let outside = inode(&format!("/proc/{}/ns/net", lab.init_pid()))?;
    let cgroups = [
        format!("/sys/fs/cgroup/pids/{}/{id}/cgroup.procs", lab.cgroup()?),
        format!("/sys/fs/cgroup/{}/{id}/cgroup.procs", lab.cgroup()?),
    ];
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let pids = cgroups.iter().find_map(|path| fs::read_to_string(path).ok());
        let first = pids.as_deref().and_then(|pids| pids.lines().next());
        let path = format!("/proc/{}/ns/net", first.unwrap_or("none"));
        // Until the runtime moves it, the process is still outside.
        if inode(&path).is_ok_and(|inside| inside != outside)
            && let Ok(netns) = File::open(path)
        {
            return Ok(netns);
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("container {id} has not started")
}
