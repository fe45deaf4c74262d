//! `completions` and `man`: what packages install beside the program.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::{Cli, Outcome, output};

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ovs-port-manager completions bash > /usr/share/bash-completion/completions/ovs-port-manager
  source <(ovs-port-manager completions bash)";

pub(crate) const MAN_EXAMPLES: &str = "\
Examples:
  ovs-port-manager man | man -l -
  ovs-port-manager man --dir /usr/share/man/man1";

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write ovs-port-manager.1 and the pages of all commands to this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        let mut command = Cli::command();
        clap_complete::generate(self.shell, &mut command, "ovs-port-manager", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Outcome::Well)
    }
}

impl Man {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Some(folder) = self.dir else {
            let mut page = Vec::new();
            Page::new(Cli::command()).render(&mut page)?;
            output::print(&String::from_utf8_lossy(&page))?;
            return Ok(Outcome::Well);
        };
        clap_mangen::generate_to(Cli::command(), &folder)
            .with_context(|| format!("cannot write the pages to {}", folder.display()))?;
        Ok(Outcome::Well)
    }
}
