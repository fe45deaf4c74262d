//! Questions whose answers are read by ourselves: the client gives up on an answer with a single value, of whatever
//! field, that it does not know.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::Connect;
use serde::Deserialize;

/// Longer than any answer is: that would be a list of a hundred thousand containers.
const LONGEST: usize = 256 << 20;
/// As much of what the engine says of a failure is repeated.
const MESSAGE: usize = 300;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it cannot be asked for {path}")]
    Path { path: String, source: hyper::http::Error },
    #[error(transparent)]
    Connection(#[from] legacy::Error),
    #[error("its answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answered with status {status}: {message}")]
    Status { status: StatusCode, message: String },
}

impl Error {
    /// There is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Asks for what is at this path below `base`, the URI of the engine.
pub(super) async fn get<C: Connect + Clone + Send + Sync + 'static>(
    client: &legacy::Client<C, Empty<Bytes>>,
    base: &str,
    path: &str,
) -> Result<Bytes, Error> {
    let request = Request::get(format!("{base}{path}")).body(Empty::new());
    let request = request.map_err(|source| Error::Path { path: path.to_owned(), source })?;
    let response = client.request(request).await?;
    let status = response.status();
    match status.is_success() {
        true => read(response, LONGEST).await,
        false => {
            let said = read(response, 1 << 20).await.unwrap_or_default();
            Err(Error::Status { status, message: message(&said) })
        }
    }
}

async fn read(response: Response<Incoming>, longest: usize) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), longest).collect().await;
    Ok(body.map_err(Error::Body)?.to_bytes())
}

/// What the engine says of a failure, or somebody in between, in one line.
fn message(said: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Failure {
        message: String,
    }
    let text = match serde_json::from_slice(said) {
        Ok(Failure { message }) => message,
        Err(_) => String::from_utf8_lossy(said).into_owned(),
    };
    text.trim().chars().take(MESSAGE).flat_map(char::escape_debug).collect()
}
