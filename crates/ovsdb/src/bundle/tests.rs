//! What many transactions are as one request, and that nobody can tell.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::*;
use crate::condition::Where;
use crate::mutation::Mutation;
use crate::reply::{Reply, Verdict, parse_reply};
use crate::tables::{Bridge, Interface, OpenVSwitch, Port};
use crate::transaction::{Counted, Insert, Update};

/// Operations as `op table`, mutations with how many references they have.
fn wire(txs: &[Transaction]) -> Vec<String> {
    let bundle = Bundle::new(txs);
    let Json::Array(mut params) = serde_json::to_value(bundle.params("db")).unwrap() else {
        panic!("params are an array");
    };
    assert_eq!(params.remove(0), "db");
    params.iter().map(describe).collect()
}

fn describe(operation: &Json) -> String {
    let text = |member: &str| operation[member].as_str().unwrap_or_default();
    let mut line = format!("{} {}", text("op"), text("table"));
    for mutation in operation["mutations"].as_array().into_iter().flatten() {
        let count = match &mutation[2] {
            Json::Array(tagged) if tagged[0] == "set" => tagged[1].as_array().unwrap().len(),
            _ => 1,
        };
        line += &format!(
            " {} {} {count}",
            mutation[0].as_str().unwrap(),
            mutation[1].as_str().unwrap()
        );
    }
    line.trim_end().to_owned()
}

/// A port on a bridge.
fn add_port(bridge: &str) -> Transaction {
    let mut tx = Transaction::new();
    let interface = tx.insert(Insert::<Interface>::new());
    let port = tx.insert(Insert::<Port>::new().set(Port::INTERFACES, [interface]));
    tx.require(Bridge::NAME.eq(bridge));
    let _ = tx.mutate(Bridge::NAME.eq(bridge), Mutation::insert(Bridge::PORTS, [port]));
    tx
}

fn edit(rows: impl Into<Where<Bridge>>, mutation: Mutation<Bridge>) -> Transaction {
    let mut tx = Transaction::new();
    let _ = tx.mutate(rows, mutation);
    tx
}

fn insert(port: u128) -> Transaction {
    let port = Uuid::from_u128(port);
    edit(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port.into()]))
}

fn delete(port: u128) -> Transaction {
    let port = Uuid::from_u128(port);
    edit(Bridge::NAME.eq("br0"), Mutation::delete(Bridge::PORTS, [port.into()]))
}

#[test]
fn references_put_into_one_set_by_many_are_put_there_once() {
    let port = ["insert Interface", "insert Port", "wait Bridge"];
    let mutate = ["mutate Bridge ports insert 3"];
    assert_eq!(
        wire(&[add_port("br0"), add_port("br0"), add_port("br0")]),
        [port.as_slice(), &port, &port, &mutate].concat()
    );
}

#[test]
fn each_set_has_its_own() {
    let sent = wire(&[add_port("br0"), add_port("br1"), add_port("br0")]);
    assert_eq!(
        sent.into_iter().filter(|line| line.starts_with("mutate")).collect::<Vec<_>>(),
        ["mutate Bridge ports insert 2", "mutate Bridge ports insert 1"]
    );
}

#[test]
fn a_reference_put_twice_is_sent_once() {
    assert_eq!(wire(&[insert(1), insert(2), insert(1)]), ["mutate Bridge ports insert 2"]);
}

#[test]
fn what_is_put_in_and_taken_out_keeps_its_order() {
    assert_eq!(
        wire(&[insert(1), insert(2), delete(1), delete(3), insert(1)]),
        [
            "mutate Bridge ports insert 2",
            "mutate Bridge ports delete 2",
            "mutate Bridge ports insert 1"
        ]
    );
}

#[test]
fn whatever_could_see_the_difference_comes_between() {
    let between = |build: fn(&mut Transaction)| {
        let mut tx = Transaction::new();
        build(&mut tx);
        wire(&[insert(1), tx, insert(2)]).len() == 3
    };
    // Another row could be found as well, or have the set; or the set is looked at.
    assert!(between(|tx| {
        tx.insert(Insert::<Bridge>::new().set(Bridge::NAME, "br0"));
    }));
    assert!(between(|tx| {
        let _ = tx.delete::<Bridge>(Bridge::NAME.eq("br0"));
    }));
    assert!(between(|tx| {
        let _ = tx.update::<Bridge>(Where::all(), Update::new().set(Bridge::PORTS, []));
    }));
    assert!(between(|tx| {
        let _ = tx.select::<Bridge>(Where::all());
    }));
    assert!(between(|tx| tx.require(Bridge::PORTS.includes([Uuid::from_u128(1).into()]))));
    assert!(between(|tx| {
        let ids = [("a".to_owned(), "b".to_owned())];
        let _ = tx.mutate(Where::all(), Mutation::insert(Bridge::EXTERNAL_IDS, ids));
    }));
    // These could not.
    assert!(!between(|tx| tx.require(Bridge::NAME.eq("br0"))));
    assert!(!between(|tx| tx.comment("a remark")));
    assert!(!between(|tx| tx.assert("lock")));
    assert!(!between(|tx| {
        let _ = tx.delete::<Port>(Where::all());
    }));
    assert!(!between(|tx| {
        let _ = tx.mutate(Where::all(), Mutation::add(OpenVSwitch::NEXT_CFG, 1));
    }));
}

#[test]
fn rows_found_by_what_is_changed_in_them_are_not_found_together() {
    let adding_to = |has: u128, port: u128| {
        let has = Bridge::PORTS.includes([Uuid::from_u128(has).into()]);
        edit(has, Mutation::insert(Bridge::PORTS, [Uuid::from_u128(port).into()]))
    };
    assert_eq!(wire(&[adding_to(1, 2), adding_to(1, 3)]).len(), 2);
    assert_eq!(wire(&[insert(1), adding_to(1, 2), insert(3)]).len(), 3);
}

#[test]
fn other_mutations_are_sent_as_they_are() {
    let numbers = |number| {
        let mut tx = Transaction::new();
        let _ = tx.mutate(Where::all(), Mutation::insert(Port::TRUNKS, [number]));
        let _ = tx.mutate(Where::all(), Mutation::add(OpenVSwitch::NEXT_CFG, 1));
        tx
    };
    assert_eq!(wire(&[numbers(1), numbers(2)]).len(), 4);
}

#[test]
fn a_lock_that_all_assert_is_asserted_once() {
    let asserting = |lock: &str| {
        let mut tx = insert(1);
        tx.assert(lock);
        tx
    };
    let txs = [asserting("a"), asserting("a"), asserting("b"), asserting("a")];
    assert_eq!(wire(&txs), ["assert", "assert", "mutate Bridge ports insert 1"]);
    let replies = json!([{}, {"error": "not owner"}, null]);
    let Verdict::Failed(error) = verdict(&txs, &replies) else { panic!("it was refused") };
    assert_eq!(error.index, Some(5), "the one of lock b");
}

#[test]
fn a_single_transaction_is_sent_as_it_was_written() {
    let tx = insert(1).and(insert(2));
    assert_eq!(wire(&[tx]).len(), 2);
}

/// A port on `br0`, and where its count is.
fn counted() -> (Transaction, Counted) {
    let mut tx = Transaction::new();
    let port = tx.insert(Insert::<Port>::new());
    let found = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
    (tx, found)
}

fn verdict(txs: &[Transaction], results: &Json) -> Verdict {
    let results = serde_json::value::to_raw_value(results).unwrap();
    parse_reply(&Bundle::new(txs), &results).unwrap()
}

#[test]
fn everybody_gets_the_result_of_what_was_sent_for_all() {
    let ((one, first), (other, second)) = (counted(), counted());
    let txs = [one, other];
    let inserted = json!({"uuid": ["uuid", Uuid::nil().to_string()]});
    let Verdict::Committed(reply) = verdict(&txs, &json!([inserted, inserted, {"count": 1}]))
    else {
        panic!("it was refused");
    };
    let replies: Vec<Reply> = reply.split(&txs).collect();
    assert_eq!((replies[0].count(first), replies[1].count(second)), (1, 1));
    assert_eq!((replies[0].count(second), replies[1].count(first)), (0, 0));
}

#[test]
fn an_error_is_found_wherever_its_operation_was_sent() {
    let txs = [counted().0, counted().0];
    let inserted = json!({"uuid": ["uuid", Uuid::nil().to_string()]});
    let error = json!({"error": "constraint violation"});
    let failed = |results: Json| match verdict(&txs, &results) {
        Verdict::Failed(error) => (error.index, error.operation),
        Verdict::Committed(reply) => panic!("{reply:?}"),
    };
    assert_eq!(failed(json!([inserted, error, null])), (Some(2), "insert Port".to_owned()));
    assert_eq!(failed(json!([inserted, inserted, error])), (Some(1), "mutate Bridge".to_owned()));
    let commit = json!([inserted, inserted, {"count": 1}, error]);
    assert_eq!(failed(commit), (None, "commit".to_owned()));
}
