//! The links that bear our mark: made, deleted, and known without asking the kernel each time.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use port_plan::{
    ContainerId, LinkName, LinkRepair, LinkSpec, ObservedInterface, ObservedLink, Start,
};
use tokio::sync::{AcquireError, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::netlink::{self, Connection, Created, News, Worker};
use crate::netns;

/// Why a link could not be made, deleted or listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error("cannot start a thread for it")]
    Thread(#[from] io::Error),
    #[error("shutting down")]
    Closed(#[from] AcquireError),
}

/// The interface that a container wants, as far as it takes to look at it.
pub(crate) struct Wanted {
    pub(crate) pid: u32,
    pub(crate) start: Start,
    /// Its name.
    pub(crate) name: LinkName,
    /// Default routes are looked at if there are to be any.
    pub(crate) gateways: Vec<IpAddr>,
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

    /// The links that one container had when it was last looked at.
    ///
    /// Where they are only to be deleted that is enough, and the kernel need not be asked: while it takes
    /// apart the namespaces of those that have ended, it answers nobody.
    pub(crate) fn believed(&self, container: &ContainerId) -> Vec<ObservedLink> {
        lock(&self.known).get(container).cloned().unwrap_or_default()
    }

    /// The links of one container that are still there, and how the interface is that the container wants,
    /// if one of them can be its other end.
    pub(crate) async fn look(
        &self,
        container: &ContainerId,
        wanted: Option<Wanted>,
    ) -> Result<(Vec<ObservedLink>, ObservedInterface), Error> {
        let believed = self.believed(container);
        if believed.is_empty() {
            return Ok((believed, ObservedInterface::Unseen));
        }
        let (known, container) = (Arc::clone(&self.known), container.clone());
        let look = move |host: &mut Connection| -> Result<_, Error> {
            let missing = netlink::missing(host, believed.iter().map(|link| &link.name))?;
            for name in &missing {
                forget(&known, &container, name);
            }
            let there = |link: &ObservedLink| !missing.contains(&link.name);
            let links: Vec<_> = believed.into_iter().filter(there).collect();
            // A link of another start lies in another namespace; without one, there is nothing to see.
            let end = |wanted: &Wanted| links.iter().any(|link| link.start == wanted.start);
            let interface = match wanted.filter(end) {
                Some(Wanted { pid, start: _, name, gateways }) => {
                    let netns = netns::of_container(pid, &container)?;
                    netlink::observe(&name, &gateways, &netns)?
                }
                None => ObservedInterface::Unseen,
            };
            Ok((links, interface))
        };
        // Refused work is no failure of the worker's.
        self.worker.run(move |host| Ok(look(host))).await?
    }

    /// Makes a veth pair into a namespace; nothing of it is left on failure.
    pub(crate) async fn add(&self, spec: LinkSpec, netns: OwnedFd) -> Result<Created, Error> {
        let known = Arc::clone(&self.known);
        let create = move |host: &mut Connection| {
            let created = netlink::create(host, &spec, &netns)?;
            let link = ObservedLink { name: spec.name, start: spec.start };
            lock(&known).entry(spec.key.container).or_default().push(link);
            Ok(created)
        };
        Ok(self.worker.run(create).await?)
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
        forget(&self.known, container, name);
        Ok(())
    }
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

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Every change of the map is a single call, or is made anew: a panic elsewhere leaves it whole.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
