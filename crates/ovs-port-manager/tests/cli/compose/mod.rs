//! `check` sees the labels that Docker Compose gives the containers, and refuses what that refuses: for a table of
//! small projects, compared with what Docker Compose 2 answered, and with the Docker Compose that is installed.

mod cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::program::command;
use cases::{CASES, Case};

/// The labels of each service; none if the project was refused.
type Answer = Option<BTreeMap<String, BTreeMap<String, String>>>;

/// What Docker Compose 2 answered. `UPDATE_EXPECT=1` asks the installed one again, if it is version 2 or later.
const RECORDED: &str = "tests/cli/compose/recorded.json";

#[test]
fn labels_are_those_that_docker_compose_2_gives() -> Result<()> {
    let recorded = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED))?;
    let recorded: BTreeMap<String, Answer> = serde_json::from_str(&recorded)?;
    ensure!(recorded.len() == CASES.len(), "{RECORDED} is of other cases");
    compare(CASES.iter(), true, |case, _| {
        recorded.get(case.name).cloned().with_context(|| format!("{RECORDED}: no {}", case.name))
    })
}

#[test]
fn labels_are_those_that_the_installed_docker_compose_gives() -> Result<()> {
    let compose = Compose::find()?;
    let cases = CASES.iter().filter(|case| !compose.is_old || case.as_ever);
    let mut answers = BTreeMap::new();
    compare(cases, compose.is_second, |case, folder| {
        let answer = compose.ask(case, folder)?;
        answers.insert(case.name, answer.clone());
        Ok(answer)
    })?;
    if std::env::var_os("UPDATE_EXPECT").is_some() && !compose.is_old {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED);
        fs::write(path, format!("{}\n", serde_json::to_string_pretty(&answers)?))?;
    }
    Ok(())
}

/// Compares each project's answers, and tells all that differ.
fn compare<'c>(
    cases: impl Iterator<Item = &'c Case>,
    is_second: bool,
    mut theirs: impl FnMut(&Case, &Path) -> Result<Answer>,
) -> Result<()> {
    let mut differences = String::new();
    let mut number = 0;
    for case in cases {
        number += 1;
        let parent = tempfile::tempdir()?;
        let folder = parent.path().join("Project_1");
        for (name, text) in case.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().context("a file in no folder")?)?;
            fs::write(path, text)?;
        }
        fs::create_dir_all(folder.join(case.folder))?;
        let theirs = theirs(case, &folder)?;
        let (ours, said) = ours(case, &folder, is_second)?;
        if ours != theirs {
            differences.push_str(&format!(
                "{}:\n  check:   {ours:?}\n  Compose: {theirs:?}\n{said}\n",
                case.name
            ));
        }
    }
    ensure!(number > 0, "no case");
    ensure!(differences.is_empty(), "of {number} projects differ:\n{differences}");
    Ok(())
}

/// What `check` sees, and what it says. It warns of what Docker Compose 2 refuses and later ones take.
fn ours(case: &Case, folder: &Path, is_second: bool) -> Result<(Answer, String)> {
    let mut args = vec!["check", "--output", "json", "--merge"];
    args.extend(case.named);
    let mut command = command(&args);
    command.current_dir(folder.join(case.folder)).envs(case.environment.iter().copied());
    let Output { status, stdout, stderr } = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    match status.code() {
        Some(1) => return Ok((None, said)),
        Some(0 | 3) => {}
        _ => bail!("{}: {said}", case.name),
    }
    let answer: Value = serde_json::from_slice(&stdout)?;
    let messages = |kind: &str| -> Result<Vec<String>> {
        let found = answer.get(kind).and_then(Value::as_array).context("no list")?;
        let message = |found: &Value| found.get("message")?.as_str().map(str::to_owned);
        Ok(found.iter().filter_map(message).collect())
    };
    // What is wrong with labels of ours alone is none of Compose's business.
    let is_theirs =
        |message: &String| !message.starts_with("ovs.") && !message.contains(" has the address ");
    let mut refused = messages("mistakes")?.iter().any(is_theirs);
    let too_new = |message: &String| message.contains("Docker Compose 2 refuses");
    refused |= is_second && messages("warnings")?.iter().any(too_new);
    let labels = answer.pointer("/projects/0/labels").context("no labels")?;
    let labels = serde_json::from_value(labels.clone())?;
    Ok(((!refused).then_some(labels), said))
}

/// The Docker Compose that is installed.
struct Compose {
    command: Vec<String>,
    /// Whether it is version 1.
    is_old: bool,
    is_second: bool,
}

impl Compose {
    /// `$DOCKER_COMPOSE`, the plug-in of the client, or a program of its own.
    fn find() -> Result<Self> {
        let given = std::env::var("DOCKER_COMPOSE").ok();
        for command in given.as_deref().into_iter().chain(["docker compose", "docker-compose"]) {
            let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
            let Ok(output) = Self::run(&command).args(["version", "--short"]).output() else {
                continue;
            };
            if output.status.success() {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                let version = version.trim_start_matches('v');
                let (is_old, is_second) = (version.starts_with("1."), version.starts_with("2."));
                return Ok(Self { command, is_old, is_second });
            }
        }
        bail!("no Docker Compose is installed; make deps installs one")
    }

    fn run(command: &[String]) -> Command {
        let mut words = command.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn ask(&self, case: &Case, folder: &Path) -> Result<Answer> {
        let mut command = Self::run(&self.command);
        command.current_dir(folder.join(case.folder)).envs(case.environment.iter().copied());
        for file in case.named {
            command.args(["-f", file]);
        }
        command.arg("config");
        if !self.is_old {
            command.args(["--format", "json"]);
        }
        let output = command.output().context(self.command.join(" "))?;
        if !output.status.success() {
            return Ok(None);
        }
        let answer = if self.is_old { json(&output.stdout)? } else { output.stdout };
        let answer: Value = serde_json::from_slice(&answer)?;
        let mut services = BTreeMap::new();
        let entries = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
        for (name, service) in entries(answer.get("services")).into_iter().flatten() {
            let mut labels = BTreeMap::new();
            for (label, value) in entries(service.get("labels")).into_iter().flatten() {
                let value = value.as_str().context("a label that is no text")?;
                // What it prints is a compose file again, where a dollar sign is two.
                labels.insert(label.replace("$$", "$"), value.replace("$$", "$"));
            }
            services.insert(name, labels);
        }
        Ok(Some(services))
    }
}

/// Version 1 prints YAML only. It is written in Python, and brings that language's YAML along.
fn json(yaml: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file.yaml");
    fs::write(&file, yaml)?;
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("/usr/bin/python3").args(["-c", script]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
