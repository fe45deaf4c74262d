//! The mark that tells a link of ours from all others: its alias (`ip link show` prints it).

use port_plan::{ContainerId, LinkName, ObservedLink, PortKey, Start};

/// The first word of the alias.
const OWNER: &str = "ovs-port-manager";
/// That of a link that was made for a command. It is left to its container's end.
const BY_HAND: &str = "ovs-port-manager/by-hand";

/// The alias of the host end of a port's link; at most 255 bytes fit (`IFALIASZ`).
pub(super) fn write(key: &PortKey, start: &Start, by_hand: bool) -> String {
    let PortKey { container, interface } = key;
    let owner = if by_hand { BY_HAND } else { OWNER };
    format!("{owner} container={container} iface={interface} start={start}")
}

/// Whose link it is, if it bears our mark.
pub(super) fn read(alias: &str) -> Option<(PortKey, Start)> {
    let mut words = alias.split(' ');
    if words.next() != Some(OWNER) {
        return None;
    }
    let mut value = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
    let container = value("container")?.parse().ok()?;
    let interface: LinkName = value("iface")?.parse().ok()?;
    let start = value("start")?.into();
    Some((PortKey { container, interface }, start))
}

/// Whether an alias is the mark of a container's link.
pub(super) fn is(alias: &str, container: &ContainerId, link: &ObservedLink) -> bool {
    read(alias).is_some_and(|(key, start)| {
        key.container == *container && key.interface == link.interface && start == link.start
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_other_aliases_do_not() {
        let container = "3f".repeat(32).parse().unwrap();
        let key = PortKey { container, interface: "eth1".parse().unwrap() };
        let start = Start::from("2026-01-02T03:04:05.678901234Z");
        let by_hand = write(&key, &start, true);
        assert!(by_hand.len() < 256);
        assert_eq!(read(&by_hand), None, "no business of the daemon's");
        let alias = write(&key, &start, false);
        assert!(alias.len() < 256);
        assert_eq!(read(&alias), Some((key, start)));
        assert_eq!(read("uplink to ovs-port-manager"), None);
        assert_eq!(read("ovs-port-manager container=3f iface=eth1 start=x"), None);
    }
}
