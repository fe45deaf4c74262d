//! Prints the ports of a switch, and then what changes about them.
//!
//! `cargo run -p ovsdb --example watch_ports [ENDPOINT]`

use ovsdb::tables::Port;
use ovsdb::{Change, Client, Endpoint, Monitor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1);
    let endpoint = endpoint.as_deref().unwrap_or("unix:/run/openvswitch/db.sock");
    let endpoint: Endpoint = endpoint.parse()?;
    let monitor = Monitor::new("Open_vSwitch").table::<Port>();
    let client = Client::connect(endpoint, monitor).await?;

    // A lost connection is not seen here, only what has changed by the time there is a new one.
    let mut changes = client.subscribe::<Port>();
    while let Some(Change { old, new, .. }) = changes.recv().await {
        match (old, new) {
            (None, Some(port)) => println!("+ {} tag={:?}", port.name, port.tag),
            (Some(port), None) => println!("- {}", port.name),
            (Some(old), Some(new)) => println!("  {} tag={:?} -> {:?}", new.name, old.tag, new.tag),
            (None, None) => {}
        }
    }
    Ok(())
}
