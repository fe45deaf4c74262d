//! Sets of VLANs, and how a port uses them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::vlan::Vlan;

/// A set of VLANs, written `10,20,100-110`; 0 stands for frames without a tag (ovs-vswitchd.conf.db(5), Port
/// column `trunks`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trunks(BTreeSet<u16>);

/// Why a text is not a set of VLANs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not VLANs and ranges of them between 0 (untagged) and {}, such as 10,20,100-110",
    Vlan::MAX
)]
pub struct InvalidTrunks;

impl Trunks {
    /// Frames without a tag alone.
    pub fn untagged() -> Self {
        Self([0].into())
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u16) -> bool {
        self.0.contains(&number)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers in it.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }
}

impl FromIterator<u16> for Trunks {
    fn from_iter<T: IntoIterator<Item = u16>>(numbers: T) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl FromStr for Trunks {
    type Err = InvalidTrunks;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse::<u16>() {
            Ok(number) if number <= Vlan::MAX => Ok(number),
            _ => Err(InvalidTrunks),
        };
        let mut numbers = BTreeSet::new();
        for entry in text.split(',') {
            let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(InvalidTrunks);
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Trunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for number in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        for (position, (first, last)) in ranges.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// What a port does with tags (ovs-vswitchd.conf.db(5), Port column `vlan_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanMode {
    /// Frames come and go without a tag, in one VLAN.
    Access,
    /// Frames come and go with their tags.
    Trunk,
    /// As a trunk; frames that come without a tag are in the native VLAN, whose frames go with theirs.
    NativeTagged,
    /// As a trunk; frames of the native VLAN come and go without a tag.
    NativeUntagged,
    /// Frames come and go as they are, tags included, inside one VLAN (802.1ad).
    Dot1qTunnel,
}

/// Why a text is not a [`VlanMode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not one of access, trunk, native-tagged, native-untagged, dot1q-tunnel")]
pub struct InvalidVlanMode;

impl VlanMode {
    /// The value of the column `vlan_mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Trunk => "trunk",
            Self::NativeTagged => "native-tagged",
            Self::NativeUntagged => "native-untagged",
            Self::Dot1qTunnel => "dot1q-tunnel",
        }
    }
}

impl FromStr for VlanMode {
    type Err = InvalidVlanMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [
            Self::Access,
            Self::Trunk,
            Self::NativeTagged,
            Self::NativeUntagged,
            Self::Dot1qTunnel,
        ];
        all.into_iter().find(|mode| mode.as_str() == text).ok_or(InvalidVlanMode)
    }
}

impl fmt::Display for VlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
