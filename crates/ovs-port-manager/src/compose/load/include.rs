//! `include`: other projects, whose services become this one's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Context, Loader, Unreadable, Variables, unreadable};
use crate::compose::lower::Keys;
use crate::compose::merge;
use crate::compose::paths;
use crate::compose::value::{Data, Map, Value};

/// The most projects that include each other in a row.
const CHAIN: usize = 32;

/// What one entry of `include` names.
struct Included {
    files: Vec<PathBuf>,
    folder: PathBuf,
    variables: Variables,
}

impl Loader<'_> {
    /// Puts what a document includes under it.
    pub(super) fn include(
        &mut self,
        context: &Context<'_>,
        replaces: &BTreeSet<Keys>,
        map: &mut Map,
    ) -> Result<(), Unreadable> {
        let Some(include) = map.remove("include") else { return Ok(()) };
        if !matches!(include.data, Data::List(_) | Data::Null | Data::Unknown) {
            self.tell(&include.place, None, "include: not a list".to_owned());
            return Ok(());
        }
        for entry in include.items() {
            let Some(Included { files, folder, variables }) = self.included(context, entry) else {
                continue;
            };
            let model = self.model(&files, &folder, &variables, &context.included)?;
            self.import(entry, map, model, replaces);
        }
        Ok(())
    }

    fn included(&mut self, context: &Context<'_>, entry: &Value) -> Option<Included> {
        let known = ["path", "env_file", "project_directory"];
        let unknown =
            entry.map().and_then(|map| map.iter().find(|(key, _)| !known.contains(&key.as_str())));
        if let Some((key, value)) = unknown {
            let message = format!(
                "include: no key {}; there are path, env_file and project_directory",
                key.escape_debug()
            );
            self.tell(&value.place, None, message);
        }
        let path = match &entry.data {
            Data::Map(_) => entry.get("path"),
            _ => Some(entry),
        };
        let mut files = Vec::new();
        for item in path.map(Value::items).unwrap_or_default() {
            files.push(self.included_file(context, item)?);
        }
        let Some(first) = files.first() else {
            self.tell(&entry.place, None, "include: no path".to_owned());
            return None;
        };
        let mut cycle = context.included.iter();
        if cycle.any(|file| file == first) || context.included.len() > CHAIN {
            let shown = crate::compose::shown(&first.to_string_lossy());
            let message = if context.included.len() > CHAIN {
                format!("include: more than {CHAIN} files in a row")
            } else {
                format!("include: {shown} includes itself")
            };
            self.tell(&entry.place, None, message);
            return None;
        }
        let folder = match entry.get("project_directory").and_then(Value::text) {
            Some(folder) if !folder.is_empty() => paths::join(context.folder, folder),
            _ => paths::folder(first),
        };
        let variables = self.included_variables(context, entry, &folder)?;
        Some(Included { files, folder, variables })
    }

    fn included_file(&mut self, context: &Context<'_>, path: &Value) -> Option<PathBuf> {
        let Some(text) = path.text() else {
            if !matches!(path.data, Data::Unknown) {
                self.tell(&path.place, None, "include: not a path".to_owned());
            }
            return None;
        };
        if paths::is_remote(text) {
            let message = format!("include: {} is not here and was not read", text.escape_debug());
            self.warn(&path.place, None, message);
            return None;
        }
        let file = paths::join(context.folder, text);
        if let Err(error) = self.text(&file) {
            self.tell(&path.place, None, unreadable(&file, &error));
            return None;
        }
        Some(file)
    }

    /// The includer's variables come first, then those of the entry's `env_file`, or else of `.env`.
    fn included_variables(
        &mut self,
        context: &Context<'_>,
        entry: &Value,
        folder: &Path,
    ) -> Option<Variables> {
        let mut variables = context.variables.clone();
        let named = entry.get("env_file").map(Value::items).unwrap_or_default();
        let result = if named.is_empty() {
            self.add_usual_variables(&mut variables, folder.join(".env"))
        } else {
            let texts = named.iter().filter_map(Value::text).filter(|text| *text != "/dev/null");
            let files: Vec<_> = texts.map(|text| paths::join(context.folder, text)).collect();
            self.add_variables(&mut variables, &files)
        };
        if let Err((file, error)) = result {
            let place = named.first().map_or(&entry.place, |file| &file.place);
            self.tell(place, None, format!("include: {}", unreadable(&file, &error)));
            return None;
        }
        Some(variables)
    }

    /// Takes over what an included project has. What the includer has of the same name lies over it.
    fn import(&mut self, entry: &Value, map: &mut Map, model: Map, replaces: &BTreeSet<Keys>) {
        for (kind, imported) in model {
            let known = ["services", "volumes", "networks", "secrets", "configs", "models"];
            let (true, Data::Map(imported)) = (known.contains(&kind.as_str()), imported.data)
            else {
                continue;
            };
            let place = entry.place.clone();
            let empty = || Value { place, data: Data::Map(Map::new()) };
            let target = map.entry(kind.clone()).or_insert_with(empty);
            if matches!(target.data, Data::Null) {
                target.data = Data::Map(Map::new());
            }
            let Some(target) = target.map_mut() else { continue };
            for (name, value) in imported {
                let Some(own) = target.remove(&name) else {
                    target.insert(name, value);
                    continue;
                };
                let mut at = vec![kind.clone(), name.clone()];
                let mut value = value;
                if let Some(map) = value.map_mut() {
                    merge::replace(map, &mut at, replaces);
                }
                if kind == "services" {
                    let message = "also in a file that is included; Docker Compose 2 refuses that";
                    self.warn(&own.place, Some(&name), message.to_owned());
                }
                target.insert(name, merge::merge_value(value, own, &mut at));
            }
        }
    }
}
