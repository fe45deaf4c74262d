//! Group commit: many callers, few transactions, and each caller's own outcome.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ovsdb::tables::{Bridge, Interface, Port};
use ovsdb::{
    Client, Counted, ErrorKind, Insert, Mutation, Reply, RequestError, TransactError, Transaction,
    Update, Uuid, Wait,
};
use tokio::task::JoinSet;

use crate::lab::{Server, add_bridge, add_port, disconnection, port_names, replica_has, within};

/// A client of a server with the bridge `br0`.
async fn bridged(server: &Server) -> Client {
    let client = server.client().await;
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.commit(tx).await.unwrap();
    client
}

/// How many transactions the server's database file holds.
fn transactions(server: &Server) -> usize {
    server.log_records()
}

/// Commits all transactions concurrently. The outcomes are in their order.
async fn commit_all(client: &Client, txs: Vec<Transaction>) -> Vec<Result<Reply, TransactError>> {
    let mut tasks = JoinSet::new();
    for (index, tx) in txs.into_iter().enumerate() {
        let client = client.clone();
        tasks.spawn(async move { (index, client.commit(tx).await) });
    }
    let mut outcomes = within("all outcomes", tasks.join_all()).await;
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test]
async fn concurrent_callers_share_transactions_and_get_their_own_replies() {
    let server = Server::start();
    let client = bridged(&server).await;
    let before = transactions(&server);
    let mut ports = Vec::new();
    let mut txs = Vec::new();
    for number in 0..200 {
        let mut tx = Transaction::new();
        ports.push(add_port(&mut tx, "br0", &format!("p{number}")));
        txs.push(tx);
    }
    let outcomes = commit_all(&client, txs).await;
    for (number, (port, outcome)) in ports.into_iter().zip(outcomes).enumerate() {
        let uuid = outcome.unwrap().uuid(port).unwrap();
        let name = client.read(|replica| replica.table::<Port>().get(uuid).unwrap().name.clone());
        assert_eq!(name, format!("p{number}"));
    }
    let count = transactions(&server) - before;
    assert!(count <= 3, "{count} transactions for 200 callers");
}

/// How many transactions two callers make of theirs, of whom the second comes a while after the first.
async fn two_in_turn(server: &Server, client: &Client, names: [&str; 2]) -> usize {
    let before = transactions(server);
    let [first, second] = names.map(|name| {
        let mut tx = Transaction::new();
        add_port(&mut tx, "br0", name);
        let client = client.clone();
        async move { client.commit(tx).await.unwrap() }
    });
    let first = tokio::spawn(first);
    tokio::time::sleep(Duration::from_millis(2)).await;
    second.await;
    within("the first", first).await.unwrap();
    transactions(server) - before
}

#[tokio::test]
async fn those_that_are_expected_are_waited_for() {
    let server = Server::start();
    let client = bridged(&server).await;
    // A busy machine may bring any two together or keep them apart, but not again and again.
    let mut seen = BTreeSet::new();
    for (attempt, expected) in (0..10).flat_map(|attempt| [(attempt, 0), (attempt, 2)]) {
        client.will_commit(expected);
        let names = [format!("p{attempt}-{expected}"), format!("q{attempt}-{expected}")];
        let count = two_in_turn(&server, &client, names.each_ref().map(String::as_str)).await;
        seen.insert((expected, count));
        if seen.is_superset(&BTreeSet::from([(0, 2), (2, 1)])) {
            return;
        }
    }
    panic!("callers expected and transactions: {seen:?}");
}

#[tokio::test]
async fn one_that_is_expected_and_does_not_come_holds_up_nobody_for_long() {
    let server = Server::start();
    let client = bridged(&server).await;
    client.will_commit(1000);
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p0");
    within("the outcome", client.commit(tx)).await.unwrap();
}

#[tokio::test]
async fn one_that_is_refused_fails_alone() {
    let server = Server::start();
    let client = bridged(&server).await;
    let mut txs = Vec::new();
    for number in 0..20 {
        let mut tx = Transaction::new();
        let bridge = if number % 7 == 3 { "no bridge" } else { "br0" };
        add_port(&mut tx, bridge, &format!("p{number}"));
        txs.push(tx);
    }
    // One that only the commit refuses: another has the name.
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p0");
    txs.push(tx);
    let outcomes = commit_all(&client, txs).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (3 | 10 | 17, Err(TransactError::Operation(error))) => {
                assert_eq!((error.index, error.kind), (Some(2), ErrorKind::TimedOut));
            }
            (20, Err(TransactError::Operation(error))) => {
                assert_eq!((error.index, error.kind), (None, ErrorKind::ConstraintViolation));
            }
            (0..20, Ok(_)) => {}
            (number, outcome) => panic!("{number}: {outcome:?}"),
        }
    }
    assert_eq!(port_names(&client).len(), 17);
}

#[tokio::test]
async fn a_lock_that_is_not_held_fails_only_who_asserts_it() {
    let server = Server::start();
    let client = bridged(&server).await;
    let mut asserting = Transaction::new();
    asserting.assert("nobodys");
    add_port(&mut asserting, "br0", "p0");
    let mut other = Transaction::new();
    other.comment("a remark");
    add_port(&mut other, "br0", "p1");
    other.commit(true);
    let mut outcomes = commit_all(&client, vec![asserting, other]).await;
    outcomes.pop().unwrap().unwrap();
    let error = outcomes.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::NotOwner));
    assert_eq!(port_names(&client), ["p1"]);
}

#[tokio::test]
async fn one_that_aborts_or_blocks_keeps_nobody_from_committing() {
    let server = Server::start();
    let client = bridged(&server).await;
    let blocked = {
        let client = client.clone();
        tokio::spawn(async move {
            let mut tx = Transaction::new();
            tx.wait(Wait::until_different(Port::NAME.eq("late"), []));
            add_port(&mut tx, "br0", "later");
            client.commit(tx).await
        })
    };
    let mut aborted = Transaction::new();
    add_port(&mut aborted, "br0", "aborted");
    aborted.abort();
    let mut plain = Transaction::new();
    add_port(&mut plain, "br0", "plain");
    let mut outcomes = commit_all(&client, vec![aborted, plain]).await;
    outcomes.pop().unwrap().unwrap();
    let error = outcomes.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), Some(&ErrorKind::Aborted));
    assert!(!blocked.is_finished());
    let mut late = Transaction::new();
    add_port(&mut late, "br0", "late");
    client.commit(late).await.unwrap();
    within("the blocked one", blocked).await.unwrap().unwrap();
    assert_eq!(port_names(&client), ["late", "later", "plain"]);
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_nobody_along() {
    let server = Server::start();
    let client = bridged(&server).await;
    let mut tasks = Vec::new();
    for number in 0..50 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let mut tx = Transaction::new();
            add_port(&mut tx, "br0", &format!("p{number}"));
            client.commit(tx).await
        }));
    }
    // All of them wait by now. The one that started the work goes, too.
    tokio::task::yield_now().await;
    for number in [0, 7, 49] {
        tasks[number].abort();
    }
    let mut committed = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        match within("a caller", task).await {
            Ok(outcome) => {
                outcome.unwrap();
                committed += 1;
            }
            Err(error) => assert!(error.is_cancelled() && [0, 7, 49].contains(&number)),
        }
    }
    assert_eq!(committed, 47);
    // Nothing is left in an odd state.
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "afterwards");
    within("one more", client.commit(tx)).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_leaves_each_caller_with_an_unknown_outcome() {
    let mut server = Server::start();
    let client = bridged(&server).await;
    server.freeze();
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut tx = Transaction::new();
            add_port(&mut tx, "br0", &format!("p{number}"));
            client.commit(tx).await
        });
    }
    // Time enough to come together, and to leave. What is queued behind the one in flight fails at
    // once when there is no connection.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        tokio::task::yield_now().await;
    }
    server.kill();
    let errors = within("all failures", tasks.join_all()).await;
    let mut unknown = 0;
    for error in errors {
        match error.unwrap_err() {
            error if error.outcome_unknown() => unknown += 1,
            TransactError::Request(RequestError::NotConnected { .. }) => {}
            error => panic!("{error:?}"),
        }
    }
    assert!(unknown >= 1);
    disconnection(&client).await;
    server.restart();
    replica_has(&client, "the bridge", |replica| {
        replica.table::<Bridge>().by_name("br0").is_some()
    })
    .await;
}

#[tokio::test]
async fn later_parts_see_what_earlier_ones_did() {
    let server = Server::start();
    let client = bridged(&server).await;
    // In order, as one caller waits for each.
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p0");
    client.commit(tx).await.unwrap();
    let mut txs = Vec::new();
    for _ in 0..30 {
        let mut tx = Transaction::new();
        let _ = tx.mutate(
            Port::NAME.eq("p0"),
            Mutation::insert(Port::TRUNKS, [i64::try_from(txs.len()).unwrap()]),
        );
        txs.push(tx);
    }
    for outcome in commit_all(&client, txs).await {
        outcome.unwrap();
    }
    let trunks = client.read(|replica| replica.table::<Port>().by_name("p0").unwrap().trunks.len());
    assert_eq!(trunks, 30);
    // An update that finds nothing says so to its caller alone.
    let mut none = Transaction::new();
    let nothing = none.update(Port::NAME.eq("p9"), Update::<Port>::new().set(Port::TAG, Some(1)));
    let mut some = Transaction::new();
    let one = some.update(Port::NAME.eq("p0"), Update::<Port>::new().set(Port::TAG, Some(1)));
    let replies = commit_all(&client, vec![none, some]).await;
    let counts: Vec<u64> = replies
        .into_iter()
        .zip([nothing, one])
        .map(|(reply, place)| reply.unwrap().count(place))
        .collect();
    assert_eq!(counts, [0, 1]);
}

#[tokio::test]
async fn more_than_fits_into_one_goes_out_in_several() {
    let server = Server::start();
    let client = bridged(&server).await;
    let txs = (0..20).map(|part| {
        let mut tx = Transaction::new();
        for number in 0..1000 {
            // Unreferenced, so the server drops them at once.
            let name = format!("i{part}-{number}");
            tx.insert(Insert::<Interface>::new().set(Interface::NAME, name));
        }
        tx
    });
    for outcome in commit_all(&client, txs.collect()).await {
        outcome.unwrap();
    }
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p0");
    tokio::time::timeout(Duration::from_secs(20), client.commit(tx)).await.unwrap().unwrap();
}

/// Commits transactions concurrently that have one operation to be counted each.
async fn commit_and_count(client: &Client, txs: Vec<(Transaction, Counted)>) -> Vec<u64> {
    let (txs, places): (Vec<_>, Vec<_>) = txs.into_iter().unzip();
    let replies = commit_all(client, txs).await.into_iter();
    replies.zip(places).map(|(reply, place)| reply.unwrap().count(place)).collect()
}

#[tokio::test]
async fn many_change_the_ports_of_a_bridge_and_each_learns_whether_it_is_there() {
    let server = Server::start();
    let client = bridged(&server).await;
    let bridge = |number: u64| if number % 7 == 3 { "no bridge" } else { "br0" };
    let adding = (0..50).map(|number| {
        let mut tx = Transaction::new();
        let name = format!("p{number}");
        let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, name.as_str()));
        let port = Insert::<Port>::new().set(Port::NAME, name).set(Port::INTERFACES, [interface]);
        let port = Mutation::insert(Bridge::PORTS, [tx.insert(port)]);
        let found = tx.mutate(Bridge::NAME.eq(bridge(number)), port);
        (tx, found)
    });
    let counts = commit_and_count(&client, adding.collect()).await;
    let expected: Vec<u64> = (0..50).map(|number| u64::from(bridge(number) == "br0")).collect();
    assert_eq!(counts, expected);

    let mut ports: Vec<Uuid> =
        client.read(|replica| replica.table::<Port>().iter().map(|port| port.uuid).collect());
    assert_eq!(ports.len(), 43);
    let kept = ports.pop().unwrap();
    let removing = ports.into_iter().map(|port| {
        let mut tx = Transaction::new();
        let port = Mutation::delete(Bridge::PORTS, [port.into()]);
        let found = tx.mutate(Bridge::NAME.eq("br0"), port);
        (tx, found)
    });
    assert_eq!(commit_and_count(&client, removing.collect()).await, [1; 42]);
    let bridge = client.read(|replica| replica.table::<Bridge>().by_name("br0").cloned()).unwrap();
    assert_eq!(bridge.ports, BTreeSet::from([kept]));
}
