//! A server that dies again and again under writers and a watcher.

use std::collections::BTreeSet;

use ovsdb::tables::{OpenVSwitch, Port};
use ovsdb::{Mutation, Once, Transaction, Where};

use crate::lab::{Server, add_bridge, add_port, connection, port_names, replica_has, within};

const RESTARTS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_lose_nothing_and_double_nothing() {
    let mut server = Server::start();
    let client = server.client().await;
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.transact(tx).await.unwrap();

    // Sees each port come once, and none go.
    let mut changes = client.subscribe::<Port>();
    let watcher = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        while let Some(change) = changes.recv().await {
            let name = change.new.expect("a port went away").name.clone();
            assert!(change.old.is_none(), "{name} changed");
            if name == "the end" {
                return seen;
            }
            assert!(seen.insert(name));
        }
        seen
    });

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            let (mut written, mut found) = (0_i64, 0);
            while !*stopped.borrow() {
                let name = format!("p{written}");
                let mut tx = Transaction::new();
                add_port(&mut tx, "br0", &name);
                let _ = tx.mutate(Where::all(), Mutation::add(OpenVSwitch::NEXT_CFG, 1));
                match client.transact_once(Port::NAME.eq(name), tx).await.unwrap() {
                    Once::Committed(_) => {}
                    Once::Found => found += 1,
                }
                written += 1;
            }
            (written, found)
        })
    };
    for restart in 1..=RESTARTS {
        // In full stream.
        let least = client.read(|replica| replica.table::<Port>().len()) + 10;
        replica_has(&client, "ten more ports", |replica| replica.table::<Port>().len() >= least)
            .await;
        server.kill();
        server.restart();
        connection(&client, restart + 1).await;
    }
    stop.send(true).unwrap();
    let (written, found) = within("the writer", writer).await.unwrap();
    println!("{written} ports, {found} of them committed without a reply");
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "the end");
    client.transact(tx).await.unwrap();

    let mut seen = within("the watcher", watcher).await.unwrap();
    let expected: BTreeSet<String> = (0..written).map(|number| format!("p{number}")).collect();
    assert_eq!(seen, expected);
    seen.insert("the end".to_owned());
    assert_eq!(port_names(&client), seen.into_iter().collect::<Vec<_>>());
    // Each happened once, says somebody else.
    let count = server.vsctl(&["get", "Open_vSwitch", ".", "next_cfg"]);
    assert_eq!(count, written.to_string());
}
