//! The keys and variables of the program of the same name that is written in Go: it looks for its configuration at the
//! same path, and begins its variables alike.

use ::config::{Config, ValueKind};

/// The tables of its configuration file. `docker` is a table there, and a text here.
const TABLES: [&str; 5] = ["ovs", "docker", "network", "logging", "server"];

/// What its keys are called here; the others have no counterpart.
const KEYS: [(&str, &str); 7] = [
    ("ovs_socket_path", "ovsdb (unix:/PATH)"),
    ("ovs_default_bridge", "default_bridge"),
    ("ovs_default_interface", "default_interface"),
    ("docker_socket_path", "docker (unix:///PATH)"),
    ("logging_level", "log_level"),
    ("logging_format", "log_format"),
    ("server_metrics_addr", "http (ADDRESS:PORT)"),
];

/// Its variables without a prefix of its own, and what has their effect here. Those with names that many programs
/// share, such as `LOG_LEVEL`, are left out.
const VARIABLES: [(&str, &str); 4] = [
    ("OVS_DEFAULT_BRIDGE", "OVS_PORT_MANAGER_DEFAULT_BRIDGE"),
    ("OVS_DEFAULT_INTERFACE", "OVS_PORT_MANAGER_DEFAULT_INTERFACE"),
    ("OVS_SOCKET_PATH", "OVS_PORT_MANAGER_OVSDB"),
    ("DOCKER_SOCKET_PATH", "OVS_PORT_MANAGER_DOCKER"),
];

/// Where all of this is explained.
const PAGE: &str = "docs/migrating.md, or /usr/share/doc/ovs-port-manager/migrating.md";

/// What to say of a file that is the Go version's.
pub(super) fn file(file: &Config) -> Option<String> {
    let ValueKind::Table(table) = &file.cache.kind else { return None };
    let is_table = |name: &str| {
        let mut entries = table.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        entries.any(|(_, value)| matches!(value.kind, ValueKind::Table(_)))
    };
    let found: Vec<_> = TABLES.into_iter().filter(|name| is_table(name)).collect();
    (!found.is_empty()).then(|| {
        format!(
            "a file of the Go version of this program, by its keys ({}), which are others here; for what each has become, \
             see {PAGE}",
            found.join(", ")
        )
    })
}

/// What to say of a variable with our prefix that is the Go version's; `key` is the rest of its name.
pub(super) fn variable(key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    TABLES.iter().find(|table| {
        key.strip_prefix(**table).and_then(|rest| rest.strip_prefix('_')).is_some()
    })?;
    let here = KEYS.iter().find(|(theirs, _)| *theirs == key);
    Some(match here {
        Some((_, here)) => {
            format!("'{key}' is of the Go version of this program; here it is {here}")
        }
        None => format!(
            "'{key}' is of the Go version of this program; for what to do without it, see {PAGE}"
        ),
    })
}

/// What to say of variables that the Go version reads and this program does not.
pub(crate) fn ignored_variables(set: impl Fn(&str) -> bool) -> Vec<String> {
    let given = VARIABLES.iter().filter(|(theirs, here)| set(theirs) && !set(here));
    given
        .map(|(theirs, here)| {
            format!("{theirs} is a variable of the Go version and has no effect here; set {here}")
        })
        .collect()
}
