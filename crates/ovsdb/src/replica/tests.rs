//! Folding and diffing, judged by a model: a plain map of what each row should be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::monitor::Monitor;
use crate::tables::{Bridge, Port};

/// What a port should be: its name, tag and external ids.
type Model = BTreeMap<Uuid, (String, Option<i64>, BTreeMap<String, String>)>;

fn replica() -> Replica {
    let monitor = Monitor::new("db").table::<Port>().table::<Bridge>();
    // By one key rows are found by an index, by the other they are looked for.
    monitor.index_external_id("a").empty_replica()
}

fn fold(replica: &mut Replica, updates: &Json) -> Result<(), FoldError> {
    replica.fold(serde_json::from_str(&updates.to_string())?)
}

fn replace(replica: &mut Replica, snapshot: &Json) -> Result<(), FoldError> {
    replica.replace(serde_json::from_str(&snapshot.to_string())?)
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn columns((name, tag, ids): &(String, Option<i64>, BTreeMap<String, String>)) -> Json {
    let mut columns = json!({ "name": name });
    // As update2 does, leave out what is at its default.
    if let Some(tag) = tag {
        columns["tag"] = json!(tag);
    }
    if !ids.is_empty() {
        columns["external_ids"] = json!(["map", ids.iter().collect::<Vec<_>>()]);
    }
    columns
}

/// The model as the answer to `monitor_cond`.
fn snapshot(model: &Model) -> Json {
    let rows: Map<String, Json> = model
        .iter()
        .map(|(uuid, row)| (uuid.to_string(), json!({ "initial": columns(row) })))
        .collect();
    if rows.is_empty() { json!({}) } else { json!({ "Port": rows }) }
}

/// The step from one model to another as an `update2`.
fn update2(old: &Model, new: &Model) -> Json {
    let mut rows = Map::new();
    for (uuid, row) in new {
        let Some((old_name, old_tag, old_ids)) = old.get(uuid) else {
            rows.insert(uuid.to_string(), json!({ "insert": columns(row) }));
            continue;
        };
        let (name, tag, ids) = row;
        let mut modify = Map::new();
        if name != old_name {
            modify.insert("name".to_owned(), json!(name));
        }
        if tag != old_tag {
            modify.insert("tag".to_owned(), tag.map_or(json!(["set", []]), |tag| json!(tag)));
        }
        let dropped = old_ids.iter().filter(|(key, _)| !ids.contains_key(*key));
        let taken = ids.iter().filter(|(key, value)| old_ids.get(*key) != Some(*value));
        let diff: Vec<_> = dropped.chain(taken).collect();
        if !diff.is_empty() {
            modify.insert("external_ids".to_owned(), json!(["map", diff]));
        }
        if !modify.is_empty() {
            rows.insert(uuid.to_string(), json!({ "modify": modify }));
        }
    }
    for uuid in old.keys().filter(|uuid| !new.contains_key(uuid)) {
        rows.insert(uuid.to_string(), json!({ "delete": null }));
    }
    json!({ "Port": rows })
}

/// The step from one model to another as an `update` of RFC 7047.
fn update(old: &Model, new: &Model) -> Json {
    let full = |row: &(String, Option<i64>, BTreeMap<String, String>)| {
        let (name, tag, ids) = row;
        json!({
            "name": name,
            "tag": tag.map_or(json!(["set", []]), |tag| json!(tag)),
            "external_ids": ["map", ids.iter().collect::<Vec<_>>()],
        })
    };
    let mut rows = Map::new();
    for (uuid, row) in new {
        match old.get(uuid) {
            Some(same) if same == row => {}
            Some(old) => {
                rows.insert(uuid.to_string(), json!({ "old": full(old), "new": full(row) }));
            }
            None => {
                rows.insert(uuid.to_string(), json!({ "new": full(row) }));
            }
        }
    }
    for (uuid, row) in old.iter().filter(|(uuid, _)| !new.contains_key(uuid)) {
        rows.insert(uuid.to_string(), json!({ "old": full(row) }));
    }
    json!({ "Port": rows })
}

/// The rows, and each index, tell the same as the model.
fn judge(replica: &Replica, model: &Model) {
    let table = replica.table::<Port>();
    let rows: Model = table
        .iter()
        .map(|row| (row.uuid, (row.name.clone(), row.tag, row.external_ids.clone())))
        .collect();
    assert_eq!(&rows, model);
    for number in 0..5 {
        let name = format!("p{number}");
        let expected = model.iter().find(|(_, row)| row.0 == name).map(|(uuid, _)| *uuid);
        assert_eq!(table.by_name(&name).map(|row| row.uuid), expected, "{name}");
    }
    for (key, value) in [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1"), ("c", "0")] {
        let expected: Vec<Uuid> = model
            .iter()
            .filter(|(_, row)| row.2.get(key).is_some_and(|has| has == value))
            .map(|(uuid, _)| *uuid)
            .collect();
        let found: Vec<Uuid> = table.by_external_id(key, value).map(|row| row.uuid).collect();
        assert_eq!(found, expected, "{key}={value}");
    }
}

/// Up to five ports with names that are unique but go from one row to another.
fn model() -> impl Strategy<Value = Model> {
    let ids = proptest::collection::btree_map("[ab]", "[01]", 0..3);
    let row = (proptest::option::of(0..3_i64), ids);
    let rows = proptest::collection::vec(proptest::option::of(row), 5);
    let names = Just((0..5).collect::<Vec<_>>()).prop_shuffle();
    (rows, names).prop_map(|(rows, names)| {
        (1_u128..)
            .zip(rows)
            .zip(names)
            .filter_map(|((number, row), name)| {
                let (tag, ids) = row?;
                Some((uuid(number), (format!("p{name}"), tag, ids)))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_history_of_messages_leads_to_the_model(
        steps in proptest::collection::vec((model(), 0..3_u8), 1..8),
    ) {
        let mut replica = replica();
        let mut changes = replica.table_mut::<Port>().subscribe();
        let mut seen = BTreeMap::new();
        let mut old = Model::new();
        for (new, kind) in steps {
            match kind {
                0 => fold(&mut replica, &update2(&old, &new)).unwrap(),
                1 => fold(&mut replica, &update(&old, &new)).unwrap(),
                _ => replace(&mut replica, &snapshot(&new)).unwrap(),
            }
            judge(&replica, &new);
            // Changes are real: each starts from what was seen, ends elsewhere, and together they
            // lead to the same rows.
            while let Ok(change) = changes.try_recv() {
                prop_assert_ne!(&change.old, &change.new);
                let before = match change.new {
                    Some(row) => seen.insert(change.uuid, row),
                    None => seen.remove(&change.uuid),
                };
                prop_assert_eq!(before, change.old);
            }
            prop_assert_eq!(seen.len(), new.len());
            prop_assert!(replica.table::<Port>().iter().all(|row| seen[&row.uuid] == *row));
            old = new;
        }
    }

    #[test]
    fn a_snapshot_that_changes_nothing_is_no_change(model in model()) {
        let mut replica = replica();
        replace(&mut replica, &snapshot(&model)).unwrap();
        let mut changes = replica.table_mut::<Port>().subscribe();
        while changes.try_recv().is_ok() {}
        replace(&mut replica, &snapshot(&model)).unwrap();
        prop_assert!(changes.try_recv().is_err());
    }

    #[test]
    fn any_update_is_folded_or_refused(text: String, table in "Port|Bridge|Q", number in 0..3_u128) {
        let mut replica = replica();
        for member in ["initial", "insert", "modify", "delete", "old", "new"] {
            let row = json!({ member: { "name": text, "tag": ["set", [text.len()]] } });
            let _ = fold(&mut replica, &json!({ &table: { uuid(number).to_string(): row } }));
        }
    }
}

fn one_port() -> Model {
    Model::from([(uuid(1), ("p0".to_owned(), Some(5), BTreeMap::new()))])
}

#[test]
fn a_late_subscriber_first_gets_the_rows_already_there() {
    let mut replica = replica();
    replace(&mut replica, &snapshot(&one_port())).unwrap();
    let mut changes = replica.table_mut::<Port>().subscribe();
    let change = changes.try_recv().unwrap();
    assert_eq!((change.uuid, change.old), (uuid(1), None));
    assert_eq!(change.new.unwrap().tag, Some(5));
    assert!(changes.try_recv().is_err());
}

#[test]
fn subscribers_see_a_name_given_up_before_they_see_it_taken() {
    let other = Model::from([(uuid(2), ("p0".to_owned(), None, BTreeMap::new()))]);
    for step in [update2(&one_port(), &other), update(&one_port(), &other)] {
        let mut replica = replica();
        replace(&mut replica, &snapshot(&one_port())).unwrap();
        let mut changes = replica.table_mut::<Port>().subscribe();
        changes.try_recv().unwrap();
        fold(&mut replica, &step).unwrap();
        assert!(changes.try_recv().unwrap().new.is_none());
        assert_eq!(changes.try_recv().unwrap().new.unwrap().uuid, uuid(2));
    }
}

#[test]
fn a_subscriber_that_is_gone_is_forgotten() {
    let mut replica = replica();
    drop(replica.table_mut::<Port>().subscribe());
    let mut changes = replica.table_mut::<Port>().subscribe();
    replace(&mut replica, &snapshot(&one_port())).unwrap();
    assert!(changes.try_recv().is_ok());
}

#[test]
fn a_message_that_can_not_be_folded_changes_nothing() {
    let mut replica = replica();
    replace(&mut replica, &snapshot(&one_port())).unwrap();
    let good = json!({ uuid(9).to_string(): { "insert": { "name": "good" } } });
    for (bad, error) in [
        (
            json!({ "Bridge": { uuid(3).to_string(): { "insert": { "name": 7 } } } }),
            "table Bridge, column name",
        ),
        (
            json!({ "Bridge": { uuid(3).to_string(): { "modify": { "name": "b" } } } }),
            "a change of row 00000000-0000-0000-0000-000000000003 of table Bridge, which is not there",
        ),
        (
            json!({ "Bridge": { uuid(3).to_string(): { "delete": null } } }),
            "a change of row 00000000-0000-0000-0000-000000000003 of table Bridge, which is not there",
        ),
        (json!({ "QoS": {} }), "an update of table QoS, which is not monitored"),
        (json!({ "Bridge": [] }), "malformed table update"),
    ] {
        for mut message in [bad.clone(), bad] {
            message["Port"] = good.clone();
            assert_eq!(fold(&mut replica, &message).unwrap_err().to_string(), error);
            judge(&replica, &one_port());
        }
    }
    let bad = json!({ "Port": { uuid(1).to_string(): { "initial": { "tag": "x" } } } });
    assert!(replace(&mut replica, &bad).is_err());
    judge(&replica, &one_port());
    // What was staged of the messages refused does not turn up with the next.
    fold(&mut replica, &json!({})).unwrap();
    judge(&replica, &one_port());
}

#[test]
fn a_table_that_is_not_monitored_is_none_and_not_empty() {
    let replica = Monitor::new("db").table::<Port>().empty_replica();
    assert!(replica.try_table::<Port>().is_some());
    assert!(replica.try_table::<Bridge>().is_none());
}

#[test]
#[should_panic(expected = "Bridge of table Bridge is not among the monitored rows")]
fn to_read_a_table_that_is_not_monitored_is_a_mistake() {
    Monitor::new("db").empty_replica().table::<Bridge>();
}
