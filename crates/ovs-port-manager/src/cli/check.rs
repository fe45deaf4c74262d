//! `check`: the mistakes in the labels of compose files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Outcome;
use super::output::{self, Format};
use crate::compose::{self, Finding, Report, Sources};

pub(crate) const EXAMPLES: &str = "\
Each mistake is one line, FILE:LINE: service NAME: MESSAGE. Variables come from the environment,
then from .env beside the file. Nothing is asked of Docker or Open vSwitch.

Examples:
  ovs-port-manager check compose.yaml
  ovs-port-manager check --merge compose.yaml compose.prod.yaml
  ovs-port-manager check --output json */compose.yaml

Exit status: 0 no mistakes, 1 a file cannot be read, 2 the command line is wrong, 3 mistakes";

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Compose files, each by itself
    #[arg(required = true, value_name = "FILE")]
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

/// The answer, as JSON has it.
#[derive(Serialize)]
struct Answer {
    services: usize,
    labelled: usize,
    mistakes: Vec<Finding>,
}

impl Check {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let sources = Sources {
            read: &|path: &Path| fs::read_to_string(path),
            environment: &|name| std::env::var(name).ok(),
            env_files: &self.env_file,
        };
        let size = if self.merge { self.files.len() } else { 1 };
        let mut answer = Answer { services: 0, labelled: 0, mistakes: Vec::new() };
        for files in self.files.chunks(size) {
            let Report { findings, services, labelled } =
                compose::check(files, &sources).map_err(|(path, error)| {
                    anyhow::Error::new(error).context(format!("cannot read {}", path.display()))
                })?;
            answer.services += services;
            answer.labelled += labelled;
            answer.mistakes.extend(findings);
        }
        match self.output {
            Format::Json => output::print_json(&answer)?,
            Format::Table => output::print(&text(&answer))?,
        }
        Ok(if answer.mistakes.is_empty() { Outcome::Well } else { Outcome::Amiss })
    }
}

fn text(answer: &Answer) -> String {
    let Answer { services, labelled, mistakes } = answer;
    let lines: String = mistakes.iter().map(|mistake| format!("{mistake}\n")).collect();
    let found = match mistakes.len() {
        0 => "no mistakes".to_owned(),
        1 => "1 mistake".to_owned(),
        more => format!("{more} mistakes"),
    };
    format!("{lines}{labelled} of {services} services have labels ovs.…: {found}\n")
}
