//! Whose a port is, by all that tells it: the marks of its row, the mark of its link, and its name.
//!
//! None of them can be written by a container: the rows are OVSDB's, and the alias of a link in the host is the
//! host's. But people and programs on the host can, by mistake; so each of them restores the others.
//!
//! Where they contradict each other, the link's mark counts: the link is what leads into the container, and its mark was
//! there before its row was. Only if the row and the name agree on another container, the link is outvoted.

use crate::container::{ContainerId, Start};
use crate::link_name::LinkName;
use crate::observed::Owner;
use crate::spec::PortKey;

/// What a port's Interface row says of whose it is (`external_ids`); nothing of what cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMarks {
    /// `owner`.
    pub owner: Owner,
    /// `container_id`.
    pub container: Option<ContainerId>,
    /// `container_iface`.
    pub interface: Option<LinkName>,
    /// `container_start`.
    pub start: Option<Start>,
    /// There is a `mac_address`, too.
    pub has_mac: bool,
}

/// A port of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub key: PortKey,
    /// The start that it was made for, as far as that is known.
    pub start: Option<Start>,
}

/// Whose port this is, if it is one of ours. `link` is what the mark of the link of its name says, if it has one.
pub fn identify(
    name: &LinkName,
    row: &RowMarks,
    link: Option<&(PortKey, Start)>,
) -> Option<Identity> {
    let by_row = row.identity();
    match (link, by_row) {
        (Some((key, _)), Some(row)) if outvoted(name, key, &row.key) => Some(row),
        (Some((key, start)), _) => Some(Identity { key: key.clone(), start: Some(start.clone()) }),
        (None, row) => row,
    }
}

/// Whether the row and the name of a port agree on another container than its link does.
fn outvoted(name: &LinkName, link: &PortKey, row: &PortKey) -> bool {
    begins(name, &row.container) && !begins(name, &link.container)
}

/// Whether a port's name begins with a container's id, as those do that this crate makes up.
fn begins(name: &LinkName, container: &ContainerId) -> bool {
    is_made_up(name) && name.as_str().as_bytes().get(..8) == container.as_str().as_bytes().get(..8)
}

/// Whether a name looks like one that this crate makes up.
pub fn is_made_up(name: &LinkName) -> bool {
    let Some((head, tail)) = name.as_str().split_at_checked(8) else { return false };
    let Some(middle) = tail.strip_suffix("_l") else { return false };
    let digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    head.bytes().all(|byte| digit(byte) && byte.is_ascii_hexdigit())
        && middle.len() == 5
        && middle.bytes().all(digit)
}

impl RowMarks {
    /// What the row alone says. One that has lost its owner is still ours by two marks that nobody else makes.
    fn identity(&self) -> Option<Identity> {
        let ours = match self.owner {
            Owner::Us => true,
            Owner::Command => false,
            Owner::Other => self.start.is_some() && self.has_mac,
        };
        let container = self.container.clone().filter(|_| ours)?;
        // Which interface it was for matters no more without its link.
        let interface = self.interface.clone().unwrap_or_else(|| LinkName::generated("unknown"));
        Some(Identity { key: PortKey { container, interface }, start: self.start.clone() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(digits: &str) -> ContainerId {
        digits.repeat(8).parse().unwrap()
    }

    fn key(digits: &str, interface: &str) -> PortKey {
        PortKey { container: id(digits), interface: interface.parse().unwrap() }
    }

    fn whole() -> RowMarks {
        RowMarks {
            owner: Owner::Us,
            container: Some(id("3f2a9c1b")),
            interface: "eth1".parse().ok(),
            start: Some("now".into()),
            has_mac: true,
        }
    }

    fn wiped() -> RowMarks {
        let owner = Owner::Other;
        RowMarks { owner, container: None, interface: None, start: None, has_mac: false }
    }

    /// The ways to lose or forge one mark of a row, or all of them.
    fn harmed() -> impl Strategy<Value = RowMarks> {
        prop::sample::select(vec![
            wiped(),
            RowMarks { owner: Owner::Other, ..whole() },
            RowMarks { container: None, ..whole() },
            RowMarks { container: Some(id("0b0b0b0b")), ..whole() },
            RowMarks { interface: None, ..whole() },
            RowMarks { interface: "eth9".parse().ok(), ..whole() },
            RowMarks { start: None, ..whole() },
            RowMarks { start: Some("then".into()), ..whole() },
        ])
    }

    fn ours() -> Option<Identity> {
        Some(Identity { key: key("3f2a9c1b", "eth1"), start: Some("now".into()) })
    }

    proptest! {
        #[test]
        fn whatever_happens_to_the_row_the_link_restores_it(
            row in harmed(),
            // As it is made, as somebody else made it before it was adopted, and of another container.
            name in prop::sample::select(vec!["3f2a9c1babcde_l", "vm7", "77777777aaaaa_l"]),
        ) {
            let link = (key("3f2a9c1b", "eth1"), Start::from("now"));
            prop_assert_eq!(identify(&name.parse().unwrap(), &row, Some(&link)), ours());
        }

        #[test]
        fn whatever_happens_to_the_link_the_row_and_the_name_restore_it(
            link in prop::option::of(prop::sample::select(vec!["0b0b0b0b", "12345678"])),
        ) {
            let link = link.map(|digits| (key(digits, "eth1"), Start::from("then")));
            let name = "3f2a9c1babcde_l".parse().unwrap();
            prop_assert_eq!(identify(&name, &whole(), link.as_ref()), ours());
        }
    }

    #[test]
    fn a_row_that_has_lost_one_mark_and_its_link_is_still_found() {
        let name = "3f2a9c1babcde_l".parse().unwrap();
        let container = |row: &RowMarks| identify(&name, row, None).map(|it| it.key.container);
        let ours = Some(id("3f2a9c1b"));
        assert_eq!(container(&RowMarks { owner: Owner::Other, ..whole() }), ours);
        assert_eq!(container(&RowMarks { interface: None, ..whole() }), ours);
        assert_eq!(container(&RowMarks { start: None, ..whole() }), ours);
        let other = Some(id("0b0b0b0b"));
        assert_eq!(container(&RowMarks { container: other.clone(), ..whole() }), other);
    }

    #[test]
    fn what_others_make_is_theirs() {
        let ovs_docker = RowMarks { start: None, has_mac: false, owner: Owner::Other, ..whole() };
        let command = RowMarks { owner: Owner::Command, ..whole() };
        for row in [wiped(), ovs_docker, command] {
            for name in ["3f2a9c1babcde_l", "eth0"] {
                assert_eq!(identify(&name.parse().unwrap(), &row, None), None, "{row:?}");
            }
        }
    }

    #[test]
    fn names_that_this_crate_makes_up_are_recognised() {
        for (name, made_up) in [
            ("3f2a9c1babcde_l", true),
            ("3f2a9c1bab0z9_l", true),
            ("zz2a9c1babcde_l", false),
            ("3F2A9C1Babcde_l", false),
            ("3f2a9c1babcd_l", false),
            ("vethf2a9c1b", false),
        ] {
            assert_eq!(is_made_up(&name.parse().unwrap()), made_up, "{name}");
        }
    }
}
