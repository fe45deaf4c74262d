use port_plan::Start;
use serde_json::{Value, json};

use super::*;

fn full() -> Value {
    json!({
        "Id": "3f2a9c1b".repeat(8),
        "Name": "/web",
        "Image": "sha256:0123",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "Dead": false,
            "Pid": 4711, "StartedAt": "2026-01-01T00:00:00.5Z",
        },
        "Config": {
            "Image": "web:1",
            "Labels": { "ovs.vlan": "7", "com.docker.compose.service": "web", "other": "label" },
        },
        "HostConfig": { "NetworkMode": "none" },
    })
}

/// A running container with one value replaced, or taken away where that is `null`.
fn with(path: &str, value: Value) -> Value {
    let mut answer = full();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = answer.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(name).map(drop).unwrap(),
        value => drop(parent.insert(name.to_owned(), value)),
    }
    answer
}

fn stopped(mut answer: Value) -> Value {
    answer["State"] = json!({ "Running": false, "Pid": 0 });
    answer
}

fn read(answer: &Value) -> Result<Answer, Error> {
    container(answer.to_string().as_bytes())
}

fn state(answer: &Value) -> State {
    read(answer).unwrap().container.state
}

#[test]
fn a_running_container_is_read_with_the_labels_that_matter() {
    let Answer { container, image } = read(&full()).unwrap();
    assert_eq!(container.id.as_str(), "3f2a9c1b".repeat(8));
    assert_eq!(&*container.name, "web");
    assert_eq!(container.image, "web:1");
    let start = Start::from("2026-01-01T00:00:00.5Z");
    assert_eq!(container.state, State::Running { pid: 4711, start });
    let names: Vec<_> = container.labels.keys().collect();
    assert_eq!(names, ["com.docker.compose.service", "ovs.vlan"]);
    assert_eq!(image.as_deref(), Some("sha256:0123"));
}

#[test]
fn of_a_stopped_container_nothing_is_needed_but_that_it_does_not_run() {
    let bare = json!({ "Id": "a".repeat(64), "State": { "Running": false } });
    let Answer { container, image } = read(&bare).unwrap();
    assert_eq!((container.state, image), (State::Stopped, None));
    for path in ["/Name", "/Image", "/Config", "/HostConfig"] {
        assert_eq!(state(&stopped(with(path, Value::Null))), State::Stopped, "{path}");
    }
    // Nor does it matter what the rest has become in some version of some engine.
    for (path, value) in [
        ("/Config", json!([])),
        ("/HostConfig", json!(7)),
        ("/Image", json!({})),
        ("/Config/Labels", json!(["ovs.vlan=7"])),
        ("/Config/Labels", json!({ "ovs.vlan": 7 })),
    ] {
        assert_eq!(state(&stopped(with(path, value.clone()))), State::Stopped, "{value}");
    }
    // Its image is not asked for.
    assert_eq!(read(&stopped(full())).unwrap().image, None);
}

#[test]
fn whatever_is_no_running_process_counts_as_stopped() {
    for life in [
        json!({ "Status": "created" }),
        json!({ "Status": "exited", "Running": false, "Pid": 0 }),
        json!({ "Status": "restarting", "Running": true, "Restarting": true, "Pid": 0 }),
        json!({ "Status": "dead", "Running": false, "Dead": true }),
        json!({ "Status": "removing", "Running": false }),
        json!({ "Status": "stopping", "Running": false, "Pid": 4711 }),
        json!({ "Status": "what comes next", "Running": false }),
    ] {
        assert_eq!(state(&with("/State", life.clone())), State::Stopped, "{life}");
    }
}

#[test]
fn a_paused_container_runs_whatever_its_engine_says() {
    for life in [
        json!({ "Status": "paused", "Running": true, "Paused": true, "Pid": 1, "StartedAt": "t" }),
        json!({ "Status": "paused", "Running": false, "Paused": true, "Pid": 1, "StartedAt": "t" }),
        json!({ "Status": "paused", "Running": false, "Pid": 1, "StartedAt": "t" }),
    ] {
        let running = State::Running { pid: 1, start: "t".into() };
        assert_eq!(state(&with("/State", life.clone())), running, "{life}");
    }
}

#[test]
fn what_a_running_container_lacks_is_an_error_and_never_a_deletion() {
    for (path, value, error) in [
        ("/Id", Value::Null, "a container without a full id"),
        ("/Id", json!("web"), "a container without a full id"),
        ("/State", Value::Null, "a container without a state"),
        ("/State", json!({}), "a container without a word on whether it runs"),
        ("/State/Pid", json!(0), "a container without its process's id, though it runs"),
        ("/State/Pid", Value::Null, "a container without its process's id, though it runs"),
        ("/State/Pid", json!(-1), "a container without its process's id, though it runs"),
        ("/State/Pid", json!(1_u64 << 40), "a container without its process's id, though it runs"),
        (
            "/State/StartedAt",
            Value::Null,
            "a container without the time of its start, though it runs",
        ),
        ("/Config", Value::Null, "a container without a configuration"),
        ("/HostConfig", Value::Null, "a container without a network mode"),
        ("/Config/Labels", json!({ "ovs.vlan": 7 }), "an answer that is not understood"),
    ] {
        let found = read(&with(path, value.clone())).unwrap_err();
        assert_eq!(found.to_string(), error, "{path} {value}");
    }
}

#[test]
fn labels_may_be_missing_and_a_container_may_be_without_name_or_image() {
    for (path, value) in [
        ("/Config/Labels", Value::Null),
        ("/Config/Labels", json!({})),
        ("/Name", Value::Null),
        ("/Image", Value::Null),
        ("/Image", json!("")),
        ("/Image", json!("sha256:")),
    ] {
        let answer = read(&with(path, value.clone())).unwrap();
        let named = path == "/Name";
        assert_eq!(answer.image.is_some(), named, "{path} {value}");
        assert!(matches!(answer.container.state, State::Running { .. }));
    }
    let null = full().to_string().replace(r#""Labels":{"#, r#""Labels":null,"Old":{"#);
    assert_eq!(container(null.as_bytes()).unwrap().container.labels, Labels::new());
}

#[test]
fn a_network_mode_says_whose_namespace_it_is() {
    for (mode, network) in [
        ("none", Network::Own),
        ("default", Network::Own),
        ("", Network::Own),
        ("shop_default", Network::Own),
        ("host", Network::Host),
        ("container:abc", Network::Container("abc".to_owned())),
    ] {
        let answer = read(&with("/HostConfig/NetworkMode", json!(mode))).unwrap();
        assert_eq!(answer.container.network, network, "{mode}");
    }
}

#[test]
fn a_list_is_read_whatever_else_its_containers_are() {
    let id = |letter: &str| letter.repeat(64);
    let list = json!([
        { "Id": id("a"), "Labels": { "ovs.vlan": "7" }, "State": "what comes next", "Ports": "?" },
        { "Id": id("b"), "Labels": null },
        { "Id": id("c") },
        { "Id": "short", "Labels": { "other": "label" } },
    ]);
    let ids = labelled(list.to_string().as_bytes()).unwrap();
    assert_eq!(ids, [id("a").parse().unwrap()]);
    assert!(labelled(br#"{"message":"no"}"#).is_err());
    assert!(labelled(br#"[{"Id":"short","Labels":{"ovs.vlan":"7"}}]"#).is_err());
}

#[test]
fn an_image_without_configuration_or_labels_has_none() {
    for image in [json!({}), json!({ "Config": null }), json!({ "Config": { "Labels": null } })] {
        assert_eq!(image_labels(image.to_string().as_bytes()).unwrap(), Labels::new(), "{image}");
    }
    let image = json!({ "Config": { "Labels": { "ovs.vlan": "7", "other": "label" } } });
    assert_eq!(image_labels(image.to_string().as_bytes()).unwrap().len(), 1);
}
