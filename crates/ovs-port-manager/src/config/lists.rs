//! Options that hold several values: a YAML list, or one text with commas, as flags and variables write them.

use std::fmt;
use std::str::FromStr;

use port_plan::Trunks;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::{HostNames, Names};

/// The values as they are written, each by itself.
struct Items(Vec<String>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or a text with commas")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Items, E> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(Items(items.map(str::to_owned).collect()))
    }

    // One VLAN, written without a list.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Items, E> {
        Ok(Items(vec![number.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<String>()? {
            items.push(item);
        }
        Ok(Items(items))
    }
}

/// Reads a list of whatever a text can be read as.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let Items(items) = Items::deserialize(deserializer)?;
    let item = |text: String| {
        text.parse().map_err(|error| de::Error::custom(format!("'{text}': {error}")))
    };
    items.into_iter().map(item).collect::<Result<_, _>>().map(Some)
}

/// Reads a list of links' names.
pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Names>, D::Error> {
    list(deserializer).map(|names| names.map(Names))
}

/// Reads a list of hosts' names.
pub(super) fn hosts<'de, D>(deserializer: D) -> Result<Option<HostNames>, D::Error>
where
    D: Deserializer<'de>,
{
    list(deserializer).map(|names| names.map(HostNames))
}

/// Reads a list of VLANs and ranges of them.
pub(super) fn vlans<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Trunks>, D::Error> {
    let ranges: Option<Vec<Trunks>> = list(deserializer)?;
    Ok(ranges.map(|ranges| ranges.iter().flat_map(Trunks::iter).collect()))
}
