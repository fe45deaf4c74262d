//! The links that bear our mark: made, deleted, and known without asking the kernel each time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use port_plan::{ContainerId, LinkName, LinkRepair, LinkSpec, ObservedInterface, ObservedLink};
use tokio::sync::{AcquireError, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::netlink::{self, Connection, Created, News, Worker};

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
    known: Arc<Mutex<Known>>,
    worker: Worker,
    /// Deletions have threads of their own, one at a time: the kernel takes 16 ms for each.
    deleting: Semaphore,
}

type Known = HashMap<ContainerId, Vec<ObservedLink>>;

impl Links {
    pub(crate) fn new() -> Self {
        Self { known: Arc::default(), worker: Worker::default(), deleting: Semaphore::new(1) }
    }

    /// What happens to links and to the interfaces at their other ends.
    pub(crate) fn watch() -> Result<mpsc::UnboundedReceiver<News>, Error> {
        let (sender, news) = mpsc::unbounded_channel();
        netlink::watch(sender)?;
        Ok(news)
    }

    /// Lists the kernel's links anew; returns whose they are.
    pub(crate) async fn refresh(&self) -> Result<Vec<ContainerId>, Error> {
        let known = Arc::clone(&self.known);
        // In turn with what makes links: the listing cannot miss what has just been made.
        let list = move |host: &mut Connection| {
            let links = netlink::list(host)?;
            let mut known = lock(&known);
            known.clear();
            for (key, link) in links {
                known.entry(key.container).or_default().push(link);
            }
            Ok(known.keys().cloned().collect())
        };
        Ok(self.worker.run(list).await?)
    }

    /// The links of one container that are still there.
    pub(crate) async fn of(&self, container: &ContainerId) -> Result<Vec<ObservedLink>, Error> {
        let believed = lock(&self.known).get(container).cloned().unwrap_or_default();
        let names: Vec<_> = believed.iter().map(|link| link.name.clone()).collect();
        if names.is_empty() {
            return Ok(believed);
        }
        let missing = self.worker.run(move |host| netlink::missing(host, &names)).await?;
        for name in &missing {
            self.forget(container, name);
        }
        Ok(believed.into_iter().filter(|link| !missing.contains(&link.name)).collect())
    }

    /// Makes a veth pair into a namespace; nothing of it is left on failure.
    pub(crate) async fn add(&self, spec: LinkSpec, netns: OwnedFd) -> Result<Created, Error> {
        let known = Arc::clone(&self.known);
        let create = move |host: &mut Connection| {
            let created = netlink::create(host, &spec, &netns)?;
            let LinkSpec { name, key, start, .. } = spec;
            let link = ObservedLink { name, interface: key.interface, start };
            lock(&known).entry(key.container).or_default().push(link);
            Ok(created)
        };
        Ok(self.worker.run(create).await?)
    }

    /// How the container's ends of links are now.
    pub(crate) async fn interfaces(
        &self,
        names: Vec<LinkName>,
        netns: OwnedFd,
    ) -> Result<BTreeMap<LinkName, ObservedInterface>, Error> {
        Ok(self.worker.run(move |_| netlink::observe(names, &netns)).await?)
    }

    /// Puts the container's end of a link right.
    pub(crate) async fn repair(&self, repair: LinkRepair, netns: OwnedFd) -> Result<(), Error> {
        Ok(self.worker.run(move |_| netlink::repair(&repair, &netns)).await?)
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
        self.forget(container, name);
        Ok(())
    }

    fn forget(&self, container: &ContainerId, name: &LinkName) {
        let mut known = lock(&self.known);
        if let Some(links) = known.get_mut(container) {
            links.retain(|link| link.name != *name);
            if links.is_empty() {
                known.remove(container);
            }
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Every change of the map is a single call, or is made anew: a panic elsewhere leaves it whole.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
