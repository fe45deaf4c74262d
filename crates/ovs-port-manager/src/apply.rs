//! Carrying out steps, one at a time.

use std::borrow::Cow;
use std::sync::Arc;

use port_plan::{ContainerId, Guards, LinkName, PortConfig, Step};
use tracing::{debug, info};

use crate::error_chain::chain;
use crate::failpoint;
use crate::links::{self, Links};
use crate::netlink::Adoption;
use crate::openflow::{self, OpenFlow};
use crate::switch::{self, Switch};

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Switch(#[from] switch::Error),
    #[error(transparent)]
    Link(#[from] links::Error),
    #[error(transparent)]
    OpenFlow(#[from] openflow::Error),
    #[error("the container has no first process")]
    NoProcess,
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Link(error) => error.is_gone(),
            _ => false,
        }
    }
}

/// What steps are carried out on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) switch: Switch,
    pub(crate) links: Arc<Links>,
    pub(crate) openflow: OpenFlow,
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
    fn pid(&self) -> Result<u32, Error> {
        self.pid.ok_or(Error::NoProcess)
    }
}

impl World {
    /// The switch of a database, and this namespace's links.
    pub(crate) fn new(switch: Switch) -> Self {
        let of = switch.clone();
        let openflow =
            OpenFlow::beside(switch.endpoint(), Arc::new(move |bridge| of.ofports(bridge)));
        Self { switch, links: Links::new().into(), openflow }
    }

    /// The settings of a port to be made, after its guards have been put there for the number that it will have.
    async fn guarded<'a>(
        &self,
        bridge: &LinkName,
        config: &'a PortConfig,
        guards: &Guards,
    ) -> Result<Cow<'a, PortConfig>, Error> {
        if guards.is_empty() {
            return Ok(Cow::Borrowed(config));
        }
        let number = config.ofport_request.unwrap_or_else(|| self.switch.free_ofport(bridge));
        self.openflow.prepare(bridge, number, guards).await?;
        Ok(Cow::Owned(PortConfig { ofport_request: Some(number), ..config.clone() }))
    }

    /// Carries out one step and says so. `made` is called when the link is there that the step makes, which is yet to be
    /// configured.
    pub(crate) async fn apply(
        &self,
        subject: &Subject<'_>,
        step: &Step,
        made: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        failpoint::boundary();
        let mut replaced = Vec::new();
        let port = match step {
            Step::AddBridge { bridge, datapath } => {
                self.switch.add_bridge(bridge, *datapath).await?;
                bridge
            }
            Step::AddLink(spec) => {
                let created = self.links.add(spec.clone(), subject.pid()?, made).await?;
                replaced = created.replaced_routes;
                &spec.name
            }
            Step::SetLink(repair) => {
                self.links.repair(repair.clone(), subject.pid()?).await?;
                &repair.name
            }
            Step::DelLink { link } => {
                self.links.delete(subject.id, link).await?;
                link
            }
            Step::AddPort { bridge, port, config, guards, key, container_name, start, leases } => {
                let ids = switch::Ids { key, container_name, start };
                let config = self.guarded(bridge, config, guards).await?;
                let added = self.switch.add_port(bridge, port, &config, &ids, leases).await;
                if let (Err(_), Some(number), false) =
                    (&added, config.ofport_request, guards.is_empty())
                {
                    // The next try takes another number. What cannot be forgotten now goes with the connection.
                    let _ = self.openflow.forget(bridge, number).await;
                }
                added?;
                port
            }
            Step::AdoptPort {
                bridge,
                port,
                key,
                container_name,
                start,
                changes,
                leases,
                mtu,
                tx_checksum_offload,
            } => {
                let adoption = Adoption {
                    name: port.clone(),
                    key: key.clone(),
                    start: start.clone(),
                    mtu: *mtu,
                    tx_checksum_offload: *tx_checksum_offload,
                };
                self.links.adopt(adoption, subject.pid()?).await?;
                failpoint::boundary();
                let ids = switch::Ids { key, container_name, start };
                self.switch.adopt_port(bridge, port, &ids, changes, leases).await?;
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
                let number = self.switch.ofport(port);
                self.switch.del_port(bridge, port).await?;
                if let Some(number) = number
                    && let Err(error) = self.openflow.forget(bridge, number).await
                {
                    // They are deleted when the switch is connected anew.
                    debug!(%bridge, %port, "its flows are still there: {}", chain(&error));
                }
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
