//! The control socket: made so that nobody but its group can connect, at any instant.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted. They are served in turn, whoever they are from, so a member of the group who makes
/// them all the time lets root wait for as many; the kernel's own bound is 4096.
const WAITING: i32 = 64;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot make {path}", path = path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("there is no group {0} in /etc/group")]
    NoGroup(String),
}

/// Listens at a path, mode 0660. It takes the place of what an earlier instance, or one that still runs,
/// has left there. Where its folder is missing, it makes that, too.
pub(crate) fn listen(path: &Path, group: Option<&str>) -> Result<UnixListener, Error> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    let group = group.map(group_id).transpose()?;
    // Under another name until its mode is right; the process id makes that name unique.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let made = || -> io::Result<UnixListener> {
        path.parent().map_or(Ok(()), make_folder)?;
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)?;
        rustix::net::listen(&listener, WAITING)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o660))?;
        // Where the group is the process's own, this takes no privilege.
        if group.is_some_and(|group| fs::metadata(&draft).is_ok_and(|it| it.gid() != group)) {
            chown(&draft, None, group)?;
        }
        fs::rename(&draft, path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    made().inspect_err(|_| drop(fs::remove_file(&draft))).map_err(failed)
}

/// Makes a folder that everybody may look into, unless it is there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A group by its name or number.
fn group_id(name: &str) -> Result<u32, Error> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let id = |line: &str| {
        // NAME:PASSWORD:ID:MEMBERS, group(5).
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    groups.lines().find_map(id).ok_or_else(|| Error::NoGroup(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_for_its_group_and_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/it.sock");
        let older = listen(&path, None).unwrap();
        let newer = listen(&path, Some("0")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        assert_eq!(fs::read_dir(folder.path().join("made")).unwrap().count(), 1);
        assert_eq!(fs::metadata(folder.path().join("made")).unwrap().mode() & 0o7777, 0o755);
        let _client = UnixStream::connect(&path).unwrap();
        assert!(newer.accept().is_ok() && older.accept().is_err());
    }

    #[test]
    fn what_cannot_be_made_is_told_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let told = |error: &Error| crate::error_chain::chain(error);
        let error = listen(&folder.path().join("no/such/it.sock"), None).unwrap_err();
        assert!(told(&error).contains("no/such/it.sock: No such file or directory"), "{error}");
        let error = listen(&folder.path().join("it.sock"), Some("no-such-group")).unwrap_err();
        assert_eq!(told(&error), "there is no group no-such-group in /etc/group");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(group_id("root").unwrap(), 0);
    }
}
