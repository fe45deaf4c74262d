//! The little of HTTP/1.1 that Docker's API needs, over Unix sockets, by hand: the floor speaks it, and the
//! stand-in for Docker answers it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// One connection of a client, kept open between requests.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Asks, and reads the whole answer.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        self.send(method, path, body)?;
        let (status, length) = self.head()?;
        let answer = match length {
            Some(length) => {
                let mut answer = vec![0; length];
                self.stream.read_exact(&mut answer)?;
                answer
            }
            None => {
                let mut answer = Vec::new();
                while let Some(chunk) = self.chunk()? {
                    answer.extend(chunk);
                }
                answer
            }
        };
        let text = String::from_utf8_lossy(&answer);
        ensure!((200..300).contains(&status), "{method} {path}: {status} {text}");
        Ok(answer)
    }

    /// Asks for an answer without an end, to be read by [`Self::chunk`].
    pub(crate) fn stream(&mut self, path: &str) -> Result<()> {
        self.send("GET", path, "")?;
        let (status, _) = self.head()?;
        ensure!(status == 200, "GET {path}: {status}");
        Ok(())
    }

    /// The next piece of an endless answer; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).context("no length of a chunk")?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Whether more of the answer has been received than was read.
    pub(crate) fn has_more(&self) -> bool {
        !self.stream.buffer().is_empty()
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Ok(self.stream.get_mut().write_all(text.as_bytes())?)
    }

    /// The status, and the length unless the answer comes in chunks.
    fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let lines = head(&mut self.stream)?.context("the connection was closed")?;
        let status = lines.first().and_then(|line| line.split(' ').nth(1)).context("no status")?;
        Ok((status.parse()?, content_length(&lines)))
    }
}

/// A request as the server sees it.
pub(crate) struct Request {
    /// Method and path, without the version in front and the query behind.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
}

/// Reads a request; `None` when the client has gone.
pub(crate) fn read_request(stream: &mut BufReader<UnixStream>) -> Result<Option<Request>> {
    let Some(lines) = head(stream)? else { return Ok(None) };
    let mut body = vec![0; content_length(&lines).unwrap_or_default()];
    stream.read_exact(&mut body)?;
    let mut words = lines.first().map(|line| line.split(' ')).context("no request")?;
    let (Some(method), Some(target)) = (words.next(), words.next()) else { bail!("no request") };
    // A client may put the host in front, as to a proxy, and the API's version.
    let target = target
        .strip_prefix("http://")
        .and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)))
        .unwrap_or(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/{rest}"),
        None => path.to_owned(),
    };
    Ok(Some(Request { what: format!("{method} {path}"), query: query.to_owned(), body }))
}

pub(crate) fn respond(stream: &mut UnixStream, status: &str, body: &str) -> Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    Ok(stream.write_all(text.as_bytes())?)
}

pub(crate) fn begin_chunks(stream: &mut UnixStream) -> Result<()> {
    let text = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    Ok(stream.write_all(text.as_bytes())?)
}

pub(crate) fn write_chunk(stream: &mut UnixStream, text: &str) -> Result<()> {
    Ok(stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?)
}

/// The lines before the empty one; `None` if the other side has closed.
fn head(stream: &mut impl BufRead) -> Result<Option<Vec<String>>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(lines));
        }
        lines.push(line.to_owned());
    }
}

fn content_length(lines: &[String]) -> Option<usize> {
    lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
