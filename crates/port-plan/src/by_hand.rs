//! Ports that a person has made by a command, for containers without labels: they live as long as their
//! container does.

use crate::container::Start;
use crate::link_name::LinkName;
use crate::step::Step;

/// A port that was made by a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHandPort {
    /// Its name, and that of its link in the host.
    pub name: LinkName,
    /// The bridge that it is on.
    pub bridge: LinkName,
    /// The interface's name inside the container.
    pub interface: LinkName,
    /// Which start of the container it was made for.
    pub start: Start,
}

/// What is to be done about such ports of one container, of which this start runs, if any: one that was made
/// for the start that runs is left alone, whatever it is; one of an earlier start has nothing at its other end.
pub fn clear(ports: &[ByHandPort], running: Option<&Start>) -> Vec<(LinkName, Step)> {
    ports
        .iter()
        .filter(|port| Some(&port.start) != running)
        .map(|port| {
            let step = Step::DelPort { bridge: port.bridge.clone(), port: port.name.clone() };
            (port.interface.clone(), step)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_goes_with_the_start_that_it_was_made_for() {
        let port = |name: &str, start: &str| ByHandPort {
            name: name.parse().unwrap(),
            bridge: "ovsbr0".parse().unwrap(),
            interface: "eth1".parse().unwrap(),
            start: start.into(),
        };
        let ports = [port("one_l", "first"), port("two_l", "second")];
        let steps = |running: Option<&str>| {
            let running = running.map(Into::into);
            let steps = clear(&ports, running.as_ref());
            steps.into_iter().map(|(_, step)| step.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(steps(Some("second")), ["del-port ovsbr0 one_l"]);
        assert_eq!(steps(None), ["del-port ovsbr0 one_l", "del-port ovsbr0 two_l"]);
    }
}
