//! One look at a container: what it is to have, what there is, the plan between, its steps.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use port_plan::{
    Container, ContainerId, Desired, DesiredPorts, ImageLabels, ImageUnknown, LinkName, Observed,
    ObservedLink, ObservedPort, Owner, Placed, Plan, PlannedEnd, PortPlan, PortSpec, Refusal,
    Registry, Reserved, Rules, Start, State, Step, clear, labels, plan,
};
use tokio::sync::{AcquireError, Semaphore};
use tokio::time::Instant;
use tracing::debug;

use super::steps::{Outcome, Steps, Tried};
use crate::apply::{self, Subject, World};
use crate::board::{Denial, Latency};
use crate::docker::{self, Docker};
use crate::error_chain::chain;
use crate::gathering::{Coming, Gathering};
use crate::links::{self, Looked};
use crate::netlink::Wanted;

/// All that a look needs. It observes and applies; the plan alone decides.
#[derive(Clone)]
pub(crate) struct Observer {
    pub(crate) docker: Docker,
    pub(crate) world: World,
    pub(crate) rules: Rules,
    /// Who holds which address. It decides whenever a look asks for one, in one call.
    registry: Arc<Mutex<Registry>>,
    pub(super) inspections: Arc<Semaphore>,
    pub(super) gathering: Gathering,
}

/// What a look would find and do.
pub(crate) struct Preview {
    /// `None` if Docker knows no such container.
    pub(crate) container: Option<Container>,
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    pub(crate) plan: Plan,
}

/// What one look came to.
pub(super) struct Look {
    pub(super) container: ContainerId,
    pub(super) seen: Seen,
    /// Containers that have waited for what this one has given up.
    pub(super) woken: Vec<ContainerId>,
    pub(super) result: Result<Standing, Error>,
}

/// What a look has seen and done, however it ended.
#[derive(Default)]
pub(super) struct Seen {
    /// The container's name, as far as it is known.
    pub(super) name: Arc<str>,
    /// The Compose service that it belongs to.
    pub(super) service: Option<String>,
    /// The labels of its image that do not count, and in which start.
    pub(super) ignored: Option<(Start, Vec<String>)>,
    /// The steps that were tried.
    pub(super) steps: Vec<Tried>,
}

/// Where a container stands after its plan has been applied.
pub(super) enum Standing {
    /// It has nothing and is to have nothing.
    Nothing,
    /// It has ports, each of which stands by itself.
    Ports(Ports),
    /// It gets nothing in this start, and why.
    Denied { start: Start, denials: Vec<Denial> },
}

/// How each interface of a container stands.
pub(super) struct Ports {
    pub(super) start: Start,
    /// Those that have their ports.
    pub(super) attached: Vec<Attached>,
    /// Those that get none in this start, and why.
    pub(super) refused: Vec<Denial>,
    /// Those whose steps failed.
    pub(super) failed: Vec<Failed>,
}

/// An interface whose steps failed.
pub(super) struct Failed {
    pub(super) interface: LinkName,
    /// What it is to have.
    pub(super) spec: Option<PortSpec>,
    pub(super) error: apply::Error,
    /// Its port has been there before, and may let everything pass.
    pub(super) unguarded: bool,
}

/// A port that is in place, as far as we are concerned.
pub(super) struct Attached {
    pub(super) spec: Arc<PortSpec>,
    pub(super) port: LinkName,
    pub(super) pid: u32,
    /// This look has put it there.
    pub(super) fresh: bool,
    /// This look has given it addresses.
    pub(super) addressed: bool,
    /// Among them are some of which no host could be asked before whether it has them.
    pub(super) unasked: bool,
    /// This look has given it another MAC address than it had.
    pub(super) new_mac: bool,
    /// When this look began.
    pub(super) since: Instant,
    /// When its steps were done.
    pub(super) placed: Instant,
    /// What the parts of the look have taken.
    pub(super) latency: Latency,
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Docker(#[from] docker::Error),
    #[error(transparent)]
    Step(#[from] apply::Error),
    #[error(transparent)]
    Links(#[from] links::Error),
    #[error("{0}")]
    ImageUnknown(ImageUnknown),
    #[error("its port vanished while it was looked at")]
    Vanished,
    #[error("shutting down")]
    Closed(#[from] AcquireError),
}

impl Error {
    /// The container ended meanwhile, which is ordinary.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Step(error) => error.is_gone(),
            Self::Links(error) => error.is_gone(),
            Self::Docker(_) | Self::ImageUnknown(_) | Self::Vanished | Self::Closed(_) => false,
        }
    }

    /// Another instance is at work, which sees to it.
    pub(super) fn is_anothers(&self) -> bool {
        matches!(self, Self::Step(error) if error.is_anothers())
    }
}

impl Observer {
    pub(crate) fn new(docker: Docker, world: World, rules: Rules) -> Self {
        let inspections = Semaphore::new(docker::REQUESTS).into();
        let switch = world.switch.clone();
        let gathering = Gathering::new(move |looks| switch.will_change(looks));
        let registry = Arc::default();
        Self { docker, world, rules, registry, inspections, gathering }
    }

    /// The same observer, going by other rules.
    pub(super) fn with_rules(&self, rules: Rules) -> Self {
        Self { rules, ..self.clone() }
    }

    /// Looks at one container and changes nothing. What it would claim, it claims of this observer alone.
    pub(crate) async fn preview(&self, id: &ContainerId) -> Result<Preview, Error> {
        let container = {
            let _permit = self.inspections.acquire().await?;
            self.docker.inspect(id).await?
        };
        if container.is_none() && self.is_anothers(id).await {
            let (desired, observed) = (Desired::Nothing, Observed::default());
            return Ok(Preview {
                container,
                plan: plan(&desired, &observed, 0),
                desired,
                observed,
            });
        }
        let container = container.map(|container| self.recall(container));
        let (mut desired, running) = self.desired(container.as_ref());
        // Whoever asks is shown all addresses and routes.
        let all = |spec: &PortSpec| Wanted { all: true, ..wanted(spec) };
        let mut observed = self.observe(id, &desired, running.as_ref(), all).await?;
        desired.keep_macs(&observed, &mut self.registry());
        observed.flows = self.world.flows.glance(&observed, desired.specs()).await;
        let plan = plan(&desired, &observed, fastrand::u64(..));
        Ok(Preview { container, desired, observed, plan })
    }

    /// Looks at one container and brings it to where it should be.
    pub(super) async fn look(&self, container: ContainerId, coming: Coming) -> Look {
        let name = self.world.switch.container_name(&container).unwrap_or_default();
        let seen = Seen { name, ..Seen::default() };
        let mut look = Look { container, seen, woken: Vec::new(), result: Ok(Standing::Nothing) };
        look.result = self.converge(&mut look, coming).await;
        look
    }

    async fn converge(&self, look: &mut Look, coming: Coming) -> Result<Standing, Error> {
        let Look { container: id, seen, woken, result: _ } = look;
        let since = Instant::now();
        let container = {
            let _permit = self.inspections.acquire().await?;
            // Of many looks under way few inspect: the others need no room for it.
            Box::pin(self.docker.inspect(id)).await?
        };
        let inspected = since.elapsed();
        if container.is_none() && self.is_anothers(id).await {
            debug!(container = id.short(), "it is another engine's, or may be");
            return Ok(Standing::Nothing);
        }
        let container = container.map(|container| self.recall(container));
        let (mut desired, running) = self.desired(container.as_ref());
        if let Some(container) = &container {
            seen.name = Arc::clone(&container.name);
            seen.service = self.compose_service(container);
            let start = running.as_ref().map(|(_, start)| start.clone());
            seen.ignored = start.zip(self.ignored_labels(container));
        }
        if let Desired::Refused(Refusal::ImageUnknown(image)) = &desired
            && !image.gone
        {
            return Err(Error::ImageUnknown(image.clone()));
        }
        // Many looks may wait for each other from here on.
        let exists = container.is_some();
        drop(container);
        let observed = self.observe(id, &desired, running.as_ref(), wanted).await?;
        desired.keep_macs(&observed, &mut self.registry());
        let plan = plan(&desired, &observed, fastrand::u64(..));
        let steps: usize = plan.ports.iter().map(|port| port.steps.len()).sum();
        debug!(
            container = id.short(),
            name = &*seen.name,
            steps,
            "planned {}",
            plan.to_string().trim_end().replace('\n', "; ")
        );
        drop(observed);

        let pid = running.as_ref().map(|(pid, _)| *pid);
        let subject = Subject { id, name: &seen.name, pid };
        let mut outcomes = self.steps(&subject).carry_out(plan, coming).await;
        if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
            // What has gone is free from now on, and not before.
            let mut registry = self.registry();
            *woken = registry.settle(id, desired.specs());
            if matches!(desired, Desired::Nothing) {
                registry.leave(id);
            }
        }
        if !exists {
            self.release(id, woken).await?;
        }
        let latencies: Vec<_> = outcomes.iter().map(|one| one.latency(inspected)).collect();
        seen.steps = outcomes.iter_mut().flat_map(|one| std::mem::take(&mut one.tried)).collect();
        let start = running.as_ref().map(|(_, start)| start);
        self.clear_by_hand(&Subject { id, name: &seen.name, pid }, start, &mut seen.steps).await?;
        let failure =
            |outcomes: Vec<Outcome>| outcomes.into_iter().find_map(|one| one.result.err());
        let denials = match desired {
            Desired::Ports(DesiredPorts { specs, refused: _ }) => {
                let (pid, start) = running.ok_or(Error::Vanished)?;
                let outcomes = outcomes.into_iter().zip(latencies).collect();
                return Ok(Standing::Ports(ports(
                    specs,
                    outcomes,
                    pid,
                    &start,
                    since,
                    &seen.steps,
                )));
            }
            Desired::Mistaken(mistakes) => Denial::mistakes(&mistakes),
            Desired::Refused(refusal) => vec![Denial::refused(None, refusal)],
            Desired::Nothing => Vec::new(),
        };
        if let Some(error) = failure(outcomes) {
            return Err(error.into());
        }
        let start = running.map(|(_, start)| start).filter(|_| !denials.is_empty());
        Ok(start.map_or(Standing::Nothing, |start| Standing::Denied { start, denials }))
    }

    /// A container whose image nobody can ask for its labels any more, as it was when this start of it got a port.
    pub(crate) fn recall(&self, mut container: Container) -> Container {
        let (ImageLabels::Unknown(_), State::Running { start, .. }) =
            (&container.image_labels, &container.state)
        else {
            return container;
        };
        let mut ports =
            self.ports_of(&container.id, &self.world.links.believed(&container.id)).into_iter();
        let ours =
            |port: &ObservedPort| port.owner == Owner::Us && port.start.as_ref() == Some(start);
        if let Some(port) = ports.find(ours) {
            container.recall(port.config.own_labels.as_deref());
        }
        container
    }

    /// What a container is to have; its first process and its start, if it runs.
    pub(crate) fn desired(&self, container: Option<&Container>) -> (Desired, Option<(u32, Start)>) {
        let Some(container) = container else { return (Desired::Nothing, None) };
        let running = match &container.state {
            State::Running { pid, start } => Some((*pid, start.clone())),
            State::Stopped => None,
        };
        let mut registry = self.registry();
        if container.labels.keys().any(|label| labels::asks_for_number(label)) {
            registry.learn_numbers(self.world.switch.numbers());
        }
        (Desired::of(container, &self.rules, &mut registry), running)
    }

    /// An OpenFlow number may have become free: who waits for one.
    pub(super) fn wake_for_numbers(&self) -> Vec<ContainerId> {
        self.registry().wake_for_numbers()
    }

    /// The Compose service that a container belongs to.
    pub(crate) fn compose_service(&self, container: &Container) -> Option<String> {
        container.compose_service(self.rules.trust_image_labels).map(str::to_owned)
    }

    fn ignored_labels(&self, container: &Container) -> Option<Vec<String>> {
        if matches!(container.image_labels, ImageLabels::Unknown(_)) {
            return None;
        }
        let names: Vec<_> = container.labels_of_image().map(str::to_owned).collect();
        (!self.rules.trust_image_labels && !names.is_empty()).then_some(names)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic within leaves at worst a claim too many, which the next look of its holder settles.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who holds what, and learns it from the ports that are there.
    pub(crate) fn learn(&self) {
        let mut registry = self.registry();
        registry.forget();
        for (port, container_name) in self.world.switch.ports(|name| self.world.links.mark_of(name))
        {
            registry.learn(&port, &container_name);
        }
        for lease in self.world.switch.leases() {
            registry.learn_lease(lease);
        }
    }

    /// Asks the engine which it is, unless it is known.
    pub(crate) async fn learn_engine(&self) -> Result<(), docker::Error> {
        if !self.world.switch.knows_engine() {
            let engine = self.docker.engine().await?;
            engine.iter().for_each(|engine| self.world.switch.set_engine(engine));
        }
        Ok(())
    }

    /// Whether a container that this engine does not know is another's, or may be.
    async fn is_anothers(&self, id: &ContainerId) -> bool {
        if !self.world.switch.is_marked(id) {
            return false;
        }
        if let Err(error) = Box::pin(self.learn_engine()).await {
            debug!("the engine does not tell which it is: {}", chain(&error));
        }
        self.world.switch.is_anothers(id)
    }

    /// Learns which addresses are the host's; returns whether it has given up some.
    pub(crate) async fn reserve(&self) -> Result<bool, links::Error> {
        let (ports, internal) = self.world.switch.host_ports();
        let links = self.world.links.of_host(internal).await?;
        Ok(self.registry().reserve(Reserved::of(&ports, &links)))
    }

    fn steps<'a>(&'a self, subject: &'a Subject<'a>) -> Steps<'a> {
        Steps { world: &self.world, subject }
    }

    /// Frees the addresses that were kept for a container that exists no more; adds who has waited for one.
    async fn release(
        &self,
        id: &ContainerId,
        woken: &mut Vec<ContainerId>,
    ) -> Result<(), apply::Error> {
        // A lease does not tell whose it is.
        if self.registry().has_leases(id) && self.world.switch.other_engines().is_empty() {
            self.world.switch.release(id).await?;
            woken.extend(self.registry().release(id));
        }
        Ok(())
    }

    /// What commands have made for starts of a container that are over, as steps that take it away.
    pub(crate) async fn stale_by_hand(&self, id: &ContainerId) -> Vec<Step> {
        let ports = self.world.switch.by_hand_of(id);
        if ports.is_empty() {
            return Vec::new();
        }
        let Ok(container) = self.docker.inspect(id).await else { return Vec::new() };
        let start = container.and_then(|container| match container.state {
            State::Running { start, .. } => Some(start),
            State::Stopped => None,
        });
        clear(&ports, start.as_ref()).into_iter().map(|(_, step)| step).collect()
    }

    /// Takes away what commands have made for starts of a container that are over.
    async fn clear_by_hand(
        &self,
        subject: &Subject<'_>,
        running: Option<&Start>,
        tried: &mut Vec<Tried>,
    ) -> Result<(), apply::Error> {
        for (interface, step) in clear(&self.world.switch.by_hand_of(subject.id), running) {
            let taken = Box::pin(self.steps(subject).take(step, || {})).await;
            taken.note(interface, tried)?;
        }
        Ok(())
    }

    /// Takes away all that a container has, whether it runs or not.
    pub(super) async fn detach(&self, container: ContainerId) -> Look {
        let name = self.world.switch.container_name(&container).unwrap_or_default();
        let result = self.remove(&container, &name).await.map(|()| Standing::Nothing);
        let seen = Seen { name, ..Seen::default() };
        Look { container, seen, woken: Vec::new(), result }
    }

    async fn remove(&self, id: &ContainerId, name: &str) -> Result<(), Error> {
        let observed = self.observe(id, &Desired::Nothing, None, wanted).await?;
        let subject = Subject { id, name, pid: None };
        let plan = plan(&Desired::Nothing, &observed, 0);
        let outcomes = self.steps(&subject).carry_out(plan, self.gathering.coming()).await;
        let failure = outcomes.into_iter().find_map(|one| one.result.err());
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn observe(
        &self,
        container: &ContainerId,
        desired: &Desired,
        running: Option<&(u32, Start)>,
        wanted: impl Fn(&PortSpec) -> Wanted,
    ) -> Result<Observed, Error> {
        let bridge =
            |spec: &PortSpec| Some((spec.bridge.clone(), self.world.switch.bridge(&spec.bridge)?));
        let bridges = desired.specs().iter().filter_map(bridge).collect();
        let (switch, links) = (&self.world.switch, &self.world.links);
        let name = desired.specs().first().map(|spec| &*spec.container_name);
        let mut foreign =
            name.map(|name| switch.foreign_ports_of(container, name)).unwrap_or_default();
        links.note_siblings(container, desired.specs());
        // First, so that nothing can go unnoticed that is still seen now.
        desired.specs().iter().try_for_each(|spec| links.hear(spec))?;
        let Looked { links, interfaces, foreign_ends } = match running {
            Some((pid, start)) => {
                let wanted = desired.specs().iter().map(wanted).collect();
                let ends =
                    foreign.iter().map(|port| (port.name.clone(), port.key.interface.clone()));
                links.look(container, *pid, start, wanted, ends.collect()).await?
            }
            None => Looked { links: links.believed(container), ..Looked::default() },
        };
        let mut ports = self.ports_of(container, &links);
        foreign.retain(|port| {
            foreign_ends.contains_key(&port.name)
                && !ports.iter().any(|known| known.name == port.name)
        });
        ports.append(&mut foreign);
        let leftovers = switch.leftovers_of(container);
        let flows = self.world.flows.of(ports.iter().map(|port| (&port.bridge, &port.name)));
        let unkept = switch.lacking(desired.specs().iter().flat_map(PortSpec::leases).collect());
        Ok(Observed { bridges, ports, links, leftovers, interfaces, foreign_ends, flows, unkept })
    }

    /// The ports of a container that has these links.
    fn ports_of(&self, container: &ContainerId, links: &[ObservedLink]) -> Vec<ObservedPort> {
        let mark = |name: &LinkName| self.world.links.mark_of(name);
        self.world.switch.ports_of(container, links, mark)
    }

    /// All containers that are to have something or that something is there for.
    pub(crate) async fn survey(&self) -> Result<HashSet<ContainerId>, Error> {
        self.reserve().await?;
        let linked = self.world.links.refresh(self.world.switch.identifier()).await?;
        let labelled = self.docker.list().await?;
        let attached = self.world.switch.containers();
        let by_hand = self.world.switch.by_hand_containers();
        let leases = self.world.switch.leases();
        let leased = leases.into_iter().map(|lease| lease.holder.key.container);
        let ours = attached.into_iter().chain(by_hand).chain(leased);
        self.world.flows.sweep(self.world.switch.bridges());
        Ok(linked.into_iter().chain(labelled).chain(ours).collect())
    }
}

/// The interface of a specification, as far as it takes to look at it.
fn wanted(spec: &PortSpec) -> Wanted {
    let (addresses, routes) = (spec.addresses.clone(), spec.routes.clone());
    Wanted { name: spec.key.interface.clone(), addresses, routes, all: false }
}

/// Whether a step was taken that gave an interface another MAC address.
fn gives_mac((of, step, _, error): &Tried, interface: &LinkName) -> bool {
    let given = matches!(step, Step::SetLink(repair) if repair.mac.is_some());
    given && error.is_none() && of == interface
}

/// How the interfaces stand that a container is to have.
fn ports(
    specs: Vec<PortSpec>,
    outcomes: Vec<(Outcome, Latency)>,
    pid: u32,
    start: &Start,
    since: Instant,
    steps: &[Tried],
) -> Ports {
    let mut specs: BTreeMap<_, _> =
        specs.into_iter().map(|spec| (spec.key.interface.clone(), spec)).collect();
    let start = start.clone();
    let mut ports = Ports { start, attached: Vec::new(), refused: Vec::new(), failed: Vec::new() };
    let done = Instant::now();
    for (outcome, latency) in outcomes {
        let (addressed, unasked) = (outcome.addressed, outcome.unasked);
        let Outcome { port: PortPlan { interface, end, steps: _ }, result, .. } = outcome;
        if let PlannedEnd::Refused(refusal) = &end {
            ports.refused.push(Denial::refused(Some(&interface), refusal.clone()));
        }
        match (result, end, specs.remove(&interface)) {
            (Err(error), end, spec) => {
                let flows = matches!(error, apply::Error::FlowRules(_));
                let kept = matches!(end, PlannedEnd::Placed(Placed { fresh: false, .. }));
                ports.failed.push(Failed { interface, spec, error, unguarded: flows && kept });
            }
            (Ok(()), PlannedEnd::Placed(Placed { port, fresh }), Some(spec)) => {
                let (spec, placed) = (spec.into(), done);
                let new_mac = steps.iter().any(|step| gives_mac(step, &interface));
                ports.attached.push(Attached {
                    spec,
                    port,
                    pid,
                    fresh,
                    addressed,
                    unasked,
                    new_mac,
                    since,
                    placed,
                    latency,
                });
            }
            (Ok(()), ..) => {}
        }
    }
    ports
}
