//! Operations as the RFC writes them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::bundle::Bundle;
use crate::tables::{Bridge, FailMode, Interface, OpenVSwitch, Port};

/// The operations on the wire, with the names of inserted rows put in by their order of creation.
fn wire(tx: &Transaction) -> Vec<Json> {
    let bundle = Bundle::new(std::slice::from_ref(tx));
    let params = bundle.params("db");
    let Json::Array(mut params) = serde_json::to_value(params).unwrap() else {
        panic!("params are an array");
    };
    assert_eq!(params.remove(0), "db");
    params
}

fn check(build: impl FnOnce(&mut Transaction), expected: Json) {
    let mut tx = Transaction::new();
    build(&mut tx);
    assert_eq!(wire(&tx), [expected]);
}

fn ids(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn inserted_rows_refer_to_each_other_by_name() {
    let mut tx = Transaction::new();
    let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, "i"));
    let port = tx.insert(
        Insert::<Port>::new()
            .set(Port::NAME, "p")
            .set(Port::INTERFACES, [interface])
            .set(Port::TAG, Some(100))
            .set(Port::EXTERNAL_IDS, ids(&[("owner", "me")])),
    );
    let _ = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
    let wire = wire(&tx);
    let (interface, port) = (&wire[0]["uuid-name"], &wire[1]["uuid-name"]);
    assert_ne!(interface, port);
    assert_eq!(
        wire[0],
        json!({"op": "insert", "table": "Interface", "row": {"name": "i"}, "uuid-name": interface})
    );
    assert_eq!(
        wire[1]["row"],
        json!({
            "name": "p",
            "interfaces": ["named-uuid", interface],
            "tag": 100,
            "external_ids": ["map", [["owner", "me"]]],
        })
    );
    assert_eq!(
        wire[2],
        json!({
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", "br0"]],
            "mutations": [["ports", "insert", ["named-uuid", port]]],
        })
    );
}

#[test]
fn names_are_unique_among_all_transactions() {
    let name = || {
        wire(&{
            let mut tx = Transaction::new();
            tx.insert(Insert::<Bridge>::new());
            tx
        })[0]["uuid-name"]
            .clone()
    };
    assert_ne!(name(), name());
}

#[test]
fn a_column_set_twice_has_its_last_value() {
    check(
        |tx| {
            let update = Update::<Port>::new().set(Port::TAG, Some(1)).set(Port::TAG, None);
            let _ = tx.update(Where::all(), update);
        },
        json!({"op": "update", "table": "Port", "where": [], "row": {"tag": ["set", []]}}),
    );
}

#[test]
fn a_row_that_exists_is_found_by_its_uuid() {
    let uuid = Uuid::from_u128(1);
    check(
        |tx| {
            let _ = tx.delete::<Port>(uuid);
        },
        json!({
            "op": "delete",
            "table": "Port",
            "where": [["_uuid", "==", ["uuid", "00000000-0000-0000-0000-000000000001"]]],
        }),
    );
}

#[test]
fn every_condition_has_its_function() {
    let conditions = Port::NAME
        .ne("a")
        .and(Port::TRUNKS.includes([1]))
        .and(Port::TRUNKS.excludes([2, 3]))
        .and(Port::TAG.lt(4))
        .and(Port::TAG.le(5))
        .and(Port::TAG.ge(6))
        .and(Port::TAG.gt(7));
    check(
        |tx| {
            let _ = tx.delete(conditions);
        },
        json!({
            "op": "delete",
            "table": "Port",
            "where": [
                ["name", "!=", "a"],
                ["trunks", "includes", 1],
                ["trunks", "excludes", ["set", [2, 3]]],
                ["tag", "<", 4],
                ["tag", "<=", 5],
                ["tag", ">=", 6],
                ["tag", ">", 7],
            ],
        }),
    );
}

#[test]
fn every_mutation_has_its_mutator() {
    let mutation = Mutation::add(OpenVSwitch::NEXT_CFG, 1)
        .and(Mutation::subtract(OpenVSwitch::NEXT_CFG, 2))
        .and(Mutation::multiply(OpenVSwitch::NEXT_CFG, 3))
        .and(Mutation::divide(OpenVSwitch::NEXT_CFG, 4))
        .and(Mutation::remainder(OpenVSwitch::NEXT_CFG, 5))
        .and(Mutation::delete(OpenVSwitch::EXTERNAL_IDS, ids(&[("a", "b")])))
        .and(Mutation::delete_keys(OpenVSwitch::EXTERNAL_IDS, ["c", "d"]));
    check(
        |tx| {
            let _ = tx.mutate(Where::all(), mutation);
        },
        json!({
            "op": "mutate",
            "table": "Open_vSwitch",
            "where": [],
            "mutations": [
                ["next_cfg", "+=", 1],
                ["next_cfg", "-=", 2],
                ["next_cfg", "*=", 3],
                ["next_cfg", "/=", 4],
                ["next_cfg", "%=", 5],
                ["external_ids", "delete", ["map", [["a", "b"]]]],
                ["external_ids", "delete", ["set", ["c", "d"]]],
            ],
        }),
    );
}

#[test]
fn putting_a_pair_replaces_the_value_of_its_key() {
    check(
        |tx| {
            let put = Mutation::put(Port::EXTERNAL_IDS, ids(&[("a", "b")]));
            let _ = tx.mutate(Where::all(), put);
        },
        json!({
            "op": "mutate",
            "table": "Port",
            "where": [],
            "mutations": [
                ["external_ids", "delete", "a"],
                ["external_ids", "insert", ["map", [["a", "b"]]]],
            ],
        }),
    );
}

#[test]
fn a_select_asks_for_the_columns_of_its_row_type() {
    check(
        |tx| {
            let _ = tx.select::<Bridge>(Bridge::FAIL_MODE.eq(FailMode::Secure));
        },
        json!({
            "op": "select",
            "table": "Bridge",
            "where": [["fail_mode", "==", "secure"]],
            "columns": [
                "_uuid", "name", "ports", "mirrors", "controller", "datapath_type", "fail_mode",
                "stp_enable", "rstp_enable", "external_ids", "other_config"
            ],
        }),
    );
}

#[test]
fn a_wait_compares_the_columns_of_its_rows() {
    check(
        |tx| {
            let row = Update::new().set(Port::TAG, Some(7));
            let wait = Wait::until_equal(Port::NAME.eq("p"), [row]);
            tx.wait(wait.timeout(Duration::from_secs(2)));
        },
        json!({
            "op": "wait",
            "timeout": 2000,
            "table": "Port",
            "where": [["name", "==", "p"]],
            "columns": ["tag"],
            "until": "==",
            "rows": [{"tag": 7}],
        }),
    );
}

#[test]
fn a_requirement_is_a_wait_that_does_not_wait() {
    check(
        |tx| tx.require(Bridge::NAME.eq("br0")),
        json!({
            "op": "wait",
            "timeout": 0,
            "table": "Bridge",
            "where": [["name", "==", "br0"]],
            "columns": ["_uuid"],
            "until": "!=",
            "rows": [],
        }),
    );
}

#[test]
fn the_remaining_operations_are_as_the_rfc_has_them() {
    let mut tx = Transaction::new();
    tx.comment("why");
    tx.assert("lock");
    tx.commit(true);
    tx.abort();
    assert_eq!(
        wire(&tx),
        [
            json!({"op": "comment", "comment": "why"}),
            json!({"op": "assert", "lock": "lock"}),
            json!({"op": "commit", "durable": true}),
            json!({"op": "abort"}),
        ]
    );
}
