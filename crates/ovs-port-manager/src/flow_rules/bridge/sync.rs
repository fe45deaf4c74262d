//! Between what a bridge's ports are to have and what the switch has: deleted, looked at, put in force.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use openflow::{Connection, Error, Flow, FlowChange, FlowEntry, Meter};
use port_plan::{FlowRules, LinkName};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::Event;
use super::super::flows::{self, COOKIE};
use super::{Bridge, LOOK, Wanted};
use crate::error_chain::chain;

/// The time that one flow adds to the time between looks at what the flows do: whoever changes some keeps their number.
const LOOK_AT_EACH: Duration = Duration::from_millis(1);
/// The time between two warnings that somebody else changes flows of ours.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Rules that are in force.
pub(super) struct Installed {
    pub(super) rules: FlowRules,
    number: u32,
    meter: Option<Meter>,
    /// What its flows look like, sorted, as they were sent.
    sent: Vec<u64>,
    /// The same, as the switch shows them, where it writes them in a way of its own.
    shown: Option<Vec<u64>>,
}

/// Rules that are to be put in force for a number.
struct Due {
    port: LinkName,
    rules: FlowRules,
    number: u32,
}

impl Installed {
    /// Whether these flows are the ones that were put in force. Where the switch does not show flows as they were sent,
    /// the first that are seen, if they are as many, are taken for them.
    fn is_shown_by(&mut self, flows: &[FlowEntry], as_sent: bool) -> bool {
        let shown = sorted(flows.iter().map(|flow| flow.fingerprint));
        if as_sent {
            return shown == self.sent;
        }
        let known = self.shown.get_or_insert_with(|| shown.clone());
        shown.len() == self.sent.len() && *known == shown
    }
}

impl Bridge {
    /// Deletes flows and meters of ports that are gone, have another number, or are to have no rules any more.
    pub(super) async fn clear_away(&mut self, open: &mut Connection) -> Result<(), Error> {
        let (wanted, numbers) = (&self.wanted, &self.numbers);
        let over = self.installed.extract_if(|port, installed| {
            !wanted.contains_key(port) || numbers.get(port.as_str()) != Some(&installed.number)
        });
        let over = over.map(|(port, it)| (it.number, self.meters.remove(&port)));
        let mut over: HashMap<u32, Option<u32>> = over.collect();
        let ended = self.meters.extract_if(|port, _| !wanted.contains_key(port));
        let ended: Vec<_> = ended.map(|(_, meter)| meter).collect();
        if !self.unknown.is_empty() {
            // Those of ports whose rules are wanted are replaced in one go.
            let ours = (self.ports_now)(&self.name);
            let kept = ours.iter().filter(|port| !self.forgotten.contains(*port));
            let kept = kept.chain(wanted.keys());
            let kept = kept.filter_map(|port| numbers.get(port.as_str()).copied());
            let kept: HashSet<u32> = kept.collect();
            let gone = self.unknown.extract_if(|number, _| !kept.contains(number));
            over.extend(gone.map(|(number, flows)| (number, meter_of(&flows))));
        }
        if !over.is_empty() || !ended.is_empty() {
            self.changed = true;
            let delete = |number: &u32| FlowChange::Delete { cookie: COOKIE, in_port: *number };
            open.commit(&over.keys().map(delete).collect::<Vec<_>>()).await?;
            for meter in over.values().flatten().chain(&ended) {
                open.delete_meter(*meter).await?;
            }
            // A number may be another port's by now, whose flows have gone with those.
            self.installed.retain(|_, installed| !over.contains_key(&installed.number));
        }
        self.forgotten.clear();
        Ok(())
    }

    /// Looks now and then whether what was put in force still is. What is not is put back.
    pub(super) async fn verify(&mut self, open: &mut Connection) -> Result<(), Error> {
        if self.counted.elapsed() < LOOK {
            return Ok(());
        }
        self.counted = Instant::now();
        let installed = self.installed.values().map(|one| one.sent.len());
        let unknown = self.unknown.values().map(Vec::len);
        let expected: usize = installed.chain(unknown).chain([self.strange]).sum();
        let pause = LOOK.max(LOOK_AT_EACH * u32::try_from(expected).unwrap_or(u32::MAX));
        if self.looked.elapsed() >= pause || open.count(COOKIE).await? as usize != expected {
            self.look_at_each(open).await?;
        }
        Ok(())
    }

    /// Looks at each flow and meter of ours. What differs from what was put in force counts as not in force.
    pub(super) async fn look_at_each(&mut self, open: &mut Connection) -> Result<(), Error> {
        self.looked = Instant::now();
        let mut there: HashMap<Option<u32>, Vec<FlowEntry>> = HashMap::new();
        for flow in open.flows(COOKIE).await? {
            there.entry(flow.in_port).or_default().push(flow);
        }
        let meters = match self.installed.values().any(|one| one.meter.is_some()) {
            true => open.meters().await?,
            false => Vec::new(),
        };
        let as_sent = self.as_sent.unwrap_or_default();
        let mut lost = Vec::new();
        self.installed.retain(|port, installed| {
            let flows = there.get(&Some(installed.number)).map_or(&[][..], Vec::as_slice);
            let metered = installed.meter.is_none_or(|meter| meters.contains(&meter));
            let same = metered && installed.is_shown_by(flows, as_sent);
            if same {
                there.remove(&Some(installed.number));
            } else {
                lost.push(port.to_string());
            }
            same
        });
        self.strange = there.remove(&None).map_or(0, |flows| flows.len());
        self.unknown = there.into_iter().filter_map(|(port, flows)| Some((port?, flows))).collect();
        self.warn_of(&lost);
        self.clear_away(open).await
    }

    /// Somebody else has changed or deleted flows of ours. Told once a minute at most: it may be a habit.
    fn warn_of(&mut self, lost: &[String]) {
        let [port, ..] = lost else { return };
        self.changed = true;
        let (bridge, ports) = (&self.name, lost.len());
        if self.warned.is_some_and(|before| before.elapsed() < WARN_AGAIN) {
            return debug!(%bridge, %port, ports, "putting back flow rules again");
        }
        self.warned = Some(Instant::now());
        warn!(%bridge, %port, ports, "somebody else changed or deleted the flow rules of ports; putting them back");
    }

    /// Puts in force what is not, of all ports that the switch has: all of it in one go, unless the switch refuses that.
    pub(super) async fn install(&mut self, open: &mut Connection) -> Result<(), Error> {
        let due: Vec<_> = self.wanted.iter().filter_map(|one| self.due(one)).collect();
        match self.put(open, &due).await {
            Err(Error::Refused { .. }) => {
                for one in due {
                    match self.put(open, std::slice::from_ref(&one)).await {
                        Err(error @ Error::Refused { .. }) => self.refused(&one.port, &error),
                        result => result?,
                    }
                }
            }
            result => result?,
        }
        for (port, wanted) in &mut self.wanted {
            if self.installed.contains_key(port) {
                wanted.waiting.drain(..).for_each(|done| drop(done.send(Ok(()))));
                if std::mem::take(&mut wanted.lost) {
                    self.shared.tell(Event::Restored { port: port.clone() });
                }
            }
        }
        Ok(())
    }

    /// What is to be put in force of a port, unless it is, or the switch has no such port.
    fn due(&self, (port, wanted): (&LinkName, &Wanted)) -> Option<Due> {
        let number = *self.numbers.get(port.as_str())?;
        let installed = self.installed.get(port);
        let done = installed.is_some_and(|it| it.rules == wanted.rules && it.number == number);
        (!done).then(|| Due { port: port.clone(), rules: wanted.rules.clone(), number })
    }

    /// Puts rules in force, in the place of what their ports have.
    async fn put(&mut self, open: &mut Connection, due: &[Due]) -> Result<(), Error> {
        let (mut changes, mut additions) = (Vec::new(), Vec::new());
        let (mut placed, mut old_meters) = (Vec::new(), Vec::new());
        for Due { port, rules, number } in due {
            let before = self.meter_before(port, *number);
            let meter = meter_for(open, *number, rules, before).await?;
            old_meters.extend(before.filter(|old| Some(*old) != meter.map(|meter| meter.number)));
            match meter {
                Some(meter) => self.meters.insert(port.clone(), meter.number),
                None => self.meters.remove(port),
            };
            // To look for flows to delete takes the switch longer than to add some.
            if self.installed.contains_key(port) || self.unknown.contains_key(number) {
                changes.push(FlowChange::Delete { cookie: COOKIE, in_port: *number });
            }
            let flows = flows::flows(*number, rules, meter.map(|meter| meter.number));
            let sent = sorted(flows.iter().map(Flow::fingerprint));
            additions.extend(flows.into_iter().map(FlowChange::Add));
            let (rules, number) = (rules.clone(), *number);
            let installed = Installed { rules, number, meter, sent, shown: None };
            placed.push((port.clone(), installed));
        }
        changes.append(&mut additions);
        open.commit(&changes).await?;
        for meter in old_meters {
            open.delete_meter(meter).await?;
        }
        self.changed |= !placed.is_empty();
        for (port, installed) in placed {
            self.unknown.remove(&installed.number);
            self.installed.insert(port, installed);
        }
        self.learn_dialect(open).await
    }

    /// Finds out, once on each connection, whether the switch shows flows as they were sent.
    async fn learn_dialect(&mut self, open: &mut Connection) -> Result<(), Error> {
        if self.as_sent.is_some() {
            return Ok(());
        }
        let Some(installed) = self.installed.values().next() else { return Ok(()) };
        let number = Some(installed.number);
        let flows = open.flows(COOKIE).await?.into_iter().filter(|flow| flow.in_port == number);
        let as_sent = sorted(flows.map(|flow| flow.fingerprint)) == installed.sent;
        debug!(bridge = %self.name, as_sent, "the switch shows flows");
        self.as_sent = Some(as_sent);
        Ok(())
    }

    /// The switch refuses the rules of a port.
    fn refused(&mut self, port: &LinkName, error: &Error) {
        let reason: Arc<str> = chain(error).into();
        let Some(wanted) = self.wanted.get_mut(port) else { return };
        if let Some(event) = wanted.fail(port, &reason) {
            self.shared.tell(event);
        }
    }

    /// The meter that is a port's already: made for it by this task, or used by flows of ours.
    fn meter_before(&self, port: &LinkName, number: u32) -> Option<u32> {
        let unknown = || meter_of(self.unknown.get(&number)?);
        self.meters.get(port).copied().or_else(unknown)
    }
}

/// The meter for a port's rules: the one that its flows use already, with the right rate, or a new one. A meter that
/// is there and that no flow of ours uses is somebody else's.
async fn meter_for(
    open: &mut Connection,
    number: u32,
    rules: &FlowRules,
    before: Option<u32>,
) -> Result<Option<Meter>, Error> {
    let Some(limit) = rules.limit else { return Ok(None) };
    if let Some(before) = before {
        let meter = Meter { number: before, rate: limit.rate, burst: limit.burst };
        if open.set_meter(meter).await? {
            return Ok(Some(meter));
        }
    }
    for meter in flows::meters(number, limit) {
        if open.add_meter(meter).await? {
            return Ok(Some(meter));
        }
    }
    Err(Error::Malformed("all meters that could be the port's are somebody else's"))
}

fn sorted(fingerprints: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut fingerprints: Vec<_> = fingerprints.collect();
    fingerprints.sort_unstable();
    fingerprints
}

fn meter_of(flows: &[FlowEntry]) -> Option<u32> {
    flows.iter().find_map(|flow| flow.meter)
}
