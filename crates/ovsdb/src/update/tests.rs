//! Table updates of both kinds of monitor, as they come.

use serde_json::{Value as Json, json};

use super::*;

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

#[expect(clippy::needless_pass_by_value, reason = "so that it can be called with json!")]
fn row(update: Json) -> Result<RowUpdate<'static>, serde_json::Error> {
    // Tests may leak: the update borrows from its text.
    serde_json::from_str(Box::leak(update.to_string().into_boxed_str()))
}

fn columns(name: &'static str, value: i64) -> RawColumns<'static> {
    RawColumns(vec![(Cow::Borrowed(name), Value::Atom(Atom::Integer(value)))])
}

#[test]
fn each_member_of_an_update2_has_its_meaning() {
    assert_eq!(row(json!({"initial": {"a": 1}})).unwrap(), RowUpdate::Whole(columns("a", 1)));
    assert_eq!(row(json!({"insert": {"a": 1}})).unwrap(), RowUpdate::Whole(columns("a", 1)));
    assert_eq!(row(json!({"modify": {"a": 1}})).unwrap(), RowUpdate::Modify(columns("a", 1)));
    assert_eq!(row(json!({"delete": null})).unwrap(), RowUpdate::Delete);
}

#[test]
fn old_and_new_of_an_update_may_come_in_any_order() {
    let whole = RowUpdate::Whole(columns("a", 2));
    for text in [r#"{"old":{"a":1},"new":{"a":2}}"#, r#"{"new":{"a":2},"old":{"a":1}}"#] {
        assert_eq!(serde_json::from_str::<RowUpdate<'_>>(text).unwrap(), whole);
    }
    assert_eq!(row(json!({"new": {"a": 2}})).unwrap(), whole);
    assert_eq!(row(json!({"old": {"a": 2}})).unwrap(), RowUpdate::Delete);
}

#[test]
fn an_update_that_says_nothing_is_malformed() {
    for update in [json!({}), json!(null), json!([]), json!({"what": {}}), json!({"insert": null})]
    {
        assert!(row(update.clone()).is_err(), "{update}");
    }
}

#[test]
fn names_of_tables_and_columns_are_borrowed() {
    let text = json!({"Port": {UUID: {"insert": {"name": "p"}}}}).to_string();
    let updates: TableUpdates<'_> = serde_json::from_str(&text).unwrap();
    let (table, rows) = &updates.0[0];
    assert!(matches!(table, Cow::Borrowed("Port")));
    let RowUpdate::Whole(columns) = &rows[0].1 else { panic!("{rows:?}") };
    assert!(matches!(columns.0[0].0, Cow::Borrowed("name")));
}

#[test]
fn a_key_that_is_no_uuid_is_malformed() {
    let text = json!({"Port": {"p": {"insert": {}}}}).to_string();
    assert!(serde_json::from_str::<TableUpdates<'_>>(&text).is_err());
}
