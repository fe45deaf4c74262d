//! Transactions as the real server judges them.

use std::time::Duration;

use ovsdb::tables::{Bridge, OpenVSwitch, Port};
use ovsdb::{
    ErrorKind, Insert, Mutation, OperationError, Ref, TransactError, Transaction, Update, Uuid,
    Wait, Where,
};

use crate::lab::{Server, add_bridge, add_port, port_names, within};

/// The error of the operation that a transaction fails with.
async fn refusal(client: &ovsdb::Client, build: impl FnOnce(&mut Transaction)) -> OperationError {
    let mut tx = Transaction::new();
    build(&mut tx);
    match client.transact(tx).await {
        Err(TransactError::Operation(error)) => error,
        other => panic!("expected an error of an operation, got {other:?}"),
    }
}

#[tokio::test]
async fn counts_tell_how_many_rows_were_found() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0", "--", "add-br", "br1"]);
    let client = server.client().await;
    let mut tx = Transaction::new();
    let update = || Update::new().set(Port::TAG, 5);
    let none = tx.update(Port::NAME.eq("no such port"), update());
    let one = tx.update(Port::NAME.eq("br0"), update());
    let all = tx.update(Where::all(), update());
    let again = tx.mutate(Where::all(), Mutation::add(Port::TAG, 1));
    let deleted = tx.delete(Bridge::NAME.eq("no such bridge"));
    let ports = tx.select(Port::TAG.eq(6));
    let reply = client.transact(tx).await.unwrap();
    let counts = [none, one, all, again, deleted].map(|operation| reply.count(operation));
    assert_eq!(counts, [0, 1, 2, 2, 0]);
    let ports = reply.rows(ports).unwrap();
    assert_eq!(ports.len(), 2);
    assert!(ports.iter().all(|port| port.tag == Some(6) && !port.interfaces.is_empty()));
    assert_eq!(server.vsctl(&["get", "port", "br0", "tag"]), "6");
}

#[tokio::test]
async fn a_row_required_and_missing_fails_the_whole_transaction() {
    let server = Server::start();
    let client = server.client().await;
    let error = refusal(&client, |tx| {
        tx.comment("a port for a bridge that is not there");
        add_port(tx, "br0", "p0");
    })
    .await;
    assert_eq!((error.index, &error.kind), (Some(3), &ErrorKind::TimedOut));
    assert_eq!(error.operation, "wait Bridge");
    assert!(port_names(&client).is_empty());
}

#[tokio::test]
async fn errors_have_their_kind_their_operation_and_the_servers_words() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let client = server.client().await;

    let error = refusal(&client, |tx| {
        let _ = tx.update(Port::NAME.eq("br0"), Update::new().set(Port::TAG, 4096));
    })
    .await;
    assert_eq!((error.index, &error.kind), (Some(0), &ErrorKind::ConstraintViolation));
    assert!(error.details.as_ref().unwrap().contains("4096"), "{error}");

    let error = refusal(&client, |tx| {
        tx.insert(Insert::<OpenVSwitch>::new());
    })
    .await;
    assert_eq!((error.index, &error.kind), (None, &ErrorKind::ConstraintViolation), "{error}");

    let error = refusal(&client, |tx| {
        let port = Ref::from(Uuid::from_u128(7));
        let _ = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
    })
    .await;
    assert_eq!((error.index, &error.kind), (None, &ErrorKind::ReferentialIntegrityViolation));
    assert!(error.details.as_ref().unwrap().contains(&Uuid::from_u128(7).to_string()), "{error}");

    let error = refusal(&client, |tx| tx.assert("a_lock")).await;
    assert_eq!((error.index, &error.kind), (Some(0), &ErrorKind::NotOwner));

    let error = refusal(&client, |tx| {
        tx.comment("nothing");
        tx.abort();
    })
    .await;
    assert_eq!((error.index, &error.kind), (Some(1), &ErrorKind::Aborted));

    let error = refusal(&client, |tx| {
        let _ = tx.mutate(Where::all(), Mutation::divide(OpenVSwitch::NEXT_CFG, 0));
    })
    .await;
    assert_eq!((error.index, &error.kind), (Some(0), &ErrorKind::DomainError));

    let error = refusal(&client, |tx| {
        let row = Update::new().set(Bridge::NAME, "br1");
        tx.wait(Wait::until_equal(Where::all(), [row]).timeout(Duration::from_millis(20)));
    })
    .await;
    assert_eq!((error.index, &error.kind), (Some(0), &ErrorKind::TimedOut));
}

#[tokio::test]
async fn a_reference_that_strays_into_another_transaction_is_refused() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let client = server.client().await;
    let port = Transaction::new().insert(Insert::<Port>::new().set(Port::NAME, "p0"));
    let error = refusal(&client, |tx| {
        let _ = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
    })
    .await;
    assert_eq!(error.kind, ErrorKind::ReferentialIntegrityViolation);
}

#[tokio::test]
async fn a_transaction_without_operations_does_nothing() {
    let server = Server::start();
    let client = server.client().await;
    client.transact(Transaction::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transactions_at_once_do_not_mix() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let client = server.client().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let name = format!("p{number}");
            let mut tx = Transaction::new();
            let port = add_port(&mut tx, "br0", &name);
            // Every third one fails, which is nothing to the others.
            if number % 3 == 0 {
                tx.abort();
            }
            let result = client.transact(tx).await;
            if number % 3 == 0 {
                assert_eq!(result.unwrap_err().kind(), Some(&ErrorKind::Aborted));
                return;
            }
            let port = result.unwrap().uuid(port).unwrap();
            let found = client.read(|replica| replica.table::<Port>().get(port).cloned());
            assert_eq!(found.unwrap().name, name);
        });
    }
    while let Some(result) = within("the transactions", tasks.join_next()).await {
        result.unwrap();
    }
    assert_eq!(server.vsctl(&["list-ports", "br0"]).lines().count(), 66);
}

#[tokio::test]
async fn a_transaction_given_up_is_cancelled_and_disturbs_nobody() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let client = server.client().await;
    let mut tx = Transaction::new();
    tx.wait(Wait::until_different(Bridge::NAME.eq("br1"), []));
    add_port(&mut tx, "br0", "unwanted");
    // The server holds it until there is a br1. The other transaction shows that it got there.
    {
        let waiting = client.transact(tx);
        tokio::pin!(waiting);
        let mut other = Transaction::new();
        add_port(&mut other, "br0", "p0");
        tokio::select! {
            biased;
            result = &mut waiting => panic!("the server did not wait: {result:?}"),
            result = client.transact(other) => drop(result.unwrap()),
        }
    }
    // Had the server not forgotten it, this would set it off.
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br1");
    client.transact(tx).await.unwrap();
    let mut tx = Transaction::new();
    add_port(&mut tx, "br1", "p1");
    client.transact(tx).await.unwrap();
    assert_eq!(port_names(&client), ["br0", "p0", "p1"]);
    assert_eq!(server.vsctl(&["list-ports", "br0"]), "p0");
}
