//! Which engine this is, among those of the machine.

use super::{Docker, Error};

impl Docker {
    /// What tells this engine from every other, and stays as long as its containers do.
    pub(crate) async fn engine(&self) -> Result<Option<String>, Error> {
        let ask = || self.ask("tell which it is", self.client.info());
        let (first, second) = (ask().await?, ask().await?);
        // Docker keeps the id in a file; Podman makes up another one for each answer.
        let same = first.id.filter(|id| !id.is_empty() && second.id.as_ref() == Some(id));
        let folder = first.docker_root_dir.zip(first.name);
        let folder = || folder.map(|(folder, host)| format!("{folder} on {host}"));
        Ok(same.or_else(folder))
    }
}
