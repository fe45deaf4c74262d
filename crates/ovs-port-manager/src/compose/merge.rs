//! One compose file over another, and a service over the one that it extends (the Compose Specification, "Merge").

use std::collections::BTreeSet;

use super::lower::Keys;
use super::value::{Data, Map, Text, Value};

/// Takes away what a later document replaces. `at` is where `target` stands.
pub(super) fn replace(target: &mut Map, at: &mut Keys, replaces: &BTreeSet<Keys>) {
    // Most documents replace nothing, and only what their paths lead to needs a look.
    if !replaces.range(at.clone()..).next().is_some_and(|path| path.starts_with(at)) {
        return;
    }
    target.retain(|key, value| {
        at.push(key.clone());
        let stays = !replaces.contains(at);
        if let (true, Some(map)) = (stays, value.map_mut()) {
            replace(map, at, replaces);
        }
        at.pop();
        stays
    });
}

/// How values are put together.
enum Rule {
    /// Both as lists of `NAME=VALUE`, one after the other.
    Sequence,
    /// Both as mappings; a list names keys without values.
    Mapping,
    /// The one above counts.
    Override,
    /// Mappings key by key, lists one after the other, and of scalars the one above.
    Default,
}

fn rule(at: &[&str]) -> Rule {
    match at {
        ["networks" | "volumes", _, "labels"] => Rule::Sequence,
        ["services", _, rest @ ..] => match rest {
            ["deploy" | "build", "labels"]
            | ["build", "args" | "additional_contexts" | "extra_hosts"] => Rule::Sequence,
            [
                "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "environment"
                | "extra_hosts" | "label_file" | "labels" | "sysctls" | "tmpfs",
            ] => Rule::Sequence,
            ["depends_on" | "models" | "networks"] => Rule::Mapping,
            ["command" | "entrypoint"] | ["healthcheck", "test"] => Rule::Override,
            _ => Rule::Default,
        },
        _ => Rule::Default,
    }
}

/// Lays a mapping over another. `at` is where they stand.
pub(super) fn merge(under: &mut Map, over: Map, at: &mut Vec<String>) {
    for (key, value) in over {
        match under.remove(&key) {
            None => {
                under.insert(key, value);
            }
            Some(below) => {
                at.push(key);
                let merged = merge_value(below, value, at);
                if let Some(key) = at.pop() {
                    under.insert(key, merged);
                }
            }
        }
    }
}

/// Lays a value over another. `at` is where they stand.
pub(super) fn merge_value(under: Value, over: Value, at: &mut Vec<String>) -> Value {
    let keys: Vec<&str> = at.iter().map(String::as_str).collect();
    let place = over.place.clone();
    let rule = rule(&keys);
    if matches!(rule, Rule::Sequence) {
        let mut items = sequence(under);
        items.append(&mut sequence(over));
        return Value { place, data: Data::List(items) };
    }
    let data = match (rule, under.data, over.data) {
        (Rule::Mapping, under, over) => {
            let mut map = mapping(under);
            merge(&mut map, mapping(over), at);
            Data::Map(map)
        }
        (Rule::Default, under, Data::Null) => under,
        (Rule::Default, Data::Map(mut map), Data::Map(over)) => {
            merge(&mut map, over, at);
            Data::Map(map)
        }
        (Rule::Default, Data::List(mut items), Data::List(mut over)) => {
            items.append(&mut over);
            Data::List(items)
        }
        (_, _, over) => over,
    };
    Value { place, data }
}

/// A mapping as a list of `NAME=VALUE`, a text as a list of one.
fn sequence(value: Value) -> Vec<Value> {
    match value.data {
        Data::List(items) => items,
        Data::Map(map) => {
            let mut items: Vec<Value> = map.into_iter().filter_map(item).collect();
            items.sort_by(|one, other| one.text().cmp(&other.text()));
            items
        }
        Data::Text(_) | Data::File(_) => vec![value],
        _ => Vec::new(),
    }
}

fn item((name, value): (String, Value)) -> Option<Value> {
    let text = match &value.data {
        Data::Null => Text { text: name, unset: Vec::new() },
        _ => {
            let Text { text, unset } = value.print()?;
            Text { text: format!("{name}={text}"), unset }
        }
    };
    Some(Value { place: value.place, data: Data::Text(text) })
}

/// A list of names as a mapping without values.
fn mapping(data: Data) -> Map {
    match data {
        Data::Map(map) => map,
        Data::List(items) => items
            .into_iter()
            .filter_map(|item| Some((item.text()?.to_owned(), Value { data: Data::Null, ..item })))
            .collect(),
        _ => Map::new(),
    }
}
