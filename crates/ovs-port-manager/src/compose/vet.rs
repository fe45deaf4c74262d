//! What Compose's schema refuses, as far as it concerns labels: found while a file's own places are still known.

use super::lower::Problem;
use super::value::{Data, Map, Place, Value};

/// Keys of the top level that say where services come from.
const TOP: &[&str] = &["services", "include"];

/// Keys of a service that bear on what is checked.
const OURS: &[&str] =
    &["labels", "label_file", "extends", "network_mode", "networks", "deploy", "scale"];

/// All keys of a service that the Compose Specification has.
const SPECIFIED: &str = "\
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command \
    configs container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period \
    cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy develop \
    device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file \
    environment expose extends external_links extra_hosts gpus group_add healthcheck \
    hostname image init ipc isolation label_file labels links logging mac_address mem_limit \
    mem_reservation mem_swappiness memswap_limit models network_mode networks \
    oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_start \
    pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart \
    runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal \
    storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes \
    volumes_from working_dir";

/// What a document is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Its services are the project's.
    Project,
    /// One of its services is a base; the others need not be sound.
    Base,
}

/// Reports what is wrong with a document, and takes it out.
pub(super) fn vet(document: &mut Value, is_empty: bool, usage: Use, problems: &mut Vec<Problem>) {
    let Data::Map(map) = &mut document.data else {
        if !matches!(document.data, Data::Unknown) {
            let message = match is_empty {
                true => "an empty document",
                false => "not a compose file: no mapping",
            };
            tell(problems, &document.place, None, message.to_owned());
        }
        return;
    };
    for (key, value) in map.iter().filter(|(key, _)| !key.starts_with("x-")) {
        if let Some(known) = similar(key, TOP) {
            let message = format!("no key {}; did you mean {known}?", key.escape_debug());
            tell(problems, &value.place, None, message);
        }
    }
    let Some(services) = map.get_mut("services") else { return };
    match &mut services.data {
        Data::Map(map) => {
            map.retain(|name, value| {
                usage == Use::Base && matches!(value.data, Data::Null)
                    || service(name, value, problems)
            });
        }
        Data::Null | Data::Unknown => {}
        _ => {
            let message = "services: not a mapping".to_owned();
            tell(problems, &services.place, None, message);
            services.data = Data::Map(Map::new());
        }
    }
}

/// Whether it is a service.
fn service(name: &str, value: &mut Value, problems: &mut Vec<Problem>) -> bool {
    let place = value.place.clone();
    let Some(map) = value.map_mut() else {
        if !matches!(value.data, Data::Unknown) {
            tell(problems, &place, Some(name), "not a mapping".to_owned());
        }
        return false;
    };
    for (key, value) in map.iter() {
        if port_plan::labels::concern_us([key.as_str()].into_iter()) {
            let message = format!("{}: not below labels, so it is none", key.escape_debug());
            tell(problems, &value.place, Some(name), message);
        } else if !key.starts_with("x-")
            && !SPECIFIED.split(' ').any(|specified| specified == key)
            && let Some(known) = similar(key, OURS)
        {
            let message = format!("no key {}; did you mean {known}?", key.escape_debug());
            tell(problems, &value.place, Some(name), message);
        }
    }
    if let Some(value) = map.get_mut("labels") {
        labels(name, value, problems);
    }
    true
}

/// Labels are a mapping of scalars, or a list of texts.
fn labels(service: &str, labels: &mut Value, problems: &mut Vec<Problem>) {
    let service = Some(service);
    match &mut labels.data {
        Data::Map(map) => map.retain(|name, value| match &value.data {
            Data::Date => {
                let message = format!("labels: {} is a date; quote it", name.escape_debug());
                tell(problems, &value.place, service, message);
                false
            }
            Data::List(_) | Data::Map(_) => {
                let message = format!("labels: {} is not a text", name.escape_debug());
                tell(problems, &value.place, service, message);
                false
            }
            Data::Unknown => false,
            _ => true,
        }),
        Data::List(items) => items.retain(|item| {
            let is_text = item.text().is_some();
            if !is_text && !matches!(item.data, Data::Unknown) {
                let message = match &item.data {
                    Data::Map(_) => "labels: NAME: VALUE in a list; write NAME=VALUE, or no dash",
                    _ => "labels: not of the form NAME=VALUE",
                };
                tell(problems, &item.place, service, message.to_owned());
            }
            is_text
        }),
        Data::Null | Data::Unknown => {}
        _ => {
            let message = "labels: neither a mapping nor a list".to_owned();
            tell(problems, &labels.place, service, message);
            labels.data = Data::Null;
        }
    }
}

fn tell(problems: &mut Vec<Problem>, place: &Place, service: Option<&str>, message: String) {
    problems.push(Problem { place: place.clone(), service: service.map(str::to_owned), message });
}

/// The known key that another one was probably meant to be.
fn similar(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if known.contains(&key) {
        return None;
    }
    let lower = key.to_lowercase().replace('-', "_");
    known.iter().copied().find(|known| strsim::damerau_levenshtein(&lower, known) <= 2)
}
