//! Locks, between two clients and across lost connections.

use ovsdb::{ErrorKind, Lock, LockError, LockState, Transaction};

use crate::lab::{Server, connection, disconnection, within};

async fn becomes(lock: &Lock, expected: LockState) {
    let mut state = lock.state();
    within(
        &format!("{} to be {expected:?}", lock.name()),
        state.wait_for(|state| *state == expected),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next() {
    let server = Server::start();
    let (first, second) = (server.client().await, server.client().await);
    let mut one = first.lock("l").unwrap();
    within("the lock", one.held()).await;
    let mut two = second.lock("l").unwrap();
    // By the time of its answer, the server has seen the request before it.
    second.echo().await.unwrap();
    assert!(!two.is_held());
    drop(one);
    within("the lock", two.held()).await;
    // And back, on a connection that had it before.
    let mut one = first.lock("l").unwrap();
    drop(two);
    within("the lock", one.held()).await;
}

#[tokio::test]
async fn a_lock_can_be_stolen_and_comes_back() {
    let server = Server::start();
    let (first, second) = (server.client().await, server.client().await);
    let one = first.lock("l").unwrap();
    becomes(&one, LockState::Held).await;
    let two = second.steal("l").unwrap();
    becomes(&two, LockState::Held).await;
    becomes(&one, LockState::Stolen).await;
    let mut tx = Transaction::new();
    tx.assert("l");
    let error = first.transact(tx.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::NotOwner));
    second.transact(tx.clone()).await.unwrap();
    drop(two);
    becomes(&one, LockState::Held).await;
    first.transact(tx).await.unwrap();
}

#[tokio::test]
async fn a_lock_outlives_the_connection() {
    let mut server = Server::start();
    let client = server.client().await;
    let lock = client.lock("l").unwrap();
    let other = client.lock("m").unwrap();
    becomes(&lock, LockState::Held).await;
    server.kill();
    disconnection(&client).await;
    assert!(!lock.is_held());
    // Without a connection locks can be given up, and asked for.
    drop(other);
    let late = client.lock("n").unwrap();
    server.restart();
    connection(&client, 2).await;
    becomes(&lock, LockState::Held).await;
    becomes(&late, LockState::Held).await;
    let mut tx = Transaction::new();
    tx.assert("l");
    client.transact(tx).await.unwrap();
    let mut tx = Transaction::new();
    tx.assert("m");
    let error = client.transact(tx).await.unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::NotOwner));
}

#[tokio::test]
async fn a_lock_has_a_sound_name_and_one_holder() {
    let server = Server::start();
    let client = server.client().await;
    for name in ["", "with space", "1st", "a-b", "ü"] {
        assert_eq!(client.lock(name).unwrap_err(), LockError::InvalidName(name.to_owned()));
    }
    let lock = client.lock("_l1").unwrap();
    assert_eq!(client.steal("_l1").unwrap_err(), LockError::InUse("_l1".to_owned()));
    becomes(&lock, LockState::Held).await;
    drop(lock);
    becomes(&client.lock("_l1").unwrap(), LockState::Held).await;
}
