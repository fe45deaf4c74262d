//! What a lab starts.

use std::sync::Arc;
use std::thread;

use anyhow::{Result, anyhow};

use crate::lab::Lab;
use crate::namespaces::Namespaces;
use crate::{docker, ovs, requirements};

/// Says what a lab starts. Made by [`Lab::builder`].
///
/// A service that is left out is only not started: [`Service::start`](crate::Service::start)
/// starts it later.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start` is called"]
pub struct LabBuilder {
    docker: bool,
    vswitchd: bool,
    dockerd_args: Vec<String>,
    database_size: Option<String>,
}

impl LabBuilder {
    pub(crate) fn new() -> LabBuilder {
        LabBuilder { docker: true, vswitchd: true, dockerd_args: Vec::new(), database_size: None }
    }

    /// Does not start `dockerd`.
    pub fn without_docker(mut self) -> LabBuilder {
        self.docker = false;
        self
    }

    /// Does not start `ovs-vswitchd`; `ovs-vsctl` then needs `--no-wait`.
    pub fn without_vswitchd(mut self) -> LabBuilder {
        self.vswitchd = false;
        self
    }

    /// Lets `dockerd` log its debug messages.
    pub fn docker_debug(self) -> LabBuilder {
        self.dockerd_arg("--debug")
    }

    /// Adds an argument of `dockerd`, `--live-restore` say.
    pub fn dockerd_arg(mut self, arg: &str) -> LabBuilder {
        self.dockerd_args.push(arg.to_owned());
        self
    }

    /// Puts the database on a disk of its own, of this size (`4m` say), so that a test can fill it.
    pub fn database_size(mut self, size: &str) -> LabBuilder {
        self.database_size = Some(size.to_owned());
        self
    }

    /// Starts the lab and waits until everything in it answers.
    ///
    /// # Errors
    ///
    /// When the machine lacks something (the error lists all of it), or something does not start.
    pub fn start(self) -> Result<Lab> {
        requirements::check()?;
        let namespaces = Arc::new(Namespaces::start(|lab| {
            // containerd, for one, leaves files in TMPDIR when it is in trouble.
            let mut env = vec![("TMPDIR", lab.join("tmp").display().to_string())];
            env.extend(ovs::env(lab));
            env.extend(docker::env(lab));
            env
        })?);
        let lab = Lab::new(
            ovs::ovsdb_server(&namespaces, self.database_size.as_deref())?,
            ovs::vswitchd(&namespaces),
            docker::dockerd(&namespaces, &self.dockerd_args)?,
            namespaces,
        );
        thread::scope(|scope| {
            let docker = scope.spawn(|| if self.docker { lab.dockerd().start() } else { Ok(()) });
            lab.ovsdb_server().start()?;
            if self.vswitchd {
                lab.vswitchd().start()?;
            }
            docker.join().map_err(|_| anyhow!("the thread that starts dockerd panicked"))?
        })?;
        Ok(lab)
    }
}
