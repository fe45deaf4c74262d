//! The API: Docker's, as far as the daemon uses it, and below `/lab/` what the benchmark steers by.

use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::containers::Containers;
use crate::http::{Request, begin_chunks, read_request, respond, write_chunk};

/// Answers for ever.
pub(crate) fn serve(socket: &Path, cgroup: &str) -> Result<()> {
    let containers = Arc::new(Mutex::new(Containers::new(cgroup.to_owned())));
    let listener = UnixListener::bind(socket)?;
    println!("listening");
    for client in listener.incoming() {
        let (client, containers) = (client?, Arc::clone(&containers));
        thread::spawn(move || {
            if let Err(error) = converse(client, &containers) {
                eprintln!("a client: {error:#}");
            }
        });
    }
    bail!("nobody can connect any more")
}

fn converse(client: UnixStream, containers: &Mutex<Containers>) -> Result<()> {
    let mut writer = client.try_clone()?;
    let mut reader = BufReader::new(client);
    while let Some(request) = read_request(&mut reader)? {
        match request.what.as_str() {
            "GET /events" => return stream_events(&mut writer, since(&request.query), containers),
            "GET /_ping" => respond(&mut writer, "200 OK", "OK")?,
            // None of the labels are their image's.
            what if what.starts_with("GET /images/") => {
                respond(&mut writer, "200 OK", r#"{"Config":{"Labels":{}}}"#)?;
            }
            what if what.ends_with("/json") && what != "GET /containers/json" => {
                let id = what.strip_prefix("GET /containers/").unwrap_or_default();
                let id = id.strip_suffix("/json").unwrap_or_default();
                let found = lock(containers).inspection(id);
                let nothing = r#"{"message":"no such container"}"#;
                match found {
                    Some(text) => respond(&mut writer, "200 OK", &text)?,
                    None => respond(&mut writer, "404 Not Found", nothing)?,
                }
            }
            _ => {
                let answer = answer(&request, &mut lock(containers));
                match answer {
                    Ok(answer) => respond(&mut writer, "200 OK", &answer.to_string())?,
                    Err(error) => respond(
                        &mut writer,
                        "500 Internal Server Error",
                        &json!({"message": format!("{error:#}")}).to_string(),
                    )?,
                }
            }
        }
    }
    Ok(())
}

fn answer(request: &Request, containers: &mut Containers) -> Result<Value> {
    let body = |what: &str| -> Result<Value> {
        let body: Value = serde_json::from_slice(&request.body)?;
        body.get(what).cloned().with_context(|| format!("no {what}"))
    };
    let ids = || -> Result<Vec<String>> { Ok(serde_json::from_value(body("ids")?)?) };
    Ok(match request.what.as_str() {
        "GET /version" => {
            json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"})
        }
        "GET /containers/json" => containers.listing(),
        "POST /lab/create" => {
            let count = body("count")?.as_u64().context("count is no number")?;
            let label = body("label")?;
            containers.create(usize::try_from(count)?, label.as_str().unwrap_or_default())?
        }
        "POST /lab/start" => containers.start(&ids()?)?,
        "POST /lab/let-run" => containers.let_run(&ids()?).map(|()| json!({}))?,
        "POST /lab/stop" => containers.stop(&ids()?)?,
        "GET /lab/inspections" => json!(containers.inspections),
        other => bail!("not understood: {other}"),
    })
}

fn stream_events(
    writer: &mut UnixStream,
    since: Option<Duration>,
    containers: &Mutex<Containers>,
) -> Result<()> {
    let events = lock(containers).listen(since);
    begin_chunks(writer)?;
    for event in events {
        write_chunk(writer, &event)?;
    }
    Ok(())
}

/// The time in `since=SECONDS.NANOSECONDS`.
fn since(query: &str) -> Option<Duration> {
    let value = query.split('&').find_map(|part| part.strip_prefix("since="))?;
    let (seconds, nanoseconds) = value.split_once('.')?;
    Some(Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?))
}

fn lock(containers: &Mutex<Containers>) -> MutexGuard<'_, Containers> {
    containers.lock().unwrap_or_else(PoisonError::into_inner)
}
