//! `plan`: what the daemon would do now.

use clap::Args;
use port_plan::ContainerId;
use serde::Serialize;

use super::Outcome;
use super::connection::{self, Connection};
use super::output::{self, Format};
use crate::board::Denial;
use crate::escape::escape;
use crate::reconcile::{Observer, Preview};

pub(crate) const EXAMPLES: &str = "\
Each step is a line, as the daemon's log has it. Names of new ports end in random digits, so that
those of the daemon's own ports will be others. It has to see into containers, so it takes root.

Examples:
  ovs-port-manager plan
  ovs-port-manager plan && echo nothing to do

Exit status: 0 nothing to do, 1 it could not be found out, 3 something to do";

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    connection: Connection,

    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What would be done for one container.
#[derive(Serialize)]
struct Todo {
    container: String,
    name: String,
    steps: Vec<String>,
    /// Why it does not get what it asks for.
    denied: Vec<String>,
}

impl Plan {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let config = self.connection.load(None)?;
        let todos = connection::block_on(async {
            let observer = connection::observer(&config).await?;
            let mut todos = Vec::new();
            for id in observer.survey().await? {
                let preview = observer.preview(&id).await?;
                todos.push(todo(&observer, &id, &preview));
            }
            todos.sort_by(|a, b| (&a.name, &a.container).cmp(&(&b.name, &b.container)));
            Ok(todos)
        })?;
        match self.output {
            Format::Json => output::print_json(&todos)?,
            Format::Table => output::print(&text(&todos))?,
        }
        let idle = todos.iter().all(|todo| todo.steps.is_empty());
        Ok(if idle { Outcome::Well } else { Outcome::Amiss })
    }
}

fn todo(observer: &Observer, id: &ContainerId, preview: &Preview) -> Todo {
    let name = preview.container.as_ref().map(|container| container.name.clone());
    let name = name.or_else(|| observer.world.switch.container_name(id)).unwrap_or_default();
    let steps = preview.plan.ports.iter().flat_map(|port| &port.steps);
    Todo {
        container: id.to_string(),
        name: name.to_string(),
        steps: steps.map(ToString::to_string).collect(),
        denied: denials(preview).iter().map(ToString::to_string).collect(),
    }
}

/// Why a container does not get all that it asks for.
pub(super) fn denials(preview: &Preview) -> Vec<Denial> {
    let mut denials = match &preview.desired {
        port_plan::Desired::Mistaken(mistakes) => Denial::mistakes(mistakes),
        port_plan::Desired::Refused(refusal) => vec![Denial::refused(None, refusal.clone())],
        port_plan::Desired::Nothing | port_plan::Desired::Ports(_) => Vec::new(),
    };
    denials.extend(
        preview.plan.ports.iter().filter_map(|port| {
            Some(Denial::refused(Some(&port.interface), port.refusal().cloned()?))
        }),
    );
    denials
}

fn text(todos: &[Todo]) -> String {
    let mut text = String::new();
    for Todo { container, name, steps, denied } in todos {
        if steps.is_empty() && denied.is_empty() {
            continue;
        }
        let short: String = container.chars().take(12).collect();
        text.push_str(&format!("{} ({short}):\n", escape(name)));
        for step in steps {
            text.push_str(&format!("  {}\n", escape(step)));
        }
        for reason in denied {
            text.push_str(&format!("  not attached: {}\n", escape(reason)));
        }
    }
    let steps: usize = todos.iter().map(|todo| todo.steps.len()).sum();
    let plural =
        |number, one| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
    let containers = plural(todos.len(), "container");
    match steps {
        0 => format!("{text}nothing to do for {containers}\n"),
        _ => format!("{text}{} for {containers}\n", plural(steps, "step")),
    }
}
