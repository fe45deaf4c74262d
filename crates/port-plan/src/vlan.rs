//! VLAN numbers.

use std::fmt;
use std::str::FromStr;

/// An IEEE 802.1Q VLAN: 1 to 4094 (0 and 4095 are reserved).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vlan(u16);

/// Why a text is not a [`Vlan`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a number between {} and {}", Vlan::MIN, Vlan::MAX)]
pub struct InvalidVlan;

impl Vlan {
    /// The lowest VLAN.
    pub const MIN: u16 = 1;
    /// The highest VLAN.
    pub const MAX: u16 = 4094;

    /// The VLAN's number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for Vlan {
    type Err = InvalidVlan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number @ Self::MIN..=Self::MAX) => Ok(Self(number)),
            _ => Err(InvalidVlan),
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
