//! `extends`: a service over another one, of the same file or of another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Context, Loader, path_of, replaced, resolve, unreadable};
use crate::compose::lower::Keys;
use crate::compose::merge;
use crate::compose::paths;
use crate::compose::value::{Data, Map, Place, Value};
use crate::compose::vet;

/// The most services that extend each other in a row.
const CHAIN: usize = 64;

/// The services of a file, and the places that it replaces.
struct Services<'s> {
    context: &'s Context<'s>,
    map: &'s mut Map,
    replaces: &'s BTreeSet<Keys>,
    /// The services that the file itself has; others are from files that it includes.
    own: &'s BTreeSet<String>,
}

/// The services whose base is looked for, the last one's first.
type Chain = Vec<(PathBuf, String)>;

impl Loader<'_> {
    /// Lays each service of a document over the one that it extends.
    pub(super) fn extend(
        &mut self,
        context: &Context<'_>,
        replaces: &BTreeSet<Keys>,
        map: &mut Map,
        own: &BTreeSet<String>,
    ) {
        let Some(map) = map.get_mut("services").and_then(Value::map_mut) else { return };
        let names: Vec<String> = map.keys().cloned().collect();
        let mut services = Services { context, map, replaces, own };
        for name in names {
            self.extend_one(&mut services, &name, &mut Vec::new());
        }
    }

    fn extend_one(&mut self, services: &mut Services<'_>, name: &str, chain: &mut Chain) {
        if self.budget.is_spent() {
            return;
        }
        let service = services.map.get_mut(name).and_then(Value::map_mut);
        let Some(extends) = service.and_then(|service| service.remove("extends")) else { return };
        chain.push((services.context.file.to_path_buf(), name.to_owned()));
        let base = self.base(services, name, &extends, chain);
        chain.pop();
        let Some(base) = base else { return };
        let base = replaced(base, name, services.replaces);
        if let Some(service) = services.map.remove(name) {
            let merged = merge::merge_value(base, service, &mut path_of(name));
            services.map.insert(name.to_owned(), merged);
        }
    }

    /// The service that one extends, with all that it extends itself.
    fn base(
        &mut self,
        services: &mut Services<'_>,
        name: &str,
        extends: &Value,
        chain: &mut Chain,
    ) -> Option<Value> {
        let wanted = extends.get("service").unwrap_or(extends);
        let place = wanted.place.clone();
        let Some(wanted) = wanted.text() else {
            self.tell(&extends.place, Some(name), "extends: no service named".to_owned());
            return None;
        };
        let file = match extends.get("file") {
            None => None,
            Some(file) => Some(self.extended_file(services, name, file)?),
        };
        let path = file.as_deref().unwrap_or(&services.context.file);
        if chain.iter().any(|(file, name)| file == path && name == wanted) {
            let circle = format!("extends: {} extends itself", wanted.escape_debug());
            self.tell(&place, Some(name), circle);
            return None;
        }
        if chain.len() >= CHAIN {
            let message = format!("extends: more than {CHAIN} services in a row");
            self.tell(&place, Some(name), message);
            return None;
        }
        let found = match file {
            Some(file) => self.base_in(services, name, &place, &file, wanted, chain)?,
            None => {
                self.extend_one(services, wanted, chain);
                let found = services.map.get(wanted);
                // It is paid for before it is copied.
                if !self.budget.spend(found.map_or(0, Value::size)) {
                    return None;
                }
                let found = found.cloned();
                if found.is_some() && !services.own.contains(wanted) {
                    let message = "extends: a service of a file that is included; Docker Compose 2 \
                                   refuses that";
                    self.warn(&place, Some(name), message.to_owned());
                }
                found
            }
        };
        let path = path_shown(extends, services);
        if found.is_none() {
            let missing = format!("extends: no service {} in {path}", wanted.escape_debug());
            self.tell(&place, Some(name), missing);
        }
        found
    }

    fn extended_file(
        &mut self,
        services: &Services<'_>,
        name: &str,
        file: &Value,
    ) -> Option<Rc<Path>> {
        let Some(text) = file.text() else {
            if !matches!(file.data, Data::Unknown) {
                self.tell(&file.place, Some(name), "extends: file: not a path".to_owned());
            }
            return None;
        };
        if paths::is_remote(text) {
            let message = format!("extends: {} is not here and was not read", text.escape_debug());
            self.warn(&file.place, Some(name), message);
            return None;
        }
        let text = paths::expand(text, self.sources.environment);
        Some(paths::join(services.context.folder, &text).into())
    }

    /// A service of another file, whose paths are relative to that file's folder.
    fn base_in(
        &mut self,
        services: &Services<'_>,
        name: &str,
        place: &Place,
        file: &Rc<Path>,
        wanted: &str,
        chain: &mut Chain,
    ) -> Option<Option<Value>> {
        let folder = paths::folder(file);
        let context = Context {
            file: Rc::clone(file),
            folder: &folder,
            variables: services.context.variables,
            included: Vec::new(),
        };
        let documents = match self.lowered(&context, vet::Use::Base) {
            Ok(documents) => documents,
            Err(error) => {
                self.tell(place, Some(name), format!("extends: {}", unreadable(file, &error)));
                return None;
            }
        };
        let (mut model, mut last) = (Map::new(), Rc::default());
        for document in documents {
            let Data::Map(map) = document.value.data else { continue };
            merge::replace(&mut model, &mut Vec::new(), &document.replaces);
            merge::merge(&mut model, map, &mut Vec::new());
            last = document.replaces;
        }
        resolve(&mut model, &folder, self.sources.environment);
        let Some(map) = model.get_mut("services").and_then(Value::map_mut) else {
            return Some(None);
        };
        let own = map.keys().cloned().collect();
        let mut others = Services { context: &context, map, replaces: &last, own: &own };
        self.extend_one(&mut others, wanted, chain);
        Some(map.remove(wanted))
    }
}

/// The file that a base is looked for in, as a person would name it.
fn path_shown(extends: &Value, services: &Services<'_>) -> String {
    let path = match extends.get("file").and_then(Value::text) {
        Some(file) => paths::join(services.context.folder, file),
        None => services.context.file.to_path_buf(),
    };
    crate::compose::shown(&path.to_string_lossy())
}
