//! The links that bear our mark: made, deleted, and known without asking the kernel each time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use port_plan::{
    ContainerId, HostLink, HostRepair, LinkName, LinkRepair, LinkSpec, MacAddress,
    ObservedInterface, ObservedLink, PortKey, PortSpec, Start,
};
use tokio::sync::{AcquireError, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::netlink::{
    self, Adoption, Connection, Created, Detector, Ears, News, Question, Taken, Wanted, Worker,
};
use crate::netns;

/// Why a link could not be made, deleted or listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error("another host on {bridge} has {} already", taken.iter().map(Taken::to_string).collect::<Vec<_>>().join(" and "))]
    Taken { bridge: LinkName, taken: Vec<Taken> },
    #[error("cannot tell whether another host has the addresses")]
    Undetected(#[source] Box<Error>),
    #[error("cannot start a thread for it")]
    Thread(#[from] io::Error),
    #[error("another instance is at work")]
    NotLeader,
    #[error("shutting down")]
    Closed(#[from] AcquireError),
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Netns(netns::Error::Gone { .. }))
    }
}

/// How many namespaces are open at the same time: those whose work waits for its answer, and as many more, so that the
/// worker has no need to wait. Each is a file, of which a program may have a thousand, and with more than 64 the kernel
/// makes all of its threads wait for it to make room for more (`expand_fdtable`, fs/file.c).
const OPEN_NAMESPACES: usize = 2 * netlink::ANSWERED_TOGETHER;

/// All links of ours in the host's namespace.
///
/// What is known comes from a listing of the kernel's and from our own doings since, and is confirmed
/// whenever it is asked for: somebody else may have deleted a link, or the kernel with its container's
/// namespace.
pub(crate) struct Links {
    known: Arc<Mutex<Known>>,
    /// The MAC addresses of containers with several interfaces.
    siblings: Mutex<HashMap<ContainerId, Vec<MacAddress>>>,
    /// There are none where nobody watches.
    ears: OnceLock<Ears>,
    /// Makes links, and lists them in turn with that.
    worker: Worker,
    /// Looks at interfaces that are there already, and puts them right: how long that takes is in the hands of whoever
    /// may fill their namespaces, and no new container is to wait for it.
    visitor: Worker,
    /// Announcements have a thread of their own: the kernel takes 8 ms to close the socket of each
    /// (`packet_release`, `net/packet/af_packet.c`), and no new container is to wait for those of a burst.
    announcer: Worker,
    /// Waits to hear whether other hosts have the addresses.
    detector: Detector,
    /// Deletions have threads of their own, one at a time: the kernel takes 16 ms for each.
    deleting: Semaphore,
    /// For namespaces that are open while their work waits for the worker.
    namespaces: Semaphore,
}

/// What there is of a container in the kernel.
#[derive(Default)]
pub(crate) struct Looked {
    /// Its links that bear our mark.
    pub(crate) links: Vec<ObservedLink>,
    /// The interfaces at their other ends, and at those of the following.
    pub(crate) interfaces: BTreeMap<LinkName, ObservedInterface>,
    /// Links of others whose other end is an interface of the container, and its name.
    pub(crate) foreign_ends: BTreeMap<LinkName, LinkName>,
}

type Known = HashMap<ContainerId, Vec<ObservedLink>>;

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            known: Arc::default(),
            siblings: Mutex::default(),
            ears: OnceLock::new(),
            worker: Worker::default(),
            visitor: Worker::default(),
            announcer: Worker::default(),
            detector: Detector::new(),
            deleting: Semaphore::new(1),
            namespaces: Semaphore::new(OPEN_NAMESPACES),
        }
    }

    /// What happens from now on to links and, as far as [`Self::hear`] has been told of ports, at their other ends.
    pub(crate) fn watch(&self) -> Result<mpsc::UnboundedReceiver<News>, Error> {
        let (sender, news) = mpsc::unbounded_channel();
        let ears = netlink::watch(sender)?;
        // One listener is enough.
        let _ = self.ears.set(ears);
        Ok(news)
    }

    /// Has the news tell of all that this port may lose, if anybody hears them.
    pub(crate) fn hear(&self, port: &PortSpec) -> Result<(), Error> {
        self.ears.get().map_or(Ok(()), |ears| Ok(ears.hear(port)?))
    }

    /// Those of the host's links that have addresses, and those of these names.
    pub(crate) async fn of_host(&self, names: Vec<LinkName>) -> Result<Vec<HostLink>, Error> {
        Ok(self.worker.run(move |host| netlink::host_links(host, &names)).await?)
    }

    /// Whether the host has a link of this name, whoever made it.
    pub(crate) async fn exists(&self, name: &LinkName) -> Result<bool, Error> {
        let name = name.clone();
        Ok(self.worker.run(move |host| netlink::exists(host, &name)).await?)
    }

    /// Takes note of the MAC addresses of a container's interfaces: from each of them it answers for the addresses of all.
    pub(crate) fn note_siblings(&self, container: &ContainerId, ports: &[PortSpec]) {
        let mut siblings = lock(&self.siblings);
        match ports.len() {
            0 | 1 => siblings.remove(container),
            _ => siblings.insert(container.clone(), ports.iter().map(|port| port.mac).collect()),
        };
    }

    /// Lists the kernel's links anew; returns whose they are.
    ///
    /// `identify` says whose a link is by its name, the mark that it bears, and whatever else there is.
    pub(crate) async fn refresh(
        &self,
        identify: impl Fn(&LinkName, Option<&(PortKey, Start)>) -> Option<(PortKey, Start)>
        + Send
        + 'static,
    ) -> Result<Vec<ContainerId>, Error> {
        let known = Arc::clone(&self.known);
        // In turn with what makes links: the listing cannot miss what has just been made.
        let list = move |host: &mut Connection| {
            let links = netlink::list(host)?;
            let mut listed = Known::new();
            for (name, mark) in links {
                let Some((key, start)) = identify(&name, mark.as_ref()).or(mark) else { continue };
                let (interface, state) = (key.interface, None);
                let link = ObservedLink { name, interface, start, state };
                let links = listed.entry(key.container).or_insert_with(|| Vec::with_capacity(1));
                links.push(link);
            }
            let mut known = lock(&known);
            // What has not changed stays where it is, with the parts that it shares.
            known.retain(|container, links| listed.get(container) == Some(links));
            for (container, links) in listed {
                known.entry(container).or_insert(links);
            }
            Ok(known.keys().cloned().collect())
        };
        Ok(self.worker.run(list).await?)
    }

    /// What the mark of a link said when it was last looked at.
    pub(crate) fn mark_of(&self, name: &LinkName) -> Option<(PortKey, Start)> {
        lock(&self.known).iter().find_map(|(container, links)| {
            let link = links.iter().find(|link| link.name == *name)?;
            let (container, interface) = (container.clone(), link.interface.clone());
            Some((PortKey { container, interface }, link.start.clone()))
        })
    }

    /// The links that a container had when it was last looked at.
    ///
    /// Where they are only to be deleted that is enough, and the kernel need not be asked: while it takes
    /// apart the namespaces of those that have ended, it answers nobody.
    pub(crate) fn believed(&self, container: &ContainerId) -> Vec<ObservedLink> {
        lock(&self.known).get(container).cloned().unwrap_or_default()
    }

    /// The links of a running container that are still there, and how the interfaces are at their other ends
    /// that it is to have. `foreign` are links of others that may have their other ends in the container, each with the
    /// interface that it would be.
    pub(crate) async fn look(
        &self,
        container: &ContainerId,
        pid: u32,
        start: &Start,
        mut wanted: Vec<Wanted>,
        foreign: Vec<(LinkName, LinkName)>,
    ) -> Result<Looked, Error> {
        let believed = self.believed(container);
        if believed.is_empty() && foreign.is_empty() {
            return Ok(Looked::default());
        }
        let (known, container, start) = (Arc::clone(&self.known), container.clone(), start.clone());
        let look = move |host: &mut Connection| -> Result<_, Error> {
            let count = believed.len();
            let mut links = Vec::with_capacity(count);
            for mut link in believed {
                link.state = netlink::host_end(host, &container, &link)?;
                match link.state {
                    Some(_) => links.push(link),
                    None => forget(&known, &container, &link.name),
                }
            }
            if links.len() < count {
                // It may be there under another name, and holds that of the interface inside the container.
                links = relist(host, &known, &container)?;
            }
            let mut looked = Looked { links, ..Looked::default() };
            let mut opened = None;
            if !foreign.is_empty() {
                let netns = opened.insert(netns::of_container(pid, &container)?);
                let ends = netlink::ends(host, foreign, netns)?;
                for (_, interface) in &ends {
                    // What differs is to be said.
                    match wanted.iter_mut().find(|wanted| wanted.name == *interface) {
                        Some(wanted) => wanted.all = true,
                        None => wanted.push(Wanted::unknown(interface.clone())),
                    }
                }
                looked.foreign_ends = ends.into_iter().collect();
            }
            // A link of another start lies in another namespace; without one, there is nothing to see.
            wanted.retain(|wanted| {
                let mut ours = looked.links.iter();
                ours.any(|link| link.interface == wanted.name && link.start == start)
                    || looked.foreign_ends.values().any(|interface| *interface == wanted.name)
            });
            if !wanted.is_empty() {
                let netns = match opened {
                    Some(netns) => netns,
                    None => netns::of_container(pid, &container)?,
                };
                looked.interfaces = netlink::observe(&wanted, &netns)?;
            }
            Ok(looked)
        };
        // Refused work is no failure of the worker's.
        self.visitor.run(move |host| Ok(look(host))).await?
    }

    /// Makes a veth pair into the namespace of its container's first process; nothing of it is left on failure.
    /// `may_act` is asked just before, on another thread; `made` is called there when it is there and its end in the container is yet to be configured.
    pub(crate) async fn add(
        &self,
        spec: LinkSpec,
        pid: u32,
        may_act: impl FnOnce() -> bool + Send + 'static,
        made: impl FnOnce() + Send + 'static,
    ) -> Result<Created, Error> {
        let _permit = self.namespaces.acquire().await?;
        let netns = netns::of_container(pid, &spec.key.container)?;
        let known = Arc::clone(&self.known);
        let create = move |host: &mut Connection| {
            // Other links may have come first: it is asked as late as can be.
            if !may_act() {
                return Ok(Err(Error::NotLeader));
            }
            let created = netlink::create(host, &spec, &netns, made)?;
            let LinkSpec { name, key, start, .. } = spec;
            let link = ObservedLink { name, interface: key.interface, start, state: None };
            let mut known = lock(&known);
            known.entry(key.container).or_insert_with(|| Vec::with_capacity(1)).push(link);
            Ok(Ok(created))
        };
        self.worker.run(create).await?
    }

    /// Makes a link ours that somebody else made.
    pub(crate) async fn adopt(&self, adoption: Adoption, pid: u32) -> Result<(), Error> {
        let _permit = self.namespaces.acquire().await?;
        let netns = netns::of_container(pid, &adoption.key.container)?;
        let known = Arc::clone(&self.known);
        let adopt = move |host: &mut Connection| {
            netlink::adopt(host, &adoption, &netns)?;
            let Adoption { name, key, start, .. } = adoption;
            let mut known = lock(&known);
            let links = known.entry(key.container).or_insert_with(|| Vec::with_capacity(1));
            links.retain(|link| link.name != name);
            links.push(ObservedLink { name, interface: key.interface, start, state: None });
            Ok(())
        };
        Ok(self.worker.run(adopt).await?)
    }

    /// Finds out whether other hosts have these addresses of a port. One that they have is not used: the kernel sees to
    /// that for IPv6, and an IPv4 address is taken away.
    pub(crate) async fn detect(
        &self,
        pid: u32,
        bridge: &LinkName,
        key: &PortKey,
        mac: MacAddress,
        addresses: Vec<IpNet>,
    ) -> Result<(), Error> {
        let taken = self.ask(pid, key, mac, addresses).await?;
        if taken.is_empty() {
            return Ok(());
        }
        let ipv4 = taken.iter().map(|taken| taken.address);
        let ipv4: Vec<_> = ipv4.filter(|address| address.addr().is_ipv4()).collect();
        if !ipv4.is_empty() {
            let key = key.clone();
            let withdraw = move |_: &mut Connection| -> Result<_, Error> {
                let netns = netns::of_container(pid, &key.container)?;
                Ok(netlink::withdraw(&key.interface, &ipv4, &netns)?)
            };
            self.visitor.run(move |host| Ok(withdraw(host))).await??;
        }
        Err(Error::Taken { bridge: bridge.clone(), taken })
    }

    async fn ask(
        &self,
        pid: u32,
        key: &PortKey,
        mac: MacAddress,
        addresses: Vec<IpNet>,
    ) -> Result<Vec<Taken>, Error> {
        let container = key.container.clone();
        // Opened when its turn has come: the process may have ended by then.
        let namespace = move || {
            netns::of_container(pid, &container)
                .map_err(io::Error::other)
                .map_err(netlink::Error::system("find the container's network namespace"))
        };
        let siblings = lock(&self.siblings).get(&key.container).cloned().unwrap_or_default();
        let question = Question { interface: key.interface.clone(), mac, addresses, siblings };
        let answer = self.detector.ask(namespace, question).await;
        answer.map_err(|error| Error::Undetected(Box::new(error.into())))
    }

    /// Puts the container's end of a link right. An IPv4 address that another host may have taken meanwhile is used only
    /// once that is known; the kernel sees to that for IPv6.
    pub(crate) async fn repair(&self, mut repair: LinkRepair, pid: u32) -> Result<(), Error> {
        let taken = self.ask_before(&repair, pid).await?;
        repair.addresses.retain(|address| taken.iter().all(|taken| taken.address != *address));
        let bridge = repair.bridge.clone();
        let repaired = if repair.is_empty() { Ok(()) } else { self.put_right(repair, pid).await };
        if taken.is_empty() {
            return repaired;
        }
        // What else failed, such as a route by way of that address, fails because of it.
        Err(Error::Taken { bridge, taken })
    }

    /// Which of the IPv4 addresses that are to be added other hosts have.
    async fn ask_before(&self, repair: &LinkRepair, pid: u32) -> Result<Vec<Taken>, Error> {
        let LinkRepair { key, own_mac, addresses, detect_duplicates, up, .. } = repair;
        let ipv4: Vec<_> = addresses.iter().filter(|net| net.addr().is_ipv4()).copied().collect();
        // Nobody can be asked while the interface is down. Who has it set up asks afterwards.
        if !detect_duplicates || *up || ipv4.is_empty() {
            return Ok(Vec::new());
        }
        // If it has ended, that is to be told as such.
        netns::of_container(pid, &key.container)?;
        self.ask(pid, key, *own_mac, ipv4).await
    }

    async fn put_right(&self, repair: LinkRepair, pid: u32) -> Result<(), Error> {
        let _permit = self.namespaces.acquire().await?;
        let netns = netns::of_container(pid, &repair.key.container)?;
        Ok(self.visitor.run(move |_| netlink::repair(&repair, &netns)).await?)
    }

    /// Takes up the host's end of a link that was made without that.
    pub(crate) async fn set_up(&self, link: &LinkName) -> Result<(), Error> {
        let link = link.clone();
        Ok(self.worker.run(move |host| netlink::set_up(host, &link)).await?)
    }

    /// Puts the host's end of a link right.
    pub(crate) async fn repair_host_end(&self, repair: HostRepair) -> Result<(), Error> {
        Ok(self.visitor.run(move |host| netlink::repair_host_end(host, &repair)).await?)
    }

    /// Announces a port's addresses from inside its container.
    pub(crate) async fn announce(&self, pid: u32, spec: &PortSpec) -> Result<(), Error> {
        let PortSpec { key, mac, addresses, .. } = spec;
        let (key, mac, addresses) = (key.clone(), *mac, addresses.clone());
        let announce = move |_: &mut Connection| -> Result<_, Error> {
            let netns = netns::of_container(pid, &key.container)?;
            Ok(netlink::announce(&key.interface, mac, &addresses, &netns)?)
        };
        self.announcer.run(move |host| Ok(announce(host))).await?
    }

    /// Deletes a container's link.
    pub(crate) async fn delete(
        &self,
        container: &ContainerId,
        name: &LinkName,
    ) -> Result<(), Error> {
        let _permit = self.deleting.acquire().await?;
        let link = name.clone();
        spawn_blocking(move || netlink::delete(&link)).await.map_err(io::Error::other)??;
        forget(&self.known, container, name);
        Ok(())
    }
}

/// The links that the kernel has for a container, noted.
fn relist(
    host: &mut Connection,
    known: &Mutex<Known>,
    container: &ContainerId,
) -> Result<Vec<ObservedLink>, netlink::Error> {
    let of_container = |(name, mark): netlink::Candidate| {
        let (key, start) = mark.filter(|(key, _)| key.container == *container)?;
        Some(ObservedLink { name, interface: key.interface, start, state: None })
    };
    let mut links: Vec<_> = netlink::list(host)?.into_iter().filter_map(of_container).collect();
    let mut known = lock(known);
    match links.is_empty() {
        true => known.remove(container),
        false => known.insert(container.clone(), links.clone()),
    };
    drop(known);
    for link in &mut links {
        link.state = netlink::host_end(host, container, link)?;
    }
    Ok(links)
}

fn forget(known: &Mutex<Known>, container: &ContainerId, name: &LinkName) {
    let mut known = lock(known);
    if let Some(links) = known.get_mut(container) {
        links.retain(|link| link.name != *name);
        if links.is_empty() {
            known.remove(container);
        }
    }
}

fn lock<T>(known: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of the map is a single call, or is made anew: a panic elsewhere leaves it whole.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
