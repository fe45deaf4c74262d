//! What the fuzz targets drive, and what must hold there. Only with `--cfg fuzzing`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use uuid::Uuid;

use crate::bundle::Bundle;
use crate::message::{Decoder, Limits, Message};
use crate::monitor::Monitor;
use crate::replica::Replica;
use crate::reply::{RpcError, parse_reply};
use crate::row::Row;
use crate::schema::Schema;
use crate::tables::{Bridge, Interface, Port};
use crate::transaction::Transaction;
use crate::update::TableUpdates;

/// Small ones, so that they are met.
const LIMITS: Limits = Limits { message_size: 4096, depth: 16 };

/// Decodes a stream in pieces and as a whole. Both must give the same messages and the same end.
///
/// The first bytes say how long the pieces are.
pub fn decode(input: &[u8]) {
    let (pieces, stream) = input.split_at(input.len().min(8));
    let mut lengths = pieces.iter().map(|length| usize::from(*length)).cycle();
    let lengths = std::iter::from_fn(|| lengths.next());
    let pieced = frames(stream, lengths);
    let whole = frames(stream, std::iter::repeat(usize::MAX));
    assert_eq!(pieced.0, whole.0, "pieces make other messages");
    // Up to where an oversized message is noticed depends on the pieces; that it is does not.
    assert_eq!(pieced.1, whole.1, "pieces make another end");
    for frame in whole.0 {
        read(&frame);
    }
}

/// The messages up to the first mistake, and whether there was one.
fn frames(mut stream: &[u8], lengths: impl Iterator<Item = usize>) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::new(LIMITS);
    let mut frames = Vec::new();
    for length in lengths {
        let (piece, rest) = stream.split_at(length.max(1).min(stream.len()));
        stream = rest;
        decoder.space().extend_from_slice(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_owned()),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        if stream.is_empty() {
            break;
        }
    }
    (frames, false)
}

/// Reads a message as everything that one can be.
fn read(frame: &[u8]) {
    let mut tx = Transaction::new();
    tx.insert(crate::Insert::<Port>::new());
    let selected = tx.select(Port::NAME.eq("p0"));
    let bundle = Bundle::new(std::slice::from_ref(&tx));
    let content = match Message::parse(frame) {
        Ok(Message::Response { result, .. }) => match result {
            Ok(result) => result,
            Err(error) => {
                let _ = RpcError::parse(error).to_string();
                return;
            }
        },
        Ok(Message::Request { params, .. } | Message::Notification { params, .. }) => params,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let _ = serde_json::from_str::<Schema>(content.get());
    if let Ok(updates) = serde_json::from_str::<TableUpdates<'_>>(content.get()) {
        let _ = Monitor::new("db").table::<Port>().empty_replica().fold(updates);
    }
    if let Ok(crate::reply::Verdict::Committed(reply)) = parse_reply(&bundle, content) {
        let _ = reply.rows(selected);
    }
}

/// Folds updates into a replica: some well-formed, some not, in any order. The indexes must fit
/// the rows, and the changes told must lead from one state to the next.
pub fn fold(input: &[u8]) {
    let monitor = Monitor::new("db").table::<Port>().table::<Interface>().table::<Bridge>();
    let monitor = monitor.index_external_id("k");
    let mut replica = monitor.empty_replica();
    let mut changes = replica.table_mut::<Port>().subscribe();
    let mut followed: BTreeMap<Uuid, Arc<Port>> = BTreeMap::new();
    let mut bytes = Bytes(input);
    while !bytes.0.is_empty() {
        let snapshot = bytes.next().is_multiple_of(8);
        let text = updates(&mut bytes);
        let before = contents(&replica);
        let Ok(updates) = serde_json::from_str::<TableUpdates<'_>>(&text) else {
            continue;
        };
        let folded = if snapshot { replica.replace(updates) } else { replica.fold(updates) };
        if folded.is_err() {
            assert_eq!(contents(&replica), before, "an error left something behind");
        }
        while let Ok(change) = changes.try_recv() {
            let old = match change.new {
                Some(new) => followed.insert(change.uuid, new),
                None => followed.remove(&change.uuid),
            };
            assert_eq!(old, change.old, "a change from another state");
        }
        assert_eq!(followed, contents(&replica), "a change was not told");
        check_indexes::<Port>(&replica);
        check_indexes::<Interface>(&replica);
        check_indexes::<Bridge>(&replica);
    }
}

fn contents(replica: &Replica) -> BTreeMap<Uuid, Arc<Port>> {
    let rows = replica.table::<Port>().iter();
    rows.map(|row| (row.uuid, Arc::clone(row))).collect()
}

fn check_indexes<R: Row>(replica: &Replica) {
    let table = replica.table::<R>();
    for row in table.iter() {
        if let Some(name) = row.name() {
            // With two rows of the same name, which no server allows, it is either or none.
            let found = table.by_name(name);
            assert!(found.is_none_or(|found| found.name() == Some(name)));
        }
        for (key, value) in row.external_ids().into_iter().flatten() {
            let mut found = table.by_external_id(key, value);
            assert!(found.any(|found| found.uuid() == row.uuid()));
        }
    }
    for number in 0..4 {
        let value = format!("v{number}");
        let mut found = table.by_external_id("k", &value);
        let has = |row: &Arc<R>| row.external_ids().is_some_and(|ids| ids.contains_key("k"));
        assert!(found.all(has), "a row is found by what it no longer has");
    }
}

/// Choices, made by the fuzzer.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = usize::from(self.next()) % choices.len().max(1);
        choices.get(index).copied().unwrap_or_default()
    }
}

/// A message of updates, as JSON.
fn updates(bytes: &mut Bytes<'_>) -> String {
    let mut text = String::from("{");
    for table in 0..=bytes.next() % 3 {
        let name = bytes.pick(&["Port", "Port", "Port", "Interface", "Bridge", "Other"]);
        let comma = if table > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":{{");
        for row in 0..bytes.next() % 4 {
            let comma = if row > 0 { "," } else { "" };
            let uuid = Uuid::from_u128(u128::from(bytes.next() % 4));
            let _ = write!(text, "{comma}\"{uuid}\":{{");
            let _ = match bytes.pick(&["initial", "insert", "modify", "delete", "old", "new"]) {
                "delete" => write!(text, "\"delete\":null"),
                kind => write!(text, "\"{kind}\":{{{}}}", columns(bytes)),
            };
            text.push('}');
        }
        text.push('}');
    }
    text.push('}');
    text
}

fn columns(bytes: &mut Bytes<'_>) -> String {
    let mut text = String::new();
    for column in 0..bytes.next() % 4 {
        let comma = if column > 0 { "," } else { "" };
        let number = bytes.next() % 4;
        let name = bytes.pick(&["name", "name", "tag", "trunks", "external_ids", "odd"]);
        let set = format!("[\"set\",[{number},{}]]", bytes.next() % 4);
        let map = format!("[\"map\",[[\"k\",\"v{number}\"],[\"l\",\"m\"]]]");
        let fitting = match name {
            "name" => format!("\"n{number}\""),
            "tag" => number.to_string(),
            "trunks" => set,
            _ => map,
        };
        let value = match bytes.next() % 16 {
            0 => "[\"set\",[]]".to_owned(),
            1 => "[\"map\",[]]".to_owned(),
            2 => "-1.5e300".to_owned(),
            3 => "[\"uuid\",\"00000000-0000-0000-0000-000000000001\"]".to_owned(),
            _ => fitting,
        };
        let _ = write!(text, "{comma}\"{name}\":{value}");
    }
    text
}
