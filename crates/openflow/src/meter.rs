//! Meters: what is more than their rate is dropped.

use crate::message::{Message, kind, multipart};
use crate::read::Reader;

/// The highest number of a meter in Open vSwitch's userspace datapath (`MAX_METERS`, lib/dpif-netdev.c, 1 << 18 since
/// 2.16).
pub const MAX_METER: u32 = 1 << 18;
/// Every meter (7.3.5.14).
const ALL: u32 = 0xffff_ffff;
/// `OFPMF_KBPS` and `OFPMF_BURST` (7.3.4.5).
const FLAGS: u16 = 0b101;
/// `OFPMBT_DROP` (7.3.4.5).
const DROP: u16 = 1;

/// A meter with one band that drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// Its number.
    pub number: u32,
    /// Kilobits that may pass in a second.
    pub rate: u32,
    /// Kilobits that may pass at once.
    pub burst: u32,
}

/// `OFPMC_ADD` and its like (7.3.4.5).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

/// Makes, changes or deletes a meter. Flows that use a deleted one go with it.
pub(crate) fn change(command: Command, meter: Meter) -> Message {
    let Meter { number, rate, burst } = meter;
    let mut body = (command as u16).to_be_bytes().to_vec();
    body.extend(FLAGS.to_be_bytes());
    body.extend(number.to_be_bytes());
    if !matches!(command, Command::Delete) {
        // One band, with padding.
        body.extend(DROP.to_be_bytes());
        body.extend(16_u16.to_be_bytes());
        body.extend(rate.to_be_bytes());
        body.extend(burst.to_be_bytes());
        body.extend([0; 4]);
    }
    Message::new(kind::METER_MOD, body)
}

/// Asks for all meters.
pub(crate) fn list_request() -> Message {
    let mut body = ALL.to_be_bytes().to_vec();
    body.extend([0; 4]);
    Message::multipart(multipart::METER_CONFIG, &body)
}

/// Reads one part of an answer: those meters that could be ours, which have one band that drops, of this kind.
pub(crate) fn read_list(body: &[u8]) -> Option<Vec<Meter>> {
    let mut rest = Reader::new(body);
    let mut meters = Vec::new();
    while !rest.is_empty() {
        let mut head = rest;
        // `struct ofp_meter_config` (7.3.5.15) up to its bands.
        let mut meter = Reader::new(rest.take(usize::from(head.u16()?).max(8))?);
        meter.skip(2)?;
        let (flags, number) = (meter.u16()?, meter.u32()?);
        let mut bands = Vec::new();
        while !meter.is_empty() {
            let mut head = meter;
            let (kind, length) = (head.u16()?, usize::from(head.u16()?));
            let mut band = Reader::new(meter.take(length.max(4))?);
            band.skip(4)?;
            bands.push((kind, band.u32()?, band.u32()?));
        }
        if let ([(DROP, rate, burst)], FLAGS) = (bands.as_slice(), flags) {
            meters.push(Meter { number, rate: *rate, burst: *burst });
        }
    }
    Some(meters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_meter_is_read_as_it_was_made() {
        let meter = Meter { number: 131_079, rate: 20_000, burst: 8000 };
        let sent = change(Command::Add, meter).body;
        // The command's place is the length's.
        let mut shown = (sent.len() as u16).to_be_bytes().to_vec();
        shown.extend(&sent[2..]);
        assert_eq!(read_list(&shown), Some(vec![meter]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_list(&bytes);
        }
    }
}
