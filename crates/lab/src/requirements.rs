//! What the machine must have, checked before anything starts. Nothing is skipped silently.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::search_path;

/// The programs that a whole lab runs, each with the Debian package that has it.
const PROGRAMS: [(&str, &str); 15] = [
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("ovs-appctl", "openvswitch-common"),
    ("ovs-vsctl", "openvswitch-switch"),
    ("ovs-vswitchd", "openvswitch-switch"),
    ("ovsdb-server", "openvswitch-common"),
    ("ovsdb-tool", "openvswitch-common"),
    ("runc", "runc"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];

/// Fails with one list of everything that is missing.
pub(crate) fn check() -> Result<()> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root: namespaces, Docker and Open vSwitch need it".to_owned());
    }
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            missing.push(format!("the program {program} (Debian package {package})"));
        }
    }
    if let Some(busybox) = find("busybox")
        && !is_static(&busybox)?
    {
        let path = busybox.display();
        missing.push(format!("a static busybox: {path} is dynamic (package busybox-static)"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "a lab cannot start on this machine, it lacks:\n- {}\nscripts/install-deps.sh installs the programs",
        missing.join("\n- ")
    );
}

/// The first program of that name in [`search_path`].
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    search_path().split(':').map(|folder| Path::new(folder).join(program)).find(|p| p.is_file())
}

/// Whether an ELF program needs no loader: none of its program headers is `PT_INTERP`.
/// On a big-endian machine every program is taken for static.
fn is_static(program: &Path) -> Result<bool> {
    /// The type of the program header that names the loader.
    const PT_INTERP: usize = 3;
    let image = std::fs::read(program).with_context(|| format!("cannot read {program:?}"))?;
    let number = |at: usize, length: usize| -> usize {
        let bytes = image.get(at..at.saturating_add(length));
        let bytes = bytes.unwrap_or_default().iter().rev();
        bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let is_64_bit = number(4, 1) == 2;
    // e_phoff, e_phentsize and e_phnum of the ELF header.
    let (table, size, count) = if is_64_bit {
        (number(32, 8), number(54, 2), number(56, 2))
    } else {
        (number(28, 4), number(42, 2), number(44, 2))
    };
    Ok((0..count).all(|index| number(table.saturating_add(index * size), 4) != PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_is_told_from_a_dynamic_one() {
        assert!(is_static(&find("busybox").unwrap()).unwrap());
        assert!(!is_static(&find("nsenter").unwrap()).unwrap());
    }
}
