//! A peer that means harm: a clear error, bounded memory, no panic.
//!
//! One test in a process of its own, so that the memory measured is the client's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test that is how to fail, in its functions without #[test] as well"
)]

use std::path::Path;
use std::time::Duration;

use ovsdb::tables::Port;
use ovsdb::{Client, Endpoint, Limits, Monitor, Options, Row as _, State, Transaction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

const ONE: &str = "00000000-0000-0000-0000-000000000001";

const OPTIONS: Options = Options {
    connect_timeout: Duration::from_secs(10),
    probe_interval: Duration::from_secs(60),
    backoff_first: Duration::from_millis(1),
    backoff_last: Duration::from_millis(10),
    leader_only: false,
    limits: Limits { message_size: 4 << 20, depth: 64 },
};

/// What a peer sends, and what the client says to it.
struct Attack {
    text: Vec<u8>,
    /// A byte that follows again and again, so many MiB of it.
    then: (u8, usize),
    reason: &'static str,
}

fn attack(text: impl Into<Vec<u8>>, reason: &'static str) -> Attack {
    flood(text, (0, 0), reason)
}

fn flood(text: impl Into<Vec<u8>>, then: (u8, usize), reason: &'static str) -> Attack {
    let text = text.into();
    Attack { text, then, reason }
}

fn update(row: &str) -> String {
    format!(r#"{{"id":null,"method":"update2","params":["replica",{{"Port":{{"{ONE}":{row}}}}}]}}"#)
}

fn attacks() -> Vec<Attack> {
    let too_large = "the peer does not speak OVSDB: a message of more than 4194304 bytes";
    let too_deep = "the peer does not speak OVSDB: a message nested deeper than 64 levels";
    let malformed = "the peer does not speak OVSDB: malformed JSON-RPC message: ";
    let no_fit = "the server's update does not fit the replica: ";
    vec![
        flood(r#"{"id":null,"method":""#, (b'x', 100), too_large),
        flood(r#"{"a":"#, (b'[', 50), too_deep),
        attack("{".repeat(100_000), too_deep),
        attack(r#"{"id":null,"method":"upd"#, "the server closed the connection"),
        attack("\0\0\0\0", "the peer does not speak OVSDB: expected a JSON object"),
        attack("{]}", malformed),
        attack("{\"id\":\"\u{0}\"}", malformed),
        attack(b"{\"id\":null,\"method\":\"\xff\xfe\"}", malformed),
        attack("{}", "the peer does not speak OVSDB: a JSON object that is neither"),
        attack(r#"{"id":1,"method":{"a":1},"params":[]}"#, malformed),
        attack(update("7"), no_fit),
        attack(update("{}"), no_fit),
        attack(update(r#"{"insert":{"name":5}}"#), no_fit),
        attack(update(r#"{"insert":{"name":["map",[["a"]]]}}"#), no_fit),
        attack(update(r#"{"insert":{"tag":1e999}}"#), no_fit),
        attack(update(r#"{"insert":{"tag":99999999999999999999}}"#), no_fit),
        attack(update(r#"{"modify":{"tag":1}}"#), no_fit),
        attack(r#"{"id":null,"method":"update2","params":"replica"}"#, no_fit),
        attack(r#"{"id":null,"method":"update3","params":["replica","x",{}]}"#, no_fit),
        attack(r#"{"id":null,"method":"locked","params":[7]}"#, no_fit),
    ]
}

/// Plays a server up to the point where the client believes it.
async fn welcome(stream: &mut UnixStream) {
    let columns: Vec<String> =
        Port::COLUMNS.iter().map(|column| format!(r#""{column}":{{"type":"string"}}"#)).collect();
    let columns = columns.join(",");
    let schema = format!(
        r#"{{"name":"db","version":"1.0.0","tables":{{"Port":{{"columns":{{{columns}}}}}}}}}"#
    );
    let snapshot = format!(r#"[false,"{}",{{}}]"#, ovsdb::Uuid::nil());
    for result in [schema, snapshot] {
        let mut request = Vec::new();
        while !request.ends_with(br#""id":0}"#) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let response = format!(r#"{{"id":0,"result":{result},"error":null}}"#);
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() << 10
}

/// Waits until the client has a connection, or has none, and tells why not.
async fn state(client: &Client, connected: bool) -> String {
    let mut states = client.state();
    let is = |state: &State| matches!(state, State::Connected { .. }) == connected;
    let state = tokio::time::timeout(Duration::from_secs(20), states.wait_for(is));
    match state.await.expect("waited in vain").unwrap().clone() {
        State::Connected { .. } => String::new(),
        State::Disconnected { reason } => reason.to_string(),
    }
}

#[tokio::test]
async fn a_hostile_peer_gets_an_error_and_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let monitor = Monitor::new("db").table::<Port>();
    let client = Client::connect_with(Endpoint::Unix(path), monitor, OPTIONS);
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        welcome(&mut stream).await;
        stream
    };
    let (client, mut stream) = tokio::join!(client, accept);
    let client = client.unwrap();
    let attacks = attacks();
    let before = peak_memory();
    for Attack { text, then, reason } in &attacks {
        let (byte, mebibytes) = *then;
        let part = vec![byte; 1 << 20];
        let parts = std::iter::once(text).chain(std::iter::repeat_n(&part, mebibytes));
        for part in parts {
            // It hangs up as soon as it has had enough.
            if stream.write_all(part).await.is_err() {
                break;
            }
        }
        drop(stream);
        let told = state(&client, false).await;
        assert!(told.starts_with(reason), "{told:?} is not {reason:?}");
        (stream, _) = listener.accept().await.unwrap();
        welcome(&mut stream).await;
        state(&client, true).await;
    }
    let grown = peak_memory() - before;
    println!("{} attacks cost {} KiB of memory at most", attacks.len(), grown >> 10);
    // Twice the limit: a buffer grows by doubling.
    assert!(grown < 3 * OPTIONS.limits.message_size, "{grown} bytes");
    // It still works.
    let tx = Transaction::new();
    let reply = async {
        let mut request = Vec::new();
        stream.read_buf(&mut request).await.unwrap();
        let request = String::from_utf8(request).unwrap();
        let (_, id) = request.rsplit_once(r#""id":"#).unwrap();
        // With the bracket that closes the request.
        let response = format!(r#"{{"result":[],"error":null,"id":{id}"#);
        stream.write_all(response.as_bytes()).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(client.transact(tx), reply);
    outcome.unwrap();
}
