//! Which datapath this kernel can serve.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use port_plan::Datapath;

/// The generic netlink family of the openvswitch module's datapaths (`OVS_DATAPATH_FAMILY`,
/// linux/openvswitch.h).
const FAMILY: &str = "ovs_datapath";

/// The kernel's datapath where its openvswitch module is there, else the userspace one.
///
/// `Open_vSwitch.datapath_types` cannot tell: it lists `system` even where the kernel lacks it. Asking for
/// the family makes the kernel load the module if it has one.
pub(crate) fn of_kernel() -> io::Result<Datapath> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.to_owned())],
    }));
    // The acknowledgement makes sure that an answer of one kind or the other comes.
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(_) => Ok(Datapath::System),
        NetlinkPayload::Error(error) if error.to_io().kind() == io::ErrorKind::NotFound => {
            Ok(Datapath::Netdev)
        }
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}"))),
    }
}
