//! Requests other than transactions, and filters.

use std::collections::{BTreeMap, BTreeSet};

use ovsdb::tables::{Interface, OpenVSwitch, Port};
use ovsdb::{CallError, Change, Client, Filter, Monitor, Once, RequestError, Transaction};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::lab::{
    Server, add_bridge, add_port, connection, disconnection, port_names, quick, within,
};

#[tokio::test]
async fn a_server_tells_what_it_has() {
    let server = Server::start();
    let client = server.client().await;
    let databases: BTreeSet<_> = client.list_dbs().await.unwrap().into_iter().collect();
    assert_eq!(databases, ["Open_vSwitch", "_Server"].map(str::to_owned).into());
    let schema = client.get_schema("Open_vSwitch").await.unwrap();
    assert!(schema.tables.contains_key("Bridge"));
    let id = client.get_server_id().await.unwrap();
    assert_eq!(client.get_server_id().await.unwrap(), id);
    client.echo().await.unwrap();
}

#[tokio::test]
async fn a_request_that_the_server_does_not_know_is_refused() {
    let server = Server::start();
    let client = server.client().await;
    let error = client.call::<()>("no_such_method", [1]).await.unwrap_err();
    let CallError::Request(RequestError::Refused(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.kind, ovsdb::ErrorKind::UnknownMethod);
    let error = client.call::<Vec<u8>>("list_dbs", [(); 0]).await.unwrap_err();
    assert_eq!(error.to_string(), "unexpected form of the response to list_dbs");
}

/// The names inserted and the names deleted.
fn names(changes: &mut UnboundedReceiver<Change<Port>>) -> (Vec<String>, Vec<String>) {
    let (mut inserted, mut deleted) = (Vec::new(), Vec::new());
    while let Ok(change) = changes.try_recv() {
        match (change.old, change.new) {
            (None, Some(new)) => inserted.push(new.name.clone()),
            (Some(old), None) => deleted.push(old.name.clone()),
            change => panic!("{change:?}"),
        }
    }
    inserted.sort();
    deleted.sort();
    (inserted, deleted)
}

async fn filtered(server: &Server) -> Client {
    server.vsctl(&["add-br", "br0", "--", "add-br", "br1", "--", "add-br", "br2"]);
    let monitor = Monitor::new("Open_vSwitch")
        .table_where::<Port>(Filter::any([Port::NAME.eq("br1")]).unwrap())
        .table::<Interface>();
    Client::connect_with(server.endpoint(), monitor, quick()).await.unwrap()
}

#[tokio::test]
async fn a_filter_keeps_other_rows_out() {
    let mut server = Server::start();
    let client = filtered(&server).await;
    let mut changes = client.subscribe::<Port>();
    assert_eq!(port_names(&client), ["br1"]);
    assert_eq!(client.read(|replica| replica.table::<Interface>().len()), 3);
    names(&mut changes);

    let wider = Filter::any([Port::NAME.eq("br1"), Port::NAME.eq("br2")]).unwrap();
    client.set_filter(wider).await.unwrap();
    assert_eq!(port_names(&client), ["br1", "br2"]);
    assert_eq!(names(&mut changes), (vec!["br2".into()], vec![]));

    client.set_filter(Filter::<Port>::all()).await.unwrap();
    assert_eq!(port_names(&client), ["br0", "br1", "br2"]);
    client.set_filter(Filter::<Port>::none()).await.unwrap();
    assert!(port_names(&client).is_empty());
    names(&mut changes);

    // The next connection has the filter of this one.
    let narrow = Filter::any([Port::NAME.eq("br0")]).unwrap();
    client.set_filter(narrow).await.unwrap();
    server.kill();
    disconnection(&client).await;
    server.restart();
    connection(&client, 2).await;
    assert_eq!(port_names(&client), ["br0"]);
    assert_eq!(names(&mut changes), (vec!["br0".into()], vec![]));
}

#[tokio::test]
async fn a_filter_set_without_a_connection_holds_on_the_next() {
    let mut server = Server::start();
    let client = filtered(&server).await;
    server.kill();
    disconnection(&client).await;
    let setting = {
        let client = client.clone();
        tokio::spawn(async move { client.set_filter(Filter::<Port>::all()).await })
    };
    server.restart();
    within("the filter", setting).await.unwrap().unwrap();
    assert_eq!(port_names(&client), ["br0", "br1", "br2"]);
}

#[tokio::test]
async fn a_filter_that_the_server_refuses_is_told() {
    let server = Server::start();
    let client = filtered(&server).await;
    // In a condition of a monitor, unlike elsewhere, this column does not exist.
    let odd = ovsdb::Column::<Port, String>::new("no_column").eq("x");
    let error = client.set_filter(Filter::any([odd]).unwrap()).await;
    assert!(matches!(error, Err(CallError::Request(RequestError::Refused(_)))));
    // A sound one heals that.
    client.set_filter(Filter::<Port>::all()).await.unwrap();
    assert_eq!(port_names(&client), ["br0", "br1", "br2"]);
}

#[tokio::test]
async fn what_is_there_is_not_done_twice() {
    let server = Server::start();
    let client = server.client().await;
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.transact(tx).await.unwrap();
    for round in 0..2 {
        let mut tx = Transaction::new();
        add_port(&mut tx, "br0", "p0");
        let once = client.transact_once(Port::NAME.eq("p0"), tx).await.unwrap();
        assert_eq!(matches!(once, Once::Committed(_)), round == 0);
    }
    // A guard of the caller's own is an error like any other.
    let mut tx = Transaction::new();
    tx.require(OpenVSwitch::EXTERNAL_IDS.eq(BTreeMap::from([("no".to_owned(), String::new())])));
    add_port(&mut tx, "br0", "p1");
    let error = client.transact_once(Port::NAME.eq("p1"), tx).await.unwrap_err();
    assert_eq!(error.kind(), Some(&ovsdb::ErrorKind::TimedOut));
    assert_eq!(port_names(&client), ["p0"]);
}
