//! The tables and columns that there are typed rows for.
//!
//! Every column here is monitored wherever its row is. So never add those that change by
//! themselves every few seconds (`statistics`, `status`): idling would cost CPU.

/// A table and its columns.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// The table's name in the schema.
    pub table: &'static str,
    /// The name of the row type.
    pub row: &'static str,
    /// The name of its module.
    pub module: &'static str,
    /// The columns' names in the schema.
    pub columns: &'static [&'static str],
}

/// All tables of the `Open_vSwitch` database that are in use.
pub const SELECTION: &[Selected] = &[
    Selected {
        table: "Bridge",
        row: "Bridge",
        module: "bridge",
        columns: &["name", "ports", "datapath_type", "fail_mode", "external_ids", "other_config"],
    },
    Selected {
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
        ],
    },
    Selected {
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
    Selected {
        table: "Port",
        row: "Port",
        module: "port",
        columns: &[
            "name",
            "interfaces",
            "tag",
            "trunks",
            "vlan_mode",
            "external_ids",
            "other_config",
        ],
    },
];
