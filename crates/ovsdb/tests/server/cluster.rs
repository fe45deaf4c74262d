//! A client of a cluster whose members die under it.

use ovsdb::tables::{Bridge, OpenVSwitch, Port};
use ovsdb::{Client, ConnectError, Mutation, Once, Options, Transaction, Where};
use tokio::task::JoinSet;

use crate::cluster_lab::Cluster;
use crate::lab::{
    add_bridge, add_port, all_tables, connection, disconnection, port_names, quick, replica_has,
    within,
};

fn leader_only() -> Options {
    Options { leader_only: true, ..quick() }
}

async fn client(cluster: &Cluster, options: Options) -> Client {
    Client::connect_cluster(cluster.endpoints(), all_tables(), options).await.unwrap()
}

/// Adds a port, and counts that it was added.
fn counted_port(name: &str) -> Transaction {
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", name);
    let _ = tx.mutate(Where::all(), Mutation::add(OpenVSwitch::NEXT_CFG, 1));
    tx
}

fn count(client: &Client) -> i64 {
    client.read(|replica| replica.table::<OpenVSwitch>().iter().map(|row| row.next_cfg).sum())
}

async fn bridge(client: &Client) {
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.transact(tx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_found_and_followed() {
    let mut cluster = Cluster::start();
    let client = client(&cluster, leader_only()).await;
    let leader = cluster.leader();
    assert_eq!(client.endpoint(), &cluster.endpoint(leader));
    bridge(&client).await;

    let follower = (leader + 1) % 3;
    let error = Client::connect_with(cluster.endpoint(follower), all_tables(), leader_only())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::NotLeader { .. }), "{error:?}");

    cluster.kill(leader);
    disconnection(&client).await;
    connection(&client, 2).await;
    assert_eq!(client.endpoint(), &cluster.endpoint(cluster.leader()));
    client.transact(counted_port("p0")).await.unwrap();
    assert_eq!(port_names(&client), ["p0"]);
}

/// Writers add `ports` ports while the leader is killed, then a follower of the one after it.
async fn write_under_fire(options: Options, ports: usize) {
    const WRITERS: usize = 4;
    let mut cluster = Cluster::start();
    let client = client(&cluster, options).await;
    bridge(&client).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            let mut found = 0;
            for number in 0..ports / WRITERS {
                let name = format!("p{writer}-{number}");
                let mark = Port::NAME.eq(name.as_str());
                match client.transact_once(mark, counted_port(&name)).await.unwrap() {
                    Once::Committed(_) => {}
                    Once::Found => found += 1,
                }
            }
            found
        });
    }
    let has = |least: usize| {
        let client = client.clone();
        async move {
            replica_has(&client, &format!("{least} ports"), |replica| {
                replica.table::<Port>().len() >= least
            })
            .await;
        }
    };
    has(ports / 4).await;
    let first = cluster.leader();
    cluster.kill(first);
    has(ports / 2).await;
    cluster.start_member(first);
    // A majority without whom we are connected to is there again.
    let connected = cluster.member(client.endpoint());
    cluster.kill(connected);
    let found: usize = within("the writers", writers.join_all()).await.into_iter().sum();
    println!("{found} of {ports} had been committed when their connection was lost");

    let total = i64::try_from(ports).unwrap();
    replica_has(&client, "all ports", |replica| replica.table::<Port>().len() >= ports).await;
    assert_eq!((port_names(&client).len(), count(&client)), (ports, total));
    // So says also a member that was not connected to.
    let other =
        (0..3).find(|index| *index != connected && *index != cluster.member(client.endpoint()));
    let other = cluster.endpoint(other.unwrap());
    let judge = Client::connect_with(other, all_tables(), quick()).await.unwrap();
    replica_has(&judge, "all ports", |replica| replica.table::<Port>().len() >= ports).await;
    assert_eq!((port_names(&judge).len(), count(&judge)), (ports, total));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_lost_or_doubled_when_the_leader_dies() {
    write_under_fire(leader_only(), 800).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_through_any_member() {
    write_under_fire(quick(), 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_resumes_where_it_was() {
    let mut cluster = Cluster::start();
    let client = client(&cluster, quick()).await;
    bridge(&client).await;
    client.transact(counted_port("p0")).await.unwrap();
    let mut changes = client.subscribe::<Port>();
    changes.recv().await.unwrap();
    // With the answer, the client knows how far this member is: who is not so far is no place to resume at.
    client.list_dbs().await.unwrap();
    let lost = cluster.member(client.endpoint());
    cluster.kill(lost);
    connection(&client, 2).await;
    assert_eq!(port_names(&client), ["p0"]);
    let now = cluster.member(client.endpoint());
    // It sends what happened since, and not the whole database again.
    let resumed = |line: &str| line.contains("send reply, result=[true,");
    assert!(cluster.log(now).lines().any(resumed), "{}", cluster.log(now));
    client.transact_once(Port::NAME.eq("p1"), counted_port("p1")).await.unwrap();
    let change = within("the change", changes.recv()).await.unwrap();
    assert_eq!(change.new.unwrap().name, "p1");
    assert_eq!(port_names(&client), ["p0", "p1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_cluster_is_left() {
    let mut cluster = Cluster::start();
    let client = client(&cluster, quick()).await;
    bridge(&client).await;
    let mine = cluster.member(client.endpoint());
    for other in (0..3).filter(|index| *index != mine) {
        cluster.kill(other);
    }
    let lone = "is not connected to its cluster";
    let mut states = client.state();
    let left = states.wait_for(|state| match state {
        ovsdb::State::Disconnected { reason } => reason.contains(lone),
        ovsdb::State::Connected { .. } => false,
    });
    within("the client to leave", left).await.unwrap();
    // What it knew, it still knows.
    assert!(client.read(|replica| replica.table::<Bridge>().by_name("br0").is_some()));
    cluster.start_member((mine + 1) % 3);
    within("a majority", client.transact_once(Port::NAME.eq("p0"), counted_port("p0")))
        .await
        .unwrap();
}
