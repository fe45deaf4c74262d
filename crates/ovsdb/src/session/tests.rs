//! A session against a peer that the test plays.

use std::error::Error as _;

use serde_json::{Value as Json, json};
use tokio::io::{DuplexStream, duplex, split};
use tokio::sync::oneshot;

use super::*;

/// The other end of a session.
struct Peer {
    stream: DuplexStream,
    decoder: Decoder,
}

impl Peer {
    async fn receive(&mut self) -> Json {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return serde_json::from_slice(frame).unwrap();
            }
            let count = self.stream.read_buf(self.decoder.space()).await.unwrap();
            assert_ne!(count, 0, "the session closed the connection");
        }
    }

    async fn send(&mut self, text: impl ToString) {
        self.stream.write_all(text.to_string().as_bytes()).await.unwrap();
    }
}

/// An hour: a test that waits for silence sets its own.
const LONG: Duration = Duration::from_secs(3600);

fn connect(buffer: usize, limits: Limits, probe_interval: Duration) -> (Session, Peer) {
    let (near, far) = duplex(buffer);
    let (reader, writer) = split(near);
    let session = Session::new((Box::new(reader), Box::new(writer)), limits, probe_interval);
    (session, Peer { stream: far, decoder: Decoder::new(Limits::default()) })
}

fn pair() -> (Session, Peer) {
    connect(1 << 16, Limits::default(), LONG)
}

type Answer = oneshot::Receiver<Result<Box<RawValue>, RequestError>>;

fn request(id: u64, method: &str, params: impl Serialize) -> (Command, Answer) {
    let mut text = Vec::new();
    message::write_request(&mut text, id, method, params).unwrap();
    let (reply, answer) = oneshot::channel();
    (Command::Request { id, text, reply }, answer)
}

/// Runs a session until the peer hangs up; returns its error.
async fn run(mut session: Session, mut commands: mpsc::UnboundedReceiver<Command>) -> SessionError {
    let end = session.run(&mut commands, |_| Ok(())).await;
    let error = end.expect_err("the session ended without an error");
    session.fail_pending(&Arc::from(error.to_string()));
    error
}

#[tokio::test]
async fn a_call_returns_the_parsed_response() {
    let (mut session, mut peer) = pair();
    let call = session.call("get_schema", ["db"], |result| result.get().to_owned());
    let answer = async {
        let request = peer.receive().await;
        assert_eq!(request, json!({"method": "get_schema", "params": ["db"], "id": 0}));
        peer.send(json!({"id": 0, "result": [1], "error": null})).await;
    };
    let (result, ()) = tokio::join!(call, answer);
    assert_eq!(result.unwrap(), Ok("[1]".to_owned()));
}

#[tokio::test]
async fn a_call_returns_the_servers_error() {
    let (mut session, mut peer) = pair();
    peer.send(json!({"id": 0, "result": null, "error": {"error": "x", "details": "y"}})).await;
    let error = session.call("get_schema", ["db"], |_| ()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "x: y");
}

#[tokio::test]
async fn messages_after_a_response_wait_for_their_turn() {
    let (mut session, mut peer) = pair();
    peer.send(r#"{"id":0,"result":{},"error":null}{"id":null,"method":"update2","params":[]}"#)
        .await;
    session.call("monitor_cond", (), |_| ()).await.unwrap().unwrap();
    drop(peer);
    let (_sender, mut commands) = mpsc::unbounded_channel();
    let mut taken = Vec::new();
    let end = session
        .run(&mut commands, |notice| {
            if let Notice::Notification { method, .. } = notice {
                taken.push(method.to_owned());
            }
            Ok(())
        })
        .await;
    assert!(matches!(end, Err(SessionError::Closed)));
    assert_eq!(taken, ["update2"]);
}

#[tokio::test]
async fn responses_find_their_requests_in_any_order() {
    let (session, mut peer) = pair();
    let (sender, commands) = mpsc::unbounded_channel();
    let (first, first_answer) = request(1, "transact", ());
    let (second, second_answer) = request(2, "transact", ());
    sender.send(first).unwrap();
    sender.send(second).unwrap();
    let test = async {
        peer.receive().await;
        peer.receive().await;
        peer.send(json!({"id": 99, "result": "nobody's", "error": null})).await;
        peer.send(json!({"id": 2, "result": "second", "error": null})).await;
        peer.send(json!({"id": 1, "result": null, "error": "no"})).await;
        assert_eq!(second_answer.await.unwrap().unwrap().get(), "\"second\"");
        let error = first_answer.await.unwrap().unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "no");
        drop(peer);
    };
    let (error, ()) = tokio::join!(run(session, commands), test);
    assert!(matches!(error, SessionError::Closed));
}

#[tokio::test]
async fn notifications_are_taken_before_the_response_behind_them() {
    let (mut session, mut peer) = pair();
    let (sender, mut commands) = mpsc::unbounded_channel();
    let (command, mut answer) = request(1, "transact", ());
    sender.send(command).unwrap();
    let mut taken = 0;
    let session = session.run(&mut commands, |_| {
        taken += 1;
        assert!(answer.try_recv().is_err(), "the response came first");
        Ok(())
    });
    let test = async {
        peer.receive().await;
        peer.send(r#"{"id":null,"method":"update2","params":[]}{"id":1,"result":1,"error":null}"#)
            .await;
        drop(peer);
    };
    let (end, ()) = tokio::join!(session, test);
    assert!(end.is_err());
    assert_eq!(taken, 1);
    assert!(answer.try_recv().unwrap().is_ok());
}

#[tokio::test]
async fn an_echo_is_answered_with_its_parameters() {
    let (session, mut peer) = pair();
    let (_sender, commands) = mpsc::unbounded_channel();
    let test = async {
        peer.send(json!({"id": "echo", "method": "echo", "params": [1, "a"]})).await;
        let answer = peer.receive().await;
        assert_eq!(answer, json!({"id": "echo", "result": [1, "a"], "error": null}));
        peer.send(json!({"id": 5, "method": "steal", "params": []})).await;
        let answer = peer.receive().await;
        assert_eq!(answer, json!({"id": 5, "result": null, "error": "unknown method"}));
        drop(peer);
    };
    tokio::join!(run(session, commands), test);
}

#[tokio::test]
async fn a_lost_connection_fails_all_requests_in_flight() {
    let (session, mut peer) = pair();
    let (sender, commands) = mpsc::unbounded_channel();
    let (first, first_answer) = request(1, "transact", ());
    let (second, second_answer) = request(2, "transact", ());
    sender.send(first).unwrap();
    sender.send(second).unwrap();
    let test = async {
        peer.receive().await;
        drop(peer);
    };
    tokio::join!(run(session, commands), test);
    for answer in [first_answer, second_answer] {
        let error = answer.await.unwrap().unwrap_err();
        assert!(matches!(&error, RequestError::ConnectionLost { .. }));
        assert!(error.to_string().contains("the outcome is unknown"), "{error}");
    }
}

#[tokio::test]
async fn a_request_given_up_before_it_was_sent_is_not_sent() {
    let (session, mut peer) = pair();
    let (sender, commands) = mpsc::unbounded_channel();
    let (given_up, answer) = request(1, "transact", ());
    drop(answer);
    let (other, _answer) = request(2, "transact", ());
    sender.send(given_up).unwrap();
    sender.send(Command::Cancel { id: 1 }).unwrap();
    sender.send(other).unwrap();
    let test = async {
        assert_eq!(peer.receive().await["id"], 2);
        drop(peer);
    };
    tokio::join!(run(session, commands), test);
}

#[tokio::test]
async fn a_request_given_up_after_it_was_sent_is_cancelled() {
    let (session, mut peer) = pair();
    let (sender, commands) = mpsc::unbounded_channel();
    let (command, answer) = request(1, "transact", ());
    sender.send(command).unwrap();
    let test = async {
        assert_eq!(peer.receive().await["id"], 1);
        drop(answer);
        sender.send(Command::Cancel { id: 1 }).unwrap();
        let cancel = peer.receive().await;
        assert_eq!(cancel, json!({"method": "cancel", "params": [1], "id": null}));
        peer.send(json!({"id": 1, "result": null, "error": "canceled"})).await;
        let (other, answer) = request(2, "transact", ());
        sender.send(other).unwrap();
        peer.receive().await;
        peer.send(json!({"id": 2, "result": true, "error": null})).await;
        assert!(answer.await.unwrap().is_ok());
        drop(peer);
    };
    tokio::join!(run(session, commands), test);
}

#[tokio::test]
async fn large_messages_in_both_directions_do_not_block_each_other() {
    // Neither side reads before the other has written most of its message.
    let (session, mut peer) = connect(4096, Limits::default(), LONG);
    let (sender, commands) = mpsc::unbounded_channel();
    let large = "x".repeat(1 << 20);
    let (command, answer) = request(1, "transact", [&large]);
    sender.send(command).unwrap();
    let test = async {
        peer.send(json!({"id": null, "method": "update2", "params": [large]})).await;
        assert_eq!(peer.receive().await["params"][0], large.as_str());
        peer.send(json!({"id": 1, "result": true, "error": null})).await;
        assert!(answer.await.unwrap().is_ok());
        drop(peer);
    };
    tokio::join!(run(session, commands), test);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_probed_and_given_up() {
    let (session, mut peer) = connect(1 << 16, Limits::default(), Duration::from_secs(5));
    let (_sender, commands) = mpsc::unbounded_channel();
    let test = async {
        let start = Instant::now();
        let probe = peer.receive().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(probe["method"], "echo");
        peer.send(json!({"id": probe["id"], "result": [], "error": null})).await;
        peer.receive().await;
        assert_eq!(start.elapsed().as_secs(), 10);
    };
    let (error, ()) = tokio::join!(run(session, commands), test);
    assert_eq!(error.to_string(), "no sign of life from the server for 10000 ms");
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_left() {
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        "{\"id\":1,\"result\":}".to_owned(),
        "{}".to_owned(),
        "{\"a\":".repeat(100),
        format!("{{\"a\":\"{}\"}}", "x".repeat(2000)),
    ] {
        let limits = Limits { message_size: 1000, depth: 64 };
        let (session, mut peer) = connect(1 << 16, limits, LONG);
        let (_sender, commands) = mpsc::unbounded_channel();
        peer.send(garbage).await;
        let error = run(session, commands).await;
        assert!(matches!(error, SessionError::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_is_left() {
    let limits = Limits { message_size: 10_000, depth: 64 };
    let (session, peer) = connect(100, limits, LONG);
    let (_sender, commands) = mpsc::unbounded_channel();
    let (_unread, mut writer) = split(peer.stream);
    let flood = async move {
        let echo = json!({"id": 1, "method": "echo", "params": ["x".repeat(1000)]}).to_string();
        while writer.write_all(echo.as_bytes()).await.is_ok() {}
    };
    let (error, ()) = tokio::join!(run(session, commands), flood);
    assert!(matches!(error, SessionError::Congested), "{error}");
}

#[tokio::test]
async fn a_session_ends_with_the_last_of_its_clients() {
    let (mut session, _peer) = pair();
    let (sender, mut commands) = mpsc::unbounded_channel();
    drop(sender);
    assert!(session.run(&mut commands, |_| Ok(())).await.is_ok());
}
