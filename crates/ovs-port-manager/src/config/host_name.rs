//! Names of hosts, as URLs have them.

use std::str::FromStr;

/// The longest name (RFC 1035, 2.3.4), and the longest part of one, in bytes.
const NAME: usize = 253;
const PART: usize = 63;

/// A host's name, such as `metrics.example.org`: without port, and without `http://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(String);

impl HostName {
    /// The name as it was written; case does not matter in names of hosts.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names of hosts, separated by commas; none if the text is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostNames(pub(crate) Vec<HostName>);

/// Why a text is not a [`HostName`].
#[derive(Debug, thiserror::Error)]
#[error(
    "not a host's name: letters, digits, '-' and '_' in parts separated by '.', without port, http:// or patterns, \
     such as metrics.example.org"
)]
pub(crate) struct InvalidHostName;

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The underscore is not RFC 1123's, but names of containers have it.
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_part = |part: &str| (1..=PART).contains(&part.len()) && part.bytes().all(letter);
        let is_name = text.len() <= NAME && text.split('.').all(is_part);
        is_name.then(|| Self(text.to_owned())).ok_or(InvalidHostName)
    }
}

impl FromStr for HostNames {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_name_and_nothing_else() {
        let long = vec!["a".repeat(63); 3].join(".");
        for name in ["metrics", "metrics.example.org", "My_Host-1", "xn--bcher-kva.example", &long]
        {
            assert!(name.parse::<HostName>().is_ok(), "{name}");
        }
        let parts = ["a"; 128].join(".");
        let part = "a".repeat(64);
        for other in [
            "",
            ".",
            "a.",
            ".a",
            "a:80",
            "http://a",
            "*.a",
            "a/b",
            "b\u{fc}cher",
            "a b",
            &parts,
            &part,
        ] {
            assert!(other.parse::<HostName>().is_err(), "{other}");
        }
        let names: HostNames = " a.example, ,b".parse().unwrap();
        assert_eq!(names.0.iter().map(HostName::as_str).collect::<Vec<_>>(), ["a.example", "b"]);
        assert!("a,b:80".parse::<HostNames>().is_err());
    }
}
