//! Rates and sizes of bursts.

use std::fmt;
use std::str::FromStr;

/// Thousands of bits: a size or, in each second, a rate. Written in bits, `20000k`, `20M` or `20000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kilobits(u32);

/// Why a text is not [`Kilobits`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a number of bits between 1k and 34G, in whole k, M or G, such as 20M")]
pub struct InvalidKilobits;

impl Kilobits {
    /// The highest: what fits into the 32 bits for bytes per second of the kernel's traffic control
    /// (`struct tc_ratespec`, `linux/pkt_sched.h`), rounded down.
    pub const MAX: u32 = 34_000_000;

    /// So many thousands of bits, if that is in range.
    pub fn new(kilobits: u64) -> Option<Self> {
        let kilobits = u32::try_from(kilobits).ok()?;
        (1..=Self::MAX).contains(&kilobits).then_some(Self(kilobits))
    }

    /// The number of thousands of bits.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Kilobits {
    type Err = InvalidKilobits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
        let unit = match text.strip_prefix(digits) {
            Some("") => 1,
            Some("k") => 1000,
            Some("M") => 1_000_000,
            Some("G") => 1_000_000_000,
            _ => return Err(InvalidKilobits),
        };
        // A sign would be read, too.
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| plain).ok_or(InvalidKilobits)?;
        let bits = number.checked_mul(unit).ok_or(InvalidKilobits)?;
        if bits % 1000 != 0 {
            return Err(InvalidKilobits);
        }
        Self::new(bits / 1000).ok_or(InvalidKilobits)
    }
}

impl fmt::Display for Kilobits {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            kilobits if kilobits % 1_000_000 == 0 => write!(f, "{}G", kilobits / 1_000_000),
            kilobits if kilobits % 1000 == 0 => write!(f, "{}M", kilobits / 1000),
            kilobits => write!(f, "{kilobits}k"),
        }
    }
}
