//! The notation of values, there and back.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn decode(value: &serde_json::Value) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&value.to_string())
}

fn encode(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

fn uuid() -> Atom {
    Atom::Uuid(Uuid::try_parse(UUID).unwrap())
}

#[test]
fn every_notation_of_the_rfc_is_read_and_written() {
    let integer = Atom::Integer(-7);
    for (json, value) in [
        (json!(-7), Value::Atom(integer.clone())),
        (json!(1.5), Value::Atom(Atom::Real(1.5))),
        (json!(true), Value::Atom(Atom::Boolean(true))),
        (json!("br0"), Value::Atom(Atom::String("br0".to_owned()))),
        (json!("a \"quoted\" \u{1f980}"), Value::Atom(Atom::String("a \"quoted\" 🦀".to_owned()))),
        (json!(["uuid", UUID]), Value::Atom(uuid())),
        (json!(["set", []]), Value::EMPTY),
        (json!(["set", [-7, ["uuid", UUID]]]), Value::Set(vec![integer.clone(), uuid()])),
        (json!(["map", []]), Value::Map(Vec::new())),
        (json!(["map", [[-7, ["uuid", UUID]]]]), Value::Map(vec![(integer, uuid())])),
    ] {
        assert_eq!(decode(&json).unwrap(), value);
        assert_eq!(encode(&value), json);
    }
}

#[test]
fn a_set_of_one_element_is_the_bare_element() {
    assert_eq!(decode(&json!(["set", [["uuid", UUID]]])).unwrap(), Value::Atom(uuid()));
    assert_eq!(encode(&Value::Set(vec![uuid()])), json!(["uuid", UUID]));
}

#[test]
fn a_named_uuid_is_an_identifier() {
    let json = encode(&Value::Atom(Atom::NamedUuid(NamedUuid(u64::MAX))));
    let name = json[1].as_str().unwrap();
    assert_eq!(json[0], "named-uuid");
    assert!(name.starts_with(|first: char| first.is_ascii_alphabetic()));
    assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'));
}

#[test]
fn what_is_no_value_is_refused() {
    for json in [
        json!(null),
        json!({}),
        json!([]),
        json!(["set"]),
        json!(["uuid"]),
        json!(["uuid", "br0"]),
        json!(["uuid", UUID, 1]),
        json!(["list", []]),
        json!(["set", [["set", []]]]),
        json!(["set", [["map", []]]]),
        json!(["set", {}]),
        json!(["map", [[1]]]),
        json!(["map", [[1, 2, 3]]]),
        json!(["named-uuid", "row1"]),
        json!(i64::MAX.cast_unsigned() + 1),
    ] {
        assert!(decode(&json).is_err(), "{json}");
    }
}

fn atom() -> impl Strategy<Value = Atom> {
    prop_oneof![
        any::<i64>().prop_map(Atom::Integer),
        any::<bool>().prop_map(Atom::Boolean),
        any::<String>().prop_map(Atom::String),
        any::<u128>().prop_map(|bits| Atom::Uuid(Uuid::from_u128(bits))),
        proptest::num::f64::NORMAL.prop_map(Atom::Real),
    ]
}

proptest! {
    #[test]
    fn any_value_survives_the_wire(
        value in prop_oneof![
            proptest::collection::vec(atom(), 0..5).prop_map(Value::set),
            proptest::collection::vec((atom(), atom()), 0..5).prop_map(Value::Map),
        ]
    ) {
        prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn any_text_is_a_value_or_an_error(text: String) {
        let _ = serde_json::from_str::<Value>(&text);
    }
}
