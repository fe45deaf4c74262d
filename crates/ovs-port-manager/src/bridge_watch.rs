//! What ovs-vswitchd itself tells of bridges and is not in its database: whether it answers, whether a bridge has flows
//! at all, and what an operator has forbidden a port (`ovs-ofctl mod-port`).
//!
//! A task for each bridge keeps an OpenFlow connection to the bridge's management socket and only listens and counts.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openflow::{Connection, Error, Port, PortChange};
use port_plan::{LinkName, SwitchFacts};
use tokio::select;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::flow_rules::{COOKIE, RULES_TABLE};
use crate::switch::Switch;

/// The table that packets come to first.
const TABLE: u8 = 0;
/// The time between counts of a bridge's flows. Nobody tells that the last one has gone, and who is asked all the time wakes
/// all the time.
const COUNT: Duration = Duration::from_secs(5);
/// The time between tries to connect.
const CONNECT: Duration = Duration::from_secs(1);
/// How long ovs-vswitchd may be away, as it is for a restart, before it counts as silent.
const GRACE: Duration = Duration::from_secs(3);
/// How long commands wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is told of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) switch: SwitchFacts,
    /// The table of the flow rules has flows of somebody else's.
    pub(crate) foreign_rules: bool,
    /// The ports that are not to receive, or that nothing is to be sent to, by name.
    pub(crate) forbidden: HashMap<String, Forbidden>,
}

/// What an operator has forbidden a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forbidden {
    pub(crate) receive: bool,
    pub(crate) forward: bool,
}

/// The bridges that are listened to.
pub(crate) struct BridgeWatch {
    /// Where ovs-vswitchd has its sockets, if that is known.
    folder: Option<PathBuf>,
    tasks: HashMap<LinkName, AbortHandle>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<HashMap<LinkName, Told>>,
    news: Notify,
}

impl BridgeWatch {
    /// For the switch of a database, whose socket is in the folder of all its sockets.
    pub(crate) fn new(ovsdb: &ovsdb::Endpoint) -> Self {
        Self { folder: folder(ovsdb), tasks: HashMap::new(), shared: Arc::default() }
    }

    /// Listens to these bridges, and to no others.
    pub(crate) fn follow(&mut self, bridges: &HashSet<LinkName>) {
        let Some(folder) = &self.folder else { return };
        for (bridge, task) in self.tasks.extract_if(|bridge, _| !bridges.contains(bridge)) {
            task.abort();
            self.shared.lock().remove(&bridge);
        }
        for bridge in bridges {
            self.tasks.entry(bridge.clone()).or_insert_with(|| {
                let (shared, bridge) = (Arc::clone(&self.shared), bridge.clone());
                let socket = folder.join(format!("{bridge}.mgmt"));
                tokio::spawn(listen(bridge, socket, shared)).abort_handle()
            });
        }
    }

    /// What is told of a bridge now.
    pub(crate) fn told(&self, bridge: &LinkName) -> Told {
        self.shared.lock().get(bridge).cloned().unwrap_or_default()
    }

    /// Waits until something else is told. May be dropped at any time.
    pub(crate) fn news(&self) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        async move { shared.news.notified().await }
    }
}

impl Drop for BridgeWatch {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LinkName, Told>> {
        // Every change of the map is a single call: a panic elsewhere leaves it whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, bridge: &LinkName, told: &Told) {
        let before = self.lock().insert(bridge.clone(), told.clone());
        if before.unwrap_or_default() != *told {
            self.news.notify_one();
        }
    }
}

/// What is told of a bridge, to one who asks once.
async fn ask(ovsdb: &ovsdb::Endpoint, bridge: &LinkName) -> Told {
    let Some(folder) = folder(ovsdb) else { return Told::default() };
    let socket = folder.join(format!("{bridge}.mgmt"));
    let ask = async {
        let mut open = Connection::open(&socket).await?;
        begin(&mut open).await
    };
    match timeout(PATIENCE, ask).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) if !is_away(&error) => Told::default(),
        _ => Told { switch: SwitchFacts::Silent, ..Told::default() },
    }
}

/// What is told of each bridge, for those who ask once.
pub(crate) async fn ask_of_all(switch: &Switch) -> HashMap<LinkName, Told> {
    let mut told = HashMap::new();
    for bridge in switch.bridges() {
        let of_bridge = ask(switch.endpoint(), &bridge).await;
        told.insert(bridge, of_bridge);
    }
    told
}

fn folder(ovsdb: &ovsdb::Endpoint) -> Option<PathBuf> {
    match ovsdb {
        ovsdb::Endpoint::Unix(path) => path.parent().map(Path::to_owned),
        _ => None,
    }
}

/// Listens to a bridge for ever.
async fn listen(bridge: LinkName, socket: PathBuf, shared: Arc<Shared>) {
    let mut away: Option<Instant> = None;
    loop {
        let tell = |told: &Told| shared.tell(&bridge, told);
        let error = match stay(&socket, &mut away, tell).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if !is_away(&error) {
            // It refuses to be asked: what its flows do is not known.
            away = None;
            tell(&Told::default());
        } else if away.get_or_insert_with(Instant::now).elapsed() >= GRACE {
            tell(&Told { switch: SwitchFacts::Silent, ..Told::default() });
        }
        sleep(CONNECT).await;
    }
}

/// Keeps a connection until it breaks.
async fn stay(
    socket: &Path,
    away: &mut Option<Instant>,
    tell: impl Fn(&Told),
) -> Result<std::convert::Infallible, Error> {
    let mut open = Connection::open(socket).await?;
    let mut told = begin(&mut open).await?;
    *away = None;
    let mut tick = interval(COUNT);
    loop {
        tell(&told);
        select! {
            change = open.next_change() => told.note(change?),
            _ = tick.tick() => told.count(&mut open).await?,
        }
        open.changes().for_each(|change| told.note(change));
    }
}

/// What is told at first.
async fn begin(open: &mut Connection) -> Result<Told, Error> {
    let mut told = Told::default();
    for port in open.ports().await? {
        told.note(PortChange::Present(port));
    }
    told.count(open).await?;
    Ok(told)
}

impl Told {
    async fn count(&mut self, open: &mut Connection) -> Result<(), Error> {
        let flows = open.count_others(TABLE, COOKIE).await?;
        self.switch = SwitchFacts::Flows(flows.min(1));
        self.foreign_rules = open.count_others(RULES_TABLE, COOKIE).await? > 0;
        Ok(())
    }

    fn note(&mut self, change: PortChange) {
        match change {
            PortChange::Present(Port { name, no_receive, no_forward, .. }) => {
                if no_receive || no_forward {
                    let forbidden = Forbidden { receive: no_receive, forward: no_forward };
                    self.forbidden.insert(name, forbidden);
                } else {
                    self.forbidden.remove(&name);
                }
            }
            PortChange::Gone(Port { name, .. }) => drop(self.forbidden.remove(&name)),
        }
    }
}

/// Whether ovs-vswitchd is not there, or hangs.
fn is_away(error: &Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof, WouldBlock,
    };
    match error {
        Error::Silent => true,
        Error::Io(error) => matches!(
            error.kind(),
            // A full queue of connections that nobody accepts is `WouldBlock`.
            NotFound
                | ConnectionRefused
                | ConnectionReset
                | BrokenPipe
                | UnexpectedEof
                | WouldBlock
        ),
        _ => false,
    }
}
