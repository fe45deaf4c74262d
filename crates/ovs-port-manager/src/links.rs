//! The links that bear our mark: made, deleted, and known without asking the kernel each time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use port_plan::{ContainerId, LinkName, LinkRepair, LinkSpec, ObservedInterface, ObservedLink};
use tokio::sync::{AcquireError, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::netlink::{self, Created, News};
use crate::netns;

/// Netlink work under way at once. The kernel does one thing at a time under its RTNL lock; more would
/// only make each wait longer.
const IN_FLIGHT: u32 = 3;

/// Why a link could not be made, deleted or listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("cannot start a thread for it")]
    Thread(#[from] io::Error),
    #[error("shutting down")]
    Closed(#[from] AcquireError),
}

/// All links of ours in the host's namespace.
///
/// What is known comes from a listing of the kernel's and from our own doings since, and is confirmed
/// whenever it is asked for: somebody else may have deleted a link, or the kernel with its container's
/// namespace.
pub(crate) struct Links {
    known: Mutex<HashMap<ContainerId, Vec<ObservedLink>>>,
    permits: Semaphore,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { known: Mutex::default(), permits: Semaphore::new(IN_FLIGHT as usize) }
    }

    /// What happens to links and to the interfaces at their other ends.
    pub(crate) fn watch() -> Result<mpsc::UnboundedReceiver<News>, Error> {
        let (sender, news) = mpsc::unbounded_channel();
        netlink::watch(sender)?;
        Ok(news)
    }

    /// Lists the kernel's links anew; returns whose they are.
    pub(crate) async fn refresh(&self) -> Result<Vec<ContainerId>, Error> {
        // With nothing else under way, the listing cannot miss what has just been made.
        let _all = self.permits.acquire_many(IN_FLIGHT).await?;
        let links = spawn_blocking(netlink::list).await.map_err(io::Error::other)??;
        let mut known = self.known();
        known.clear();
        for (key, link) in links {
            known.entry(key.container).or_default().push(link);
        }
        Ok(known.keys().cloned().collect())
    }

    /// The links of one container that are still there.
    pub(crate) async fn of(&self, container: &ContainerId) -> Result<Vec<ObservedLink>, Error> {
        let believed = self.known().get(container).cloned().unwrap_or_default();
        let names: Vec<_> = believed.iter().map(|link| link.name.clone()).collect();
        if names.is_empty() {
            return Ok(believed);
        }
        let missing =
            spawn_blocking(move || netlink::missing(&names)).await.map_err(io::Error::other)??;
        for name in &missing {
            self.forget(container, name);
        }
        Ok(believed.into_iter().filter(|link| !missing.contains(&link.name)).collect())
    }

    /// Makes a veth pair into a namespace; nothing of it is left on failure.
    pub(crate) async fn add(&self, spec: LinkSpec, netns: OwnedFd) -> Result<Created, Error> {
        let _permit = self.permits.acquire().await?;
        let link = ObservedLink {
            name: spec.name.clone(),
            interface: spec.key.interface.clone(),
            start: spec.start.clone(),
        };
        let container = spec.key.container.clone();
        let created = netns::on_own_thread(move || netlink::create(&spec, &netns)).await??;
        self.known().entry(container).or_default().push(link);
        Ok(created)
    }

    /// How the container's ends of links are now.
    pub(crate) async fn interfaces(
        &self,
        names: Vec<LinkName>,
        netns: OwnedFd,
    ) -> Result<BTreeMap<LinkName, ObservedInterface>, Error> {
        let _permit = self.permits.acquire().await?;
        Ok(netns::on_own_thread(move || netlink::observe(names, &netns)).await??)
    }

    /// Puts the container's end of a link right.
    pub(crate) async fn repair(&self, repair: LinkRepair, netns: OwnedFd) -> Result<(), Error> {
        let _permit = self.permits.acquire().await?;
        Ok(netns::on_own_thread(move || netlink::repair(&repair, &netns)).await??)
    }

    /// Deletes a container's link.
    pub(crate) async fn delete(
        &self,
        container: &ContainerId,
        name: &LinkName,
    ) -> Result<(), Error> {
        let _permit = self.permits.acquire().await?;
        let link = name.clone();
        spawn_blocking(move || netlink::delete(&link)).await.map_err(io::Error::other)??;
        self.forget(container, name);
        Ok(())
    }

    fn forget(&self, container: &ContainerId, name: &LinkName) {
        let mut known = self.known();
        if let Some(links) = known.get_mut(container) {
            links.retain(|link| link.name != *name);
            if links.is_empty() {
                known.remove(container);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ContainerId, Vec<ObservedLink>>> {
        // Every change of the map is a single call: a panic elsewhere leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
