//! One look at a container: what it is to have, what there is, the plan between, its steps.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use port_plan::{
    ContainerId, Defaults, Desired, LinkName, Observed, ObservedInterface, PortSpec, Start, State,
    Step, plan,
};
use tokio::sync::{AcquireError, Semaphore};
use tokio::time::Instant;
use tracing::debug;

use crate::announce;
use crate::apply::{self, Subject, World};
use crate::docker::{self, Docker};
use crate::gathering::{Coming, Gathering};
use crate::links::{self, Wanted};
use crate::netns;

/// All that a look needs. It observes and applies; the plan alone decides.
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) docker: Docker,
    pub(super) world: World,
    pub(super) defaults: Defaults,
    pub(super) inspections: Arc<Semaphore>,
    pub(super) gathering: Gathering,
}

/// What one look came to.
pub(super) struct Look {
    pub(super) container: ContainerId,
    /// The container's name, as far as it is known.
    pub(super) name: String,
    pub(super) result: Result<Standing, Error>,
}

/// Where a container stands after its plan has been applied.
pub(super) enum Standing {
    /// It has nothing and is to have nothing.
    Nothing,
    /// It has its port.
    Attached(Box<Attached>),
    /// It gets nothing in this start, and why.
    Denied { start: Start, reasons: Vec<String> },
}

/// A port that is in place, as far as we are concerned.
pub(super) struct Attached {
    pub(super) spec: PortSpec,
    pub(super) port: LinkName,
    pub(super) pid: u32,
    /// This look has put it there.
    pub(super) fresh: bool,
    /// When this look began.
    pub(super) since: Instant,
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Docker(#[from] docker::Error),
    #[error(transparent)]
    Step(#[from] apply::Error),
    #[error(transparent)]
    Links(#[from] links::Error),
    #[error("its port vanished while it was looked at")]
    Vanished,
    #[error("shutting down")]
    Closed(#[from] AcquireError),
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Step(apply::Error::Netns(netns::Error::Gone { .. }))
                | Self::Links(links::Error::Netns(netns::Error::Gone { .. }))
        )
    }
}

impl Observer {
    /// Looks at one container and brings it to where it should be.
    pub(super) async fn look(&self, container: ContainerId, coming: Coming) -> Look {
        let mut name = self.world.switch.container_name(&container).unwrap_or_default();
        let result = self.converge(&container, &mut name, coming).await;
        Look { container, name, result }
    }

    async fn converge(
        &self,
        id: &ContainerId,
        name: &mut String,
        coming: Coming,
    ) -> Result<Standing, Error> {
        let since = Instant::now();
        let container = {
            let _permit = self.inspections.acquire().await?;
            // Of many looks under way few inspect: the others need no room for it.
            Box::pin(self.docker.inspect(id)).await?
        };
        let mut running = None;
        let desired = match &container {
            None => Desired::Nothing,
            Some(container) => {
                name.clone_from(&container.name);
                if let State::Running { pid, start } = &container.state {
                    running = Some((*pid, start.clone()));
                }
                Desired::of(container, &self.defaults)
            }
        };
        let observed = self.observe(id, &desired, running.as_ref()).await?;
        let plan = plan(id, &desired, &observed, fastrand::u64(..));
        debug!(container = id.short(), name, steps = plan.steps.len(), "planned\n{plan}");

        let subject = Subject { id, name, pid: running.as_ref().map(|(pid, _)| *pid) };
        self.apply(&plan.steps, &subject, coming).await?;
        let start = running.as_ref().map(|(_, start)| start.clone());
        let denied = |reasons| start.map(|start| Standing::Denied { start, reasons });
        let standing = match (desired, plan.refusal) {
            (Desired::Nothing, _) => None,
            (Desired::Mistaken(mistakes), _) => {
                denied(mistakes.iter().map(ToString::to_string).collect())
            }
            (Desired::Refused(refusal), _) | (Desired::Port(_), Some(refusal)) => {
                denied(vec![refusal.to_string()])
            }
            (Desired::Port(spec), None) => {
                let (pid, _) = running.ok_or(Error::Vanished)?;
                let added = plan.steps.iter().find_map(|step| match step {
                    Step::AddPort { port, .. } => Some(port.clone()),
                    _ => None,
                });
                let fresh = added.is_some();
                let port =
                    added.or_else(|| self.world.switch.port_of(&spec)).ok_or(Error::Vanished)?;
                Some(Standing::Attached(Box::new(Attached { spec, port, pid, fresh, since })))
            }
        };
        Ok(standing.unwrap_or(Standing::Nothing))
    }

    /// Carries out steps; from the first that changes rows on, together with other looks.
    async fn apply(
        &self,
        steps: &[Step],
        subject: &Subject<'_>,
        coming: Coming,
    ) -> Result<(), Error> {
        let mut coming = Some(coming);
        for step in steps {
            if matches!(step, Step::AddPort { .. } | Step::DelPort { .. })
                && let Some(coming) = coming.take()
            {
                coming.arrive().await;
            }
            Box::pin(self.world.apply(subject, step)).await?;
        }
        Ok(())
    }

    /// Takes away all that a container has, whether it runs or not.
    pub(super) async fn detach(&self, container: ContainerId) -> Look {
        let name = self.world.switch.container_name(&container).unwrap_or_default();
        let result = self.remove(&container, &name).await.map(|()| Standing::Nothing);
        Look { container, name, result }
    }

    async fn remove(&self, id: &ContainerId, name: &str) -> Result<(), Error> {
        let observed = self.observe(id, &Desired::Nothing, None).await?;
        let subject = Subject { id, name, pid: None };
        for step in plan(id, &Desired::Nothing, &observed, 0).steps {
            self.world.apply(&subject, &step).await?;
        }
        Ok(())
    }

    async fn observe(
        &self,
        container: &ContainerId,
        desired: &Desired,
        running: Option<&(u32, Start)>,
    ) -> Result<Observed, Error> {
        let bridge = match desired {
            Desired::Port(spec) => self.world.switch.bridge(&spec.bridge),
            Desired::Nothing | Desired::Mistaken(_) | Desired::Refused(_) => None,
        };
        let wanted = match (desired, running) {
            (Desired::Port(spec), Some((pid, start))) => Some(Wanted {
                pid: *pid,
                start: start.clone(),
                name: spec.key.interface.clone(),
                gateways: spec.gateways.clone(),
            }),
            _ => None,
        };
        let (links, interface) = match running {
            Some(_) => self.world.links.look(container, wanted).await?,
            None => (self.world.links.believed(container), ObservedInterface::Unseen),
        };
        Ok(Observed { bridge, ports: self.world.switch.ports_of(container), links, interface })
    }

    /// All containers that are to have something or that something is there for.
    pub(super) async fn survey(&self) -> Result<HashSet<ContainerId>, Error> {
        let linked = self.world.links.refresh().await?;
        let labelled = self.docker.list().await?;
        let attached = self.world.switch.containers();
        Ok(linked.into_iter().chain(labelled).chain(attached).collect())
    }
}

/// Announces a port's addresses from inside its container. Must be called on a thread of its own.
pub(super) fn announce(pid: u32, container: &ContainerId, spec: &PortSpec) -> Result<(), String> {
    let netns = netns::of_container(pid, container).map_err(|error| error.to_string())?;
    netns::enter(netns.as_fd()).map_err(|error| error.to_string())?;
    announce::announce(&spec.key.interface, spec.mac, &spec.addresses)
        .map_err(|error| error.to_string())
}
