//! The lab's Docker engine, with its own containerd and its own everything.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::image;
use crate::namespaces::Namespaces;
use crate::service::Service;

/// Tells the engine that it lives in a container itself, so that it loads no `AppArmor` profile into
/// the machine's kernel (containerd's `apparmor.HostSupports`).
const ENV: &[(&str, &str)] = &[("container", "lab")];

/// How long one ping may wait for its answer. The engine accepts connections before it answers.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// The engine's socket.
pub(crate) fn socket(lab: &Path) -> PathBuf {
    lab.join("docker.sock")
}

/// The engine's configuration file, `{}` at first.
pub(crate) fn config_file(lab: &Path) -> PathBuf {
    lab.join("daemon.json")
}

/// What the `docker` client needs to find this engine, and nothing of the user's own settings.
pub(crate) fn env(lab: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("DOCKER_HOST", format!("unix://{}", socket(lab).display())),
        ("DOCKER_CONFIG", lab.join("client").display().to_string()),
    ]
}

/// The engine, with further arguments of the caller.
pub(crate) fn dockerd(namespaces: &Arc<Namespaces>, more: &[String]) -> Result<Service> {
    let lab = namespaces.folder();
    fs::write(config_file(lab), "{}\n")?;
    let mut args = vec![
        format!("--config-file={}", config_file(lab).display()),
        format!("--data-root={}", lab.join("docker").display()),
        format!("--exec-root={}", lab.join("exec").display()),
        format!("--pidfile={}", lab.join("docker.pid").display()),
        format!("--host=unix://{}", socket(lab).display()),
        // The engine must not ask systemd for cgroups: supervise.sh removes these by name.
        "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        format!("--cgroup-parent=/{}", namespaces.cgroup()?),
        "--bridge=none".to_owned(),
        "--iptables=false".to_owned(),
        "--ip6tables=false".to_owned(),
        "--ip-forward=false".to_owned(),
        "--userland-proxy=false".to_owned(),
    ];
    args.extend_from_slice(more);
    Ok(Service::new("dockerd", args, is_ready, namespaces).with_env(ENV))
}

fn is_ready(namespaces: &Namespaces) -> Result<()> {
    ping(&socket(namespaces.folder()))?;
    image::import_once(namespaces)
}

fn ping(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("cannot connect to dockerd")?;
    stream.set_read_timeout(Some(PING_TIMEOUT))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("dockerd does not answer yet")?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("dockerd answers {status:?}");
    }
    Ok(())
}
