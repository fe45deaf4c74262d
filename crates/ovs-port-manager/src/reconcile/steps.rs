//! Taking the steps of a plan: of all interfaces at the same time, of each until one fails.

use std::time::Duration;

use futures_util::future::join_all;
use port_plan::{LinkName, Plan, PortPlan, Step};
use tokio::join;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::apply::{self, Subject, World};
use crate::board::Latency;
use crate::error_chain::chain;
use crate::gathering::Coming;

/// A step that was tried for an interface, how long it took, and why it failed, if it did.
pub(super) type Tried = (LinkName, Step, Duration, Option<String>);

/// What has come of the plan of one interface.
pub(super) struct Outcome {
    /// The plan, without its steps.
    pub(super) port: PortPlan,
    pub(super) result: Result<(), apply::Error>,
    pub(super) tried: Vec<Tried>,
    /// Whether it is given addresses.
    pub(super) addressed: bool,
    /// Whether it is given some of which it is not known yet whether other hosts have them.
    pub(super) unasked: bool,
}

/// A step that was taken, or tried.
pub(super) struct Taken {
    step: Step,
    took: Duration,
    result: Result<(), apply::Error>,
}

/// Who takes steps, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub(super) world: &'a World,
    pub(super) subject: &'a Subject<'a>,
}

impl Steps<'_> {
    /// Carries out the plan of each interface until a step of it fails, all at the same time.
    pub(super) async fn carry_out(self, plan: Plan, coming: Coming) -> Vec<Outcome> {
        let ports: Vec<_> = plan.ports.into_iter().map(|port| (port, coming.beside())).collect();
        drop(coming);
        join_all(ports.into_iter().map(|(port, coming)| self.take_all(port, coming))).await
    }

    /// Takes the steps of one interface until one fails; from the first that changes rows on, together with
    /// those of others.
    async fn take_all(self, port: PortPlan, coming: Coming) -> Outcome {
        let tried = Vec::with_capacity(port.steps.len());
        let addressed = port.steps.iter().any(Step::adds_addresses);
        let unasked = port.steps.iter().any(Step::adds_unasked_addresses);
        let mut outcome = Outcome { result: Ok(()), tried, addressed, unasked, port };
        let mut coming = Some(coming);
        let mut steps = std::mem::take(&mut outcome.port.steps).into_iter().peekable();
        while outcome.result.is_ok()
            && let Some(step) = steps.next()
        {
            if matches!((&step, steps.peek()), (Step::AddLink(_), Some(Step::AddPort { .. })))
                && let Some(alone) = coming.take_if(|coming| coming.is_alone())
                && let Some(add_port) = steps.next()
            {
                Box::pin(self.take_together(step, add_port, alone, &mut outcome)).await;
                continue;
            }
            if matches!(step, Step::AddPort { .. } | Step::AdoptPort { .. } | Step::DelPort { .. })
                && let Some(coming) = coming.take()
            {
                coming.arrive().await;
            }
            outcome.note(Box::pin(self.take(step, || {})).await);
        }
        outcome
    }

    /// Makes a link and its port, which goes to the switch as soon as there is a link, while the link's other end is
    /// being configured: what ovs-vswitchd learns before it has begun to look at the new link, it need not begin
    /// again for.
    ///
    /// For many at a time nothing would be gained: their ports wait for the last link.
    async fn take_together(
        self,
        add_link: Step,
        add_port: Step,
        alone: Coming,
        outcome: &mut Outcome,
    ) {
        let (made, link) = oneshot::channel();
        let add_link = self.take(add_link, move || {
            // The other one waits for it as long as this one is under way.
            let _ = made.send(());
        });
        let add_port = async {
            // Nobody says so of a link that could not be made.
            link.await.ok()?;
            alone.arrive().await;
            Some(self.take(add_port, || {}).await)
        };
        let (link, port) = join!(add_link, add_port);
        // The link is gone then, so nothing is to be left of its port. If that fails, the next look finds it.
        let added = port.as_ref().filter(|port| link.result.is_err() && port.result.is_ok());
        let undo = added.and_then(|port| port.step.undo());
        outcome.note(link);
        if let Some(port) = port {
            outcome.note(port);
        }
        if let Some(undo) = undo {
            outcome.note(self.take(undo, || {}).await);
        }
    }

    /// Takes one step; `made` is called when the link is there that it makes.
    pub(super) async fn take(self, step: Step, made: impl FnOnce() + Send + 'static) -> Taken {
        let begun = Instant::now();
        let result = self.world.apply(self.subject, &step, made).await;
        Taken { step, took: begun.elapsed(), result }
    }
}

impl Taken {
    /// Notes it among the steps that were tried for an interface; returns what came of it.
    pub(super) fn note(
        self,
        interface: LinkName,
        tried: &mut Vec<Tried>,
    ) -> Result<(), apply::Error> {
        let error = self.result.as_ref().err().map(|error| chain(error));
        tried.push((interface, self.step, self.took, error));
        self.result
    }
}

impl Outcome {
    /// Notes a step and what came of it. The first failure is the one that counts.
    fn note(&mut self, taken: Taken) {
        let result = taken.note(self.port.interface.clone(), &mut self.tried);
        if self.result.is_ok() {
            self.result = result;
        }
    }

    /// What its steps have taken; the rest is known once ovs-vswitchd has taken the port.
    pub(super) fn latency(&self, docker: Duration) -> Latency {
        let sum = |of_rows: bool| {
            let steps = self.tried.iter().filter(|(_, step, ..)| step.is_of_rows() == of_rows);
            steps.map(|(_, _, took, _)| *took).sum()
        };
        Latency { docker, netlink: sum(false), ovsdb: sum(true), ..Latency::default() }
    }
}
