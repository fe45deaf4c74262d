//! The container's end: configured, looked at, put right.
//!
//! Everything here happens in the calling thread's network namespace.

use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;

use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use port_plan::{LinkName, LinkRepair, LinkSpec, MacAddress, ObservedInterface, Route};
use tracing::{debug, info};

use super::connection::{Connection, Request};
use super::{Error, address, route};
use crate::ethtool;
use crate::procfs::Folder;

/// An interface that is to be there, as far as it takes to look at it.
pub(crate) struct Wanted {
    pub(crate) name: LinkName,
    /// The addresses that it is to have.
    pub(crate) addresses: Vec<IpNet>,
    /// The routes that it is to have.
    pub(crate) routes: Vec<Route>,
    /// Whether to look at all that it has, not only as far as it takes to tell whether it has those.
    pub(crate) all: bool,
}

impl Wanted {
    /// One that nothing is known of, and all is to be looked at.
    pub(crate) fn unknown(name: LinkName) -> Self {
        Self { name, addresses: Vec::new(), routes: Vec::new(), all: true }
    }
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
    set_ipv6(name, spec.ignores_advertisements(), &spec.addresses)?;
    if !spec.tx_checksum_offload {
        switch_tx_checksum_off(&connection, name)?;
    }
    let replaced = replaced_routes(&mut connection, index, &spec.routes);
    let detect = spec.detect_duplicates;
    let addresses =
        spec.addresses.iter().map(|address| address::add(name, index, *address, detect));
    let routes = spec.routes.iter().map(|route| route::add(name, index, route));
    connection.batch(addresses.chain([set_up(name, index)]).chain(routes).collect())?;
    Ok(replaced)
}

/// How an interface is now, as far as is wanted: whoever may change it may fill it with addresses and routes.
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
        heeds_advertisements: heeds_advertisements(&link),
        // A device that has no such setting leaves nothing to anybody.
        tx_checksum_offload: ethtool::tx_checksum(connection.socket(), &wanted.name)
            .unwrap_or(false),
        addresses: addresses(connection, index, wanted)?,
        routes: routes(connection, index, wanted)?,
    })
}

/// What the kernel tells of an interface with the rest; one without IPv6 heeds nothing.
fn heeds_advertisements(link: &LinkMessage) -> bool {
    let families = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecUnspec(families) => Some(families),
        _ => None,
    });
    let ipv6 = families.flatten().filter_map(|family| match family {
        AfSpecUnspec::Inet6(settings) => Some(settings),
        _ => None,
    });
    ipv6.flatten().any(|setting| match setting {
        AfSpecInet6::DevConf(conf) => conf.accept_ra != 0 || conf.autoconf != 0,
        _ => false,
    })
}

/// The addresses of an interface, without those that other hosts have.
fn addresses(
    connection: &mut Connection,
    index: u32,
    wanted: &Wanted,
) -> Result<Vec<IpNet>, Error> {
    let mut addresses = Vec::new();
    let mut note = |found: address::Found| {
        if !found.duplicate && !addresses.contains(&found.address) {
            addresses.push(found.address);
        }
        let enough = !wanted.all && wanted.ipv4().all(|address| addresses.contains(address));
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if wanted.all {
        address::each(connection, index, AddressFamily::Unspec, &mut note)?;
        return Ok(addresses);
    }
    if wanted.ipv4().next().is_some() {
        address::each(connection, index, AddressFamily::Inet, &mut note)?;
    }
    for address in &wanted.addresses {
        if let IpAddr::V6(address) = address.addr() {
            let found = address::get_ipv6(connection, index, address)?;
            let _ = found.map(&mut note);
        }
    }
    Ok(addresses)
}

/// The routes through an interface.
fn routes(connection: &mut Connection, index: u32, wanted: &Wanted) -> Result<Vec<Route>, Error> {
    let mut routes: Vec<Route> = Vec::new();
    for ipv4 in [true, false] {
        let here = || wanted.routes.iter().filter(|route| route.is_ipv4() == ipv4);
        if !wanted.all && here().next().is_none() {
            continue;
        }
        route::each(connection, ipv4, Some(index), |found| {
            routes.push(found.route);
            let there = |wanted: &Route| routes.iter().any(|found| wanted.is(found));
            if !wanted.all && here().all(there) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(routes)
}

impl Wanted {
    fn ipv4(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().filter(|address| address.addr().is_ipv4())
    }
}

/// Deletes what is left of a link of ours whose end in the host somebody has taken away: a veth of this MAC address. Returns
/// whether it was there.
pub(super) fn delete_left(name: &LinkName, mac: MacAddress) -> Result<bool, Error> {
    let mut connection = Connection::open()?;
    let link = get(&mut connection, name)?;
    let is_veth = |info: &LinkInfo| matches!(info, LinkInfo::Kind(InfoKind::Veth));
    let says = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.iter().any(is_veth),
        LinkAttribute::Address(octets) => **octets == mac.octets(),
        _ => false,
    };
    let left = link.attributes.iter().filter(|attribute| says(attribute)).count() == 2;
    if left {
        info!("deleting {name}, whose end in the host somebody has taken away");
        let mut message = LinkMessage::default();
        message.header.index = link.header.index;
        let (message, what) = (RouteNetlinkMessage::DelLink(message), format!("delete {name}"));
        connection.batch(vec![Request { message, flags: 0, what }])?;
    }
    Ok(left)
}

/// Takes addresses away again, as far as they are there.
pub(super) fn withdraw(name: &LinkName, addresses: &[IpNet]) -> Result<(), Error> {
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    for address in addresses {
        match connection.batch(vec![address::remove(name, index, *address)]) {
            Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Puts an interface right, be it one that was never configured, in the order in which a new one is configured.
pub(super) fn repair(repair: &LinkRepair) -> Result<(), Error> {
    let LinkRepair {
        name: _,
        key,
        bridge: _,
        own_mac: _,
        mac,
        mtu,
        ignore_advertisements,
        addresses,
        detect_duplicates,
        routes,
        up,
        tx_checksum_off,
    } = repair;
    let name = &key.interface;
    let mut connection = Connection::open()?;
    let index = get(&mut connection, name)?.header.index;
    let mac = mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec()));
    let mtu = mtu.map(|mtu| LinkAttribute::Mtu(mtu.into()));
    // Before the rest: an interface that is too narrow has no settings for IPv6.
    let settings = mac.into_iter().chain(mtu).map(|setting| set(name, index, setting));
    connection.batch(settings.collect())?;
    set_ipv6(name, *ignore_advertisements, addresses)?;
    if *tx_checksum_off {
        switch_tx_checksum_off(&connection, name)?;
    }
    for duplicate in addresses.iter().filter(|address| address.addr().is_ipv6()) {
        // One that another host had is still there, unused; the kernel looks again at a new one.
        let _ = connection.batch(vec![address::remove(name, index, *duplicate)]);
    }
    let addresses =
        addresses.iter().map(|address| address::add(name, index, *address, *detect_duplicates));
    let up = up.then(|| set_up(name, index));
    let routes = routes.iter().map(|route| route::add(name, index, route));
    connection.batch(addresses.chain(up).chain(routes).collect())
}

/// The requests that take a link's link-local IPv6 addresses from it.
pub(super) fn remove_link_local(
    connection: &mut Connection,
    name: &LinkName,
) -> Result<Vec<Request>, Error> {
    let index = get(connection, name)?.header.index;
    let mut requests = Vec::new();
    address::each(connection, index, AddressFamily::Inet6, |found| {
        if matches!(found.address, IpNet::V6(net) if net.addr().is_unicast_link_local()) {
            requests.push(address::remove(name, index, found.address));
        }
        ControlFlow::Continue(())
    })?;
    Ok(requests)
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

/// Sets what is to be set for IPv6 before an interface comes up.
///
/// `/proc/sys/net` shows the settings of the calling thread's namespace.
fn set_ipv6(
    name: &LinkName,
    ignore_advertisements: bool,
    addresses: &[IpNet],
) -> Result<(), Error> {
    // Docker switches IPv6 off in the namespaces that it makes; here it is needed.
    let enable = addresses.iter().any(|address| address.addr().is_ipv6());
    if !enable && !ignore_advertisements {
        return Ok(());
    }
    let path = format!("/proc/sys/net/ipv6/conf/{name}");
    let folder =
        Folder::open(path.clone()).map_err(Error::system(format!("find the folder {path}")))?;
    // A kernel without IPv6 has none, nor does an interface that is too narrow: an address will be refused.
    let Some(mut folder) = folder else { return Ok(()) };
    if ignore_advertisements {
        // Also where IPv6 is switched off: it may be on tomorrow.
        for setting in ["accept_ra", "autoconf"] {
            let what = || format!("have {name} ignore router advertisements ({path}/{setting})");
            folder.write(setting, "0").map_err(Error::system(what()))?;
        }
    }
    if enable {
        let setting = "disable_ipv6";
        let what = || format!("switch IPv6 on for {name} ({path}/{setting})");
        if folder.read(setting).map_err(Error::system(what()))? != b'0' {
            folder.write(setting, "0").map_err(Error::system(what()))?;
        }
    }
    Ok(())
}

pub(super) fn switch_tx_checksum_off(
    connection: &Connection,
    name: &LinkName,
) -> Result<(), Error> {
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
fn replaced_routes(connection: &mut Connection, index: u32, wanted: &[Route]) -> Vec<String> {
    let mut replaced = Vec::new();
    for wanted in wanted.iter().filter(|route| route.destination.prefix_len() == 0) {
        let ipv4 = wanted.is_ipv4();
        let listed = route::each(connection, ipv4, None, |found| {
            if found.link != Some(index) && wanted.collides(&found.route) {
                replaced.push(match found.route.via {
                    Some(via) => format!("default via {via}"),
                    None => "default".to_owned(),
                });
            }
            // The kernel lists IPv4 routes in the order of their destinations, those to 0.0.0.0 first.
            let past = ipv4 && !found.route.destination.network().is_unspecified();
            if past { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Err(error) = listed {
            // It is for people to read. The kernel replaces them all the same.
            debug!("cannot tell which default routes are replaced: {error}");
        }
    }
    replaced
}
