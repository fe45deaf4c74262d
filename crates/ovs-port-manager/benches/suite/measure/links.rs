//! What the kernel tells of the links in the lab's namespace, and of all in the containers'.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use lab::{Lab, wait_for};
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const ROOM: usize = 32 << 20;

/// A socket in the lab's namespace that hears of these groups (linux/rtnetlink.h).
fn listen(lab: &Lab, groups: &[u32], all_namespaces: bool) -> Result<Socket> {
    let netns = File::open(format!("/proc/{}/ns/net", lab.init_pid()))?;
    let groups = groups.to_vec();
    let opened = thread::spawn(move || -> Result<Socket> {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_rx_buf_sz(ROOM)?;
        for group in groups {
            socket.add_membership(group)?;
        }
        socket.set_listen_all_namespaces(all_namespaces)?;
        Ok(socket)
    });
    opened.join().map_err(|_| anyhow!("the listening thread panicked"))?
}

/// Which veths there are in the lab's namespace; begun when there are none.
pub(crate) struct LinkWatch {
    state: Arc<Mutex<(HashSet<u32>, SystemTime)>>,
}

impl LinkWatch {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let socket = listen(lab, &[libc::RTNLGRP_LINK], false)?;
        let state = Arc::new(Mutex::new((HashSet::new(), SystemTime::now())));
        let noted = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((datagram, _)) = socket.recv_from_full() {
                let now = SystemTime::now();
                let mut state = noted.lock().unwrap_or_else(PoisonError::into_inner);
                each(&datagram, |message| match message {
                    RouteNetlinkMessage::NewLink(link) if is_veth(&link) => {
                        state.0.insert(link.header.index);
                    }
                    RouteNetlinkMessage::DelLink(link) if state.0.remove(&link.header.index) => {
                        state.1 = now;
                    }
                    _ => {}
                });
            }
        });
        Ok(Self { state })
    }

    /// When the last one went.
    pub(crate) fn wait_gone(&self, patience: Duration) -> Result<SystemTime> {
        wait_for("the end of all links", patience, || {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(state.0.is_empty().then_some(state.1))
        })
    }
}

fn is_veth(link: &LinkMessage) -> bool {
    let veth = LinkInfo::Kind(InfoKind::Veth);
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&veth),
        _ => false,
    })
}

/// Counts what changes of links, addresses and routes, in the lab's namespace and in those of containers
/// that a link leads to: whatever is written, the kernel tells of it.
pub(crate) struct Changes {
    count: Arc<AtomicU64>,
}

impl Changes {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let groups = [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ];
        let socket = listen(lab, &groups, true).context("cannot listen to all namespaces")?;
        let count = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            while let Ok((datagram, _)) = socket.recv_from_full() {
                each(&datagram, |_| {
                    counted.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { count })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

fn each(mut datagram: &[u8], mut each: impl FnMut(RouteNetlinkMessage)) {
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let length = buffer.length() as usize;
        if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
            && let NetlinkPayload::InnerMessage(message) = message.payload
        {
            each(message);
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
