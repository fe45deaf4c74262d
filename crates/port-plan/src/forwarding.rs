//! Whether a port that ovs-vswitchd has taken forwards anything, by what is known of it and of its bridge.
//!
//! What only the switch's flows can tell is not guessed: while a controller is connected, or a flow of somebody
//! else's is there, a port counts as one that forwards.

use std::fmt;

use crate::link_name::LinkName;

/// What is known of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortFacts {
    /// The host's end of its link is down (`admin_state`).
    pub down: bool,
    /// Its link has no carrier (`link_state`): the other end is down.
    pub no_carrier: bool,
    /// It is not to receive (`OFPPC_NO_RECV`; `ovs-ofctl mod-port BRIDGE PORT no-receive`).
    pub no_receive: bool,
    /// Nothing is to be sent to it (`OFPPC_NO_FWD`; `ovs-ofctl mod-port BRIDGE PORT no-forward`).
    pub no_forward: bool,
    /// The rapid spanning tree protocol has not let it forward (`rstp_status:rstp_port_state`).
    pub discarding: bool,
    /// It has flow rules, or a limit that is one.
    pub guarded: bool,
    /// Among them are those of port security.
    pub secured: bool,
}

/// What is known of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeFacts {
    /// Its name.
    pub name: LinkName,
    /// Without its controllers it keeps to the flows that there are (`fail_mode=secure`), instead of becoming an
    /// ordinary switch.
    pub secure: bool,
    /// Its primary controllers.
    pub controllers: Vec<Controller>,
    /// What ovs-vswitchd itself tells.
    pub switch: SwitchFacts,
    /// ovs-vswitchd waits for flows to be restored (`other_config:flow-restore-wait`).
    pub awaits_flows: bool,
    /// The table of the flow rules has flows of somebody else's.
    pub foreign_rules: bool,
}

/// A controller of a bridge (ovs-vswitchd.conf.db(5), Controller).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Where it is.
    pub target: String,
    /// It is connected.
    pub connected: bool,
    /// It is reached through the bridge, by flows that nobody sees and that come before all others.
    pub in_band: bool,
}

/// What ovs-vswitchd tells of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SwitchFacts {
    /// Nobody could ask it, or nobody has yet.
    #[default]
    Unknown,
    /// It does not run, or it hangs.
    Silent,
    /// It has so many flows in the table that packets come to first, not counting ours.
    Flows(u32),
}

/// How a port forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// Nothing is known that keeps it from that.
    Works,
    /// Nothing passes.
    Blocked(Obstacle),
    /// Packets pass that its flow rules would drop.
    Unguarded(Breach),
}

/// What keeps a port from forwarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// See [`SwitchFacts::Silent`].
    Silent,
    /// See [`BridgeFacts::awaits_flows`].
    AwaitsFlows,
    /// The bridge has no flow by which a packet could pass, and is to have none from a controller.
    NoFlows {
        /// The bridge.
        bridge: LinkName,
        /// Its `fail_mode` is `secure`.
        secure: bool,
    },
    /// The bridge has no flow by which a packet could pass, and its controllers are away.
    ControllerAway {
        /// The bridge.
        bridge: LinkName,
        /// Its first controller.
        target: String,
    },
    /// See [`PortFacts::down`].
    Down,
    /// See [`PortFacts::no_carrier`].
    NoCarrier,
    /// See [`PortFacts::no_receive`].
    NoReceive(LinkName),
    /// See [`PortFacts::no_forward`].
    NoForward(LinkName),
    /// See [`PortFacts::discarding`].
    Discarding(LinkName),
}

/// What gets around a port's flow rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// The bridge acts as an ordinary switch while its controllers are away, by a flow above all others.
    FailOpen {
        /// The bridge.
        bridge: LinkName,
        /// Its first controller.
        target: String,
    },
    /// The flows for a controller that is reached through the bridge let ARP pass that seems to be of the bridge's or of the
    /// controller's.
    InBand {
        /// The bridge.
        bridge: LinkName,
        /// The controller.
        target: String,
    },
    /// See [`BridgeFacts::foreign_rules`]. What they let pass, nobody can tell.
    ForeignRules(LinkName),
}

impl Forwarding {
    /// How a port forwards.
    pub fn of(port: &PortFacts, bridge: &BridgeFacts) -> Self {
        match Obstacle::of_bridge(bridge).or_else(|| Obstacle::of_port(port, &bridge.name)) {
            Some(obstacle) => Self::Blocked(obstacle),
            None if port.guarded => Breach::of(port, bridge).map_or(Self::Works, Self::Unguarded),
            None => Self::Works,
        }
    }

    /// Whether that is so for all ports of the bridge.
    pub fn is_of_bridge(&self) -> bool {
        match self {
            Self::Works => false,
            Self::Unguarded(_) => true,
            Self::Blocked(obstacle) => match obstacle {
                Obstacle::Silent
                | Obstacle::AwaitsFlows
                | Obstacle::NoFlows { .. }
                | Obstacle::ControllerAway { .. } => true,
                Obstacle::Down
                | Obstacle::NoCarrier
                | Obstacle::NoReceive(_)
                | Obstacle::NoForward(_)
                | Obstacle::Discarding(_) => false,
            },
        }
    }

    /// Whether the container itself may have caused it: that is nobody else's concern.
    pub fn is_by_container(&self) -> bool {
        matches!(self, Self::Blocked(Obstacle::NoCarrier | Obstacle::Discarding(_)))
    }
}

impl Obstacle {
    fn of_bridge(bridge: &BridgeFacts) -> Option<Self> {
        let BridgeFacts { name, secure, controllers, switch, awaits_flows, foreign_rules: _ } =
            bridge;
        let away = !controllers.iter().any(|controller| controller.connected);
        match switch {
            SwitchFacts::Silent => Some(Self::Silent),
            _ if *awaits_flows => Some(Self::AwaitsFlows),
            // With a controller that is away, an ordinary switch takes over, by a flow that is not counted.
            SwitchFacts::Flows(0) if away && (*secure || controllers.is_empty()) => {
                let bridge = name.clone();
                Some(match controllers.first() {
                    Some(controller) => {
                        Self::ControllerAway { bridge, target: controller.target.clone() }
                    }
                    None => Self::NoFlows { bridge, secure: *secure },
                })
            }
            SwitchFacts::Flows(_) | SwitchFacts::Unknown => None,
        }
    }

    fn of_port(port: &PortFacts, bridge: &LinkName) -> Option<Self> {
        match port {
            PortFacts { down: true, .. } => Some(Self::Down),
            PortFacts { no_receive: true, .. } => Some(Self::NoReceive(bridge.clone())),
            PortFacts { no_forward: true, .. } => Some(Self::NoForward(bridge.clone())),
            PortFacts { no_carrier: true, .. } => Some(Self::NoCarrier),
            PortFacts { discarding: true, .. } => Some(Self::Discarding(bridge.clone())),
            _ => None,
        }
    }
}

impl Breach {
    fn of(port: &PortFacts, bridge: &BridgeFacts) -> Option<Self> {
        if bridge.foreign_rules {
            return Some(Self::ForeignRules(bridge.name.clone()));
        }
        let first = bridge.controllers.first()?;
        let connected = bridge.controllers.iter().any(|controller| controller.connected);
        let name = bridge.name.clone();
        if !connected && !bridge.secure {
            return Some(Self::FailOpen { bridge: name, target: first.target.clone() });
        }
        let mut controllers = bridge.controllers.iter();
        let in_band = controllers.find(|controller| controller.in_band && port.secured)?;
        Some(Self::InBand { bridge: name, target: in_band.target.clone() })
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.connected { "connected: its flows decide what passes" } else { "away" };
        write!(f, "{} ({how})", self.target)
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("packets pass"),
            // The kernel goes on with what it was told of connections that there were before.
            Self::Blocked(obstacle @ (Obstacle::Silent | Obstacle::AwaitsFlows)) => {
                write!(f, "nothing new passes: {obstacle}")
            }
            Self::Blocked(obstacle) => write!(f, "nothing passes: {obstacle}"),
            Self::Unguarded(breach) => breach.fmt(f),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str(
                "ovs-vswitchd does not answer; is it running? (systemctl status openvswitch-switch)",
            ),
            Self::AwaitsFlows => f.write_str(
                "ovs-vswitchd waits for its flows to be restored; when they are, or to go on without: \
                 ovs-vsctl remove Open_vSwitch . other_config flow-restore-wait",
            ),
            Self::NoFlows { bridge, secure: true } => write!(
                f,
                "bridge {bridge} has no flows, and its fail_mode is secure; add flows, or make it an ordinary switch: \
                 ovs-vsctl del-fail-mode {bridge}"
            ),
            Self::NoFlows { bridge, secure: false } => write!(
                f,
                "bridge {bridge} has no flows, as somebody has deleted them; make it an ordinary switch again: \
                 ovs-ofctl add-flow {bridge} actions=normal"
            ),
            Self::ControllerAway { bridge, target } => write!(
                f,
                "bridge {bridge} has no flows, its controller {target} is away, and its fail_mode is secure; start the \
                 controller, or make it an ordinary switch: ovs-vsctl del-controller {bridge} -- del-fail-mode {bridge}"
            ),
            Self::Down => f.write_str("the host's end of its link is down (ip link set PORT up)"),
            Self::NoCarrier => f.write_str("the container's end of its link is down"),
            Self::NoReceive(bridge) => write!(
                f,
                "somebody has set that it is not to receive; undo it: ovs-ofctl mod-port {bridge} PORT receive"
            ),
            Self::NoForward(bridge) => write!(
                f,
                "somebody has set that nothing is to be sent to it; undo it: ovs-ofctl mod-port {bridge} PORT forward"
            ),
            Self::Discarding(bridge) => write!(
                f,
                "the spanning tree of bridge {bridge} (rstp_enable) has not let it forward; for a new port that takes a \
                 few seconds"
            ),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailOpen { bridge, target } => write!(
                f,
                "packets pass that its flow rules would drop, as controller {target} of bridge {bridge} is away and its \
                 fail_mode is not secure; start the controller, or: ovs-vsctl set-fail-mode {bridge} secure"
            ),
            Self::ForeignRules(bridge) => write!(
                f,
                "somebody else has flows in table 200 of bridge {bridge}, the one of the flow rules: what they let pass is \
                 not known; delete those of another cookie: ovs-ofctl dump-flows {bridge} table=200"
            ),
            Self::InBand { bridge, target } => write!(
                f,
                "ARP passes that its flow rules would drop, as bridge {bridge} reaches its controller {target} in-band; \
                 ovs-vsctl set bridge {bridge} other_config:disable-in-band=true"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(secure: bool, controllers: &[bool], flows: u32) -> BridgeFacts {
        let controller = |connected: &bool| Controller {
            target: "tcp:192.0.2.1:6653".to_owned(),
            connected: *connected,
            in_band: false,
        };
        BridgeFacts {
            name: "ovsbr0".parse().unwrap(),
            secure,
            controllers: controllers.iter().map(controller).collect(),
            switch: SwitchFacts::Flows(flows),
            awaits_flows: false,
            foreign_rules: false,
        }
    }

    fn told(port: PortFacts, bridge: &BridgeFacts) -> String {
        Forwarding::of(&port, bridge).to_string()
    }

    #[test]
    fn a_bridge_without_flows_forwards_nothing_unless_a_controller_is_there() {
        let port = PortFacts::default();
        assert!(told(port, &bridge(true, &[], 0)).contains("ovs-vsctl del-fail-mode ovsbr0"));
        assert!(told(port, &bridge(false, &[], 0)).contains("ovs-ofctl add-flow ovsbr0"));
        let away = told(port, &bridge(true, &[false], 0));
        assert!(away.contains("its controller tcp:192.0.2.1:6653 is away"), "{away}");
        for others in [
            bridge(true, &[], 1),
            bridge(false, &[], 1),
            bridge(true, &[false, true], 0),
            bridge(true, &[false], 7),
            bridge(false, &[false], 0),
            BridgeFacts { switch: SwitchFacts::Unknown, ..bridge(true, &[], 0) },
        ] {
            assert_eq!(told(port, &others), "packets pass", "{others:?}");
        }
    }

    #[test]
    fn what_gets_around_flow_rules_concerns_ports_that_have_some() {
        let guarded = PortFacts { guarded: true, secured: true, ..PortFacts::default() };
        let fail_open = bridge(false, &[false], 0);
        assert!(told(guarded, &fail_open).contains("set-fail-mode ovsbr0 secure"));
        assert_eq!(told(PortFacts::default(), &fail_open), "packets pass");
        assert_eq!(told(guarded, &bridge(false, &[true], 0)), "packets pass");
        assert_eq!(told(guarded, &bridge(true, &[false], 3)), "packets pass");
        let mut in_band = bridge(true, &[true], 3);
        in_band.controllers[0].in_band = true;
        assert!(told(guarded, &in_band).contains("disable-in-band=true"));
        let limited = PortFacts { secured: false, ..guarded };
        assert_eq!(told(limited, &in_band), "packets pass");
        let foreign = BridgeFacts { foreign_rules: true, ..bridge(false, &[], 1) };
        assert!(told(limited, &foreign).contains("dump-flows ovsbr0 table=200"));
        assert_eq!(told(PortFacts::default(), &foreign), "packets pass");
    }

    #[test]
    fn each_obstacle_of_a_port_is_told_and_what_a_container_can_do_is_nobody_elses_concern() {
        let (none, well) = (PortFacts::default(), bridge(false, &[], 1));
        let cases = [
            (PortFacts { down: true, ..none }, "host's end", false),
            (PortFacts { no_carrier: true, ..none }, "container's end", true),
            (PortFacts { no_receive: true, ..none }, "mod-port ovsbr0 PORT receive", false),
            (PortFacts { no_forward: true, ..none }, "mod-port ovsbr0 PORT forward", false),
            (PortFacts { discarding: true, ..none }, "spanning tree", true),
        ];
        for (port, text, by_container) in cases {
            let forwarding = Forwarding::of(&port, &well);
            assert!(forwarding.to_string().contains(text), "{forwarding}");
            assert_eq!(
                (forwarding.is_by_container(), forwarding.is_of_bridge()),
                (by_container, false)
            );
        }
        for switch in [
            BridgeFacts { switch: SwitchFacts::Silent, ..well.clone() },
            BridgeFacts { awaits_flows: true, ..well },
        ] {
            let forwarding = Forwarding::of(&none, &switch);
            assert!(forwarding.is_of_bridge() && told(none, &switch).contains("ovs-vswitchd"));
        }
    }
}
