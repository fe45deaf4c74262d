//! The tables and columns that there are typed rows for.
//!
//! Every column here is monitored wherever its row is. So never add those that change by
//! themselves every few seconds (`statistics`, `status`): idling would cost CPU.

use anyhow::{Context as _, Result};
use ovsdb::schema::Schema;

use super::name;

/// A table and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// The table's name in the schema.
    pub(super) table: String,
    /// The name of the row type.
    pub(super) row: String,
    /// The name of its module.
    pub(super) module: String,
    /// The columns' names in the schema.
    pub(super) columns: Vec<String>,
}

/// The tables of the `Open_vSwitch` database that are in use.
pub(super) fn in_use() -> Vec<Selected> {
    let selected = IN_USE.iter().map(|table| Selected {
        table: table.table.to_owned(),
        row: table.row.to_owned(),
        module: table.module.to_owned(),
        columns: table.columns.iter().map(|&column| column.to_owned()).collect(),
    });
    selected.collect()
}

/// What is asked for: tables with all of their columns as `TABLE`, single columns as
/// `TABLE.COLUMN`. If nothing is, everything.
pub(super) fn asked_for(schema: &Schema, wanted: &[String]) -> Result<Vec<Selected>> {
    let all: Vec<String> = schema.tables.keys().cloned().collect();
    let wanted = if wanted.is_empty() { &all } else { wanted };
    let mut selection: Vec<Selected> = Vec::new();
    for one in wanted {
        let (table, column) = match one.split_once('.') {
            Some((table, column)) => (table, Some(column)),
            None => (one.as_str(), None),
        };
        let columns = match column {
            Some(column) => vec![column.to_owned()],
            None => {
                let found = schema.tables.get(table);
                let found = found.with_context(|| format!("the schema has no table {table}"))?;
                found.columns.keys().cloned().collect()
            }
        };
        match selection.iter_mut().find(|selected| selected.table == table) {
            Some(selected) => {
                selected.columns.extend(columns);
                selected.columns.sort_unstable();
                selected.columns.dedup();
            }
            None => selection.push(Selected {
                table: table.to_owned(),
                row: name::camel_case(table),
                module: name::identifier(&table.to_lowercase()),
                columns,
            }),
        }
    }
    selection.sort_unstable_by(|one, other| one.table.cmp(&other.table));
    Ok(selection)
}

struct InUse {
    table: &'static str,
    row: &'static str,
    module: &'static str,
    columns: &'static [&'static str],
}

const IN_USE: &[InUse] = &[
    InUse {
        table: "Bridge",
        row: "Bridge",
        module: "bridge",
        columns: &[
            "name",
            "ports",
            "mirrors",
            "controller",
            "datapath_type",
            "fail_mode",
            "stp_enable",
            "rstp_enable",
            "external_ids",
            "other_config",
        ],
    },
    InUse {
        table: "Controller",
        row: "Controller",
        module: "controller",
        columns: &["target", "type", "connection_mode", "is_connected"],
    },
    InUse {
        table: "Interface",
        row: "Interface",
        module: "interface",
        columns: &[
            "name",
            "type",
            "ofport",
            "ofport_request",
            "error",
            "mac_in_use",
            "admin_state",
            "link_state",
            "ifindex",
            "external_ids",
            "mtu",
            "mtu_request",
            "ingress_policing_rate",
            "ingress_policing_burst",
        ],
    },
    InUse {
        table: "Mirror",
        row: "Mirror",
        module: "mirror",
        columns: &[
            "name",
            "select_all",
            "select_src_port",
            "select_dst_port",
            "select_vlan",
            "output_port",
            "output_vlan",
            "snaplen",
            "external_ids",
        ],
    },
    InUse {
        table: "Open_vSwitch",
        row: "OpenVSwitch",
        module: "open_vswitch",
        columns: &[
            "bridges",
            "other_config",
            "external_ids",
            "ovs_version",
            "db_version",
            "next_cfg",
            "cur_cfg",
            "datapath_types",
        ],
    },
    InUse {
        table: "Port",
        row: "Port",
        module: "port",
        columns: &[
            "name",
            "interfaces",
            "tag",
            "trunks",
            "vlan_mode",
            "qos",
            "rstp_status",
            "protected",
            "external_ids",
            "other_config",
        ],
    },
    InUse {
        table: "QoS",
        row: "Qos",
        module: "qos",
        columns: &["type", "queues", "other_config", "external_ids"],
    },
];
