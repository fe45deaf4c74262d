//! Carrying out steps, one at a time.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use port_plan::{ContainerId, Step};
use tracing::info;

use crate::failpoint;
use crate::links::{self, Links};
use crate::netns;
use crate::switch::{self, Switch};

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Switch(#[from] switch::Error),
    #[error(transparent)]
    Link(#[from] links::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error("the container has no first process")]
    NoProcess,
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Netns(netns::Error::Gone { .. }))
    }
}

/// What steps are carried out on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) switch: Switch,
    pub(crate) links: Arc<Links>,
}

/// The container that a step is for.
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a ContainerId,
    /// Its name, as far as it is known.
    pub(crate) name: &'a str,
    /// Its first process, while it runs.
    pub(crate) pid: Option<u32>,
}

impl Subject<'_> {
    fn netns(&self) -> Result<OwnedFd, Error> {
        let pid = self.pid.ok_or(Error::NoProcess)?;
        Ok(netns::of_container(pid, self.id)?)
    }
}

impl World {
    /// Carries out one step and says so.
    pub(crate) async fn apply(&self, subject: &Subject<'_>, step: &Step) -> Result<(), Error> {
        failpoint::boundary();
        let mut replaced = Vec::new();
        let port = match step {
            Step::AddBridge { bridge, datapath } => {
                self.switch.add_bridge(bridge, *datapath).await?;
                bridge
            }
            Step::AddLink(spec) => {
                replaced = self.links.add(spec.clone(), subject.netns()?).await?.replaced_routes;
                &spec.name
            }
            Step::SetLink(repair) => {
                self.links.repair(repair.clone(), subject.netns()?).await?;
                &repair.name
            }
            Step::DelLink { link } => {
                self.links.delete(subject.id, link).await?;
                link
            }
            Step::AddPort { bridge, port, config, key, container_name, start } => {
                let ids = switch::Ids { key, container_name, start };
                self.switch.add_port(bridge, port, config, &ids).await?;
                port
            }
            Step::SetPort { bridge, port, key, changes } => {
                self.switch.set_port(bridge, port, key, changes).await?;
                port
            }
            Step::Destroy(leftover) => {
                self.switch.destroy(leftover).await?;
                &leftover.interface
            }
            Step::DelPort { bridge, port } => {
                self.switch.del_port(bridge, port).await?;
                port
            }
        };
        failpoint::boundary();
        let container = subject.id.short();
        info!(container, name = subject.name, %port, "{step}");
        for route in replaced {
            info!(container, name = subject.name, %port, "replaced the container's route: {route}");
        }
        Ok(())
    }
}
