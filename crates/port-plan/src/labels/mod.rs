//! The labels: how they are named, which there are, and how a container's are read.
//!
//! Labels are untrusted: whoever can start a container, or publish an image, writes them. The mistakes
//! of a container are reported at once, and a container with any mistake gets nothing (it fails closed).

mod judge;
mod mistake;
mod name;
mod read;
mod table;
mod wanted;

use std::collections::BTreeMap;

use ipnet::IpNet;

pub use mistake::Mistake;
pub use name::PREFIX;
pub use table::{LABELS, Label};
pub use wanted::{Addressing, Wanted};

use crate::link_name::LinkName;
use crate::spec::Defaults;
use name::Name;

/// What the names of the labels begin with by which Docker Compose knows its containers.
pub const COMPOSE: &str = "com.docker.compose.";

/// Interfaces that one container may have; more is a slip or an attack.
const MAX_INTERFACES: usize = 32;

/// Mistakes of one container that are told; more would only fill logs and memory.
const MAX_MISTAKES: usize = 32;

/// Whether a label asks for an OpenFlow number: `ovs.ofport_request` or that of an interface.
pub fn asks_for_number(name: &str) -> bool {
    concern_us([name].into_iter()) && name.ends_with(".ofport_request")
}

/// Whether a container with these label names is any business of ours.
pub fn concern_us<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name.starts_with(PREFIX))
}

/// What does not go together with the addresses that an interface has got from a pool, in words.
pub(crate) fn misfits(wanted: &Wanted, addresses: &[IpNet]) -> Option<String> {
    let mut problems = judge::together(wanted, addresses).into_iter();
    problems.next().map(|(key, problem)| format!("{key}: {problem}"))
}

/// Labels of one form: those of one interface, or those without an interface's name.
struct Group<'a> {
    /// What the names of its labels begin with.
    prefix: String,
    wanted: Wanted,
    /// The values by key.
    given: BTreeMap<&'static str, &'a str>,
}

/// Reads a container's labels: one [`Wanted`] for each interface, ordered by their names; none without
/// any `ovs.` label.
///
/// # Errors
///
/// The mistakes in them, at most 32; never an empty list.
pub fn parse(
    labels: &BTreeMap<String, String>,
    defaults: &Defaults,
) -> Result<Vec<Wanted>, Vec<Mistake>> {
    let mut groups: BTreeMap<Option<LinkName>, Group<'_>> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (name, value) in labels.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if mistakes.len() >= MAX_MISTAKES {
            break;
        }
        let Name { interface, label } = match Name::read(name) {
            Ok(read) => read,
            Err(problem) => {
                mistakes.push(Mistake::new(name, Some(value), problem));
                continue;
            }
        };
        let group = groups.entry(interface).or_insert_with_key(|interface| Group {
            prefix: name::prefix(interface.as_ref()),
            wanted: Wanted::of(interface.as_ref(), defaults),
            given: BTreeMap::new(),
        });
        group.given.insert(label.key, value);
        let problems = (label.read)(value.trim(), &mut group.wanted);
        mistakes
            .extend(problems.into_iter().map(|problem| Mistake::new(name, Some(value), problem)));
    }
    for group in groups.values() {
        mistakes
            .extend(judge::missing(&group.given).map(|(key, problem)| group.mistake(key, problem)));
    }
    // Labels are judged together only where each is good by itself: no mistake is told twice.
    if mistakes.is_empty() {
        mistakes.extend(groups.values().flat_map(Group::judge));
        mistakes.extend(collisions(&groups));
        mistakes.extend(named_twice(&groups));
        mistakes.extend(too_many(&groups));
    }
    if !mistakes.is_empty() {
        mistakes.truncate(MAX_MISTAKES);
        return Err(mistakes);
    }
    let mut wanted: Vec<_> = groups.into_values().map(|group| group.wanted).collect();
    wanted.sort_by(|one, other| one.interface.cmp(&other.interface));
    Ok(wanted)
}

/// The labels that ask for these interfaces, in the form that names each: what [`parse`] reads as the same.
pub fn print(wanted: &[Wanted]) -> BTreeMap<String, String> {
    let of_interface = |wanted: &Wanted| {
        let prefix = name::prefix(Some(&wanted.interface));
        let values = LABELS.iter().filter_map(|label| Some((label.key, (label.print)(wanted)?)));
        values.map(|(key, value)| (format!("{prefix}{key}"), value)).collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of_interface).collect()
}

impl Group<'_> {
    fn judge(&self) -> Vec<Mistake> {
        let mut problems = judge::settings(&self.wanted);
        match &self.wanted.addressing {
            Addressing::Given(addresses) => {
                problems.extend(judge::together(&self.wanted, addresses));
            }
            Addressing::None => problems.extend(judge::together(&self.wanted, &[])),
            // What the pools give is not known yet.
            Addressing::Auto => {}
        }
        problems.into_iter().map(|(key, problem)| self.mistake(key, problem)).collect()
    }

    fn mistake(&self, key: &str, problem: String) -> Mistake {
        let value = self.given.get(key).copied();
        Mistake::new(&format!("{}{key}", self.prefix), value, problem)
    }
}

/// The labels without an interface's name are for the same interface as some with it.
fn named_twice(groups: &BTreeMap<Option<LinkName>, Group<'_>>) -> Option<Mistake> {
    let flat = groups.get(&None)?;
    let named = groups.get(&Some(flat.wanted.interface.clone()))?;
    let (key, value) = named.given.first_key_value()?;
    let (other, _) = flat.given.first_key_value()?;
    let problem = format!(
        "labels without an interface's name ({PREFIX}{other}) are for {} already; give all in one form",
        flat.wanted.interface
    );
    Some(Mistake::new(&format!("{}{key}", named.prefix), Some(value), problem))
}

fn collisions(groups: &BTreeMap<Option<LinkName>, Group<'_>>) -> Vec<Mistake> {
    let groups: Vec<_> = groups.values().collect();
    let pairs = groups.iter().enumerate().flat_map(|(position, group)| {
        let earlier = groups.iter().take(position);
        earlier.filter_map(move |other| {
            let (key, problem) = judge::collision(&group.wanted, &other.wanted)?;
            Some(group.mistake(key, problem))
        })
    });
    pairs.collect()
}

fn too_many(groups: &BTreeMap<Option<LinkName>, Group<'_>>) -> Option<Mistake> {
    let (_, last) = groups.last_key_value()?;
    let (key, _) = last.given.first_key_value()?;
    let problem = format!("{} interfaces; {MAX_INTERFACES} is the most", groups.len());
    (groups.len() > MAX_INTERFACES).then(|| last.mistake(key, problem))
}

/// The label table as a Markdown page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Labels\n\nGenerated from the label table by `cargo xtask docs`.\n\n\
         | label | value | default | meaning |\n| --- | --- | --- | --- |\n",
    );
    for Label { key, value, default, meaning, .. } in LABELS {
        page.push_str(&format!("| `{PREFIX}{key}` | {value} | {default} | {meaning} |\n"));
    }
    page.push_str("\n## Examples\n\nOne for each label, as arguments of `docker run`:\n\n```sh\n");
    for Label { key, example, .. } in LABELS {
        page.push_str(&format!("# {PREFIX}{key}\n"));
        let labels = example.iter().map(|(key, value)| match value.contains(' ') {
            true => format!("--label '{PREFIX}{key}={value}'"),
            false => format!("--label {PREFIX}{key}={value}"),
        });
        page.push_str(&labels.collect::<Vec<_>>().join(" "));
        page.push('\n');
    }
    page.push_str("```\n");
    page.push_str(
        "\n## Several interfaces\n\n\
         Each label is for the one interface that `ovs.interface` names. With an interface's name in it, \
         as `ovs.eth2.ip_address`,\nit is for that interface; so a container can have several, each on \
         its own bridge:\n\n\
         ```sh\ndocker run -d --network none \\\n  --label ovs.eth1.ip_address=192.168.1.100/24 --label \
         ovs.eth1.bridge=ovsbr0 \\\n  --label ovs.eth2.ip_address=10.0.0.100/24 --label \
         ovs.eth2.bridge=ovsbr1 \\\n  nginx\n```\n\n\
         Both forms may stand beside each other for different interfaces. `ovs.mtu` is the key `mtu`; \
         `ovs.mtu.ip_address`\nis for an interface called `mtu`. An interface's name cannot have a dot.\n\n\
         ## Mistakes\n\n\
         A label that starts with `ovs.` and is not in this table is a mistake. A container with any \
         mistake is not attached;\nall its mistakes, up to 32, are logged together at WARN, once for each start.\n",
    );
    page
}

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
