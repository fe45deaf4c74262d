//! Paths in compose files, joined and cleaned by their text alone, as Docker Compose does.

use std::path::{Component, Path, PathBuf};

/// A path relative to a folder, without `.` and, where that can be told, without `..`.
pub(super) fn join(folder: &Path, path: &str) -> PathBuf {
    clean(&folder.join(path))
}

/// The folder that a file is in.
pub(super) fn folder(file: &Path) -> PathBuf {
    file.parent().map(clean).unwrap_or_default()
}

fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match clean.components().next_back() {
                Some(Component::Normal(_)) => {
                    clean.pop();
                }
                Some(Component::RootDir) => {}
                _ => clean.push(".."),
            },
            other => clean.push(other),
        }
    }
    clean
}

/// A path that may begin with `~`, for the home directory.
pub(super) fn expand(path: &str, environment: &dyn Fn(&str) -> Option<String>) -> String {
    let home = || environment("HOME").filter(|home| !home.is_empty());
    match path.strip_prefix('~').and_then(|rest| Some((home()?, rest))) {
        Some((home, rest)) => format!("{home}/{}", rest.trim_start_matches('/')),
        None => path.to_owned(),
    }
}

/// Whether Compose would fetch it from elsewhere.
pub(super) fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/")
}
