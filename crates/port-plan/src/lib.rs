//! The decisions of OVS Port Manager: labels in, plan out.
//!
//! ```text
//! Container ──Desired::of──→ Desired ─┐
//!                                     ├─ plan() ─→ Plan { ports: steps, refusal }
//! Observed ───────────────────────────┘
//! ```
//!
//! This crate does no IO, reads no clock and knows no socket: everything it is told comes in as plain
//! data, and everything it answers is plain data with one text form. Its `Cargo.toml` proves it.

mod adopt;
mod by_hand;
mod container;
mod desired;
mod duplicates;
mod flow_rules;
mod forwarding;
mod glob;
mod identity;
mod kilobits;
pub mod labels;
mod lease;
mod link_name;
mod mac;
mod numbers;
mod observed;
mod plan;
mod policy;
mod pool;
mod port_config;
mod provenance;
mod registry;
mod reserved;
mod route;
mod rules;
mod spec;
mod status;
mod step;
mod trunks;
mod vlan;
mod vlans;

pub use adopt::Difference;
pub use by_hand::{ByHandPort, clear};
pub use container::{Container, ContainerId, InvalidContainerId, Network, Start, State};
pub use desired::{Desired, DesiredPorts, Refusal};
pub use duplicates::Audience;
pub use flow_rules::{Field, FlowRule, FlowRules, Limit};
pub use forwarding::{
    Breach, BridgeFacts, Controller, Forwarding, Obstacle, PortFacts, SwitchFacts,
};
pub use glob::Glob;
pub use identity::{Identity, RowMarks, identify, is_made_up};
pub use kilobits::{InvalidKilobits, Kilobits};
pub use labels::Mistake;
pub use lease::Lease;
pub use link_name::{InvalidLinkName, LinkName};
pub use mac::{InvalidMac, InvalidMacPrefix, MacAddress, MacPrefix};
pub use numbers::Numbers;
pub use observed::{
    HostEnd, Leftover, LeftoverRow, Observed, ObservedInterface, ObservedLink, ObservedPort, Owner,
    PortFlows,
};
pub use plan::{Placed, Plan, PlannedEnd, PortPlan, plan};
pub use policy::{AddressLimit, Denial, Forbidden, Policy, Rule, Source};
pub use pool::{InvalidPool, Pool};
pub use port_config::{PortColumn, PortConfig, Stray};
pub use provenance::{ImageLabels, ImageUnknown};
pub use registry::{Claim, Conflict, Holder, NumberTaken, Registry};
pub use reserved::{HostLink, HostPort, Reservation, Reserved, Why};
pub use route::Route;
pub use rules::Rules;
pub use spec::{Datapath, Defaults, InvalidDatapath, PortKey, PortSpec};
pub use status::{Backoff, Budget, Readiness};
pub use step::{HostRepair, LinkRepair, LinkSpec, Step};
pub use trunks::{InvalidTrunks, InvalidVlanMode, Trunks, VlanMode};
pub use vlan::{InvalidVlan, Vlan};
pub use vlans::Vlans;
