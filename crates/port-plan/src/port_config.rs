//! The settings of a port's rows, as they are wanted and as they are found.

use std::fmt;

use crate::vlan::Vlan;

/// The settings of a port's rows that this program manages (ovs-vswitchd.conf.db(5)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortConfig {
    /// Port column `tag`.
    pub tag: Option<Vlan>,
}

/// One of the settings of a port's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortColumn {
    /// See [`PortConfig::tag`].
    Tag(Option<Vlan>),
}

impl PortConfig {
    /// All settings, each by itself.
    pub fn columns(&self) -> Vec<PortColumn> {
        let Self { tag } = self;
        vec![PortColumn::Tag(*tag)]
    }

    /// The settings that are not what a new row has anyway.
    pub fn given(&self) -> Vec<PortColumn> {
        self.changes_from(&Self::default())
    }

    /// The settings that differ from those found.
    pub fn changes_from(&self, found: &Self) -> Vec<PortColumn> {
        let pairs = self.columns().into_iter().zip(found.columns());
        pairs.filter(|(wanted, found)| wanted != found).map(|(wanted, _)| wanted).collect()
    }
}

impl fmt::Display for PortColumn {
    /// As an argument of `ovs-vsctl set`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag={}", OrNone(tag.as_ref())),
        }
    }
}

/// A value, or the empty set as `ovs-vsctl` writes it.
struct OrNone<'a, T>(Option<&'a T>);

impl<T: fmt::Display> fmt::Display for OrNone<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("[]"),
        }
    }
}
