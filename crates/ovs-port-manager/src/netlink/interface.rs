//! The container's end: configured, looked at, put right.
//!
//! Everything here happens in the calling thread's network namespace.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use port_plan::{LinkName, LinkRepair, LinkSpec, MacAddress, ObservedInterface, Route};

use super::connection::{Connection, Request};
use super::{Error, address, route};
use crate::{ethtool, procfs};

/// How long the detection of duplicate addresses may take: a random delay of up to a second and a second's wait for
/// an answer (RFC 4862, section 5.4.2), and as much again for a busy machine.
const DETECTION: Duration = Duration::from_secs(4);
/// The time between looks at how far it is.
const DETECTION_PAUSE: Duration = Duration::from_millis(20);

/// An interface that is to be there, as far as it takes to look at it.
pub(crate) struct Wanted {
    pub(crate) name: LinkName,
    /// It is to have IPv4 routes.
    pub(crate) ipv4_routes: bool,
    /// It is to have IPv6 routes.
    pub(crate) ipv6_routes: bool,
}

/// Configures the end of a new pair, whose index need not be known.
///
/// It comes up after its addresses, so that whoever waits for "up" finds it working. Returns the default
/// routes that its own have taken the place of, in words.
pub(super) fn configure(spec: &LinkSpec, index: Option<u32>) -> Result<Vec<String>, Error> {
    let name = &spec.key.interface;
    let mut connection = Connection::open()?;
    let index = match index {
        Some(index) => index,
        None => get(&mut connection, name)?.header.index,
    };
    if spec.addresses.iter().any(|address| address.addr().is_ipv6()) {
        enable_ipv6(name)?;
    }
    if !spec.tx_checksum_offload {
        switch_tx_checksum_off(&connection, name)?;
    }
    let replaced = replaced_routes(&mut connection, index, &spec.routes)?;
    let detect = spec.detect_duplicates;
    let addresses =
        spec.addresses.iter().map(|address| address::add(name, index, *address, detect));
    let routes = spec.routes.iter().map(|route| route::add(name, index, route));
    connection.batch(addresses.chain([set_up(name, index)]).chain(routes).collect())?;
    Ok(replaced)
}

/// How an interface is now. Its routes are listed for those families only in which it is to have some: that is
/// most of the work.
pub(super) fn observe(
    connection: &mut Connection,
    wanted: &Wanted,
) -> Result<ObservedInterface, Error> {
    let link = match get(connection, &wanted.name) {
        Ok(link) => link,
        Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(ObservedInterface::Missing),
        Err(error) => return Err(error),
    };
    let index = link.header.index;
    let mut routes = Vec::new();
    for (ipv4, wanted) in [(true, wanted.ipv4_routes), (false, wanted.ipv6_routes)] {
        if wanted {
            routes.extend(route::list(connection, ipv4)?);
        }
    }
    let through = routes.into_iter().filter(|found| found.link == Some(index));
    Ok(ObservedInterface::Present {
        up: link.header.flags.contains(LinkFlags::Up),
        mac: link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => {
                MacAddress::from_octets(octets.as_slice().try_into().ok()?)
            }
            _ => None,
        }),
        mtu: link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            })
            .unwrap_or_default(),
        addresses: address::list(connection, index)?
            .into_iter()
            .filter(|found| !found.duplicate)
            .map(|found| found.address)
            .collect(),
        routes: through.map(|found| found.route).collect(),
    })
}

/// Has the kernel find out whether other hosts have the interface's IPv6 addresses, and waits until it knows;
/// returns those that they have.
///
/// It has asked when the addresses were made, but perhaps too early for anybody to hear it.
pub(super) fn detect_duplicates(name: &LinkName, addresses: &[IpNet]) -> Result<Vec<IpNet>, Error> {
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    for address in addresses.iter().filter(|address| address.addr().is_ipv6()) {
        // The kernel asks again for a new one.
        let _ = connection.batch(vec![address::remove(name, index, *address)]);
        connection.batch(vec![address::add(name, index, *address, true)])?;
    }
    let deadline = Instant::now() + DETECTION;
    loop {
        let addresses = address::list(&mut connection, index)?;
        let duplicates = addresses.iter().filter(|found| found.duplicate);
        if !addresses.iter().any(|found| found.tentative) {
            return Ok(duplicates.map(|found| found.address).collect());
        }
        if Instant::now() > deadline {
            return Err(Error::Malformed(format!("{name} still looks for duplicate addresses")));
        }
        // The kernel tells no one who is not in its namespace and subscribed there.
        thread::sleep(DETECTION_PAUSE);
    }
}

/// Puts an interface right, be it one that was never configured, in the order in which a new one is configured.
pub(super) fn repair(repair: &LinkRepair) -> Result<(), Error> {
    let LinkRepair {
        name: _,
        key,
        mac,
        mtu,
        addresses,
        detect_duplicates,
        routes,
        up,
        tx_checksum_offload,
    } = repair;
    let name = &key.interface;
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    if addresses.iter().any(|address| address.addr().is_ipv6()) {
        enable_ipv6(name)?;
    }
    if *up && !tx_checksum_offload {
        switch_tx_checksum_off(&connection, name)?;
    }
    let mac = mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec()));
    let mtu = mtu.map(|mtu| LinkAttribute::Mtu(mtu.into()));
    let settings = mac.into_iter().chain(mtu).map(|setting| set(name, index, setting));
    for duplicate in addresses.iter().filter(|address| address.addr().is_ipv6()) {
        // One that another host had is still there, unused; the kernel looks again at a new one.
        let _ = connection.batch(vec![address::remove(name, index, *duplicate)]);
    }
    let addresses =
        addresses.iter().map(|address| address::add(name, index, *address, *detect_duplicates));
    let up = up.then(|| set_up(name, index));
    let routes = routes.iter().map(|route| route::add(name, index, route));
    connection.batch(settings.chain(addresses).chain(up).chain(routes).collect())
}

/// A link of the connection's namespace.
pub(super) fn get(connection: &mut Connection, name: &LinkName) -> Result<LinkMessage, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let what = format!("find {name}");
    match connection.get(RouteNetlinkMessage::GetLink(request), &what)? {
        RouteNetlinkMessage::NewLink(link) => Ok(link),
        other => Err(Error::Malformed(format!("asked for a link, got {other:?}"))),
    }
}

/// Docker switches IPv6 off in the namespaces that it makes; here it is needed.
///
/// `/proc/sys/net` shows the settings of the calling thread's namespace.
fn enable_ipv6(name: &LinkName) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::read(&path) {
        Ok(value) if value.first() == Some(&b'0') => Ok(()),
        Ok(_) => procfs::write(&path, "0"),
        // A kernel without IPv6 has no such file: the address itself will be refused.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(Error::system(format!("switch IPv6 on for {name} ({path})")))
}

fn switch_tx_checksum_off(connection: &Connection, name: &LinkName) -> Result<(), Error> {
    ethtool::set_tx_checksum(connection.socket(), name, false)
        .map_err(Error::system(format!("switch transmit checksums off on {name}")))
}

fn set(name: &LinkName, index: u32, setting: LinkAttribute) -> Request {
    let what = format!("change {name}");
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(setting);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what }
}

fn set_up(name: &LinkName, index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let what = format!("set {name} up");
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what }
}

/// The default routes that the wanted ones will take the place of, in words.
fn replaced_routes(
    connection: &mut Connection,
    index: u32,
    wanted: &[Route],
) -> Result<Vec<String>, Error> {
    let mut replaced = Vec::new();
    for wanted in wanted.iter().filter(|route| route.destination.prefix_len() == 0) {
        let there = route::list(connection, wanted.is_ipv4())?;
        let others = there.into_iter().filter(|found| found.link != Some(index));
        let others = others.filter(|found| wanted.collides(&found.route));
        replaced.extend(others.map(|found| match found.route.via {
            Some(via) => format!("default via {via}"),
            None => "default".to_owned(),
        }));
    }
    Ok(replaced)
}
