//! Typed fields from values, and differences applied to them.

use proptest::prelude::*;

use super::*;
use crate::tables::{Interface, Port, VlanMode};

fn text(text: &str) -> Value {
    Value::Atom(Atom::String(text.to_owned()))
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_scalar_is_no_set() {
    assert_eq!(i64::from_value(Value::Atom(Atom::Integer(3))), Ok(3));
    let error = i64::from_value(Value::EMPTY).unwrap_err();
    assert_eq!(error.to_string(), "expected an integer, found an empty set");
    let error = String::from_value(Value::Atom(Atom::Integer(3))).unwrap_err();
    assert_eq!(error.to_string(), "expected a string, found an integer");
}

#[test]
fn a_real_may_come_without_a_fraction() {
    assert_eq!(f64::from_value(Value::Atom(Atom::Integer(3))), Ok(3.0));
}

#[test]
fn an_optional_column_is_a_set_of_at_most_one() {
    assert_eq!(Option::<i64>::from_value(Value::EMPTY), Ok(None));
    assert_eq!(Option::<i64>::from_value(Value::Atom(Atom::Integer(3))), Ok(Some(3)));
    let two = Value::Set(vec![Atom::Integer(1), Atom::Integer(2)]);
    assert!(Option::<i64>::from_value(two).is_err());
    assert_eq!(None::<i64>.into_value(), Value::EMPTY);
}

#[test]
fn a_difference_replaces_scalars_and_optional_scalars() {
    let mut name = "a".to_owned();
    Fold::Diff.apply(&mut name, text("b")).unwrap();
    assert_eq!(name, "b");
    let mut tag = Some(5);
    Fold::Diff.apply(&mut tag, Value::EMPTY).unwrap();
    assert_eq!(tag, None);
    Fold::Diff.apply(&mut tag, Value::Atom(Atom::Integer(5))).unwrap();
    Fold::Diff.apply(&mut tag, Value::Atom(Atom::Integer(5))).unwrap();
    assert_eq!(tag, Some(5));
}

#[test]
fn a_difference_of_a_map_drops_equal_pairs_and_takes_others() {
    let mut ids = map(&[("keep", "1"), ("drop", "2"), ("change", "3")]);
    let diff = map(&[("drop", "2"), ("change", "4"), ("new", "5")]);
    Fold::Diff.apply(&mut ids, diff.into_value()).unwrap();
    assert_eq!(ids, map(&[("keep", "1"), ("change", "4"), ("new", "5")]));
}

#[test]
fn a_field_that_refuses_a_value_stays_as_it_was() {
    let mut trunks = BTreeSet::from([1, 2]);
    let wrong = Value::Set(vec![Atom::Integer(3), Atom::Boolean(true)]);
    for how in [Fold::Replace, Fold::Diff] {
        let error = how.apply(&mut trunks, wrong.clone()).unwrap_err();
        assert_eq!(error.to_string(), "expected an integer, found a boolean");
    }
    assert_eq!(trunks, BTreeSet::from([1, 2]));
}

#[test]
fn an_unknown_column_is_ignored() {
    let mut port = Port::new(Uuid::nil());
    port.fold("_version", text("x"), Fold::Replace).unwrap();
    assert_eq!(port, Port::new(Uuid::nil()));
}

#[test]
fn an_unknown_choice_survives() {
    let mut port = Port::new(Uuid::nil());
    port.fold("vlan_mode", text("access"), Fold::Replace).unwrap();
    assert_eq!(port.vlan_mode, Some(VlanMode::Access));
    port.fold("vlan_mode", text("quantum"), Fold::Replace).unwrap();
    assert_eq!(port.vlan_mode, Some(VlanMode::Other("quantum".to_owned())));
    assert_eq!(port.vlan_mode.into_value(), text("quantum"));
}

#[test]
fn every_column_of_a_row_type_is_folded() {
    // A value of the wrong type is refused by every column, so none of them is passed over.
    let wrong = Value::Map(vec![(Atom::Integer(1), Atom::Integer(1))]);
    let mut interface = Interface::new(Uuid::nil());
    for column in Interface::COLUMNS {
        assert!(interface.fold(column, wrong.clone(), Fold::Replace).is_err(), "{column}");
    }
}

proptest! {
    #[test]
    fn the_difference_of_two_sets_turns_one_into_the_other(
        old: BTreeSet<i64>,
        new: BTreeSet<i64>,
    ) {
        let diff: BTreeSet<i64> = old.symmetric_difference(&new).copied().collect();
        let mut set = old;
        Fold::Diff.apply(&mut set, diff.into_value()).unwrap();
        prop_assert_eq!(set, new);
    }

    #[test]
    fn the_difference_of_two_maps_turns_one_into_the_other(
        old in proptest::collection::btree_map(0..9_i64, 0..3_i64, 0..9),
        new in proptest::collection::btree_map(0..9_i64, 0..3_i64, 0..9),
    ) {
        let dropped = old.iter().filter(|(key, _)| !new.contains_key(*key));
        let taken = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        let diff: BTreeMap<i64, i64> = dropped.chain(taken).map(|(k, v)| (*k, *v)).collect();
        let mut map = old.clone();
        Fold::Diff.apply(&mut map, diff.into_value()).unwrap();
        prop_assert_eq!(map, new);
    }

    #[test]
    fn whole_contents_survive_the_wire(
        set in proptest::collection::btree_set(any::<String>(), 0..4),
        map in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        prop_assert_eq!(&BTreeSet::from_value(set.clone().into_value()).unwrap(), &set);
        prop_assert_eq!(&BTreeMap::from_value(map.clone().into_value()).unwrap(), &map);
    }
}
