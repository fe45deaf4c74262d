//! When something came true, as the kernel and the switch's database tell it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use lab::{Lab, wait_for};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use ovsdb::tables::Interface;
use ovsdb::{Client, Monitor};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Multicast groups of links and of IPv4 addresses (linux/rtnetlink.h, as bits).
const GROUPS: u32 = 1 | (1 << 4);
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, inside a container's namespace, for its `eth1` to be up with an address.
pub(crate) struct AddressWatch {
    thread: JoinHandle<Result<SystemTime>>,
}

impl AddressWatch {
    /// Watches a container that runs, or is about to: its first process is found by its cgroup before
    /// Docker tells that it has started.
    pub(crate) fn of_next_start(lab: &Lab, id: &str) -> Result<Self> {
        let inode = |path: String| fs::metadata(path).map(|meta| meta.ino());
        let outside = inode(format!("/proc/{}/ns/net", lab.init_pid()))?;
        let cgroups = [
            format!("/sys/fs/cgroup/pids/{}/{id}", lab.cgroup()?),
            format!("/sys/fs/cgroup/{}/{id}", lab.cgroup()?),
        ];
        let netns = wait_for("the container's namespace", PATIENCE, || {
            let read = |folder: &String| {
                fs::read_to_string(PathBuf::from(folder).join("cgroup.procs")).ok()
            };
            let Some(pids) = cgroups.iter().find_map(read) else {
                return Ok(None);
            };
            let Some(pid) = pids.lines().next() else {
                return Ok(None);
            };
            let path = format!("/proc/{pid}/ns/net");
            // Until the runtime moves it, the process is still outside.
            if inode(path.clone()).ok().is_none_or(|inside| inside == outside) {
                return Ok(None);
            }
            Ok(File::open(path).ok())
        })?;
        let (sender, listening) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            drop(netns);
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            sender.send(())?;
            first_usable(&socket)
        });
        listening.recv().context("the watch could not start")?;
        Ok(Self { thread })
    }

    /// When the interface was up with its address.
    pub(crate) fn wait(self) -> Result<SystemTime> {
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

fn first_usable(socket: &Socket) -> Result<SystemTime> {
    let mut addressed = None;
    let mut up = None;
    while addressed.is_none() || addressed != up {
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
    }
    Ok(SystemTime::now())
}

/// Notes, for each container, when its port got its OpenFlow number.
pub(crate) struct PortWatch {
    seen: Arc<(Mutex<HashMap<String, SystemTime>>, Condvar)>,
}

impl PortWatch {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let seen: Arc<(Mutex<HashMap<String, SystemTime>>, Condvar)> = Arc::default();
        let endpoint: ovsdb::Endpoint = lab.ovsdb_endpoint().parse()?;
        let notes = Arc::clone(&seen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            Client::connect(endpoint, Monitor::new("Open_vSwitch").table::<Interface>()).await
        })?;
        thread::spawn(move || {
            let mut changes = client.subscribe::<Interface>();
            while let Some(change) = runtime.block_on(changes.recv()) {
                let now = SystemTime::now();
                let Some(row) = change.new.filter(|row| row.ofport.is_some_and(|port| port > 0))
                else {
                    continue;
                };
                if let Some(id) = row.external_ids.get("container_id") {
                    let mut seen = notes.0.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.entry(id.clone()).or_insert(now);
                    notes.1.notify_all();
                }
            }
        });
        Ok(Self { seen })
    }

    /// When a container's port was ready.
    pub(crate) fn wait(&self, id: &str) -> Result<SystemTime> {
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, _) = self
            .seen
            .1
            .wait_timeout_while(seen, PATIENCE, |seen| !seen.contains_key(id))
            .unwrap_or_else(PoisonError::into_inner);
        seen.get(id).copied().with_context(|| format!("the port of {id} was never ready"))
    }
}
