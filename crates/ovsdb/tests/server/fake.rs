//! Servers that the tests play: old ones, silent ones, ones that are no OVSDB server at all.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use ovsdb::tables::Port;
use ovsdb::{Client, ConnectError, Endpoint, Monitor, Options, SessionError, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::lab::{connection, disconnection, quick, replica_has_ports, within};

/// A socket on which the test is the server.
struct Fake {
    dir: TempDir,
    listener: UnixListener,
}

/// One client of it.
struct Peer {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Fake {
    fn new() -> Self {
        let dir = TempDir::with_prefix("ovsdb-fake-").unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        Self { dir, listener }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.dir.path().join("socket"))
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = within("a client", self.listener.accept()).await.unwrap();
        Peer { stream, received: Vec::new() }
    }

    /// A client that connects while `serve` plays the server.
    async fn connect<T>(
        &self,
        options: Options,
        serve: impl AsyncFnOnce(Peer) -> T,
    ) -> (Result<Client, ConnectError>, T) {
        let monitor = Monitor::new("db").table::<Port>();
        let client = Client::connect_with(self.endpoint(), monitor, options);
        let serve = async { serve(self.accept().await).await };
        within("the connection", async { tokio::join!(client, serve) }).await
    }
}

impl Peer {
    async fn send(&mut self, message: &Value) {
        self.stream.write_all(message.to_string().as_bytes()).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.received).into_iter();
            if let Some(Ok(value)) = values.next() {
                let end = values.byte_offset();
                self.received.drain(..end);
                return value;
            }
            let count = self.stream.read_buf(&mut self.received);
            let count = within("a message of the client", count).await.unwrap();
            assert_ne!(count, 0, "the client closed the connection");
        }
    }

    /// Receives a request, which must have this method, and answers it.
    async fn answer(&mut self, method: &str, result: Value) {
        let request = self.receive().await;
        assert_eq!(request["method"], method);
        self.send(&json!({"id": request["id"], "result": result, "error": null})).await;
    }

    /// Receives a request, which must have this method, and refuses it.
    async fn refuse(&mut self, method: &str, error: Value) {
        let request = self.receive().await;
        assert_eq!(request["method"], method);
        self.send(&json!({"id": request["id"], "result": null, "error": error})).await;
    }

    /// Plays a server that knows `monitor_cond` and nothing newer.
    async fn answer_monitor(&mut self, snapshot: Value) {
        self.refuse("monitor_cond_since", json!("unknown method")).await;
        self.answer("monitor_cond", snapshot).await;
    }

    /// Answers `get_schema` with all that the client wants.
    async fn answer_schema(&mut self) {
        let columns: serde_json::Map<String, Value> = <Port as ovsdb::Row>::COLUMNS
            .iter()
            .map(|column| ((*column).to_owned(), json!({"type": "string"})))
            .collect();
        let schema = json!({
            "name": "db", "version": "1.0.0", "tables": {"Port": {"columns": columns}},
        });
        self.answer("get_schema", schema).await;
    }
}

/// What a leader tells of itself that has applied so much of its cluster's log.
fn leader(index: i64) -> Value {
    json!({"Database": {TWO: {"new": {
        "name": "db",
        "model": "clustered",
        "connected": true,
        "leader": true,
        "cid": ["uuid", ONE],
        "index": index,
    }}}})
}

const ONE: &str = "00000000-0000-0000-0000-000000000001";
const TWO: &str = "00000000-0000-0000-0000-000000000002";

/// A full row, as plain `monitor` has them.
#[expect(clippy::needless_pass_by_value, reason = "so that it can be called with json!")]
fn row(name: &str, tag: Value) -> Value {
    json!({
        "name": name,
        "interfaces": ["uuid", ONE],
        "tag": tag,
        "trunks": ["set", []],
        "vlan_mode": ["set", []],
        "qos": ["set", []],
        "external_ids": ["map", []],
        "other_config": ["map", []],
    })
}

#[tokio::test]
async fn an_old_server_is_monitored_in_the_old_way() {
    for error in [json!("unknown method"), json!({"error": "unknown method", "details": "no"})] {
        let fake = Fake::new();
        let (client, mut peer) = fake
            .connect(quick(), async |mut peer| {
                peer.answer_schema().await;
                peer.refuse("monitor_cond_since", error.clone()).await;
                peer.refuse("monitor_cond", error).await;
                let snapshot = json!({"Port": {ONE: {"new": row("p1", json!(5))}}});
                peer.answer("monitor", snapshot).await;
                peer
            })
            .await;
        let client = client.unwrap();
        replica_has_ports(&client, [("p1", Some(5))]).await;

        let update = |rows: Value| json!({"id": null, "method": "update", "params": ["replica", {"Port": rows}]});
        peer.send(&update(json!({
            ONE: {"old": {"tag": 5}, "new": row("p1", json!(["set", []]))},
            TWO: {"new": row("p2", json!(["set", [7]]))},
        })))
        .await;
        replica_has_ports(&client, [("p1", None), ("p2", Some(7))]).await;
        peer.send(&update(json!({ONE: {"old": row("p1", json!(["set", []]))}}))).await;
        replica_has_ports(&client, [("p2", Some(7))]).await;
    }
}

#[tokio::test]
async fn columns_that_update2_leaves_out_have_their_defaults() {
    let fake = Fake::new();
    let (client, mut peer) = fake
        .connect(quick(), async |mut peer| {
            peer.answer_schema().await;
            peer.answer_monitor(json!({"Port": {ONE: {"initial": {"name": "p1"}}}})).await;
            peer
        })
        .await;
    let client = client.unwrap();
    let port = client.read(|replica| replica.table::<Port>().by_name("p1").cloned()).unwrap();
    assert_eq!((port.tag, &port.trunks), (None, &BTreeSet::new()));
    let modify = json!({"trunks": ["set", [1, 2]], "tag": 3});
    peer.send(&json!({
        "id": null,
        "method": "update2",
        "params": ["replica", {"Port": {ONE: {"modify": modify}}}],
    }))
    .await;
    replica_has_ports(&client, [("p1", Some(3))]).await;
}

#[tokio::test]
async fn an_echo_of_the_server_is_answered() {
    let fake = Fake::new();
    let echo = |id: &str| json!({"id": id, "method": "echo", "params": [id]});
    let answer = |id: &str| json!({"id": id, "result": [id], "error": null});
    let (client, mut peer) = fake
        .connect(quick(), async |mut peer| {
            // Even before the replica is there.
            peer.send(&echo("early")).await;
            peer.answer_schema().await;
            assert_eq!(peer.receive().await, answer("early"));
            peer.answer_monitor(json!({})).await;
            peer
        })
        .await;
    let _client = client.unwrap();
    peer.send(&echo("late")).await;
    assert_eq!(peer.receive().await, answer("late"));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_for_a_new_connection() {
    let fake = Fake::new();
    let options = Options { probe_interval: Duration::from_millis(50), ..quick() };
    let (client, mut silent) = fake
        .connect(options, async |mut peer| {
            peer.answer_schema().await;
            peer.answer_monitor(json!({})).await;
            peer
        })
        .await;
    let client = client.unwrap();
    let probe = silent.receive().await;
    assert_eq!((&probe["method"], &probe["params"]), (&json!("echo"), &json!([])));
    let reason = disconnection(&client).await;
    assert_eq!(reason, "no sign of life from the server for 100 ms");
    let mut peer = fake.accept().await;
    peer.answer_schema().await;
    peer.answer_monitor(json!({})).await;
    connection(&client, 2).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_no_connection() {
    let fake = Fake::new();
    let options = Options { probe_interval: Duration::from_millis(20), ..quick() };
    let (client, _) = fake.connect(options, async |peer| peer).await;
    let error = client.unwrap_err();
    assert!(error.to_string().ends_with("failed"), "{error}");
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "no sign of life from the server for 40 ms");
}

#[tokio::test]
async fn what_is_no_ovsdb_server_is_called_so() {
    let fake = Fake::new();
    let (client, ()) = fake
        .connect(quick(), async |mut peer| {
            peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        })
        .await;
    let error = client.unwrap_err();
    assert!(matches!(&error, ConnectError::Failed { source: SessionError::Protocol(_), .. }));
    assert_eq!(error.source().unwrap().to_string(), "the peer does not speak OVSDB");
}

#[tokio::test]
async fn an_update_that_does_not_fit_is_healed_by_a_new_snapshot() {
    let fake = Fake::new();
    let (client, mut peer) = fake
        .connect(quick(), async |mut peer| {
            peer.answer_schema().await;
            peer.answer_monitor(json!({"Port": {ONE: {"initial": {"name": "p1"}}}})).await;
            peer
        })
        .await;
    let client = client.unwrap();
    peer.send(&json!({
        "id": null,
        "method": "update2",
        "params": ["replica", {"Port": {
            ONE: {"modify": {"tag": 9}},
            TWO: {"insert": {"name": ["map", []]}},
        }}],
    }))
    .await;
    let reason = disconnection(&client).await;
    assert_eq!(
        reason,
        "the server's update does not fit the replica: table Port, column name: \
         expected a string, found a map"
    );
    replica_has_ports(&client, [("p1", None)]).await;
    let mut peer = fake.accept().await;
    peer.answer_schema().await;
    peer.answer_monitor(json!({"Port": {TWO: {"initial": {"name": "p2"}}}})).await;
    connection(&client, 2).await;
    replica_has_ports(&client, [("p2", None)]).await;
}

#[tokio::test]
async fn a_monitor_that_the_server_cancels_is_set_up_anew() {
    let fake = Fake::new();
    let (client, mut peer) = fake
        .connect(quick(), async |mut peer| {
            peer.answer_schema().await;
            peer.answer_monitor(json!({})).await;
            peer
        })
        .await;
    let client = client.unwrap();
    peer.send(&json!({"id": null, "method": "monitor_canceled", "params": ["replica"]})).await;
    assert_eq!(disconnection(&client).await, "the server cancelled the monitor");
    let mut peer = fake.accept().await;
    peer.answer_schema().await;
    peer.answer_monitor(json!({})).await;
    connection(&client, 2).await;
}

#[tokio::test]
async fn a_member_of_a_cluster_that_lacks_what_is_known_is_left() {
    let fake = Fake::new();
    let serve = async |mut peer: Peer, index| {
        peer.answer("monitor", leader(index)).await;
        peer.answer("set_db_change_aware", json!({})).await;
        peer.answer_schema().await;
        peer.answer_monitor(json!({})).await;
        peer
    };
    let options = Options { leader_only: true, ..quick() };
    let (client, mut peer) = fake.connect(options, async |peer| serve(peer, 7).await).await;
    let client = client.unwrap();
    peer.send(&json!({"id": null, "method": "update", "params": ["server", leader(8)]})).await;
    let (databases, ()) = tokio::join!(client.list_dbs(), peer.answer("list_dbs", json!(["db"])));
    databases.unwrap();

    drop(peer);
    let mut old = fake.accept().await;
    old.answer("monitor", leader(7)).await;
    let mut states = client.state();
    let left = states.wait_for(|state| match state {
        State::Disconnected { reason } => reason.contains("knows less"),
        State::Connected { .. } => false,
    });
    within("the client to leave", left).await.unwrap();
    let _peer = serve(fake.accept().await, 8).await;
    connection(&client, 2).await;
}
