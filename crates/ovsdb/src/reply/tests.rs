//! Results and errors of transactions.

use serde_json::{Value as Json, json};

use super::*;
use crate::mutation::Mutation;
use crate::tables::{Bridge, Port};
use crate::transaction::Insert;

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

fn parse(tx: &Transaction, result: &Json) -> Result<Verdict, MalformedReply> {
    let bundle = Bundle::new(std::slice::from_ref(tx));
    parse_reply(&bundle, &serde_json::value::to_raw_value(result).unwrap())
}

fn committed(tx: &Transaction, result: &Json) -> Reply {
    match parse(tx, result).unwrap() {
        Verdict::Committed(reply) => reply,
        Verdict::Failed(error) => panic!("{error}"),
    }
}

fn failed(tx: &Transaction, result: &Json) -> OperationError {
    match parse(tx, result).unwrap() {
        Verdict::Committed(reply) => panic!("{reply:?}"),
        Verdict::Failed(error) => error,
    }
}

/// An insert and a mutate.
fn example() -> (Transaction, Ref<Port>, Counted) {
    let mut tx = Transaction::new();
    let port = tx.insert(Insert::<Port>::new());
    let found = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
    (tx, port, found)
}

#[test]
fn results_are_found_by_their_handles() {
    let (mut tx, port, found) = example();
    let selected = tx.select::<Port>(port);
    let rows = json!([{"_uuid": ["uuid", UUID], "name": "p", "tag": 5}]);
    let reply = committed(&tx, &json!([{"uuid": ["uuid", UUID]}, {"count": 1}, {"rows": rows}]));
    let uuid = Uuid::try_parse(UUID).unwrap();
    assert_eq!(reply.uuid(port), Some(uuid));
    assert_eq!(reply.count(found), 1);
    let rows = reply.rows(selected).unwrap();
    assert_eq!((rows[0].uuid, rows[0].name.as_str(), rows[0].tag), (uuid, "p", Some(5)));
}

#[test]
fn handles_of_another_transaction_find_nothing() {
    let (tx, ..) = example();
    let reply = committed(&tx, &json!([{"uuid": ["uuid", UUID]}, {"count": 1}]));
    let (_, port, found) = example();
    assert_eq!(reply.uuid(port), None);
    assert_eq!(reply.count(found), 0);
}

#[test]
fn a_reference_to_a_row_that_exists_is_its_own_answer() {
    let (tx, ..) = example();
    let reply = committed(&tx, &json!([{"uuid": ["uuid", UUID]}, {"count": 1}]));
    assert_eq!(reply.uuid(Ref::<Port>::from(Uuid::nil())), Some(Uuid::nil()));
}

#[test]
fn a_failed_operation_is_named_by_its_index() {
    let (tx, ..) = example();
    let error = failed(
        &tx,
        &json!([{"uuid": ["uuid", UUID]}, {"error": "constraint violation", "details": "no"}]),
    );
    assert_eq!(error.index, Some(1));
    assert_eq!(error.kind, ErrorKind::ConstraintViolation);
    assert_eq!(error.to_string(), "operation 1 (mutate Bridge): constraint violation: no");
}

#[test]
fn operations_after_the_failed_one_have_no_result() {
    let (tx, ..) = example();
    let error = failed(&tx, &json!([{"error": "timed out"}, null]));
    assert_eq!(error.to_string(), "operation 0 (insert Port): timed out");
}

#[test]
fn an_error_after_the_last_operation_is_one_of_the_commit() {
    let (tx, ..) = example();
    let error = failed(
        &tx,
        &json!([
            {"uuid": ["uuid", UUID]},
            {"count": 1},
            {"error": "referential integrity violation", "details": "why"},
        ]),
    );
    assert_eq!(error.index, None);
    assert_eq!(error.kind, ErrorKind::ReferentialIntegrityViolation);
    assert_eq!(error.to_string(), "commit: referential integrity violation: why");
}

#[test]
fn a_result_of_the_wrong_kind_is_no_success() {
    let (tx, ..) = example();
    for result in [
        json!([]),
        json!([{"uuid": ["uuid", UUID]}]),
        json!([{}, {"count": 1}]),
        json!([{"uuid": ["uuid", UUID]}, {}]),
        json!([null, null]),
        json!({}),
        json!("ok"),
        json!([{"uuid": "x"}, {"count": 1}]),
    ] {
        let error = parse(&tx, &result).unwrap_err();
        assert!(error.to_string().starts_with("the reply to the transaction"), "{error}");
    }
}

#[test]
fn every_kind_of_error_has_the_servers_word() {
    for word in [
        "aborted",
        "canceled",
        "constraint violation",
        "domain error",
        "duplicate uuid-name",
        "I/O error",
        "not allowed",
        "not owner",
        "not supported",
        "permission error",
        "range error",
        "referential integrity violation",
        "resources exhausted",
        "syntax error",
        "timed out",
        "unknown database",
        "unknown method",
    ] {
        let kind = ErrorKind::from(word);
        assert_eq!(kind.to_string(), word);
        assert!(!matches!(kind, ErrorKind::Other(_)), "{word}");
    }
    assert_eq!(ErrorKind::from("new"), ErrorKind::Other("new".to_owned()));
}

#[test]
fn an_error_may_be_a_bare_word_or_an_object() {
    let parse = |error: &Json| RpcError::parse(&serde_json::value::to_raw_value(error).unwrap());
    assert_eq!(parse(&json!("unknown method")).kind, ErrorKind::UnknownMethod);
    let object = json!({"error": "unknown database", "details": "no db", "syntax": "[]"});
    assert_eq!(parse(&object).to_string(), "unknown database: no db");
    assert_eq!(parse(&json!([1])).to_string(), "[1]");
}
