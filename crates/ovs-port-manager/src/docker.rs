//! The Docker Engine: which containers there are, what they are, and that something happened to one.
//!
//! An event says "look at this container again" and nothing more: what is true is asked for afterwards.

mod answer;
mod engine;
mod request;
mod transport;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as BollardError;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyperlocal::UnixConnector;
use port_plan::{Backoff, Container, ContainerId, ImageLabels, ImageUnknown, labels};
use tokio::sync::{OnceCell, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::error_chain::{chain, kind};
use answer::{Answer, Labels};

/// How long Docker may take to answer before it counts as not answering.
const ANSWER: Duration = Duration::from_secs(5);
/// Requests that are to be under way at once: so many connections are kept.
pub(crate) const REQUESTS: usize = 8;
/// The longest pause between tries to connect again: Docker is near, and asking costs next to nothing.
const RECONNECT: Duration = Duration::from_secs(1);
/// Images whose labels are remembered.
const IMAGES: usize = 1024;
/// The containers that have a network namespace: `{"status":["running","paused"]}`.
const RUNNING: &str =
    "/containers/json?all=true&filters=%7B%22status%22%3A%5B%22running%22%2C%22paused%22%5D%7D";
/// A stream of events that has lasted so long was a sound one: when it ends, the next may follow at once.
const SOUND: Duration = Duration::from_secs(10);
/// Events that change whether a container has a network namespace, or what it is called; the last three are Podman's.
const EVENTS: [&str; 7] = ["start", "die", "destroy", "rename", "restore", "died", "remove"];

/// Where Docker listens: `unix:///PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(PathBuf);

/// Why a text is not an [`Endpoint`].
#[derive(Debug, thiserror::Error)]
#[error(
    "not of the form unix:///PATH (TCP and SSH are not supported: the daemon runs on the engine's own host)"
)]
pub(crate) struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text.strip_prefix("unix://").ok_or(InvalidEndpoint)?);
        if path.is_absolute() { Ok(Self(path.to_owned())) } else { Err(InvalidEndpoint) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

impl Endpoint {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// What went wrong between us and Docker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("Docker at {endpoint} did not answer within {} s", ANSWER.as_secs())]
    Silent { endpoint: Endpoint },
    #[error("Docker at {endpoint} cannot {what}")]
    Engine { endpoint: Endpoint, what: &'static str, source: BollardError },
    #[error("Docker at {endpoint} cannot {what}")]
    Request { endpoint: Endpoint, what: &'static str, source: request::Error },
    #[error("Docker at {endpoint}, asked to {what}, sent")]
    Answer { endpoint: Endpoint, what: &'static str, source: answer::Error },
    #[error("Docker at {endpoint} sent no version")]
    NoVersion { endpoint: Endpoint },
}

/// What the event stream tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// The stream is open (again): whatever happened before is unknown, so look at everything.
    Connected,
    /// The stream has ended; a new one will follow.
    Disconnected,
    /// Something happened to this container, which has labels of ours and, where the engine tells, this name.
    Container(ContainerId, Option<Arc<str>>),
    /// This container has ended, and has no label of ours.
    Ended(ContainerId),
}

/// A connection to one engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Docker {
    client: bollard::Docker,
    asker: Client<UnixConnector, Empty<Bytes>>,
    /// What the URIs of requests begin with.
    base: Arc<str>,
    endpoint: Endpoint,
    images: Arc<Mutex<HashMap<String, Image>>>,
}

/// The labels of an image, as soon as somebody has asked for them.
type Image = Arc<OnceCell<Labels>>;

impl Docker {
    /// Connects and makes sure that the engine answers.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let engine =
            |source| Error::Engine { endpoint: endpoint.clone(), what: "be spoken to", source };
        // Our own limit comes first, and says what it is.
        let limit = 2 * ANSWER;
        let client = transport::client(endpoint.path(), REQUESTS, limit, API_DEFAULT_VERSION);
        let client = client.map_err(engine)?;
        let silent = |_| Error::Silent { endpoint: endpoint.clone() };
        // There is no version to agree on, as the client's requests name none; and to tell its own takes Docker 7 ms,
        // because it asks runc for that one's.
        timeout(ANSWER, client.ping()).await.map_err(silent)?.map_err(engine)?;
        let (asker, base) = (transport::asker(REQUESTS), transport::base(endpoint.path()));
        let endpoint = endpoint.clone();
        Ok(Self { client, asker, base: base.into(), endpoint, images: Arc::default() })
    }

    /// The engine's version.
    pub(crate) async fn version(&self) -> Result<String, Error> {
        let version = self.ask("tell its version", self.client.version()).await?;
        version.version.ok_or_else(|| Error::NoVersion { endpoint: self.endpoint.clone() })
    }

    /// The containers that run now and have a label of ours.
    pub(crate) async fn list(&self) -> Result<Vec<ContainerId>, Error> {
        let what = "list containers";
        let answer = self.get(what, RUNNING).await?;
        answer::labelled(&answer).map_err(|source| self.not_understood(what, source))
    }

    /// One container, or `None` if there is none of that id.
    pub(crate) async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        let found = self.find(id.as_str()).await?;
        // Docker looks for ids first: if it is another one, which has this id for its name, there is none of the id.
        let found = found.filter(|container| container.id == *id);
        // With the id at hand, which is shared already.
        Ok(found.map(|container| Container { id: id.clone(), ..container }))
    }

    /// One container by its name, its id or the beginning of its id.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Container>, Error> {
        // What Docker allows (moby, daemon/names), so that nothing else gets into the request's path.
        let allowed =
            |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric())
            || !name.chars().all(allowed)
        {
            return Ok(None);
        }
        let what = "inspect a container";
        let answer = match self.get(what, &format!("/containers/{name}/json")).await {
            Err(Error::Request { source, .. }) if source.is_not_found() => return Ok(None),
            answer => answer?,
        };
        let answer = answer::container(&answer);
        let Answer { container, image } = answer.map_err(|it| self.not_understood(what, it))?;
        let image_labels = match image {
            Some(image) => self.image_labels(&image).await,
            None => ImageLabels::default(),
        };
        Ok(Some(Container { image_labels, ..container }))
    }

    /// Follows the events of labelled containers for ever, through any loss of the connection.
    ///
    /// The stream is drained by a task of its own: a slow reader would lose events and slow Docker down.
    pub(crate) fn follow(&self) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().drain(sender));
        receiver
    }

    async fn drain(self, sender: mpsc::UnboundedSender<Event>) {
        let (mut backoff, mut refused) = (Backoff::default(), Backoff::default());
        let mut told = String::new();
        // Docker repeats what it sent since then, so nothing falls between the subscription, which is
        // open only some time after it is asked for, and the list that is asked for meanwhile.
        let mut since = now();
        while !sender.is_closed() {
            if self.client.ping().await.is_ok() {
                if sender.send(Event::Connected).is_err() {
                    return;
                }
                let begun = Instant::now();
                let reason = self.stream(&since, &sender).await;
                let sound = begun.elapsed() >= SOUND;
                let kind = kind(&reason);
                if sound || told != kind {
                    warn!(reason, "lost Docker's events, connecting again");
                } else {
                    debug!(reason, "lost Docker's events again");
                }
                if sender.send(Event::Disconnected).is_err() {
                    return;
                }
                (told, backoff, since) = (kind, Backoff::default(), now());
                if sound {
                    refused = Backoff::default();
                } else {
                    // Each new stream costs a look at everything.
                    sleep(refused.fail(fastrand::f64())).await;
                    continue;
                }
            }
            sleep(backoff.fail(fastrand::f64()).min(RECONNECT)).await;
        }
    }

    /// Passes events on until the stream breaks; returns why it did.
    async fn stream(&self, since: &str, sender: &mpsc::UnboundedSender<Event>) -> String {
        // Only containers' events: the client gives up on types of object that it does not know.
        let filters = HashMap::from([("type", vec!["container"]), ("event", EVENTS.to_vec())]);
        let options = EventsOptionsBuilder::default().since(since).filters(&filters).build();
        let mut events = std::pin::pin!(self.client.events(Some(options)));
        info!(docker = %self.endpoint, "following Docker's events");
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    let Some(event) = read(event) else { continue };
                    if sender.send(event).is_err() {
                        return "nobody listens".to_owned();
                    }
                }
                Some(Err(BollardError::DockerResponseServerError { status_code, message })) => {
                    return refusal(status_code, &message);
                }
                Some(Err(error)) => return error.to_string(),
                None => return "Docker closed the stream".to_owned(),
            }
        }
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, BollardError>>,
    ) -> Result<T, Error> {
        match timeout(ANSWER, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Engine { endpoint: self.endpoint.clone(), what, source }),
            Err(_) => Err(Error::Silent { endpoint: self.endpoint.clone() }),
        }
    }

    /// What the engine has at a path of its API.
    async fn get(&self, what: &'static str, path: &str) -> Result<Bytes, Error> {
        let endpoint = || self.endpoint.clone();
        match timeout(ANSWER, request::get(&self.asker, &self.base, path)).await {
            Ok(answer) => {
                answer.map_err(|source| Error::Request { endpoint: endpoint(), what, source })
            }
            Err(_) => Err(Error::Silent { endpoint: endpoint() }),
        }
    }

    fn not_understood(&self, what: &'static str, source: answer::Error) -> Error {
        Error::Answer { endpoint: self.endpoint.clone(), what, source }
    }

    /// The labels of an image. An image of an id never changes, so each is asked for once. One that is gone
    /// must not keep its containers from anything, so that is no error.
    async fn image_labels(&self, id: &str) -> ImageLabels {
        let image = self.image(id);
        let ask = async || {
            let what = "inspect an image";
            // The id is the engine's own, but goes into a path.
            let known =
                |character: char| character.is_ascii_alphanumeric() || ":_-+.".contains(character);
            if !id.chars().all(known) {
                let reason = format!("{} is no image's id", id.escape_debug());
                return Err(ImageUnknown { gone: true, reason });
            }
            let answer = self.get(what, &format!("/images/{id}/json")).await;
            let answer = answer.map_err(|error| unknown(id, &error))?;
            let labels = answer::image_labels(&answer);
            labels.map_err(|source| unknown(id, &self.not_understood(what, source)))
        };
        match image.get_or_try_init(ask).await {
            Ok(labels) => ImageLabels::Known(labels.clone()),
            Err(unknown) => ImageLabels::Unknown(unknown),
        }
    }

    fn image(&self, id: &str) -> Image {
        // Every change of the map is a single call: a panic elsewhere leaves it whole.
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if images.len() >= IMAGES && !images.contains_key(id) {
            images.clear();
        }
        Arc::clone(images.entry(id.to_owned()).or_default())
    }
}

/// Why there is no stream of events, and what may be done about it.
fn refusal(status: u16, message: &str) -> String {
    let message: String = message.trim().chars().take(100).flat_map(char::escape_debug).collect();
    let advice = match status {
        400..500 => {
            "; if a proxy stands before Docker's socket, it has to allow GET for /_ping, /version, /events, \
             /containers/ and /images/"
        }
        _ => "",
    };
    format!("status {status}: {message}{advice}")
}

fn unknown(image: &str, error: &Error) -> ImageUnknown {
    match error {
        Error::Request { source, .. } if source.is_not_found() => {
            ImageUnknown { gone: true, reason: image.to_owned() }
        }
        error => ImageUnknown { gone: false, reason: chain(error) },
    }
}

/// What an event says. Events carry all labels.
fn read(event: EventMessage) -> Option<Event> {
    let actor = event.actor?;
    let id = actor.id?.parse().ok()?;
    if concerns_us(actor.attributes.as_ref()) {
        let name = actor.attributes.as_ref().and_then(|attributes| attributes.get("name"));
        return Some(Event::Container(id, name.map(|name| name.as_str().into())));
    }
    let ends = ["die", "died", "destroy", "remove"];
    ends.contains(&event.action.as_deref()?).then_some(Event::Ended(id))
}

fn concerns_us(labels: Option<&HashMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels::concern_us(labels.keys().map(String::as_str)))
}

/// The time as Docker's `since` wants it: seconds and nanoseconds.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}
