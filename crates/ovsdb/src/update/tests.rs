//! Table updates of both kinds of monitor, as they come.

use serde_json::{Value as Json, json};

use super::*;
use crate::tables::Port;

const UUID: Uuid = Uuid::from_u128(7);

fn port(tag: i64) -> Port {
    Port { name: "p".to_owned(), tag: Some(tag), ..Port::new(UUID) }
}

/// What an update makes of a port with the tag 1, or of no port.
fn update(now: Option<i64>, update: &str) -> Result<Option<Port>, FoldError> {
    let rows: Rows<Port> = now.map(|tag| (UUID, Arc::new(port(tag)))).into_iter().collect();
    let text = RawValue::from_string(format!("{{\"{UUID}\":{update}}}")).unwrap();
    let mut new = read_updates(&text, &rows)?;
    let (uuid, row) = new.pop().unwrap();
    assert_eq!((uuid, new.len()), (UUID, 0));
    Ok(row.map(Arc::unwrap_or_clone))
}

#[test]
fn each_member_of_an_update2_has_its_meaning() {
    let whole = r#"{"name": "p", "tag": 2}"#;
    for now in [None, Some(1)] {
        for member in ["initial", "insert"] {
            let row = update(now, &format!("{{\"{member}\":{whole}}}")).unwrap();
            assert_eq!(row, Some(port(2)));
        }
    }
    assert_eq!(update(Some(1), r#"{"modify": {"tag": 2}}"#).unwrap(), Some(port(2)));
    assert_eq!(update(Some(1), r#"{"delete": null}"#).unwrap(), None);
}

#[test]
fn old_and_new_of_an_update_may_come_in_any_order() {
    for text in [
        r#"{"old":{"tag":1},"new":{"name":"p","tag":2}}"#,
        r#"{"new":{"name":"p","tag":2},"old":{"tag":1}}"#,
        r#"{"new":{"name":"p","tag":2}}"#,
    ] {
        assert_eq!(update(Some(1), text).unwrap(), Some(port(2)));
    }
    assert_eq!(update(Some(1), r#"{"old":{"name":"p","tag":1}}"#).unwrap(), None);
}

#[test]
fn a_row_that_is_not_there_neither_changes_nor_goes() {
    for text in [r#"{"modify":{"tag":2}}"#, r#"{"delete":null}"#, r#"{"old":{"tag":1}}"#] {
        let error = update(None, text).unwrap_err();
        assert!(matches!(error, FoldError::UnknownRow { table: "Port", uuid: UUID }), "{error}");
    }
}

#[test]
fn a_column_of_another_type_is_named() {
    let error = update(Some(1), r#"{"modify":{"tag":"two"}}"#).unwrap_err();
    assert_eq!(error.to_string(), "table Port, column tag");
}

#[test]
fn an_update_that_says_nothing_is_malformed() {
    for text in [json!({}), json!(null), json!([]), json!({"what": {}}), json!({"insert": null})] {
        let error = update(Some(1), &text.to_string()).unwrap_err();
        assert!(matches!(error, FoldError::Json(_)), "{text}: {error}");
    }
}

#[test]
fn a_key_that_is_no_uuid_is_malformed() {
    let text = RawValue::from_string(json!({"p": {"insert": {}}}).to_string()).unwrap();
    assert!(matches!(read_updates::<Port>(&text, &Rows::new()), Err(FoldError::Json(_))));
}

#[test]
fn names_of_tables_are_borrowed() {
    let text = json!({"Port": {}, "Bridge": null}).to_string();
    let TableUpdates(tables) = serde_json::from_str(&text).unwrap();
    let tables: Vec<_> = tables.iter().map(|(name, updates)| (name, updates.get())).collect();
    assert!(tables.iter().all(|(name, _)| matches!(name, Cow::Borrowed(_))));
    assert_eq!(tables.len(), 2);
    assert!(serde_json::from_str::<TableUpdates<'_>>(&Json::Null.to_string()).is_err());
}
