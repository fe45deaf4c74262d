//! The replica is what `ovs-vsctl` sees.

use std::collections::{BTreeMap, BTreeSet};

use ovsdb::tables::{Bridge, FailMode, Interface, OpenVSwitch, Port, VlanMode};
use ovsdb::{Client, Monitor, Mutation, Transaction, Update};

use crate::lab::{Server, add_bridge, add_port, port_names, quick, replica_has, within};

#[tokio::test]
async fn a_column_that_nobody_wants_is_not_asked_for() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0", "--", "add-port", "br0", "p0", "tag=7", "other_config:x=y"]);
    let monitor = Monitor::new("Open_vSwitch").table::<Port>().without(Port::OTHER_CONFIG);
    let client = Client::connect(server.endpoint(), monitor).await.unwrap();
    client.read(|replica| {
        let port = replica.table::<Port>().by_name("p0").unwrap();
        assert_eq!(port.tag, Some(7));
        assert_eq!(port.other_config, BTreeMap::new());
    });
    server.vsctl(&["set", "port", "p0", "other_config:x=z", "tag=8"]);
    replica_has(&client, "the tag", |replica| {
        replica.table::<Port>().by_name("p0").is_some_and(|port| port.tag == Some(8))
    })
    .await;
    client.read(|replica| {
        assert_eq!(replica.table::<Port>().by_name("p0").unwrap().other_config, BTreeMap::new());
    });
}

#[tokio::test]
async fn the_first_snapshot_has_all_columns() {
    let server = Server::start();
    server.vsctl(&[
        "--",
        "add-br",
        "br0",
        "--",
        "set",
        "bridge",
        "br0",
        "datapath_type=netdev",
        "fail_mode=secure",
        "external_ids:a=\"b c\"",
        "--",
        "add-port",
        "br0",
        "p0",
        "tag=7",
        "trunks=1,2,3",
        "vlan_mode=native-untagged",
        "other_config:x=y",
        "--",
        "set",
        "interface",
        "p0",
        "type=internal",
        "mtu_request=1400",
        "external_ids={a=b,c=d}",
        "--",
        "set",
        "open_vswitch",
        ".",
        "ovs_version=1.2.3",
    ]);
    let client = server.client().await;
    client.read(|replica| {
        let root = replica.table::<OpenVSwitch>().iter().next().unwrap();
        let bridge = replica.table::<Bridge>().by_name("br0").unwrap();
        let port = replica.table::<Port>().by_name("p0").unwrap();
        let interface = replica.table::<Interface>().by_name("p0").unwrap();
        assert_eq!(root.ovs_version.as_deref(), Some("1.2.3"));
        assert_eq!(root.bridges, BTreeSet::from([bridge.uuid]));
        assert_eq!(bridge.datapath_type, "netdev");
        assert_eq!(bridge.fail_mode, Some(FailMode::Secure));
        assert_eq!(bridge.external_ids["a"], "b c");
        assert!(bridge.ports.contains(&port.uuid));
        assert_eq!(port.interfaces, BTreeSet::from([interface.uuid]));
        assert_eq!(port.tag, Some(7));
        assert_eq!(port.trunks, BTreeSet::from([1, 2, 3]));
        assert_eq!(port.vlan_mode, Some(VlanMode::NativeUntagged));
        assert_eq!(port.other_config["x"], "y");
        assert_eq!(interface.r#type, "internal");
        assert_eq!(interface.mtu_request, Some(1400));
        assert_eq!(interface.ofport, None);
        let ids = [("a", "b"), ("c", "d")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(interface.external_ids, BTreeMap::from(ids));
    });
    assert_eq!(
        client.read(|replica| replica.table::<Port>().by_name("p0").unwrap().uuid.to_string()),
        server.vsctl(&["get", "port", "p0", "_uuid"])
    );
}

#[tokio::test]
async fn changes_by_others_arrive() {
    let server = Server::start();
    let client = server.client().await;
    server.vsctl(&["add-br", "br0", "--", "add-port", "br0", "p0", "trunks=1,2,3"]);
    replica_has(&client, "the port", |replica| replica.table::<Port>().by_name("p0").is_some())
        .await;
    server.vsctl(&[
        "set",
        "port",
        "p0",
        "trunks=2,3,4",
        "tag=5",
        "external_ids:a=b",
        "--",
        "set",
        "interface",
        "p0",
        "external_ids:container=x",
    ]);
    replica_has(&client, "the interface's container", |replica| {
        replica.table::<Interface>().by_external_id("container", "x").next().is_some()
    })
    .await;
    client.read(|replica| {
        let port = replica.table::<Port>().by_external_id("a", "b").next().unwrap();
        assert_eq!((port.name.as_str(), port.tag), ("p0", Some(5)));
        assert_eq!(port.trunks, BTreeSet::from([2, 3, 4]));
    });
    server.vsctl(&["clear", "port", "p0", "tag", "trunks", "external_ids"]);
    replica_has(&client, "the empty port", |replica| {
        replica.table::<Port>().by_name("p0").is_some_and(|port| {
            port.tag.is_none() && port.trunks.is_empty() && port.external_ids.is_empty()
        })
    })
    .await;
    server.vsctl(&["del-port", "p0"]);
    replica_has(&client, "the end of the port", |replica| {
        replica.table::<Port>().by_name("p0").is_none()
            && replica.table::<Interface>().by_name("p0").is_none()
            && replica.table::<Bridge>().by_name("br0").unwrap().ports.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_has_a_transactions_effects_when_it_returns() {
    let server = Server::start();
    let client = server.client().await;
    let mut tx = Transaction::new();
    let bridge = add_bridge(&mut tx, "br0");
    let reply = client.transact(tx).await.unwrap();
    let bridge = reply.uuid(bridge).unwrap();
    assert!(client.read(|replica| replica.table::<Bridge>().get(bridge).is_some()));
    for number in 0..50 {
        let mut tx = Transaction::new();
        let name = format!("p{number}");
        let port = add_port(&mut tx, "br0", &name);
        let reply = client.transact(tx).await.unwrap();
        let port = reply.uuid(port).unwrap();
        client.read(|replica| {
            assert_eq!(replica.table::<Port>().get(port).unwrap().name, name);
            assert_eq!(replica.table::<Interface>().len(), number + 1);
            assert_eq!(replica.table::<Bridge>().get(bridge).unwrap().ports.len(), number + 1);
        });
        let mut tx = Transaction::new();
        let _ = tx.update::<Port>(port, Update::new().set(Port::TAG, 9));
        let put = BTreeMap::from([("owner".to_owned(), name)]);
        let _ = tx.mutate(port, Mutation::put(Port::EXTERNAL_IDS, put));
        client.transact(tx).await.unwrap();
        let tag = client.read(|replica| replica.table::<Port>().get(port).unwrap().tag);
        assert_eq!(tag, Some(9));
    }
    let mut names: Vec<String> =
        server.vsctl(&["list-ports", "br0"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(port_names(&client), names);
}

#[tokio::test]
async fn subscribers_get_the_rows_already_there_and_then_every_change() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let client = server.client().await;
    let mut changes = client.subscribe::<Port>();
    let first = within("the port already there", changes.recv()).await.unwrap();
    assert_eq!((first.old, first.new.unwrap().name.as_str()), (None, "br0"));
    server.vsctl(&["set", "port", "br0", "tag=3"]);
    let second = within("a change", changes.recv()).await.unwrap();
    assert_eq!((second.old.unwrap().tag, second.new.unwrap().tag), (None, Some(3)));
    server.vsctl(&["del-br", "br0"]);
    let third = within("the end", changes.recv()).await.unwrap();
    assert_eq!((third.uuid, third.new), (first.uuid, None));
    drop(client);
    assert_eq!(within("the end of the client", changes.recv()).await, None);
}

#[tokio::test]
async fn a_client_may_follow_some_of_the_tables() {
    let server = Server::start();
    server.vsctl(&["add-br", "br0"]);
    let monitor = Monitor::new("Open_vSwitch").table::<Bridge>();
    let client = Client::connect_with(server.endpoint(), monitor, quick()).await.unwrap();
    client.read(|replica| {
        assert!(replica.table::<Bridge>().by_name("br0").is_some());
        assert!(replica.try_table::<Port>().is_none());
    });
    let mut tx = Transaction::new();
    add_port(&mut tx, "br0", "p0");
    client.transact(tx).await.unwrap();
    let ports =
        client.read(|replica| replica.table::<Bridge>().by_name("br0").unwrap().ports.len());
    assert_eq!(ports, 2);
}

#[tokio::test]
async fn a_client_that_follows_no_table_can_transact() {
    let server = Server::start();
    let monitor = Monitor::new("Open_vSwitch");
    let client = Client::connect_with(server.endpoint(), monitor, quick()).await.unwrap();
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.transact(tx).await.unwrap();
    assert_eq!(server.vsctl(&["list-br"]), "br0");
}

#[tokio::test]
async fn tcp_serves_as_well() {
    let server = Server::start_tcp();
    let client = server.client().await;
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    add_port(&mut tx, "br0", "p0");
    client.transact(tx).await.unwrap();
    assert_eq!(server.vsctl(&["list-ports", "br0"]), "p0");
    assert_eq!(port_names(&client), ["p0"]);
}
