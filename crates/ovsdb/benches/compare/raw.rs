//! JSON written by hand into a socket: the least that anybody can do. It replicates nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{Row, Uuid};

use crate::PORTS;

struct Socket {
    stream: UnixStream,
    buffer: Vec<u8>,
}

pub(crate) fn run(what: &str, socket: &str) -> Duration {
    let start = Instant::now();
    let mut socket = Socket::connect(Path::new(socket));
    let (what, monitored) = match what.strip_prefix("monitored-") {
        Some(what) => (what, true),
        None => (what, false),
    };
    if monitored {
        socket.monitor();
    }
    if what == "load" {
        return start.elapsed();
    }
    let start = Instant::now();
    if what == "each" {
        for number in 0..PORTS {
            socket.transact(&add_port(number));
        }
    } else if what == "together" {
        socket.transact(&ports_in_one_set(PORTS));
    } else {
        socket.transact(&ports(PORTS));
    }
    start.elapsed()
}

/// Lets there be so many ports, and no others, and a server that has nothing left to do.
pub(crate) fn fill(socket: &Path, count: usize) {
    let mut socket = Socket::connect(socket);
    // The server drops rows that nothing refers to.
    socket.transact(r#"{"op":"update","table":"Bridge","where":[],"row":{"ports":["set",[]]}}"#);
    if count > 0 {
        socket.transact(&ports_in_one_set(count));
    }
    // What a large transaction leaves behind is put in order after its reply, and would count as
    // the time of whoever comes next, unless that is an interpreter that takes long to start.
    socket.call("echo", "0");
}

pub(crate) fn add_bridge(socket: &Path) {
    Socket::connect(socket).transact(
        r#"{"op":"insert","table":"Bridge","row":{"name":"br0"},"uuid-name":"b"},
           {"op":"insert","table":"Open_vSwitch","row":{"bridges":["named-uuid","b"]}}"#,
    );
}

/// What adds one port, so many times.
fn ports(count: usize) -> String {
    let operations: Vec<String> = (0..count).map(add_port).collect();
    operations.join(",")
}

/// The cheapest for the server: all rows, and one mutation that puts all ports into the bridge.
fn ports_in_one_set(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        text += &insert_port(number);
        text += ",";
    }
    let ports: Vec<String> =
        (0..count).map(|number| format!(r#"["named-uuid","p{number}"]"#)).collect();
    text + &insert_into_bridge(&format!(r#"["set",[{}]]"#, ports.join(",")))
}

fn add_port(number: usize) -> String {
    let port = format!(r#"["named-uuid","p{number}"]"#);
    format!("{},{}", insert_port(number), insert_into_bridge(&port))
}

fn insert_port(number: usize) -> String {
    format!(
        r#"{{"op":"insert","table":"Interface","row":{{"name":"p{number}"}},"uuid-name":"i{number}"}},{{"op":"insert","table":"Port","row":{{"name":"p{number}","interfaces":["named-uuid","i{number}"]}},"uuid-name":"p{number}"}}"#
    )
}

fn insert_into_bridge(ports: &str) -> String {
    format!(
        r#"{{"op":"mutate","table":"Bridge","where":[["name","==","br0"]],"mutations":[["ports","insert",{ports}]]}}"#
    )
}

impl Socket {
    fn connect(path: &Path) -> Self {
        Self { stream: UnixStream::connect(path).unwrap(), buffer: vec![0; 1 << 20] }
    }

    fn transact(&mut self, operations: &str) {
        let reply = self.call("transact", operations);
        assert!(reply.contains(r#""error":null"#) && !reply.contains("details"), "{reply}");
    }

    /// Asks to be told of the same columns as the others. What it is told it drops.
    fn monitor(&mut self) {
        let tables: Vec<String> = [
            request::<OpenVSwitch>(),
            request::<Bridge>(),
            request::<Port>(),
            request::<Interface>(),
        ]
        .into();
        let params = format!(r#""id",{{{}}},"{}""#, tables.join(","), Uuid::nil());
        self.call("monitor_cond_since", &params);
    }

    /// Sends a request and reads up to its response.
    fn call(&mut self, method: &str, params: &str) -> String {
        let text = format!(r#"{{"method":"{method}","params":["Open_vSwitch",{params}],"id":1}}"#);
        self.stream.write_all(text.as_bytes()).unwrap();
        // No name here has a bracket in it.
        let (mut depth, mut start, mut end) = (0, 0, 0);
        loop {
            if end == self.buffer.len() {
                self.buffer.resize(2 * end, 0);
            }
            let count = self.stream.read(&mut self.buffer[end..]).unwrap();
            assert_ne!(count, 0, "the server closed the connection");
            let read = end..end + count;
            end = read.end;
            for place in read {
                match self.buffer[place] {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => continue,
                }
                if depth == 0 {
                    let message = &self.buffer[start..=place];
                    if message.starts_with(br#"{"id":1,"#) {
                        return String::from_utf8_lossy(message).into_owned();
                    }
                    start = place + 1;
                }
            }
        }
    }
}

fn request<R: Row>() -> String {
    format!(r#""{}":[{{"columns":{:?}}}]"#, R::TABLE, R::COLUMNS)
}
