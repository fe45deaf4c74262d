//! End to end: the real daemon between a real Docker and a real Open vSwitch, each test in a lab of its
//! own, judged by `ovs-vsctl`, `ip -j` and what containers can reach.

mod access;
mod addresses;
mod adoption;
mod answers;
mod attach;
mod beside_docker;
mod bridges;
mod by_hand;
mod docs;
mod doctor;
mod drift;
mod engines;
mod faults;
mod filter;
mod flow_rules;
mod forged;
mod frames;
mod identity;
mod images;
mod inside;
mod interfaces;
mod labels;
mod leadership;
mod policy;
mod privileges;
mod renames;
mod repairs;
mod security;
mod served;
mod silence;
mod stage;
mod startup;
mod steering;
mod traffic;
mod vlans;
