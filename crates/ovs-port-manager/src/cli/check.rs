//! `check`: the mistakes in the labels of compose files.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;

use super::Outcome;
use super::output::{self, Format};
use crate::compose::{self, Finding, Level, Report, Sources, find};

pub(crate) const EXAMPLES: &str = "\
Labels are those that Docker Compose would give the containers. Each mistake is one line,
FILE:LINE: service NAME: MESSAGE. Without FILE, the files are those that docker compose would take
here: COMPOSE_FILE, or else compose.yaml and compose.override.yaml in this folder or above it.
Variables come from the environment, then from .env beside the file. Nothing is asked of Docker or
Open vSwitch, and nothing is fetched.

Examples:
  ovs-port-manager check
  ovs-port-manager check compose.yaml other-project/
  ovs-port-manager check --merge compose.yaml compose.prod.yaml
  ovs-port-manager check --output json */compose.yaml
  envsubst < template.yaml | ovs-port-manager check -

Exit status: 0 no mistakes (there may be warnings), 1 a file named cannot be read or none is found,
2 the command line is wrong, 3 mistakes";

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Compose files or folders with one, each a project by itself; - is the standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Lay the files over each other, as docker compose -f FILE -f FILE does
    #[arg(long)]
    merge: bool,

    /// Read variables from this file, not from .env beside the compose file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The most bytes that a file may have; Docker's own files are a hundredth of that.
const FILE_BYTES: u64 = 1 << 20;

/// The answer, as JSON has it.
#[derive(Default, Serialize)]
struct Answer {
    services: usize,
    labelled: usize,
    mistakes: Vec<Finding>,
    warnings: Vec<Finding>,
    projects: Vec<Project>,
    /// Files that were read, and that the command line does not name.
    #[serde(skip)]
    also_read: Vec<PathBuf>,
}

/// One project, as JSON has it.
#[derive(Serialize)]
struct Project {
    files: Vec<PathBuf>,
    read: Vec<PathBuf>,
    /// All labels by service.
    labels: BTreeMap<String, BTreeMap<String, String>>,
}

impl Check {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let current = std::env::current_dir().context("cannot tell the current folder")?;
        let named: HashSet<&Path> =
            self.files.iter().chain(&self.env_file).map(PathBuf::as_path).collect();
        let read = |path: &Path| read(path, named.contains(path));
        let environment = |name: &str| std::env::var(name).ok();
        let sources = Sources {
            read: &read,
            environment: &environment,
            env_files: &self.env_file,
            started_in: self.files.is_empty().then_some(Path::new("")),
            current: &current,
        };
        let mut answer = Answer::default();
        for (files, warnings) in self.projects(&sources)? {
            answer.warnings.extend(warnings);
            let report = compose::check(&files, &sources).map_err(unreadable)?;
            answer.add(files, report, &named);
        }
        match self.output {
            Format::Json => output::print_json(&answer)?,
            Format::Table => output::print(&text(&answer))?,
        }
        Ok(if answer.mistakes.is_empty() { Outcome::Well } else { Outcome::Amiss })
    }

    /// The files of each project, and what there is to say of how they were found.
    fn projects(&self, sources: &Sources<'_>) -> anyhow::Result<Vec<(Vec<PathBuf>, Vec<Finding>)>> {
        if self.files.is_empty() {
            return Ok(vec![from_here(sources)?]);
        }
        let mut projects = Vec::new();
        for file in &self.files {
            projects.push(match file.is_dir() {
                true => in_folder(file, sources)?,
                false => (vec![file.clone()], Vec::new()),
            });
        }
        if self.merge {
            let (files, warnings): (Vec<_>, Vec<_>) = projects.into_iter().unzip();
            projects = vec![(files.concat(), warnings.concat())];
        }
        Ok(projects)
    }
}

/// The files that `docker compose` would take in the current folder.
fn from_here(sources: &Sources<'_>) -> anyhow::Result<(Vec<PathBuf>, Vec<Finding>)> {
    let here = Path::new("");
    let variable = |name: &str| match (sources.environment)(name) {
        Some(value) => Ok(Some(value)),
        None => compose::variable(here, name, sources).map_err(unreadable),
    };
    if let Some(files) = variable("COMPOSE_FILE")? {
        let separator = variable("COMPOSE_PATH_SEPARATOR")?;
        return Ok((find::listed(&files, separator.as_deref()), Vec::new()));
    }
    let found = find::from_here(sources.current, &Path::exists);
    found
        .map(taken)
        .ok_or_else(|| anyhow!("no compose.yaml here or in a folder above; name a file"))
}

/// The files that `docker compose` would take in a folder.
fn in_folder(folder: &Path, sources: &Sources<'_>) -> anyhow::Result<(Vec<PathBuf>, Vec<Finding>)> {
    let variable = |name| compose::variable(folder, name, sources).map_err(unreadable);
    if let Some(files) = variable("COMPOSE_FILE")? {
        let separator = variable("COMPOSE_PATH_SEPARATOR")?;
        let files = find::listed(&files, separator.as_deref());
        return Ok((files.iter().map(|file| folder.join(file)).collect(), Vec::new()));
    }
    let found = find::in_folder(folder, &Path::exists);
    found.map(taken).ok_or_else(|| anyhow!("no compose.yaml in {}", folder.display()))
}

/// Says which files of the usual names do not count.
fn taken(found: find::Found) -> (Vec<PathBuf>, Vec<Finding>) {
    let find::Found { files, passed_over } = found;
    let message = "docker compose passes over this file, for there is another of the usual names";
    let warnings = passed_over.into_iter().map(|file| Finding {
        level: Level::Warning,
        file,
        line: 1,
        service: None,
        message: message.to_owned(),
    });
    (files, warnings.collect())
}

fn unreadable((path, error): (PathBuf, io::Error)) -> anyhow::Error {
    let path = compose::shown(&path.to_string_lossy());
    anyhow::Error::new(error).context(format!("cannot read {path}"))
}

/// Reads a file whole, if it is not too long. What no person has named has to be an ordinary file.
fn read(path: &Path, is_named: bool) -> io::Result<String> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let kind = path.metadata()?;
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !is_named && !kind.is_file() && path != Path::new("/dev/null") {
            return Err(io::Error::other("not a file"));
        }
        Box::new(File::open(path)?)
    };
    let mut text = String::new();
    source.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(io::Error::other(format!("longer than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

impl Answer {
    fn add(&mut self, files: Vec<PathBuf>, report: Report, named: &HashSet<&Path>) {
        let Report { findings, services, labelled, labels, read } = report;
        self.services += services;
        self.labelled += labelled;
        for finding in findings {
            match finding.level {
                Level::Mistake => self.mistakes.push(finding),
                Level::Warning => self.warnings.push(finding),
            }
        }
        for file in read.iter().filter(|file| !named.contains(file.as_path())) {
            if !self.also_read.contains(file) {
                self.also_read.push(file.clone());
            }
        }
        self.projects.push(Project { files, read, labels });
    }
}

fn text(answer: &Answer) -> String {
    let Answer { services, labelled, mistakes, warnings, also_read, .. } = answer;
    let findings = mistakes.iter().chain(warnings);
    let lines: String = findings.map(|finding| format!("{finding}\n")).collect();
    let number = |number: usize, what: &str| match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    };
    let mut found = number(mistakes.len(), "mistake");
    if !warnings.is_empty() {
        found.push_str(&format!(", {}", number(warnings.len(), "warning")));
    }
    let read: Vec<_> =
        also_read.iter().map(|file| compose::shown(&file.to_string_lossy())).collect();
    let read = match read.as_slice() {
        [] => String::new(),
        read => format!("read: {}\n", read.join(", ")),
    };
    format!("{lines}{read}{labelled} of {services} services have labels ovs.…: {found}\n")
}
