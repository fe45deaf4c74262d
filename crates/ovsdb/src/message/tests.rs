//! What a JSON object means as a message.

use serde_json::json;

use super::*;

#[test]
fn a_method_with_an_id_is_a_request() {
    let message = Message::parse(br#"{"id":"echo","method":"echo","params":[1]}"#).unwrap();
    let Message::Request { id, method, params } = message else { panic!("{message:?}") };
    assert_eq!((id.get(), method.as_ref(), params.get()), ("\"echo\"", "echo", "[1]"));
}

#[test]
fn a_method_with_a_null_id_is_a_notification() {
    let message = Message::parse(br#"{"id":null,"method":"update2","params":[]}"#).unwrap();
    let Message::Notification { method, params } = message else { panic!("{message:?}") };
    assert_eq!((method.as_ref(), params.get()), ("update2", "[]"));
}

#[test]
fn an_id_alone_is_a_response() {
    let message = Message::parse(br#"{"id":7,"result":{},"error":null}"#).unwrap();
    let Message::Response { id, result } = message else { panic!("{message:?}") };
    assert_eq!((id, result.unwrap().get()), (Some(7), "{}"));
}

#[test]
fn an_error_may_come_without_a_result() {
    let message = Message::parse(br#"{"id":7,"error":"unknown method"}"#).unwrap();
    let Message::Response { id, result } = message else { panic!("{message:?}") };
    assert_eq!((id, result.unwrap_err().get()), (Some(7), "\"unknown method\""));
}

#[test]
fn the_response_to_something_else_than_a_number_is_none_of_ours() {
    for id in ["\"probe\"", "-1", "1.5", "[7]", "\"7\"", "99999999999999999999999"] {
        let text = format!(r#"{{"id":{id},"result":[],"error":null}}"#);
        let message = Message::parse(text.as_bytes()).unwrap();
        assert!(matches!(message, Message::Response { id: None, .. }), "{message:?}");
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    for bytes in [
        b"{}".as_slice(),
        b"{\"id\":null}",
        b"{\"a\":}",
        b"{]",
        b"{\"method\":1}",
        b"{\"method\":\"\xff\"}",
        b"{\"params\":\"\xff\",\"id\":1}",
        b"{\"id\":1,\"id\":2}",
        b"{\"id\":1}{",
        b"",
    ] {
        assert!(Message::parse(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn requests_and_responses_are_written_as_json_rpc_has_them() {
    let mut out = Vec::new();
    write_request(&mut out, 7, "echo", ["a"]).unwrap();
    let request: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(request, json!({"method": "echo", "params": ["a"], "id": 7}));

    out.clear();
    let id = serde_json::value::to_raw_value("x").unwrap();
    write_echo(&mut out, &id, &id).unwrap();
    let response: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(response, json!({"result": "x", "error": null, "id": "x"}));
}
