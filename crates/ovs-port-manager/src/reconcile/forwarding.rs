//! Whether ports that are ready forward: what is in their way is told once it stays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ovsdb::Change;
use ovsdb::tables::OpenVSwitch;
use port_plan::{Datapath, Forwarding, LinkName, PortFacts, PortKey, PortSpec};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Reconciler;
use super::timers::Timer;
use crate::board::{Hindrance, Phase};
use crate::bridge_watch::{BridgeWatch, Told};
use crate::switch::Switch;

/// News come together; what is looked at is how all stands a moment later.
pub(super) const SOON: Duration = Duration::from_millis(200);
/// How long something must be in the way before it is told: a link that goes down is put right at once.
const SETTLED: Duration = Duration::from_millis(500);

/// What is remembered of what is in the way of ports.
pub(super) struct Vigil {
    watch: BridgeWatch,
    hindered: HashMap<PortKey, Hindered>,
}

/// A port with something in its way.
struct Hindered {
    spec: Arc<PortSpec>,
    port: LinkName,
    forwarding: Forwarding,
    since: Instant,
    told: bool,
}

/// What is told of many ports in one line.
type Lines = BTreeMap<(LinkName, String), usize>;

impl Vigil {
    pub(super) fn new(ovsdb: &ovsdb::Endpoint) -> Self {
        Self { watch: BridgeWatch::new(ovsdb), hindered: HashMap::new() }
    }

    /// Waits until ovs-vswitchd tells something else. May be dropped at any time.
    pub(super) fn news(&self) -> impl Future<Output = ()> + use<> {
        self.watch.news()
    }
}

impl Reconciler {
    pub(super) fn forwarding_may_differ(&mut self) {
        self.timers.set_sooner(Timer::Forwarding, SOON);
    }

    /// Sees how all ports forward that are ready, and tells what has changed.
    pub(super) fn see_forwarding(&mut self) {
        let ports = || self.entries.values().flat_map(|entry| &entry.ports);
        let bridges: HashSet<_> = ports().map(|it| it.attached.spec.bridge.clone()).collect();
        self.vigil.watch.follow(&bridges);
        let told = bridges.into_iter().map(|bridge| {
            let told = self.vigil.watch.told(&bridge);
            (bridge, told)
        });
        let told: HashMap<_, _> = told.collect();
        let switch = &self.observer.world.switch;
        let mut before = std::mem::take(&mut self.vigil.hindered);
        let mut now = HashMap::new();
        for port in ports().filter(|port| port.ready) {
            let attached = &port.attached;
            let Some(told) = told.get(&attached.spec.bridge) else { continue };
            let forwarding = forwarding(switch, &attached.spec, &attached.port, told);
            if forwarding == Forwarding::Works {
                continue;
            }
            let (spec, port) = (Arc::clone(&attached.spec), attached.port.clone());
            let known = before.remove(&spec.key).filter(|known| known.port == port);
            let since = known.as_ref().map_or_else(Instant::now, |known| known.since);
            let told = known.is_some_and(|known| known.told && known.forwarding == forwarding);
            now.insert(spec.key.clone(), Hindered { spec, port, forwarding, since, told });
        }
        self.vigil.hindered = now;
        self.tell_of_hindered();
        self.tell_of_freed(before);
    }

    /// Tells what has been in the way for long enough.
    fn tell_of_hindered(&mut self) {
        let mut lines = Lines::new();
        let mut next: Option<Duration> = None;
        for hindered in self.vigil.hindered.values_mut().filter(|it| !it.told) {
            let Hindered { spec, port, forwarding, since, told } = hindered;
            let left = SETTLED.saturating_sub(since.elapsed());
            if !left.is_zero() {
                next = Some(next.map_or(left, |next| next.min(left)));
                continue;
            }
            *told = true;
            let phase = match forwarding {
                Forwarding::Unguarded(_) => Phase::Unguarded,
                Forwarding::Blocked(_) | Forwarding::Works => Phase::Blocked,
            };
            let reason = forwarding.to_string().replace("PORT", port.as_str());
            let (id, name) = (spec.key.container.short(), &*spec.container_name);
            let by_container = forwarding.is_by_container();
            if forwarding.is_of_bridge() {
                *lines.entry((spec.bridge.clone(), reason.clone())).or_default() += 1;
            } else if by_container {
                debug!(container = id, name, %port, "{reason}");
            } else {
                warn!(container = id, name, %port, "{reason}");
            }
            let since = SystemTime::now() - since.elapsed();
            self.board.hindered(spec, Some(Hindrance { phase, reason, by_container, since }));
        }
        for ((bridge, reason), ports) in lines {
            warn!(%bridge, ports, "{reason}");
        }
        if let Some(next) = next {
            self.timers.set_sooner(Timer::Forwarding, next);
        }
    }

    /// Tells of what is no longer in the way.
    fn tell_of_freed(&mut self, freed: HashMap<PortKey, Hindered>) {
        let mut lines = BTreeMap::new();
        for Hindered { spec, port, forwarding, .. } in freed.into_values().filter(|it| it.told) {
            let entry = self.entries.get(&spec.key.container);
            let known = entry.and_then(|entry| entry.port(&spec.key.interface));
            // One that is gone, or not ready any more, is told of elsewhere.
            if known.is_none_or(|known| !known.ready || known.attached.port != port) {
                self.board.forget_hindrance(&spec.key);
                continue;
            }
            self.board.hindered(&spec, None);
            let (id, name) = (spec.key.container.short(), &*spec.container_name);
            if forwarding.is_of_bridge() {
                *lines.entry(spec.bridge.clone()).or_insert(0_usize) += 1;
            } else if forwarding.is_by_container() {
                debug!(container = id, name, %port, "packets pass again");
            } else {
                info!(container = id, name, %port, "packets pass again");
            }
        }
        for (bridge, ports) in lines {
            info!(%bridge, ports, "packets pass as they should again");
        }
    }
}

/// How a port forwards that ovs-vswitchd has taken, with what that tells of its bridge.
pub(crate) fn forwarding(
    switch: &Switch,
    spec: &PortSpec,
    port: &LinkName,
    told: &Told,
) -> Forwarding {
    let limited = spec.config.ingress_rate.is_some();
    let guarded = spec.secured || limited && switch.bridge(&spec.bridge) == Some(Datapath::Netdev);
    let bridge = switch.bridge_facts(&spec.bridge, told);
    let (Some(bridge), Some(facts)) = (bridge, switch.port_facts(port, told)) else {
        return Forwarding::Works;
    };
    Forwarding::of(&PortFacts { guarded, secured: spec.secured, ..facts }, &bridge)
}

/// Whether ovs-vswitchd may wait for flows now, or not any more: it counts in the same row whenever it is asked to go over
/// its configuration.
pub(super) fn waits_differently(change: &Change<OpenVSwitch>) -> bool {
    let config = |row: &OpenVSwitch| row.other_config.clone();
    change.old.as_deref().map(config) != change.new.as_deref().map(config)
}
