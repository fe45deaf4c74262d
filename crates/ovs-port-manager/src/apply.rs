//! Carrying out steps, one at a time.

use std::sync::Arc;

use port_plan::{ContainerId, Datapath, LinkName, Step};
use tokio::sync::mpsc;
use tracing::info;

use crate::failpoint;
use crate::flow_rules::{self, Event, FlowTables};
use crate::links::{self, Links};
use crate::netlink::{self, Adoption};
use crate::switch::{self, Switch};

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Switch(#[from] switch::Error),
    #[error(transparent)]
    Link(#[from] links::Error),
    #[error(transparent)]
    FlowRules(#[from] flow_rules::Error),
    #[error("the container has no first process")]
    NoProcess,
    #[error("another instance is at work")]
    NotLeader,
    #[error(
        "bridge {0} cannot be created, as Open vSwitch would take over the host's network link of that name; choose \
         another name with ovs.bridge"
    )]
    LinkExists(LinkName),
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Link(error) => error.is_gone(),
            _ => false,
        }
    }

    /// Another instance is at work, which sees to it.
    pub(crate) fn is_anothers(&self) -> bool {
        matches!(self, Self::NotLeader | Self::Link(links::Error::NotLeader))
    }
}

/// What steps are carried out on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) switch: Switch,
    pub(crate) links: Arc<Links>,
    pub(crate) flows: FlowTables,
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
    /// The switch of a database, and this namespace's links; what happens to flow rules that were in force.
    pub(crate) fn new(switch: Switch) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let of = switch.clone();
        let (events, happens) = mpsc::unbounded_channel();
        let ports_now = Arc::new(move |bridge: &_| of.port_names(bridge));
        let flows = FlowTables::new(switch.endpoint(), ports_now, events);
        (Self { switch, links: Links::new().into(), flows }, happens)
    }

    /// Creates a bridge under a name that nothing on this host has.
    pub(crate) async fn add_bridge(
        &self,
        bridge: &LinkName,
        datapath: Datapath,
    ) -> Result<(), Error> {
        let Some(creation) = self.switch.create(bridge).await? else { return Ok(()) };
        if self.links.exists(bridge).await? {
            return Err(Error::LinkExists(bridge.clone()));
        }
        Ok(creation.finish(datapath).await?)
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
        // The server refuses changes of the database; the kernel does not know who may make links.
        if !self.switch.may_act() {
            return Err(Error::NotLeader);
        }
        let mut replaced = Vec::new();
        let port = match step {
            Step::AddBridge { bridge, datapath } => {
                self.add_bridge(bridge, *datapath).await?;
                bridge
            }
            Step::AddLink(spec) => {
                let switch = self.switch.clone();
                let may_act = move || switch.may_act();
                let added = self.links.add(spec.clone(), subject.pid()?, may_act, made).await;
                if let Err(links::Error::Netlink(netlink::Error::InterfaceExists(_))) = &added {
                    // It may be one of ours that another instance has made: the next look is to know.
                    self.links.refresh(self.switch.identifier()).await?;
                }
                replaced = added?.replaced_routes;
                &spec.name
            }
            Step::SetLink(repair) => {
                self.links.repair(repair.clone(), subject.pid()?).await?;
                &repair.name
            }
            Step::SetHostLink(repair) => {
                self.links.repair_host_end(repair.clone()).await?;
                &repair.name
            }
            Step::DelLink { link } => {
                self.links.delete(subject.id, link).await?;
                link
            }
            Step::AddPort { bridge, port, config, key, container_name, start, leases } => {
                let ids = switch::Ids { key, container_name, start };
                self.switch.add_port(bridge, port, config, &ids, leases).await?;
                port
            }
            Step::SetFlows { bridge, port, rules } => {
                self.flows.require(bridge, port, rules).await?;
                self.links.set_up(port).await?;
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
                self.switch.del_port(bridge, port).await?;
                self.flows.forget(bridge, port);
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
