//! The compose files of a folder, found by their usual names as Docker Compose finds them.

use std::path::{Path, PathBuf};

/// The usual names, the best first.
const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The usual names of the file over it, the best first.
const OVER: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The files of a project, and others of the usual names that Docker Compose passes over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// One file over the other.
    pub(crate) files: Vec<PathBuf>,
    /// Files that do not count.
    pub(crate) passed_over: Vec<PathBuf>,
}

/// Looks into a folder.
pub(crate) fn in_folder(folder: &Path, exists: &dyn Fn(&Path) -> bool) -> Option<Found> {
    let mut found = Found::default();
    for (names, is_needed) in [(NAMES, true), (OVER, false)] {
        let mut there = names.iter().map(|name| folder.join(name)).filter(|path| exists(path));
        match there.next() {
            Some(file) => found.files.push(file),
            None if is_needed => return None,
            None => {}
        }
        found.passed_over.extend(there);
    }
    Some(found)
}

/// Looks into the current folder, then into those above it. Files of the current one are named without a folder.
pub(crate) fn from_here(current: &Path, exists: &dyn Fn(&Path) -> bool) -> Option<Found> {
    let above = current.ancestors().skip(1);
    in_folder(Path::new(""), exists)
        .or_else(|| above.into_iter().find_map(|folder| in_folder(folder, exists)))
}

/// The files that `COMPOSE_FILE` names, with the separator that it uses.
pub(crate) fn listed(files: &str, separator: Option<&str>) -> Vec<PathBuf> {
    let separator = separator.filter(|separator| !separator.is_empty()).unwrap_or(":");
    files.split(separator).map(PathBuf::from).collect()
}
