//! What a lost connection does, and does not do.

use std::collections::BTreeSet;

use ovsdb::tables::{Bridge, Port};
use ovsdb::{Change, RequestError, TransactError, Transaction, Wait};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::lab::{Server, add_bridge, add_port, connection, disconnection, port_names, within};

/// All changes that are waiting.
fn drain(changes: &mut UnboundedReceiver<Change<Port>>) -> Vec<Change<Port>> {
    std::iter::from_fn(|| changes.try_recv().ok()).collect()
}

#[tokio::test]
async fn after_a_restart_subscribers_see_only_what_differs() {
    let mut server = Server::start();
    server.vsctl(&["add-br", "br0", "--", "add-port", "br0", "p0", "--", "add-port", "br0", "p1"]);
    let client = server.client().await;
    let mut changes = client.subscribe::<Port>();
    assert_eq!(drain(&mut changes).len(), 3);

    server.kill();
    disconnection(&client).await;
    // The replica stays as it was.
    assert_eq!(port_names(&client), ["br0", "p0", "p1"]);
    server.change_offline(&json!([
        {"op": "update", "table": "Port", "where": [["name", "==", "p1"]], "row": {"tag": 5}},
    ]));
    server.restart();
    connection(&client, 2).await;

    let seen = drain(&mut changes);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let change = seen.into_iter().next().unwrap();
    assert_eq!(change.old.unwrap().tag, None);
    assert_eq!(change.new.unwrap().tag, Some(5));
    assert_eq!(port_names(&client), ["br0", "p0", "p1"]);

    // It is live again.
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p2");
    client.transact(tx).await.unwrap();
    let seen = drain(&mut changes);
    assert_eq!(seen[0].new.as_ref().unwrap().name, "p2");
    assert_eq!(port_names(&client), ["br0", "p0", "p1", "p2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_is_never_empty_in_between() {
    let mut server = Server::start();
    let client = server.client().await;
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    for number in 0..100 {
        add_port(&mut tx, "br0", &format!("p{number}"));
    }
    client.transact(tx).await.unwrap();
    let watcher = {
        let client = client.clone();
        tokio::spawn(async move {
            let sizes = || client.read(|replica| replica.table::<Port>().len());
            let mut seen = BTreeSet::new();
            for _ in 0..100_000 {
                seen.insert(sizes());
                if *client.state().borrow() == (ovsdb::State::Connected { generation: 4 }) {
                    return seen;
                }
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
            }
            seen
        })
    };
    for generation in 2..=4 {
        server.kill();
        disconnection(&client).await;
        server.restart();
        connection(&client, generation).await;
    }
    assert_eq!(within("the watcher", watcher).await.unwrap(), BTreeSet::from([100]));
}

#[tokio::test]
async fn requests_in_flight_fail_with_an_unknown_outcome() {
    let mut server = Server::start();
    let client = server.client().await;
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move {
            let mut tx = Transaction::new();
            tx.wait(Wait::until_different(Bridge::NAME.eq("never"), []));
            client.transact(tx).await
        })
    };
    // This comes after it on the wire, so that it is there by then.
    tokio::task::yield_now().await;
    let mut tx = Transaction::new();
    tx.comment("a mark");
    client.transact(tx).await.unwrap();
    server.kill();
    let error = within("the failure", waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, TransactError::Request(RequestError::ConnectionLost { .. })));
    assert!(error.outcome_unknown());
}

#[tokio::test]
async fn without_a_connection_a_transaction_fails_at_once() {
    let mut server = Server::start();
    let client = server.client().await;
    server.kill();
    disconnection(&client).await;
    let error = within("the failure", client.transact(Transaction::new())).await.unwrap_err();
    assert!(matches!(error, TransactError::Request(RequestError::NotConnected { .. })));
    assert!(!error.outcome_unknown());
    assert!(error.to_string().starts_with("not connected to the OVSDB server: "), "{error}");
}

#[tokio::test]
async fn another_database_under_the_same_socket_is_a_difference_like_any_other() {
    let mut server = Server::start();
    server.vsctl(&["add-br", "br0", "--", "add-port", "br0", "p0"]);
    let client = server.client().await;
    let mut changes = client.subscribe::<Port>();
    drain(&mut changes);
    server.kill();
    disconnection(&client).await;
    server.change_offline(&json!([
        {"op": "update", "table": "Open_vSwitch", "where": [], "row": {"bridges": ["set", []]}},
    ]));
    server.restart();
    connection(&client, 2).await;
    let seen = drain(&mut changes);
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|change| change.new.is_none()));
    assert!(port_names(&client).is_empty());
}
