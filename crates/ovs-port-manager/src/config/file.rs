//! The configuration file: of whom it may be, and how much is read of it.
//!
//! It says whose labels count and who may ask for what, and a privileged process believes it. So nobody but root and the
//! process's own user may be able to write it, or to put another one in its place.

use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};

use saphyr_parser::{Event, Parser};

/// The most that is read, in bytes: some ten thousand rules.
const SIZE: u64 = 1 << 20;
/// The most that aliases may make of it, in bytes and values.
const EXPANDED: u64 = 16 << 20;
/// Levels of nesting; a configuration has four.
const DEPTH: usize = 64;

/// Bits of a mode (inode(7)).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Why a configuration file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("it is no regular file")]
    NoFile,
    #[error("it has more than {SIZE} bytes")]
    TooLarge,
    #[error(
        "{what} belongs to the user with the id {owner}, who could change it: sudo chown root {path}",
        path = path.display()
    )]
    OfAnother { what: What, path: PathBuf, owner: u32 },
    #[error(
        "{what} may be changed by others than its owner (mode {mode:04o}): sudo chmod {change} {path}",
        path = path.display()
    )]
    Writable { what: What, path: PathBuf, mode: u32, change: &'static str },
}

/// What of a file's path is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    File,
    /// One of the folders that lead to it: who may change that can put another file in its place.
    Folder,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "it",
            Self::Folder => "a folder that leads to it",
        })
    }
}

/// The text of a configuration file.
///
/// # Errors
///
/// If it cannot be read, is no file, is too large, or if others could have written it.
pub(super) fn read(path: &Path) -> Result<String, Refused> {
    // A FIFO would keep this waiting for somebody who writes.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refused::NoFile);
    }
    check(What::File, path, &metadata)?;
    // Both the way that was named and, where symbolic links lead elsewhere, the way to what was opened.
    for way in [absolute(path)?, fs::canonicalize(path)?] {
        for folder in way.ancestors().skip(1) {
            check(What::Folder, folder, &fs::metadata(folder)?)?;
        }
    }
    let mut text = String::new();
    file.take(SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIZE {
        return Err(Refused::TooLarge);
    }
    Ok(text)
}

/// Whether there is a file at a path, or something that keeps this process from knowing.
pub(super) fn may_exist(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

fn check(what: What, path: &Path, metadata: &Metadata) -> Result<(), Refused> {
    let own = rustix::process::geteuid().as_raw();
    let path = || path.to_owned();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != own {
        return Err(Refused::OfAnother { what, path: path(), owner });
    }
    match writers(what, mode, metadata.gid()) {
        None => Ok(()),
        Some(change) => Err(Refused::Writable { what, path: path(), mode, change }),
    }
}

/// How to change a mode that lets others than the owner and root's group write; none if it does not.
fn writers(what: What, mode: u32, group: u32) -> Option<&'static str> {
    // In a sticky folder nobody can touch what belongs to another (inode(7)).
    if what == What::Folder && mode & STICKY != 0 {
        return None;
    }
    match (mode & GROUP_WRITES != 0 && group != 0, mode & OTHERS_WRITE != 0) {
        (false, false) => None,
        (true, false) => Some("g-w"),
        (false, true) => Some("o-w"),
        (true, true) => Some("go-w"),
    }
}

/// What is wrong with a text before it is read as a whole: it is no YAML, or one that would become far larger by its aliases,
/// or is nested so deep that reading it takes all of a stack.
pub(super) fn bomb(text: &str) -> Option<String> {
    let mut parser = Parser::new_from_str(text);
    let mut weights = Weights::default();
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                let at = error.marker();
                return Some(format!(
                    "not YAML: {} at line {} column {}",
                    error.info(),
                    at.line().max(1),
                    at.col() + 1
                ));
            }
        };
        weights.take(&event);
        if weights.open.len() > DEPTH {
            return Some(format!(
                "line {}: nested more than {DEPTH} levels deep",
                span.start.line()
            ));
        }
        if weights.total > EXPANDED {
            return Some(format!("line {}: its aliases make it too large", span.start.line()));
        }
    }
    None
}

/// What values weigh once all aliases are resolved: a byte each, and one for each byte of text.
#[derive(Default)]
struct Weights {
    total: u64,
    /// Of what has begun: its anchor, and the total before it.
    open: Vec<(usize, u64)>,
    anchored: HashMap<usize, u64>,
}

impl Weights {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let weight = 1 + text.len() as u64;
                self.anchored.insert(*anchor, weight);
                self.add(weight);
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                self.open.push((*anchor, self.total));
                self.add(1);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, before)) = self.open.pop() {
                    self.anchored.insert(anchor, self.total - before);
                }
            }
            Event::Alias(anchor) => {
                self.add(self.anchored.get(anchor).copied().unwrap_or(1));
            }
            _ => {}
        }
    }

    fn add(&mut self, weight: u64) {
        self.total = self.total.saturating_add(weight);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn who_may_write_is_told_by_mode_and_group() {
        for (mode, group, change) in [
            (0o644, 5, None),
            (0o664, 0, None),
            (0o664, 5, Some("g-w")),
            (0o646, 0, Some("o-w")),
            (0o666, 5, Some("go-w")),
        ] {
            assert_eq!(writers(What::File, mode, group), change, "{mode:o} {group}");
            assert_eq!(writers(What::Folder, mode, group), change, "{mode:o} {group}");
            assert_eq!(writers(What::Folder, mode | STICKY, group), None);
            // Of a file, the sticky bit says nothing.
            assert_eq!(writers(What::File, mode | STICKY, group), change);
        }
    }

    #[test]
    fn a_file_and_the_folders_that_lead_to_it_are_the_owners_to_change() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("folder");
        fs::create_dir(&folder).unwrap();
        set(&folder, 0o755);
        let path = folder.join("it.yaml");
        fs::write(&path, "adopt: true\n").unwrap();
        set(&path, 0o644);
        assert_eq!(read(&path).unwrap(), "adopt: true\n");
        set(&path, 0o646);
        let told = read(&path).unwrap_err().to_string();
        assert!(
            told.starts_with("it may be changed by others than its owner (mode 0646)"),
            "{told}"
        );
        set(&path, 0o644);
        // A link is no way around, from neither side.
        let safe = home.path().join("safe.yaml");
        fs::copy(&path, &safe).unwrap();
        let (into, out) = (home.path().join("into.yaml"), folder.join("out.yaml"));
        symlink(&path, &into).unwrap();
        symlink(&safe, &out).unwrap();
        assert!(read(&into).is_ok() && read(&out).is_ok());
        set(&folder, 0o757);
        for path in [&path, &into, &out] {
            let told = read(path).unwrap_err().to_string();
            assert!(told.contains("folder that leads to it may be changed"), "{told}");
            assert!(told.ends_with(&format!("sudo chmod o-w {}", folder.display())), "{told}");
        }
        set(&folder, 0o1757);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| read(path).unwrap_err().to_string();
        assert_eq!(told(folder.path()), "it is no regular file");
        assert_eq!(told(Path::new("/dev/zero")), "it is no regular file");
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(told(&fifo), "it is no regular file");
        let large = folder.path().join("large.yaml");
        fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(told(&large), "it has more than 1048576 bytes");
        assert!(!may_exist(&folder.path().join("missing")) && may_exist(&large));
    }

    #[test]
    fn what_aliases_and_nesting_would_blow_up_is_refused() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert_eq!(bomb(&laughs).unwrap(), "line 7: its aliases make it too large");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 19), "*a, ".repeat(64));
        assert_eq!(bomb(&long).unwrap(), "line 2: its aliases make it too large");
        for deep in ["[".repeat(100), "- ".repeat(1 << 19)] {
            assert_eq!(bomb(&deep).unwrap(), "line 1: nested more than 64 levels deep");
        }
        assert!(bomb(&"[".repeat(1 << 19)).is_some());
        assert!(bomb("a: [").unwrap().starts_with("not YAML: "));
        assert_eq!(bomb("a: &a [1, 2]\nb: [*a, *a]\n"), None);
        assert_eq!(bomb(include_str!("../../../../configs/ovs-port-manager.yaml")), None);
    }
}
