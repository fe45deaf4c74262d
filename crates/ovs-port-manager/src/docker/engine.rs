//! Which engine this is, among those of the machine.

use super::{Docker, Error};

impl Docker {
    /// What tells this engine from every other, and stays as long as its containers do.
    pub(crate) async fn engine(&self) -> Result<Option<String>, Error> {
        let ask = || self.ask("tell which it is", self.client.info());
        let (first, second) = (ask().await?, ask().await?);
        // Podman makes up another id for each answer. Docker keeps it in a file, which before version 24 all engines of a
        // machine share; the folder of its containers is an engine's own.
        let id = first.id.filter(|id| !id.is_empty() && second.id.as_ref() == Some(id));
        let folder = first.docker_root_dir.filter(|folder| !folder.is_empty());
        let parts: Vec<_> = folder.into_iter().chain(id).collect();
        Ok((!parts.is_empty()).then(|| parts.join(" ")))
    }
}
