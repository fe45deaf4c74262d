//! A private `ovsdb-server` in a temporary directory, and waiting with a deadline.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ovsdb::tables::{Bridge, Interface, OpenVSwitch, Port};
use ovsdb::{Client, Endpoint, Insert, Monitor, Mutation, Options, Ref, State, Transaction, Where};
use tempfile::TempDir;

/// The schema that the packages of Open vSwitch install.
pub(crate) const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where a server listens.
#[derive(Clone)]
enum Listen {
    Unix,
    Tcp,
    /// With further arguments for the server.
    Ssl(Vec<String>),
}

/// A running server with a database of its own. It dies with this value.
pub(crate) struct Server {
    dir: TempDir,
    listen: Listen,
    process: Option<Child>,
    /// The port that the server was told, and so does not log.
    fixed_port: Option<u16>,
}

impl Server {
    /// A server with an empty database of the installed schema, on a Unix socket.
    pub(crate) fn start() -> Self {
        let server = Self::create(&read_schema(), Listen::Unix);
        server.vsctl(&["init"]);
        server
    }

    /// The same on a TCP port that the system chose.
    pub(crate) fn start_tcp() -> Self {
        let server = Self::create(&read_schema(), Listen::Tcp);
        server.vsctl(&["init"]);
        server
    }

    /// The same on a TCP port with TLS, with the options that this takes.
    pub(crate) fn start_ssl(options: Vec<String>) -> Self {
        let server = Self::create(&read_schema(), Listen::Ssl(options));
        run(Command::new("ovs-vsctl")
            .arg(format!("--db=unix:{}", server.path("socket").display()))
            .args(["--no-wait", "init"]));
        server
    }

    /// A server with an empty database of another schema.
    pub(crate) fn with_schema(schema: &serde_json::Value) -> Self {
        Self::create(schema, Listen::Unix)
    }

    fn create(schema: &serde_json::Value, listen: Listen) -> Self {
        let dir = TempDir::with_prefix("ovsdb-test-").unwrap();
        let file = dir.path().join("schema");
        std::fs::write(&file, schema.to_string()).unwrap();
        run(Command::new("ovsdb-tool").arg("create").arg(dir.path().join("db")).arg(file));
        let mut server = Self { dir, listen, process: None, fixed_port: None };
        server.restart();
        server
    }

    /// Starts the server (again), and waits until it listens.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        self.start_on(0);
    }

    /// Starts the server again where its clients look for it.
    pub(crate) fn restart_on_same_port(&mut self) {
        self.fixed_port = self.port();
        self.start_on(self.fixed_port.unwrap());
    }

    fn start_on(&mut self, port: u16) {
        let unix = format!("--remote=punix:{}", self.path("socket").display());
        let remotes = match &self.listen {
            Listen::Unix => vec![unix],
            Listen::Tcp => vec![format!("--remote=ptcp:{port}:127.0.0.1")],
            Listen::Ssl(options) => {
                let mut remotes = vec![unix, format!("--remote=pssl:{port}:127.0.0.1")];
                remotes.extend(options.iter().cloned());
                remotes
            }
        };
        let log = File::create(self.path("log")).unwrap();
        let child = Command::new("ovsdb-server")
            .arg(self.path("db"))
            .args(remotes)
            .arg(format!("--unixctl={}", self.path("control").display()))
            .args(["--no-chdir", "-vconsole:info", "-vsyslog:off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this test needs ovsdb-server: install openvswitch-switch");
        self.process = Some(child);
        // With both of them, in no order.
        if matches!(self.listen, Listen::Unix | Listen::Ssl(_)) {
            wait_until("the server listens on its socket", || {
                std::os::unix::net::UnixStream::connect(self.path("socket")).is_ok()
            });
        }
        if matches!(self.listen, Listen::Tcp | Listen::Ssl(_)) {
            wait_until("the server listens on its port", || {
                let port = self.port();
                port.is_some_and(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
            });
        }
    }

    /// Kills the server at once; its database stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // A killed server leaves its socket, and a new one would remove it; until then, none.
        let _ = std::fs::remove_file(self.path("socket"));
    }

    /// Stops the server as it stands, so that it takes requests and does not serve them.
    pub(crate) fn freeze(&self) {
        let id = self.process.as_ref().unwrap().id();
        run(Command::new("kill").args(["-STOP", &id.to_string()]));
    }

    /// How many records its database file has: one a transaction that changed something.
    pub(crate) fn log_records(&self) -> usize {
        let file = std::fs::read_to_string(self.path("db")).unwrap();
        let header = |line: &&str| line.starts_with("OVSDB JSON ");
        file.lines().filter(header).count()
    }

    /// Changes the database of a server that is down.
    pub(crate) fn change_offline(&self, operations: &serde_json::Value) {
        assert!(self.process.is_none(), "the server is running");
        let mut params = vec![serde_json::json!("Open_vSwitch")];
        params.extend(operations.as_array().unwrap().iter().cloned());
        let output = run(Command::new("ovsdb-tool")
            .arg("transact")
            .arg(self.path("db"))
            .arg(serde_json::Value::from(params).to_string()));
        let reply = String::from_utf8(output.stdout).unwrap();
        assert!(!reply.contains("error"), "{reply}");
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let host = "127.0.0.1".to_owned();
        match &self.listen {
            Listen::Unix => Endpoint::Unix(self.path("socket")),
            Listen::Tcp => Endpoint::Tcp { host, port: self.port().unwrap() },
            Listen::Ssl(_) => Endpoint::Ssl { host, port: self.port().unwrap(), tls: None },
        }
    }

    /// Runs `ovs-vsctl` and returns what it prints, without the newline at the end.
    pub(crate) fn vsctl(&self, args: &[&str]) -> String {
        let output = run(Command::new("ovs-vsctl")
            .arg(format!("--db={}", self.endpoint()))
            .args(["--no-wait", "--timeout=20"])
            .args(args));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A client of all tables.
    pub(crate) async fn client(&self) -> Client {
        Client::connect_with(self.endpoint(), all_tables(), quick()).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The port, which the server's log tells unless it was told one.
    fn port(&self) -> Option<u16> {
        if self.fixed_port.is_some() {
            return self.fixed_port;
        }
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let (_, rest) = log.split_once("listening on port ")?;
        rest.split_once('\n')?.0.trim().parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn all_tables() -> Monitor {
    Monitor::new("Open_vSwitch")
        .table::<OpenVSwitch>()
        .table::<Bridge>()
        .table::<Port>()
        .table::<Interface>()
}

/// Options with which a test of reconnection does not take long.
pub(crate) fn quick() -> Options {
    Options {
        backoff_first: Duration::from_millis(5),
        backoff_last: Duration::from_millis(50),
        ..Options::default()
    }
}

/// The installed schema.
pub(crate) fn read_schema() -> serde_json::Value {
    let text = std::fs::read_to_string(Path::new(SCHEMA)).unwrap_or_else(|error| {
        panic!("this test needs {SCHEMA} ({error}): install openvswitch-switch")
    });
    serde_json::from_str(&text).unwrap()
}

/// Puts the operations that add a port with one interface to a bridge into a transaction.
pub(crate) fn add_port(tx: &mut Transaction, bridge: &str, name: &str) -> Ref<Port> {
    let interface = tx.insert(Insert::<Interface>::new().set(Interface::NAME, name));
    let port =
        tx.insert(Insert::<Port>::new().set(Port::NAME, name).set(Port::INTERFACES, [interface]));
    tx.require(Bridge::NAME.eq(bridge));
    let _ = tx.mutate(Bridge::NAME.eq(bridge), Mutation::insert(Bridge::PORTS, [port]));
    port
}

/// Puts the operations that add an empty bridge into a transaction.
pub(crate) fn add_bridge(tx: &mut Transaction, name: &str) -> Ref<Bridge> {
    let bridge = tx.insert(Insert::<Bridge>::new().set(Bridge::NAME, name));
    let _ = tx.mutate(Where::all(), Mutation::insert(OpenVSwitch::BRIDGES, [bridge]));
    bridge
}

/// The names of all ports in the replica, in order.
pub(crate) fn port_names(client: &Client) -> Vec<String> {
    let mut names: Vec<String> =
        client.read(|replica| replica.table::<Port>().iter().map(|row| row.name.clone()).collect());
    names.sort();
    names
}

pub(crate) fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("this test needs {program:?} ({error}): install openvswitch-switch")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// Waits, in a test without a runtime of its own at hand, until a condition holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a future.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits until the client's state satisfies a condition, and returns the state.
pub(crate) async fn state(client: &Client, what: &str, is: impl Fn(&State) -> bool) -> State {
    let mut states = client.state();
    within(what, states.wait_for(|state| is(state))).await.unwrap().clone()
}

/// Waits until the client has its `n`th connection.
pub(crate) async fn connection(client: &Client, n: u64) {
    state(client, "a connection", |state| *state == State::Connected { generation: n }).await;
}

/// Waits until the client has lost its connection.
pub(crate) async fn disconnection(client: &Client) -> String {
    let disconnected = |state: &State| matches!(state, State::Disconnected { .. });
    match state(client, "the loss of the connection", disconnected).await {
        State::Disconnected { reason } => reason.to_string(),
        State::Connected { .. } => unreachable!(),
    }
}

/// Waits until the replica satisfies a condition.
pub(crate) async fn replica_has(
    client: &Client,
    what: &str,
    condition: impl Fn(&ovsdb::Replica) -> bool,
) {
    let poll = async {
        while !client.read(&condition) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, poll).await;
}

/// Waits until the replica has these ports with these tags, and no others.
pub(crate) async fn replica_has_ports<const N: usize>(
    client: &Client,
    expected: [(&str, Option<i64>); N],
) {
    replica_has(client, &format!("the ports {expected:?}"), |replica| {
        let ports = replica.table::<Port>();
        let has = |(name, tag): &(&str, _)| ports.by_name(name).is_some_and(|row| row.tag == *tag);
        ports.len() == N && expected.iter().all(has)
    })
    .await;
}
