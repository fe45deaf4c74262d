//! TLS with the certificates that `ovs-pki` makes.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ovsdb::{Client, ConnectError, Endpoint, Tls, Transaction};
use tempfile::TempDir;

use crate::lab::{Server, add_bridge, all_tables, connection, disconnection, quick, run};

/// A CA and what it signed.
struct Pki {
    dir: TempDir,
}

impl Pki {
    fn new() -> Self {
        let dir = TempDir::with_prefix("ovsdb-pki-").unwrap();
        let pki = Self { dir };
        pki.run(&["init"]);
        pki.run(&["-u", "req+sign", "server", "switch"]);
        pki.run(&["-u", "req+sign", "client", "switch"]);
        pki
    }

    fn run(&self, args: &[&str]) {
        let dir = self.dir.path();
        run(Command::new("ovs-pki")
            .current_dir(dir)
            .arg(format!("--dir={}", self.path("pki").display()))
            .arg(format!("--log={}", self.path("log").display()))
            .args(args));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.path("pki/switchca/cacert.pem")
    }

    fn tls(&self) -> Tls {
        Tls::new(self.ca()).identity(self.path("client-cert.pem"), self.path("client-privkey.pem"))
    }

    fn server(&self) -> Server {
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        Server::start_ssl(vec![
            option("private-key", &self.path("server-privkey.pem")),
            option("certificate", &self.path("server-cert.pem")),
            option("ca-cert", &self.ca()),
        ])
    }
}

async fn connect(endpoint: Endpoint) -> Result<Client, ConnectError> {
    Client::connect_with(endpoint, all_tables(), quick()).await
}

/// Why a connection failed, to the last source.
async fn refusal(endpoint: Endpoint) -> String {
    let error = connect(endpoint).await.expect_err("it connected");
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn both_sides_show_their_certificates() {
    let pki = Pki::new();
    let mut server = pki.server();
    let endpoint = server.endpoint().with_tls(pki.tls());
    let client = connect(endpoint).await.unwrap();
    let mut tx = Transaction::new();
    add_bridge(&mut tx, "br0");
    client.transact(tx).await.unwrap();
    // A snapshot of many TLS records, on a second connection.
    let mut tx = Transaction::new();
    for number in 0..2000 {
        crate::lab::add_port(&mut tx, "br0", &format!("p{number}"));
    }
    client.transact(tx).await.unwrap();
    let second = connect(client.endpoint().clone()).await.unwrap();
    assert_eq!(crate::lab::port_names(&second).len(), 2000);
    server.kill();
    disconnection(&client).await;
    server.restart_on_same_port();
    connection(&client, 2).await;
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = pki.server();
    let tls = Tls { ca_certificate: other.ca(), ..pki.tls() };
    let refusal = refusal(server.endpoint().with_tls(tls)).await;
    assert!(refusal.starts_with("cannot connect to ssl:127.0.0.1:"), "{refusal}");
    assert!(refusal.contains("invalid peer certificate"), "{refusal}");
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = pki.server();
    let tls = Tls { identity: other.tls().identity, ..pki.tls() };
    let of_another = refusal(server.endpoint().with_tls(tls)).await;
    let tls = Tls::new(pki.ca());
    let of_none = refusal(server.endpoint().with_tls(tls)).await;
    for refusal in [of_another, of_none] {
        assert!(refusal.contains("fatal alert"), "{refusal}");
    }
}

#[tokio::test]
async fn a_name_is_checked_if_asked_for() {
    let pki = Pki::new();
    let server = pki.server();
    let named = |name: &str| server.endpoint().with_tls(pki.tls().server_name(name));
    let refusal = refusal(named("not.the.server")).await;
    assert!(refusal.contains("not valid for name"), "{refusal}");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let pki = Pki::new();
    let server = pki.server();
    let without = refusal(server.endpoint()).await;
    assert!(without.ends_with("no certificate of a CA given"), "{without}");
    let tls = Tls::new(pki.path("no such file"));
    let file = refusal(server.endpoint().with_tls(tls)).await;
    assert!(file.contains("no such file: "), "{file}");
    let tls = Tls::new(pki.path("client-privkey.pem"));
    let empty = refusal(server.endpoint().with_tls(tls)).await;
    assert!(empty.ends_with("client-privkey.pem: no certificate found"), "{empty}");
}
