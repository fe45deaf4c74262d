//! What goes through the links of ports, as the kernel counts it at their ends in the host.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, State, Stats64};

use super::Error;
use super::connection::Connection;
use crate::board::Counters;

/// How a link is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkNow {
    /// It has a carrier: both its ends are up.
    pub(crate) up: bool,
    /// What goes through it, seen from its other end, inside the container.
    pub(crate) counters: Counters,
}

/// All veths of this namespace, by name. One dump, whatever their number.
pub(crate) fn traffic() -> Result<BTreeMap<String, LinkNow>, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
    let message = RouteNetlinkMessage::GetLink(request);
    let mut links = BTreeMap::new();
    Connection::open()?.dump(message, "list the links", |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            links.extend(read(&link));
        }
    })?;
    Ok(links)
}

fn read(link: &LinkMessage) -> Option<(String, LinkNow)> {
    let (mut name, mut up, mut stats) = (None, false, Stats64::default());
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::OperState(state) => up = *state == State::Up,
            LinkAttribute::Stats64(found) => stats = *found,
            _ => {}
        }
    }
    // What one end receives, the other has sent.
    let counters = Counters {
        rx_bytes: stats.tx_bytes,
        rx_packets: stats.tx_packets,
        rx_dropped: stats.tx_dropped,
        tx_bytes: stats.rx_bytes,
        tx_packets: stats.rx_packets,
        tx_dropped: stats.rx_dropped,
    };
    Some((name?, LinkNow { up, counters }))
}
