//! Adds a bridge with its internal port, as `ovs-vsctl --may-exist add-br` does.
//!
//! `cargo run -p ovsdb --example add_bridge NAME [ENDPOINT]`

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{Client, Endpoint, Insert, Monitor, Mutation, Once, Transaction, Where};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("usage: add_bridge NAME [ENDPOINT]")?;
    let endpoint = args.next();
    let endpoint = endpoint.as_deref().unwrap_or("unix:/run/openvswitch/db.sock");
    let endpoint: Endpoint = endpoint.parse()?;
    // Nothing is replicated: this only writes.
    let client = Client::connect(endpoint, Monitor::new("Open_vSwitch")).await?;

    let mut tx = Transaction::new();
    let interface = tx.insert(
        Insert::<Interface>::new()
            .set(Interface::NAME, name.as_str())
            .set(Interface::TYPE, "internal"),
    );
    let port = tx.insert(
        Insert::<Port>::new().set(Port::NAME, name.as_str()).set(Port::INTERFACES, [interface]),
    );
    let bridge = tx.insert(
        Insert::<Bridge>::new().set(Bridge::NAME, name.as_str()).set(Bridge::PORTS, [port]),
    );
    // The one row of this table. Without it the transaction fails.
    tx.require(Where::<OpenVSwitch>::all());
    let _ = tx.mutate(Where::all(), Mutation::insert(OpenVSwitch::BRIDGES, [bridge]));
    tx.comment(format!("add_bridge {name}"));

    // The name is unique, so it tells whether this was done already, even across a lost connection.
    match client.transact_once(Bridge::NAME.eq(name.as_str()), tx).await? {
        Once::Committed(reply) => match reply.uuid(bridge) {
            Some(uuid) => println!("added bridge {name} as {uuid}"),
            None => println!("added bridge {name}"),
        },
        Once::Found => println!("bridge {name} is there"),
    }
    Ok(())
}
