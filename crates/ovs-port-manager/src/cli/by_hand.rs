//! `add-port`, `del-port`, `del-ports` and `set-vlan`: ports by command, as `ovs-docker` has them.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use clap::Args;
use ipnet::IpNet;
use port_plan::{
    Container, Datapath, LinkName, LinkSpec, MacAddress, PortKey, Route, Start, State, Vlan,
};

use super::Outcome;
use super::connection::{self, Connection};
use crate::netlink;
use crate::reconcile::Observer;
use crate::switch::{ByHandIds, NamedPort};
use crate::{links, netns};

pub(crate) const EXAMPLES: &str = "\
For containers without labels, with the words and the effect of ovs-docker; a link to this program that
is called ovs-docker behaves as that program. The daemon leaves such a port alone while its container
lives, and clears it away afterwards.

Examples:
  ovs-port-manager add-port ovsbr0 eth1 web --ipaddress=192.168.1.2/24 --gateway=192.168.1.1
  ovs-port-manager set-vlan ovsbr0 eth1 web 5
  ovs-port-manager del-port ovsbr0 eth1 web
  ovs-port-manager del-ports ovsbr0 web

Exit status: 0 done, 1 it could not be done, 2 the command line is wrong";

/// What to do.
pub(crate) enum Verb {
    AddPort(Box<Wish>),
    DelPort { interface: String, container: String },
    DelPorts { container: String },
    SetVlan { interface: String, container: String, vlan: Vlan },
}

/// A port to be made.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// The bridge; created if it does not exist
    pub(crate) bridge: LinkName,

    /// The interface's name inside the container
    pub(crate) interface: LinkName,

    /// The container, by name or id
    pub(crate) container: String,

    /// The interface's address, with or without a prefix length
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) ipaddress: Option<IpNet>,

    /// Default gateway inside the container
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Option<IpAddr>,

    /// MAC address of the interface [default: derived]
    #[arg(long, value_name = "XX:XX:XX:XX:XX:XX")]
    pub(crate) macaddress: Option<MacAddress>,

    /// MTU in bytes [default: the kernel's]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) mtu: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct AddPort {
    #[command(flatten)]
    wish: Wish,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DelPort {
    /// The bridge; only for likeness with ovs-docker, the port is found without it
    bridge: String,

    /// The interface's name inside the container
    interface: String,

    /// The container, by the name or id that it was attached with
    container: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DelPorts {
    /// The bridge; only for likeness with ovs-docker, the ports are found without it
    bridge: String,

    /// The container, by the name or id that it was attached with
    container: String,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct SetVlan {
    #[command(flatten)]
    port: DelPort,

    /// The VLAN, 1 to 4094
    vlan: Vlan,
}

impl AddPort {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        execute(Verb::AddPort(Box::new(self.wish)), &self.connection)
    }
}

impl DelPort {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Self { bridge: _, interface, container, connection } = self;
        execute(Verb::DelPort { interface, container }, &connection)
    }
}

impl DelPorts {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        execute(Verb::DelPorts { container: self.container }, &self.connection)
    }
}

impl SetVlan {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Self { port: DelPort { bridge: _, interface, container, connection }, vlan } = self;
        execute(Verb::SetVlan { interface, container, vlan }, &connection)
    }
}

/// An address; without a prefix length, it is the only one of its network, as with `ip addr add`.
pub(crate) fn address(text: &str) -> Result<IpNet, String> {
    let whole = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| whole()).map_err(|_| "not an IP address".to_owned())
}

/// Does what a verb says.
pub(crate) fn execute(verb: Verb, connection: &Connection) -> anyhow::Result<Outcome> {
    let config = connection.load(None)?;
    connection::block_on(async {
        let observer = connection::observer(&config).await?;
        match verb {
            Verb::AddPort(wish) => add_port(&observer, *wish).await?,
            Verb::DelPort { interface, container } => {
                del_port(&observer, &attached(&observer, &interface, &container).await?).await?;
            }
            Verb::DelPorts { container } => {
                let ports = named(&observer, &container).await?;
                for port in &ports {
                    ensure_by_hand(port, &container)?;
                }
                for port in &ports {
                    del_port(&observer, port).await?;
                }
            }
            Verb::SetVlan { interface, container, vlan } => {
                let port = attached(&observer, &interface, &container).await?;
                observer.world.switch.set_tag(&port.name, vlan).await?;
            }
        }
        Ok(Outcome::Well)
    })
}

async fn add_port(observer: &Observer, wish: Wish) -> anyhow::Result<()> {
    let shown = wish.container.escape_debug().to_string();
    let found = observer.docker.find(&wish.container).await?;
    let container = found.with_context(|| {
        format!("Docker knows no container {shown}; docker ps lists those that run")
    })?;
    let container = observer.recall(container);
    let State::Running { pid, start } = &container.state else {
        bail!("container {shown} does not run; start it first");
    };
    let switch = &observer.world.switch;
    let there = switch.named(Some(&container.id), &[&wish.container, &container.name]);
    let there = there.iter().find(|port| port.interface == wish.interface.as_str());
    if let Some(port) = there {
        bail!("container {shown} has port {} for {} already", port.name, wish.interface);
    }
    let (desired, _) = observer.desired(Some(&container));
    let labelled = desired.specs().iter().any(|spec| spec.key.interface == wish.interface);
    ensure!(!labelled, "the labels of container {shown} are for {} already", wish.interface);
    // What would fail later is to fail before anything is changed.
    netns::of_container(*pid, &container.id)?;

    let datapath = match switch.bridge(&wish.bridge) {
        Some(datapath) => datapath,
        None => {
            let datapath = observer.rules.defaults.datapath;
            observer.world.add_bridge(&wish.bridge, datapath).await?;
            datapath
        }
    };
    let spec = spec(&wish, &container, start, datapath)?;
    let port = spec.name.clone();
    match observer.world.links.add(spec, *pid, || true, || {}).await {
        Ok(_) => {}
        Err(links::Error::Netlink(netlink::Error::InterfaceExists(name))) => {
            bail!("interface {name} exists in container {shown} already");
        }
        Err(error) => return Err(error.into()),
    }
    let (given, interface) = (wish.container.as_str(), &wish.interface);
    let ids = ByHandIds { given, container: &container.id, interface, start };
    if let Err(error) = switch.add_by_hand(&wish.bridge, &port, &ids).await {
        observer.world.links.delete(&container.id, &port).await?;
        return Err(error.into());
    }
    Ok(())
}

fn spec(
    wish: &Wish,
    container: &Container,
    start: &Start,
    datapath: Datapath,
) -> anyhow::Result<LinkSpec> {
    // As ovs-docker: thirteen random digits and _l.
    let digits: String = (0..13).map(|_| fastrand::digit(16)).collect();
    let seed = format!("{} {}", container.name, wish.interface);
    Ok(LinkSpec {
        name: format!("{digits}_l").parse()?,
        key: PortKey { container: container.id.clone(), interface: wish.interface.clone() },
        start: start.clone(),
        by_hand: true,
        mac: wish.macaddress.unwrap_or_else(|| MacAddress::derive(&wish.bridge, None, &seed)),
        mtu: wish.mtu,
        addresses: wish.ipaddress.into_iter().collect(),
        // The command is over before the kernel could know.
        detect_duplicates: false,
        routes: wish.gateway.map(Route::default_via).into_iter().collect(),
        tx_checksum_offload: datapath == Datapath::System,
        held: false,
        replaces: None,
    })
}

/// The ports of a container, which may be gone already.
async fn named(observer: &Observer, container: &str) -> anyhow::Result<Vec<NamedPort>> {
    let found = observer.docker.find(container).await?;
    let words = [container, found.as_ref().map_or(container, |found| &found.name)];
    Ok(observer.world.switch.named(found.as_ref().map(|found| &found.id), &words))
}

/// The port of an interface, if a command may change it.
async fn attached(
    observer: &Observer,
    interface: &str,
    container: &str,
) -> anyhow::Result<NamedPort> {
    let ports = named(observer, container).await?;
    let port = ports.into_iter().find(|port| port.interface == interface).with_context(|| {
        let (container, interface) = (container.escape_debug(), interface.escape_debug());
        format!("no port is attached for container {container} and interface {interface}")
    })?;
    ensure_by_hand(&port, container)?;
    Ok(port)
}

fn ensure_by_hand(port: &NamedPort, container: &str) -> anyhow::Result<()> {
    let container = container.escape_debug();
    ensure!(
        !port.labelled,
        "port {} is there because of the labels of container {container}, and the daemon would put it \
         right at once; change the labels",
        port.name
    );
    Ok(())
}

async fn del_port(observer: &Observer, port: &NamedPort) -> anyhow::Result<()> {
    observer.world.switch.del_port(&port.bridge, &port.name).await?;
    let name = port.name.clone();
    tokio::task::spawn_blocking(move || netlink::delete(&name)).await??;
    Ok(())
}
