//! The turns of this crate. Like those of the Python IDL, they replicate four tables all along,
//! unless that is not to be.

use std::time::{Duration, Instant};

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{Client, Endpoint, Insert, Monitor, Mutation, Transaction};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::{INTERFACES, PORTS};

pub(crate) fn run(what: &str, socket: &str) -> Duration {
    let (what, mut runtime) = match what.strip_prefix("one-thread-") {
        Some(what) => (what, Builder::new_current_thread()),
        None => (what, Builder::new_multi_thread()),
    };
    let runtime = runtime.enable_all().build().unwrap();
    let what = what.to_owned();
    let socket = socket.to_owned();
    // On a worker, where programs do most of their work, and not on the thread that waits for it.
    let turn = runtime.spawn(async move {
        let start = Instant::now();
        let (what, monitor) = match what.strip_prefix("unmonitored-") {
            Some(what) => (what, Monitor::new("Open_vSwitch")),
            None => (what.as_str(), all_tables()),
        };
        let endpoint = Endpoint::Unix(socket.into());
        let client = Client::connect(endpoint, monitor).await.unwrap();
        if what == "load" {
            let count = client.read(|replica| replica.table::<Interface>().len());
            assert_eq!(count, INTERFACES);
            return start.elapsed();
        }
        let start = Instant::now();
        match what {
            "each" => each(&client).await,
            "concurrent" => concurrent(&client).await,
            _ => together(&client).await,
        }
        let elapsed = start.elapsed();
        let count = client.read(|replica| Some(replica.try_table::<Port>()?.len()));
        assert!(count.is_none_or(|count| count == PORTS));
        elapsed
    });
    runtime.block_on(turn).unwrap()
}

fn all_tables() -> Monitor {
    Monitor::new("Open_vSwitch")
        .table::<OpenVSwitch>()
        .table::<Bridge>()
        .table::<Port>()
        .table::<Interface>()
}

async fn each(client: &Client) {
    for number in 0..PORTS {
        let mut tx = Transaction::new();
        add_port(&mut tx, number);
        client.transact(tx).await.unwrap();
    }
}

async fn concurrent(client: &Client) {
    let mut callers = JoinSet::new();
    for number in 0..PORTS {
        let client = client.clone();
        callers.spawn(async move {
            let mut tx = Transaction::new();
            add_port(&mut tx, number);
            client.commit(tx).await.unwrap();
        });
    }
    callers.join_all().await;
}

async fn together(client: &Client) {
    let mut tx = Transaction::new();
    for number in 0..PORTS {
        add_port(&mut tx, number);
    }
    client.transact(tx).await.unwrap();
}

fn add_port(tx: &mut Transaction, number: usize) {
    let name = format!("p{number}");
    let interface = Insert::<Interface>::new().set(Interface::NAME, name.as_str());
    let interface = tx.insert(interface);
    let port = Insert::<Port>::new().set(Port::NAME, name).set(Port::INTERFACES, [interface]);
    let port = tx.insert(port);
    let _ = tx.mutate(Bridge::NAME.eq("br0"), Mutation::insert(Bridge::PORTS, [port]));
}
