//! A project: its files over each other, its services and what their labels come to.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use port_plan::labels::{self, Addressing};
use port_plan::{Datapath, Defaults, Refusal};

use super::yaml::{self, Node};
use super::{Finding, Report, Sources, dotenv, interpolate};

/// Where something stands.
#[derive(Debug, Clone)]
struct Place {
    file: Rc<Path>,
    line: usize,
}

/// A text of a service with its variables filled in.
#[derive(Debug, Clone)]
struct Text {
    value: String,
    unset: Vec<String>,
    place: Place,
}

/// What matters of a service.
#[derive(Debug, Clone, Default)]
struct Service {
    labels: BTreeMap<String, Text>,
    /// Labels of the files below do not count (`!reset`, `!override`).
    replaces_labels: bool,
    network_mode: Option<Text>,
    replicas: Option<Text>,
}

type Unreadable = (PathBuf, io::Error);

pub(super) fn check(files: &[PathBuf], sources: &Sources<'_>) -> Result<Report, Unreadable> {
    let mut report = Report::default();
    let mut waiting = vec![files.to_vec()];
    let mut seen = HashSet::new();
    while let Some(files) = waiting.pop() {
        if seen.insert(files.clone()) {
            let mut project = Project::open(&files, sources)?;
            project.read(&files)?;
            waiting.append(&mut project.includes);
            project.report(&mut report);
        }
    }
    let mut told = HashSet::new();
    report.findings.retain(|finding| told.insert(finding.to_string()));
    report.findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(report)
}

struct Project<'a> {
    sources: &'a Sources<'a>,
    /// Variables from files; those of the environment come before them.
    variables: BTreeMap<String, String>,
    services: BTreeMap<String, Service>,
    /// Projects that this one includes.
    includes: Vec<Vec<PathBuf>>,
    findings: Vec<Finding>,
}

impl<'a> Project<'a> {
    /// Reads the variables of a project that these files make.
    fn open(files: &[PathBuf], sources: &'a Sources<'a>) -> Result<Self, Unreadable> {
        let mut project = Self {
            sources,
            variables: BTreeMap::new(),
            services: BTreeMap::new(),
            includes: Vec::new(),
            findings: Vec::new(),
        };
        if sources.env_files.is_empty() {
            let beside = files.first().and_then(|file| file.parent());
            let default = beside.unwrap_or(Path::new("")).join(".env");
            match (sources.read)(&default) {
                Ok(text) => project.add_variables(&default, &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((default, error)),
            }
        }
        for file in sources.env_files {
            let text = (sources.read)(file).map_err(|error| (file.clone(), error))?;
            project.add_variables(file, &text);
        }
        Ok(project)
    }

    fn add_variables(&mut self, file: &Path, text: &str) {
        match dotenv::parse(text, self.sources.environment) {
            Ok(variables) => {
                let pairs = variables.into_iter().map(|variable| (variable.name, variable.value));
                self.variables.extend(pairs);
            }
            Err(dotenv::Malformed { line, reason }) => {
                self.tell(&Place { file: file.into(), line }, None, reason);
            }
        }
    }

    fn read(&mut self, files: &[PathBuf]) -> Result<(), Unreadable> {
        for file in files {
            let text = (self.sources.read)(file).map_err(|error| (file.clone(), error))?;
            let file: Rc<Path> = file.as_path().into();
            for document in self.parse(&file, &text) {
                self.include(&file, &document);
                for (name, node) in self.services_of(&file, &document) {
                    let service = self.service(&file, name, node, &mut Vec::new());
                    let under = self.services.remove(name).unwrap_or_default();
                    self.services.insert(name.to_owned(), service.over(under));
                }
            }
        }
        Ok(())
    }

    fn parse(&mut self, file: &Rc<Path>, text: &str) -> Vec<Rc<Node>> {
        yaml::parse(text).unwrap_or_else(|yaml::Malformed { line, reason }| {
            self.tell(&Place { file: Rc::clone(file), line }, None, reason);
            Vec::new()
        })
    }

    fn services_of<'n>(
        &mut self,
        file: &Rc<Path>,
        document: &'n Rc<Node>,
    ) -> Vec<(&'n str, &'n Rc<Node>)> {
        if document.is_null() {
            return Vec::new();
        }
        let place = |node: &Node| Place { file: Rc::clone(file), line: node.line };
        if document.entries().is_none() {
            self.tell(&place(document), None, "not a compose file: no mapping".to_owned());
        }
        let Some(services) = document.get("services") else { return Vec::new() };
        services.entries().unwrap_or_else(|| {
            if !services.is_null() {
                self.tell(&place(services), None, "services: not a mapping".to_owned());
            }
            Vec::new()
        })
    }

    /// `include:` names other projects, each with a `.env` of its own.
    fn include(&mut self, file: &Rc<Path>, document: &Node) {
        let Some(included) = document.get("include") else { return };
        for entry in included.items().unwrap_or_default() {
            let paths = entry.get("path").unwrap_or(entry);
            let each = paths.items().unwrap_or(std::slice::from_ref(paths));
            let files: Vec<_> = each
                .iter()
                .filter_map(|path| self.text(file, None, path))
                .map(|path| (relative(file, &path.value), path))
                .collect();
            let missing = files.iter().find_map(|(path, text)| {
                let error = (self.sources.read)(path).err()?;
                Some((text.place.clone(), unreadable(path, &error)))
            });
            match missing {
                Some((place, reason)) => self.tell(&place, None, reason),
                None => self.includes.push(files.into_iter().map(|(path, _)| path).collect()),
            }
        }
    }

    /// A service with all that it extends. `above` are the services whose base it is.
    fn service(
        &mut self,
        file: &Rc<Path>,
        name: &str,
        node: &Node,
        above: &mut Vec<(PathBuf, String)>,
    ) -> Service {
        let base = node.get("extends").map(|extends| {
            above.push((file.to_path_buf(), name.to_owned()));
            let base = self.base(file, name, extends, above);
            above.pop();
            base
        });
        let mut service = Service::default();
        if let Some(files) = node.get("label_file") {
            self.label_files(file, name, files, &mut service);
        }
        if let Some(labels) = node.get("labels") {
            let tag = labels.tag.as_deref();
            service.replaces_labels = matches!(tag, Some("!reset" | "!override"));
            if tag != Some("!reset") {
                self.labels(file, name, labels, &mut service);
            }
        }
        let mut text = |node: Option<&Rc<Node>>| self.text(file, Some(name), node?);
        service.network_mode = text(node.get("network_mode"));
        let deploy = node.get("deploy").and_then(|deploy| deploy.get("replicas"));
        service.replicas = text(node.get("scale").or(deploy));
        service.over(base.flatten().unwrap_or_default())
    }

    fn base(
        &mut self,
        file: &Rc<Path>,
        name: &str,
        extends: &Rc<Node>,
        above: &mut Vec<(PathBuf, String)>,
    ) -> Option<Service> {
        let wanted = extends.get("service").unwrap_or(extends);
        let Some(wanted) = self.text(file, Some(name), wanted) else {
            let place = Place { file: Rc::clone(file), line: extends.line };
            self.tell(&place, Some(name), "extends: no service named".to_owned());
            return None;
        };
        let place = wanted.place.clone();
        let other = extends.get("file").and_then(|other| self.text(file, Some(name), other));
        let other = other.map_or(file.to_path_buf(), |other| relative(file, &other.value));
        if above.contains(&(other.clone(), wanted.value.clone())) {
            let circle = format!("extends: {} extends itself", wanted.value.escape_debug());
            self.tell(&place, Some(name), circle);
            return None;
        }
        let text = match (self.sources.read)(&other) {
            Ok(text) => text,
            Err(error) => {
                self.tell(&place, Some(name), format!("extends: {}", unreadable(&other, &error)));
                return None;
            }
        };
        let other: Rc<Path> = other.into();
        for document in self.parse(&other, &text) {
            let services = self.services_of(&other, &document);
            if let Some((_, node)) = services.iter().find(|(name, _)| *name == wanted.value) {
                return Some(self.service(&other, &wanted.value, node, above));
            }
        }
        let missing =
            format!("extends: no service {} in {}", wanted.value.escape_debug(), other.display());
        self.tell(&place, Some(name), missing);
        None
    }

    fn label_files(&mut self, file: &Rc<Path>, name: &str, files: &Rc<Node>, into: &mut Service) {
        for node in files.items().unwrap_or(std::slice::from_ref(files)) {
            let Some(path) = self.text(file, Some(name), node) else { continue };
            let path_of_labels = relative(file, &path.value);
            let text = match (self.sources.read)(&path_of_labels) {
                Ok(text) => text,
                Err(error) => {
                    let reason = format!("label_file: {}", unreadable(&path_of_labels, &error));
                    self.tell(&path.place, Some(name), reason);
                    continue;
                }
            };
            let file: Rc<Path> = path_of_labels.into();
            match dotenv::parse(&text, &|name| self.lookup(name)) {
                Ok(variables) => into.labels.extend(variables.into_iter().map(|variable| {
                    let place = Place { file: Rc::clone(&file), line: variable.line };
                    (variable.name, Text { value: variable.value, unset: Vec::new(), place })
                })),
                Err(dotenv::Malformed { line, reason }) => {
                    self.tell(&Place { file: Rc::clone(&file), line }, Some(name), reason);
                }
            }
        }
    }

    /// Labels as a mapping, or as a list of `NAME=VALUE`.
    fn labels(&mut self, file: &Rc<Path>, service: &str, labels: &Node, into: &mut Service) {
        let place = |node: &Node| Place { file: Rc::clone(file), line: node.line };
        if let Some(entries) = labels.entries() {
            for (name, node) in entries {
                if node.is_null() {
                    let text = Text { value: String::new(), unset: Vec::new(), place: place(node) };
                    into.labels.insert(name.to_owned(), text);
                } else if node.text().is_none() {
                    let reason = format!("labels: {} is not a text", name.escape_debug());
                    self.tell(&place(node), Some(service), reason);
                } else if let Some(text) = self.text(file, Some(service), node) {
                    into.labels.insert(name.to_owned(), text);
                }
            }
        } else if let Some(items) = labels.items() {
            for node in items {
                if node.text().is_none() {
                    let reason = "labels: not of the form NAME=VALUE".to_owned();
                    self.tell(&place(node), Some(service), reason);
                } else if let Some(text) = self.text(file, Some(service), node) {
                    let (name, value) = text.value.split_once('=').unwrap_or((&text.value, ""));
                    let label = Text { value: value.to_owned(), ..text.clone() };
                    into.labels.insert(name.to_owned(), label);
                }
            }
        } else if !labels.is_null() {
            let reason = "labels: neither a mapping nor a list".to_owned();
            self.tell(&place(labels), Some(service), reason);
        }
    }

    /// A scalar with its variables filled in; `None` if it is none, or if that cannot be done, which is told.
    fn text(&mut self, file: &Rc<Path>, service: Option<&str>, node: &Node) -> Option<Text> {
        let place = Place { file: Rc::clone(file), line: node.line };
        match interpolate::fill(&node.text()?, &|name| self.lookup(name)) {
            Ok(filled) => Some(Text { value: filled.text, unset: filled.unset, place }),
            Err(problem) => {
                self.tell(&place, service, problem.to_string());
                None
            }
        }
    }

    fn lookup(&self, name: &str) -> Option<String> {
        (self.sources.environment)(name).or_else(|| self.variables.get(name).cloned())
    }

    fn tell(&mut self, place: &Place, service: Option<&str>, message: String) {
        let service = service.map(str::to_owned);
        let file = place.file.to_path_buf();
        self.findings.push(Finding { file, line: place.line, service, message });
    }

    /// Judges the services.
    fn report(mut self, report: &mut Report) {
        for (name, service) in std::mem::take(&mut self.services) {
            report.services += 1;
            if labels::concern_us(service.labels.keys().map(String::as_str)) {
                report.labelled += 1;
                self.judge(&name, &service);
            }
        }
        report.findings.append(&mut self.findings);
    }

    fn judge(&mut self, name: &str, service: &Service) {
        let values = service.labels.iter().map(|(name, text)| (name.clone(), text.value.clone()));
        let Some(defaults) = defaults() else { return };
        let first = service.labels.iter().find(|(label, _)| label.starts_with(labels::PREFIX));
        let (mistakes, addressed) = match labels::parse(&values.collect(), &defaults) {
            Ok(wanted) => {
                (Vec::new(), wanted.iter().any(|it| matches!(it.addressing, Addressing::Given(_))))
            }
            Err(mistakes) => (mistakes, false),
        };
        for mistake in mistakes {
            let text = service.labels.get(&mistake.label);
            let mut message = mistake.to_string();
            for variable in text.iter().flat_map(|text| &text.unset) {
                message.push_str(&format!(" (the variable {variable} is not set)"));
            }
            if let Some(text) = text.or(first.map(|(_, text)| text)) {
                self.tell(&text.place, Some(name), message);
            }
        }
        if let Some(mode) = &service.network_mode {
            let refusal = match mode.value.split_once(':') {
                Some(("container" | "service", other)) => {
                    Some(Refusal::ContainerNetwork(other.escape_debug().to_string()))
                }
                _ => (mode.value == "host").then_some(Refusal::HostNetwork),
            };
            if let Some(refusal) = refusal {
                self.tell(&mode.place, Some(name), refusal.to_string());
            }
        }
        if let Some(replicas) = &service.replicas
            && addressed
            && replicas.value.parse::<u64>().is_ok_and(|number| number > 1)
        {
            let message = format!("{} replicas would have the same address", replicas.value);
            self.tell(&replicas.place, Some(name), message);
        }
    }
}

impl Service {
    /// This service over another of the same name, or over the one that it extends.
    fn over(self, under: Self) -> Self {
        let mut labels = if self.replaces_labels { BTreeMap::new() } else { under.labels };
        labels.extend(self.labels);
        Self {
            labels,
            replaces_labels: self.replaces_labels,
            network_mode: self.network_mode.or(under.network_mode),
            replicas: self.replicas.or(under.replicas),
        }
    }
}

/// What labels leave unsaid has no bearing on whether they are right.
fn defaults() -> Option<Defaults> {
    Some(Defaults {
        bridge: "ovsbr0".parse().ok()?,
        interface: "eth1".parse().ok()?,
        datapath: Datapath::Netdev,
    })
}

fn relative(file: &Path, to: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(to)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
