//! The files of a project put together into one model, in the order in which Docker Compose does it: for each
//! file its variables, what it includes, what its services extend, and then the file over those before it.

mod extends;
mod include;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::lower::{self, Budget, Document, Keys, Problem};
use super::value::{Data, Map, Place, Value};
use super::yaml::{self, Node};
use super::{Finding, Level, Sources, dotenv, merge, paths, vet};

/// A file that cannot be read.
pub(super) type Unreadable = (PathBuf, io::Error);

/// The most files that a project may be read from.
const FILES: usize = 500;

/// The most characters of a message; more than that is a text from a file.
const MESSAGE: usize = 1000;

/// Variables for a project, beside those of the environment, which come first.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    from_files: BTreeMap<String, String>,
    project_name: String,
}

impl Variables {
    fn lookup(&self, environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
        if name == "COMPOSE_PROJECT_NAME" && !self.project_name.is_empty() {
            return Some(self.project_name.clone());
        }
        environment(name).or_else(|| self.from_files.get(name).cloned())
    }
}

/// Where a file stands in its project.
struct Context<'c> {
    file: Rc<Path>,
    /// The folder that its paths are relative to.
    folder: &'c Path,
    variables: &'c Variables,
    /// The files that include it, and itself.
    included: Vec<PathBuf>,
}

pub(super) struct Loader<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) findings: Vec<Finding>,
    /// The files that have been read, in order.
    pub(super) read: Vec<PathBuf>,
    texts: HashMap<PathBuf, Rc<str>>,
    documents: HashMap<PathBuf, Rc<[Rc<Node>]>>,
    budget: Budget,
    layers: usize,
    /// Those of the project, when it has been read.
    variables: Variables,
}

impl<'a> Loader<'a> {
    pub(super) fn new(sources: &'a Sources<'a>) -> Self {
        Self {
            sources,
            findings: Vec::new(),
            read: Vec::new(),
            texts: HashMap::new(),
            documents: HashMap::new(),
            budget: Budget::default(),
            layers: 0,
            variables: Variables::default(),
        }
    }

    /// A variable of the project.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        self.variables.lookup(self.sources.environment, name)
    }

    /// A variable as it stands in a folder's `.env` or the files that the caller names.
    pub(super) fn variable(
        &mut self,
        folder: &Path,
        name: &str,
    ) -> Result<Option<String>, Unreadable> {
        Ok(self.variables(folder)?.from_files.remove(name))
    }

    /// The model that files make, one over the other.
    pub(super) fn project(&mut self, files: &[PathBuf]) -> Result<Map, Unreadable> {
        let named = files.iter().find(|file| file.as_path() != Path::new("-"));
        let folder = named.map(|file| paths::folder(file)).unwrap_or_default();
        let mut variables = self.variables(&folder)?;
        variables.project_name = self.project_name(files, &folder, &variables)?;
        let model = self.model(files, &folder, &variables, &[])?;
        self.variables = variables;
        if self.budget.is_spent() {
            let file = files.first().map(PathBuf::as_path).unwrap_or(Path::new("-"));
            let message = format!(
                "too large: more than {} values, those that aliases and extends repeat included",
                lower::VALUES
            );
            self.tell(&Place { file: file.into(), line: 1 }, None, message);
        }
        Ok(model)
    }

    /// The variables of `.env` files, or of those that the caller names.
    fn variables(&mut self, folder: &Path) -> Result<Variables, Unreadable> {
        let mut variables = Variables::default();
        let disabled = (self.sources.environment)("COMPOSE_DISABLE_ENV_FILE");
        let disabled = disabled.is_some_and(|value| {
            matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
        });
        if !self.sources.env_files.is_empty() {
            self.add_variables(&mut variables, self.sources.env_files)?;
        } else if !disabled {
            // The one where Compose was started comes first, then the one of the project.
            let started = self.sources.started_in.map(|folder| folder.join(".env"));
            let beside = folder.join(".env");
            let beside = Some(beside).filter(|beside| Some(beside) != started.as_ref());
            for file in started.into_iter().chain(beside) {
                self.add_usual_variables(&mut variables, file)?;
            }
        }
        Ok(variables)
    }

    /// Adds the variables of a file that need not be there.
    fn add_usual_variables(
        &mut self,
        variables: &mut Variables,
        file: PathBuf,
    ) -> Result<(), Unreadable> {
        match self.add_variables(variables, &[file]) {
            Err((_, error)) if is_absent(&error) => Ok(()),
            result => result,
        }
    }

    /// Adds the variables of files, the last of which wins. Those that are there already stay.
    fn add_variables(
        &mut self,
        variables: &mut Variables,
        files: &[PathBuf],
    ) -> Result<(), Unreadable> {
        let mut from_files: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let text = self.text(file).map_err(|error| (file.clone(), error))?;
            let environment = self.sources.environment;
            let lookup = |name: &str| {
                variables.lookup(environment, name).or_else(|| from_files.get(name).cloned())
            };
            match dotenv::parse(&text, &lookup) {
                Ok(found) => {
                    from_files
                        .extend(found.into_iter().map(|found| (found.name, found.value.text)));
                }
                Err(dotenv::Malformed { line, reason }) => {
                    self.tell(&Place { file: file.as_path().into(), line }, None, reason);
                }
            }
        }
        from_files.append(&mut variables.from_files);
        variables.from_files = from_files;
        Ok(())
    }

    /// The project's name, which files can use as `${COMPOSE_PROJECT_NAME}`.
    fn project_name(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        variables: &Variables,
    ) -> Result<String, Unreadable> {
        let lookup = |name: &str| variables.lookup(self.sources.environment, name);
        if let Some(name) = lookup("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
            return Ok(name);
        }
        let mut named: Option<String> = None;
        for file in files {
            for document in self.documents(file).map_err(|error| (file.clone(), error))?.iter() {
                let entries = document.entries(&mut self.budget.values).unwrap_or_default();
                let name = entries.into_iter().find(|(key, _)| key.scalar() == Some("name"));
                named = name.and_then(|(_, name)| name.scalar().map(str::to_owned)).or(named);
            }
        }
        let filled = named.and_then(|name| {
            let lookup = |name: &str| variables.lookup(self.sources.environment, name);
            super::interpolate::fill(&name, &lookup).ok()
        });
        let name = filled.map(|filled| normal(&filled.text)).filter(|name| !name.is_empty());
        Ok(name.unwrap_or_else(|| {
            let folder = paths::join(self.sources.current, &folder.to_string_lossy());
            normal(&folder.file_name().unwrap_or_default().to_string_lossy())
        }))
    }

    /// The model that files make, one over the other. `included` are the files that include them.
    fn model(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        variables: &Variables,
        included: &[PathBuf],
    ) -> Result<Map, Unreadable> {
        let mut model = Map::new();
        for file in files {
            self.layers += 1;
            if self.layers > FILES {
                self.budget.values = 0;
            }
            if self.budget.is_spent() {
                break;
            }
            let mut included = included.to_vec();
            included.push(file.clone());
            let context = Context { file: file.as_path().into(), folder, variables, included };
            for document in
                self.lowered(&context, vet::Use::Project).map_err(|error| (file.clone(), error))?
            {
                self.layer(&context, document, &mut model)?;
            }
        }
        resolve(&mut model, folder, self.sources.environment);
        Ok(model)
    }

    /// Lays a document over the model.
    fn layer(
        &mut self,
        context: &Context<'_>,
        document: Document,
        model: &mut Map,
    ) -> Result<(), Unreadable> {
        let Document { value, replaces } = document;
        let Data::Map(mut map) = value.data else { return Ok(()) };
        let own: BTreeSet<String> = names(&map).cloned().collect();
        self.include(context, &replaces, &mut map)?;
        merge::replace(model, &mut Vec::new(), &replaces);
        self.extend(context, &replaces, &mut map, &own);
        merge::merge(model, map, &mut Vec::new());
        Ok(())
    }

    /// A file's documents with their variables filled in, those that are none left out and told.
    fn lowered(&mut self, context: &Context<'_>, usage: vet::Use) -> io::Result<Vec<Document>> {
        let documents = self.documents(&context.file)?;
        let mut lowered = Vec::new();
        for node in documents.iter() {
            let mut problems = Vec::new();
            let lookup = |name: &str| context.variables.lookup(self.sources.environment, name);
            let mut document =
                lower::lower(&context.file, node, &lookup, &mut self.budget, &mut problems);
            vet::vet(&mut document.value, node.is_null(), usage, &mut problems);
            for Problem { place, service, message } in problems {
                self.tell(&place, service.as_deref(), message);
            }
            lowered.push(document);
        }
        Ok(lowered)
    }

    fn documents(&mut self, file: &Path) -> io::Result<Rc<[Rc<Node>]>> {
        if let Some(documents) = self.documents.get(file) {
            return Ok(Rc::clone(documents));
        }
        let text = self.text(file)?;
        let documents = yaml::parse(&text).unwrap_or_else(|yaml::Malformed { line, reason }| {
            self.tell(&Place { file: file.into(), line }, None, reason);
            Vec::new()
        });
        let documents: Rc<[_]> = documents.into();
        self.documents.insert(file.to_path_buf(), Rc::clone(&documents));
        Ok(documents)
    }

    /// A file's text, read once.
    pub(super) fn text(&mut self, file: &Path) -> io::Result<Rc<str>> {
        if let Some(text) = self.texts.get(file) {
            return Ok(Rc::clone(text));
        }
        if self.texts.len() >= FILES {
            return Err(io::Error::other(format!("more than {FILES} files")));
        }
        let text: Rc<str> = (self.sources.read)(file)?.into();
        self.read.push(file.to_path_buf());
        self.texts.insert(file.to_path_buf(), Rc::clone(&text));
        Ok(text)
    }

    pub(super) fn tell(&mut self, place: &Place, service: Option<&str>, message: String) {
        self.add(Level::Mistake, place, service, message);
    }

    pub(super) fn warn(&mut self, place: &Place, service: Option<&str>, message: String) {
        self.add(Level::Warning, place, service, message);
    }

    fn add(&mut self, level: Level, place: &Place, service: Option<&str>, mut message: String) {
        if let Some((end, _)) = message.char_indices().nth(MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        let service = service.map(str::to_owned);
        let file = place.file.to_path_buf();
        self.findings.push(Finding { level, file, line: place.line, service, message });
    }
}

/// Joins the paths of services' files with the folder that they are relative to.
fn resolve(model: &mut Map, folder: &Path, environment: &dyn Fn(&str) -> Option<String>) {
    let services = model.get_mut("services").and_then(Value::map_mut);
    for service in services.into_iter().flat_map(BTreeMap::values_mut) {
        let Some(service) = service.map_mut() else { continue };
        for key in ["env_file", "label_file"] {
            let Some(files) = service.get_mut(key) else { continue };
            match &mut files.data {
                Data::List(items) => {
                    for item in items {
                        resolve_one(item, folder, environment);
                    }
                }
                _ => resolve_one(files, folder, environment),
            }
        }
    }
}

fn resolve_one(file: &mut Value, folder: &Path, environment: &dyn Fn(&str) -> Option<String>) {
    let file = match &mut file.data {
        Data::Map(map) => match map.get_mut("path") {
            Some(path) => path,
            None => return,
        },
        _ => file,
    };
    if let Some(path) = file.text() {
        file.data = Data::File(paths::join(folder, &paths::expand(path, environment)));
    }
}

/// A project's name from a text: small letters, digits, `-` and `_` only, and a letter or digit first.
fn normal(name: &str) -> String {
    let name = name.to_lowercase();
    let part = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    name.chars().filter(part).collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

/// Whether there is no file, which is no error where a file is looked for by its usual name.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", super::shown(&path.to_string_lossy()))
}

/// The keys that lead to a service.
fn path_of(service: &str) -> Keys {
    vec!["services".to_owned(), service.to_owned()]
}

/// The names of a document's services.
fn names(map: &Map) -> impl Iterator<Item = &String> {
    map.get("services").and_then(Value::map).into_iter().flat_map(BTreeMap::keys)
}

/// One service's keys, taken away where a document replaces them.
fn replaced(service: Value, name: &str, replaces: &BTreeSet<Keys>) -> Value {
    let mut service = service;
    if let Some(map) = service.map_mut() {
        merge::replace(map, &mut path_of(name), replaces);
    }
    service
}
