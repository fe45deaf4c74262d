//! The services of a project, as far as their containers' networks depend on them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::load::{Loader, Unreadable, unreadable};
use super::value::{Data, Map, Place, Text, Value};
use super::{Report, Sources, dotenv, judge};

/// A label of a service's containers.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) value: String,
    /// The variables that were not set.
    pub(super) unset: Vec<String>,
    pub(super) place: Place,
}

/// A text and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) text: String,
    pub(super) place: Place,
}

/// What matters of a service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) labels: BTreeMap<String, Label>,
    pub(super) network_mode: Option<Placed>,
    /// The interfaces that Docker makes for the service's networks.
    pub(super) interfaces: Interfaces,
    pub(super) has_networks: Option<Place>,
    pub(super) scale: Option<Placed>,
    pub(super) replicas: Option<Placed>,
    pub(super) container_name: Option<Placed>,
    pub(super) profiles: Vec<String>,
}

/// Interfaces of Docker's own networks.
#[derive(Debug, Clone, Default)]
pub(super) struct Interfaces {
    /// How many are `eth0`, `eth1` and so on.
    pub(super) numbered: usize,
    /// Those that the file names.
    pub(super) named: Vec<String>,
}

/// Checks the project that these files make.
pub(super) fn check(files: &[PathBuf], sources: &Sources<'_>) -> Result<Report, Unreadable> {
    let mut loader = Loader::new(sources);
    let model = loader.project(files)?;
    let mut services: Vec<Service> = entries(&model, "services")
        .map(|(name, value)| service(&mut loader, name, value))
        .collect();
    services.sort_by(|a, b| {
        (&a.place.file, a.place.line, &a.name).cmp(&(&b.place.file, b.place.line, &b.name))
    });
    if services.is_empty() && loader.findings.is_empty() {
        let file: Rc<Path> = files.first().map(PathBuf::as_path).unwrap_or(Path::new("-")).into();
        let message = "no services: nothing that could have labels".to_owned();
        loader.tell(&Place { file, line: 1 }, None, message);
    }
    elsewhere(&mut loader, &model);
    judge::judge(&mut loader, &services);
    let Loader { mut findings, read, .. } = loader;
    let mut seen = std::collections::HashSet::new();
    findings.retain(|finding| seen.insert(finding.to_string()));
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let labels = services.iter().map(|service| {
        let labels = service.labels.iter();
        let labels = labels.map(|(name, label)| (name.clone(), label.value.clone()));
        (service.name.clone(), labels.collect())
    });
    Ok(Report {
        findings,
        services: services.len(),
        labelled: services.iter().filter(|service| judge::is_ours(service)).count(),
        labels: labels.collect(),
        read,
    })
}

fn entries<'m>(model: &'m Map, key: &str) -> impl Iterator<Item = (&'m String, &'m Value)> {
    model.get(key).and_then(Value::map).into_iter().flatten()
}

/// Reads a service from the model.
fn service(loader: &mut Loader<'_>, name: &str, value: &Value) -> Service {
    let placed = |value: Option<&Value>| {
        let value = value.filter(|value| !matches!(value.data, Data::Null))?;
        Some(Placed { text: value.print()?.text, place: value.place.clone() })
    };
    let (interfaces, has_networks) = networks(value);
    env_files(loader, name, value);
    let mut labels = label_files(loader, name, value);
    labels.extend(own_labels(value));
    let profiles = value.get("profiles").map(Value::items).unwrap_or_default();
    Service {
        name: name.to_owned(),
        place: value.place.clone(),
        labels,
        network_mode: placed(value.get("network_mode")),
        interfaces,
        has_networks,
        scale: placed(value.get("scale")),
        replicas: placed(value.get("deploy").and_then(|deploy| deploy.get("replicas"))),
        container_name: placed(value.get("container_name")),
        profiles: profiles.iter().filter_map(Value::text).map(str::to_owned).collect(),
    }
}

/// Labels as a mapping, or as a list of `NAME=VALUE`, the last of a name counting.
fn own_labels(service: &Value) -> Vec<(String, Label)> {
    let label = |text: Text, place: &Place| Label {
        value: text.text,
        unset: text.unset,
        place: place.clone(),
    };
    match service.get("labels").map(|labels| &labels.data) {
        Some(Data::Map(map)) => map
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), label(value.print()?, &value.place))))
            .collect(),
        Some(Data::List(items)) => items
            .iter()
            .filter_map(|item| {
                let Text { text, unset } = item.print()?;
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                let value = Text { text: value.to_owned(), unset };
                Some((name.to_owned(), label(value, &item.place)))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The labels of `label_file`. Their variables are the labels above them, not those of the environment.
fn label_files(loader: &mut Loader<'_>, service: &str, value: &Value) -> BTreeMap<String, Label> {
    let mut labels: BTreeMap<String, Label> = BTreeMap::new();
    for item in value.get("label_file").map(Value::items).unwrap_or_default() {
        let Data::File(path) = &item.data else { continue };
        let text = match loader.text(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("label_file: {}", unreadable(path, &error));
                loader.tell(&item.place, Some(service), message);
                continue;
            }
        };
        let file: Rc<Path> = path.as_path().into();
        let lookup = |name: &str| labels.get(name).map(|label| label.value.clone());
        match dotenv::parse(&text, &lookup) {
            Ok(found) => labels.extend(found.into_iter().map(|found| {
                let place = Place { file: Rc::clone(&file), line: found.line };
                let Text { text, unset } = found.value;
                (found.name, Label { value: text, unset, place })
            })),
            Err(dotenv::Malformed { line, reason }) => {
                loader.tell(&Place { file, line }, Some(service), reason);
            }
        }
    }
    labels
}

/// A file of variables for the containers has to be there and sound, or Compose starts nothing.
fn env_files(loader: &mut Loader<'_>, service: &str, value: &Value) {
    for item in value.get("env_file").map(Value::items).unwrap_or_default() {
        let path = item.get("path").unwrap_or(item);
        let required = !matches!(item.get("required").map(|it| &it.data), Some(Data::Bool(false)));
        let Data::File(path) = &path.data else { continue };
        match loader.text(path) {
            // Files of other formats have other rules.
            Ok(_) if item.get("format").is_some() => {}
            Ok(text) => {
                let parsed = dotenv::parse(&text, &|name| loader.lookup(name));
                if let Err(dotenv::Malformed { line, reason }) = parsed {
                    let place = Place { file: path.as_path().into(), line };
                    loader.tell(&place, Some(service), reason);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(error) => {
                let message = format!("env_file: {}", unreadable(path, &error));
                loader.tell(&item.place, Some(service), message);
            }
        }
    }
}

/// The interfaces that Docker makes, and where the service's networks are given.
fn networks(service: &Value) -> (Interfaces, Option<Place>) {
    let networks = service.get("networks").filter(|networks| networks.size() > 1);
    let Some(networks) = networks else {
        // The network of the project, or that of Docker's.
        return (Interfaces { numbered: 1, named: Vec::new() }, None);
    };
    let mut interfaces = Interfaces::default();
    match &networks.data {
        Data::Map(map) => {
            for network in map.values() {
                match network.get("interface_name").and_then(Value::text) {
                    Some(name) => interfaces.named.push(name.to_owned()),
                    None => interfaces.numbered += 1,
                }
            }
        }
        _ => interfaces.numbered = networks.items().len(),
    }
    (interfaces, Some(networks.place.clone()))
}

/// Labels of ours that reach no container: they are not below `labels` of a service.
fn elsewhere(loader: &mut Loader<'_>, model: &Map) {
    let none = "reaches no container; write it below labels of the service";
    for (name, service) in entries(model, "services") {
        let places = [
            ("deploy.labels", service.get("deploy").and_then(|deploy| deploy.get("labels"))),
            ("annotations", service.get("annotations")),
            ("environment", service.get("environment")),
        ];
        for (key, labels) in places {
            for (label, place) in ours(labels) {
                let message = format!("{key}: {} {none}", label.escape_debug());
                loader.tell(&place, Some(name), message);
            }
        }
        for (label, place) in ours(service.get("build").and_then(|build| build.get("labels"))) {
            let message = format!(
                "build.labels: {} is the image's, which does not count unless the configuration trusts \
                 image labels; write it below labels of the service",
                label.escape_debug()
            );
            loader.warn(&place, Some(name), message);
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        for (name, value) in entries(model, kind) {
            for (label, place) in ours(value.get("labels")) {
                let name = name.escape_debug();
                let message = format!("{kind}.{name}.labels: {} {none}", label.escape_debug());
                loader.tell(&place, None, message);
            }
        }
    }
}

fn ours(labels: Option<&Value>) -> Vec<(String, Place)> {
    let names: Vec<(&str, &Place)> = match labels.map(|labels| &labels.data) {
        Some(Data::Map(map)) => {
            map.iter().map(|(name, value)| (name.as_str(), &value.place)).collect()
        }
        Some(Data::List(items)) => items
            .iter()
            .filter_map(|item| Some((item.text()?.split('=').next()?, &item.place)))
            .collect(),
        _ => Vec::new(),
    };
    names
        .into_iter()
        .filter(|(name, _)| port_plan::labels::concern_us([*name].into_iter()))
        .map(|(name, place)| (name.to_owned(), place.clone()))
        .collect()
}
