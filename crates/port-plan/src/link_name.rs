//! Names that the kernel accepts for a network link.

use std::fmt;
use std::str::FromStr;

/// The name of a network link: 1 to 15 printable ASCII bytes.
///
/// The rules are those of the kernel's `dev_valid_name` (net/core/dev.c), made a little stricter: only
/// printable ASCII, no `%` (which the kernel expands), and not `all` or `default`, which name the
/// settings of every interface under `/proc/sys/net`. A bridge obeys them too, because Open vSwitch
/// gives it an internal interface of the same name.
///
/// A name is kept in place, as there are many copies of each, and is in the order of its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName {
    /// Filled up with zeroes, which no name has.
    bytes: [u8; Self::MAX_LEN],
}

/// Why a text is not a [`LinkName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an interface name: 1 to {} printable ASCII characters without '/', ':', '%' or spaces, \
     and not '.', '..', 'all' or 'default'",
    LinkName::MAX_LEN
)]
pub struct InvalidLinkName;

impl LinkName {
    /// The longest name, in bytes (`IFNAMSIZ` - 1 of linux/if.h).
    pub const MAX_LEN: usize = 15;

    /// A name that this crate has made up and that is known to follow the rules.
    pub(crate) fn generated(text: &str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        Self::kept(text)
    }

    /// A text that follows the rules.
    fn kept(text: &str) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Self { bytes }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::MAX_LEN);
        // It was a text when it came.
        self.bytes.get(..end).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl FromStr for LinkName {
    type Err = InvalidLinkName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        let plain =
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
        let reserved = matches!(text, "." | ".." | "all" | "default");
        if fits && plain && !reserved { Ok(Self::kept(text)) } else { Err(InvalidLinkName) }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkName").field(&self.as_str()).finish()
    }
}
