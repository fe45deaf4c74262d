//! Whether other hosts have the addresses of new ports: one thread asks and waits for all of them.
//!
//! A port's answer takes 24 ms for IPv4, up to two seconds for IPv6, and almost all of that is waiting. The thread
//! enters a container's namespace only to open sockets there, and goes back.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use port_plan::{LinkName, MacAddress};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::arp_probe::ArpProbe;
use super::connection::Connection;
use super::{Error, address, interface};
use crate::netns;

/// How long the kernel's own detection may take: a random delay of up to a second and a second's wait for
/// an answer (RFC 4862, section 5.4.2), and as much again for a busy machine.
const LONGEST: Duration = Duration::from_secs(4);
/// The time between looks at how far it is: it tells no one who is not subscribed in its namespace.
const PAUSE: Duration = Duration::from_millis(20);
/// Detections at the same time at most. Each has a socket or two open, of which a program may have a thousand.
const TOGETHER: usize = 256;
/// Threads that close sockets at most. The kernel waits for a grace period, 8 to 16 ms, before it closes one that hears
/// packets (`packet_release`, `net/packet/af_packet.c`), but for several at the same time.
const CLOSERS: usize = 4;
/// How long the thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(1);

/// An address that another host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) address: IpNet,
    /// The other host's MAC address by its own account. The kernel does not tell it for IPv6.
    pub(crate) mac: Option<[u8; 6]>,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        let Some([a, b, c, d, e, g]) = self.mac else { return Ok(()) };
        write!(f, " (MAC address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x})")
    }
}

/// What is to be found out, in whose namespace.
pub(crate) struct Question {
    pub(crate) interface: LinkName,
    pub(crate) mac: MacAddress,
    pub(crate) addresses: Vec<IpNet>,
    /// The MAC addresses of the container's other interfaces: Linux answers from each of them for the addresses of all.
    pub(crate) siblings: Vec<MacAddress>,
}

type Answer = Result<Vec<Taken>, Error>;
type Namespace = Box<dyn FnOnce() -> Result<OwnedFd, Error> + Send>;

struct Job {
    namespace: Namespace,
    question: Question,
    answer: oneshot::Sender<Answer>,
    room: OwnedSemaphorePermit,
}

/// Finds out whether other hosts have addresses, on a thread of its own, which the first question starts and which
/// ends when there are no more. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Detector {
    jobs: Arc<Way>,
    room: Arc<Semaphore>,
}

/// The way to the thread, while there is one.
type Way = Mutex<Option<mpsc::Sender<Job>>>;

impl Detector {
    pub(crate) fn new() -> Self {
        Self { jobs: Arc::default(), room: Arc::new(Semaphore::new(TOGETHER)) }
    }

    /// Which of an interface's addresses other hosts have; the namespace is opened when its turn has come.
    ///
    /// # Errors
    ///
    /// When that cannot be told: nobody may count as knowing then.
    pub(crate) async fn ask(
        &self,
        namespace: impl FnOnce() -> Result<OwnedFd, Error> + Send + 'static,
        question: Question,
    ) -> Answer {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(io::Error::other).map_err(Error::system("wait for a turn"))?;
        let (sender, receiver) = oneshot::channel();
        let namespace = Box::new(namespace);
        self.send(Job { namespace, question, answer: sender, room })
            .map_err(Error::system("start a thread to detect duplicate addresses"))?;
        receiver.await.unwrap_or_else(|_| {
            let ended = io::Error::other("its thread ended early");
            Err(Error::system("detect duplicate addresses")(ended))
        })
    }

    fn send(&self, job: Job) -> io::Result<()> {
        let mut jobs = lock(&self.jobs);
        let job = match &*jobs {
            // It comes back from a thread that has ended.
            Some(jobs) => jobs.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        let Some(job) = job else { return Ok(()) };
        let (sender, receiver) = mpsc::channel();
        // It is there in time: the thread waits for the first.
        let _ = sender.send(job);
        let way = Arc::clone(&self.jobs);
        thread::Builder::new().name("detector".to_owned()).spawn(move || serve(&receiver, &way))?;
        *jobs = Some(sender);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept in them changes in single calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers questions until there are no more, or the thread cannot leave the namespace that it is in.
fn serve(jobs: &mpsc::Receiver<Job>, way: &Way) {
    let home = File::open("/proc/thread-self/ns/net");
    let go_home = || netns::enter(home.as_ref().ok()?.as_fd()).ok();
    let closers = Arc::default();
    let mut underway: Vec<Underway> = Vec::new();
    loop {
        let due = underway.iter().map(|one| one.detection.next()).min();
        let wait = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        let job = match jobs.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) if underway.is_empty() => match leave(jobs, way) {
                Some(job) => Some(job),
                None => return,
            },
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(Job { namespace, question, answer, room }) = job {
            let begun = namespace().and_then(|netns| Detection::begin(question, &netns));
            // Whoever comes next is not to be looked for in this namespace.
            if go_home().is_none() {
                return;
            }
            match begun {
                Ok(detection) => underway.push(Underway { detection, answer, room }),
                // Nobody listens when the caller was cancelled.
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        let now = Instant::now();
        for at in (0..underway.len()).rev() {
            let Some(one) = underway.get_mut(at) else { continue };
            if let Some(result) = one.detection.step(now).transpose() {
                let Underway { detection, answer, room } = underway.swap_remove(at);
                let _ = answer.send(result);
                close(&closers, detection, room);
            }
        }
    }
}

/// Leaves the work to another thread, unless there is some.
fn leave(jobs: &mpsc::Receiver<Job>, way: &Way) -> Option<Job> {
    let mut way = lock(way);
    // Under the lock: what was sent before is here, and who comes next finds nobody.
    let job = jobs.try_recv().ok();
    if job.is_none() {
        *way = None;
    }
    job
}

/// Sockets that wait to be closed, with the room that they take, and how many threads do it.
#[derive(Default)]
struct Closers {
    waiting: Vec<(Detection, OwnedSemaphorePermit)>,
    threads: usize,
}

/// Closes sockets elsewhere, as that takes long.
fn close(closers: &Arc<Mutex<Closers>>, detection: Detection, room: OwnedSemaphorePermit) {
    let mut waiting = lock(closers);
    waiting.waiting.push((detection, room));
    if waiting.threads == CLOSERS {
        return;
    }
    waiting.threads += 1;
    drop(waiting);
    let closers = Arc::clone(closers);
    let close_all = {
        let closers = Arc::clone(&closers);
        move || {
            loop {
                let mut waiting = lock(&closers);
                let Some(next) = waiting.waiting.pop() else {
                    waiting.threads -= 1;
                    return;
                };
                drop(waiting);
                drop(next);
            }
        }
    };
    if thread::Builder::new().name("closer".to_owned()).spawn(close_all).is_err() {
        // Then here, while the others wait.
        let all = {
            let mut waiting = lock(&closers);
            waiting.threads -= 1;
            std::mem::take(&mut waiting.waiting)
        };
        drop(all);
    }
}

struct Underway {
    detection: Detection,
    answer: oneshot::Sender<Answer>,
    room: OwnedSemaphorePermit,
}

/// How far it is known whether other hosts have an interface's addresses.
struct Detection {
    addresses: Vec<IpNet>,
    arp: Option<ArpProbe>,
    kernel: Option<KernelDetection>,
}

impl Detection {
    /// Begins, in the namespace, where it leaves the thread.
    fn begin(question: Question, netns: &OwnedFd) -> Result<Self, Error> {
        let Question { interface, mac, addresses, siblings } = question;
        netns::enter(netns.as_fd())
            .map_err(Error::system("enter the container's network namespace"))?;
        let ipv4 = addresses.iter().filter_map(|address| match address.addr() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let ipv4: Vec<_> = ipv4.collect();
        let ask = || {
            ArpProbe::new(interface.as_str(), mac, ipv4.clone(), siblings.clone(), Instant::now())
                .map_err(Error::system(format!("ask for the addresses of {interface}")))
        };
        let arp = (!ipv4.is_empty()).then(ask).transpose()?;
        let ipv6 = addresses.iter().filter(|address| address.addr().is_ipv6()).copied();
        let ipv6: Vec<_> = ipv6.collect();
        let ask = || KernelDetection::begin(interface.clone(), mac, ipv6.clone());
        let kernel = (!ipv6.is_empty()).then(ask).transpose()?;
        Ok(Self { addresses, arp, kernel })
    }

    /// When there is something to do next.
    fn next(&self) -> Instant {
        let (arp, kernel) = (self.arp.as_ref(), self.kernel.as_ref());
        let next = arp.map(ArpProbe::next).into_iter().chain(kernel.map(|it| it.next)).min();
        next.unwrap_or_else(Instant::now)
    }

    /// Does what is due; returns which addresses other hosts have once that is known, of whichever family first.
    fn step(&mut self, now: Instant) -> Result<Option<Vec<Taken>>, Error> {
        if let Some(arp) = &mut self.arp
            && arp.next() <= now
            && let Some(claims) = arp
                .step(now)
                .map_err(Error::system("ask whether another host has the addresses"))?
        {
            if !claims.is_empty() {
                let net = |address| self.addresses.iter().find(|net| net.addr() == address);
                let taken = claims.into_iter().filter_map(|claim| {
                    let address = *net(IpAddr::V4(claim.address))?;
                    Some(Taken { address, mac: Some(claim.mac) })
                });
                return Ok(Some(taken.collect()));
            }
            if self.kernel.is_none() {
                return Ok(Some(Vec::new()));
            }
            // Its socket stays open until the kernel knows, too: it takes long to close.
            arp.rest(now + LONGEST);
        }
        if let Some(kernel) = &mut self.kernel
            && kernel.next <= now
        {
            return kernel.step(now);
        }
        Ok(None)
    }
}

/// The kernel's own detection of the interface's IPv6 addresses.
struct KernelDetection {
    connection: Connection,
    interface: LinkName,
    index: u32,
    /// The address that the kernel makes of the MAC address, unless it was told to make another.
    link_local: Ipv6Addr,
    addresses: Vec<IpNet>,
    next: Instant,
    deadline: Instant,
}

impl KernelDetection {
    /// Has the kernel find out. It has asked when the addresses were made, but perhaps too early for anybody to hear it.
    fn begin(interface: LinkName, mac: MacAddress, addresses: Vec<IpNet>) -> Result<Self, Error> {
        let mut connection = Connection::open()?;
        let index = interface::get(&mut connection, &interface)?.header.index;
        for address in &addresses {
            // The kernel asks again for a new one.
            let _ = connection.batch(vec![address::remove(&interface, index, *address)]);
            connection.batch(vec![address::add(&interface, index, *address, true)])?;
        }
        let now = Instant::now();
        let (next, deadline) = (now + PAUSE, now + LONGEST);
        let link_local = mac.link_local();
        Ok(Self { connection, interface, index, link_local, addresses, next, deadline })
    }

    fn step(&mut self, now: Instant) -> Result<Option<Vec<Taken>>, Error> {
        // Neighbours are asked for from this one.
        let own = address::get_ipv6(&mut self.connection, self.index, self.link_local)?;
        let mut tentative = own.is_some_and(|found| found.tentative);
        let mut taken = Vec::new();
        for net in &self.addresses {
            let IpAddr::V6(address) = net.addr() else { continue };
            let found = address::get_ipv6(&mut self.connection, self.index, address)?;
            let found = found
                .ok_or_else(|| Error::Vanished(format!("address {net} of {}", self.interface)))?;
            tentative |= found.tentative;
            taken.extend(found.duplicate.then_some(Taken { address: *net, mac: None }));
        }
        if !tentative {
            return Ok(Some(taken));
        }
        if now > self.deadline {
            let name = &self.interface;
            return Err(Error::Malformed(format!("{name} still looks for duplicate addresses")));
        }
        self.next = now + PAUSE;
        Ok(None)
    }
}
