use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use port_plan::{Container, Datapath, Defaults, Desired, Network, Registry, Rules, State as Life};

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    let digit = name.len() % 10;
    Container {
        id: digit.to_string().repeat(ContainerId::LEN).parse().unwrap(),
        name: name.into(),
        labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        image: "nginx".to_owned(),
        image_labels: port_plan::ImageLabels::default(),
        state: Life::Running { pid: 7, start: "now".into() },
        network: Network::Own,
    }
}

fn desired(container: &Container) -> Desired {
    let defaults = Defaults {
        bridge: "ovsbr0".parse().unwrap(),
        interface: "eth1".parse().unwrap(),
        datapath: Datapath::Netdev,
    };
    Desired::of(container, &Rules::new(defaults), &mut Registry::default())
}

fn spec(container: &Container) -> Arc<PortSpec> {
    desired(container).specs()[0].clone().into()
}

/// The rows in short.
fn shown(state: &State) -> String {
    let line = |row: &Row| {
        let text = |it: &Option<String>| it.clone().unwrap_or("-".to_owned());
        format!(
            "{} {} {} {} since {} {} retry {}\n",
            row.name,
            text(&row.interface),
            text(&row.port),
            row.phase,
            text(&row.since),
            text(&row.error),
            text(&row.retry_at)
        )
    };
    state.rows().iter().map(line).collect()
}

fn trouble(error: &str, interfaces: &[&str], now: u64) -> Trouble {
    let interfaces = interfaces.iter().map(|name| (name.parse().unwrap(), None)).collect();
    Trouble { error: error.to_owned(), interfaces, since: at(now), retry_at: at(now + 1) }
}

#[test]
fn a_port_is_pending_then_ready_and_its_age_is_that_of_its_phase() {
    let web = container("web", &[("ovs.ip_address", "10.0.0.1/24"), ("ovs.vlan", "5")]);
    let (spec, port) = (spec(&web), "web_l".parse().unwrap());
    let mut state = State::default();
    assert!(state.pending(&spec, &port, at(1)));
    assert!(!state.pending(&spec, &port, at(2)), "no news");
    assert!(state.ready(&spec, &port, 3, at(3)));
    assert!(!state.ready(&spec, &port, 3, at(4)), "no news");
    expect![[r#"
        web eth1 web_l ready since 1970-01-01T00:00:03.000Z - retry -
    "#]]
    .assert_eq(&shown(&state));
    let latency = Latency { docker: Duration::from_micros(1_234), ..Latency::default() };
    state.attached(&spec.key, latency);
    state.ready(&spec, &port, 3, at(4));
    let row = &state.rows()[0];
    let shown = row.latency.map(|latency| latency.to_string());
    assert_eq!(shown.as_deref(), Some("0.0 ms: docker 1.2, netlink 0.0, ovsdb 0.0, ready 0.0"));
    assert_eq!((row.settings.join(" ").as_str(), row.ofport), ("tag=5", Some(3)));
    assert!(state.pending(&spec, &port, at(5)), "ovs-vswitchd has lost it");
    assert!(state.ready(&spec, &"other_l".parse().unwrap(), 4, at(6)), "another port is news");
    assert_eq!(state.forget_port(&spec.key).as_deref(), Some("web"));
    assert!(state.rows().is_empty());
}

#[test]
fn trouble_shows_on_the_interfaces_that_it_concerns_since_it_began() {
    let web = container("web", &[("ovs.ip_address", "10.0.0.1/24")]);
    let (spec, port) = (spec(&web), "web_l".parse().unwrap());
    let mut state = State::default();
    state.ready(&spec, &port, 3, at(1));
    state.retrying(&web.id, &"web".into(), trouble("first", &["eth2"], 2));
    state.retrying(&web.id, &"web".into(), trouble("no such device", &["eth2"], 3));
    expect![[r#"
        web eth1 web_l ready since 1970-01-01T00:00:01.000Z - retry -
        web eth2 - retrying since 1970-01-01T00:00:02.000Z no such device retry 1970-01-01T00:00:04.000Z
    "#]]
    .assert_eq(&shown(&state));
    // Docker does not answer: that is for all of it.
    state.retrying(&web.id, &"web".into(), trouble("silent", &[], 4));
    expect![[r#"
        web eth1 web_l retrying since 1970-01-01T00:00:02.000Z silent retry 1970-01-01T00:00:05.000Z
    "#]]
    .assert_eq(&shown(&state));
    // What an interface is to have is told even when it has nothing.
    let mut other = PortSpec::clone(&spec);
    other.key.interface = "eth3".parse().unwrap();
    let failed = vec![(other.key.interface.clone(), Some(other))];
    state.retrying(&web.id, &"web".into(), Trouble { interfaces: failed, ..trouble("x", &[], 5) });
    let rows = state.rows();
    assert_eq!(
        (rows[1].interface.as_deref(), rows[1].bridge.as_deref()),
        (Some("eth3"), Some("ovsbr0"))
    );
    state.well(&web.id);
    expect![[r#"
        web eth1 web_l ready since 1970-01-01T00:00:01.000Z - retry -
    "#]]
    .assert_eq(&shown(&state));
}

#[test]
fn a_container_that_fails_before_it_has_any_interface_is_shown_all_the_same() {
    let web = container("web", &[]);
    let mut state = State::default();
    state.retrying(&web.id, &"web".into(), trouble("silent", &[], 1));
    expect![[r#"
        web - - retrying since 1970-01-01T00:00:01.000Z silent retry 1970-01-01T00:00:02.000Z
    "#]]
    .assert_eq(&shown(&state));
}

#[test]
fn mistakes_are_one_row_and_refusals_one_for_each_interface() {
    let web = container("web", &[("ovs.mtu", "1"), ("ovs.vlan", "0")]);
    let Desired::Mistaken(mistakes) = desired(&web) else { panic!("no mistakes") };
    let host = container("host", &[]);
    let mut state = State::default();
    state.looked(&web.id, &"web".into(), None, Vec::new());
    state.denied(&web.id, Denial::mistakes(&mistakes), at(1));
    state.looked(&host.id, &"host".into(), None, Vec::new());
    state.denied(&host.id, vec![Denial::refused(None, Refusal::HostNetwork)], at(2));
    let rows = state.rows();
    let phases: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.phase)).collect();
    assert_eq!(phases, [("host", Phase::Refused), ("web", Phase::Mistaken)]);
    let error = rows[1].error.as_deref().unwrap();
    assert!(error.contains("ovs.mtu=1") && error.contains("ovs.vlan=0"), "{error}");
    state.denied(&web.id, Vec::new(), at(3));
    state.forget(&host.id);
    assert!(state.rows().is_empty());
}

#[test]
fn the_last_steps_are_remembered() {
    let web = container("web", &[]);
    let mut state = State::default();
    for second in 0..20 {
        let taken = Taken {
            at: at(second),
            interface: "eth1".parse().unwrap(),
            step: "del-link x".into(),
            took: Duration::from_millis(1),
            error: None,
        };
        state.looked(&web.id, &"web".into(), Some("shop"), vec![taken]);
    }
    state.retrying(&web.id, &"web".into(), trouble("x", &[], 1));
    let row = &state.rows()[0];
    let steps: Vec<_> = row.steps.iter().map(|taken| taken.at.clone()).collect();
    assert_eq!(steps, (12..20).map(|second| row::time(at(second))).collect::<Vec<_>>());
    assert_eq!(row.service.as_deref(), Some("shop"));
}

#[test]
fn a_port_with_something_in_its_way_is_not_ready_and_only_what_others_did_counts_for_all() {
    let mut state = State::default();
    (state.ovsdb, state.docker, state.surveyed) = (true, true, true);
    let web = spec(&container("web", &[("ovs.ip_address", "10.0.0.1/24")]));
    state.ready(&web, &"web_l".parse().unwrap(), 3, at(1));
    let hindrance = |by_container| Hindrance {
        phase: Phase::Blocked,
        reason: "nothing passes".to_owned(),
        by_container,
        since: at(2),
    };
    state.hindered(&web.key, Some(hindrance(true)));
    let row = &state.rows()[0];
    assert_eq!((row.phase, row.error.as_deref()), (Phase::Blocked, Some("nothing passes")));
    assert_eq!(row.since, Some(row::time(at(2))));
    assert_eq!(state.unready(), None);
    state.hindered(&web.key, Some(hindrance(false)));
    let unready = "ports that are blocked: 1; nothing passes";
    assert_eq!(state.unready().as_deref(), Some(unready));
    state.hindered(&web.key, None);
    assert_eq!((state.rows()[0].phase, state.unready()), (Phase::Ready, None));
    state.hindered(&web.key, Some(hindrance(false)));
    state.forget_port(&web.key);
    assert_eq!(state.unready(), None);
}

#[test]
fn ready_is_said_only_when_all_is_connected_and_listed() {
    let mut state = State::default();
    assert_eq!(state.unready().as_deref(), Some("not connected to OVSDB"));
    state.ovsdb = true;
    assert_eq!(state.unready().as_deref(), Some("not connected to Docker"));
    state.docker = true;
    assert_eq!(state.unready().as_deref(), Some("the first look at everything is not over"));
    state.surveyed = true;
    assert_eq!(state.unready(), None);
    state.instance = Instance::Standby;
    assert_eq!(state.unready().as_deref(), Some("standing by: another instance is at work"));
}

#[test]
fn metrics_count_and_name_nothing_that_labels_chose() {
    let board = Board::new();
    let web = container("web", &[("ovs.mtu", "1"), ("ovs.evil\nlabel", "0")]);
    let Desired::Mistaken(mistakes) = desired(&web) else { panic!("no mistakes") };
    board.denied(&web.id, "web", Denial::mistakes(&mistakes));
    board.denied(&web.id, "web", vec![Denial::refused(None, Refusal::HostNetwork)]);
    let good = container("good", &[("ovs.ip_address", "10.0.0.1/24")]);
    board.ready(&spec(&good), &"good_l".parse().unwrap(), 1);
    let key = spec(&good).key.clone();
    board.attached(&key, Latency { total: Duration::from_millis(6), ..Latency::default() });
    board.connection_closed(Door::Control, Closed::Stream);
    let mut rows = board.rows();
    let counters = Counters { rx_bytes: 10, ..Counters::default() };
    let good = rows.iter_mut().find(|row| row.phase == Phase::Ready).unwrap();
    (good.counters, good.service) = (Some(counters), Some("a\"b\nc".to_owned()));
    let text = exposition(&board, &rows).unwrap();
    for line in [
        "ovs_port_manager_mistakes_total{label=\"mtu\"} 1",
        "ovs_port_manager_mistakes_total{label=\"unknown\"} 1",
        "ovs_port_manager_refusals_total{reason=\"host_network\"} 1",
        "ovs_port_manager_connections_closed_total{listener=\"control\",reason=\"stream\"} 1",
        "ovs_port_manager_connections_closed_total{listener=\"http\",reason=\"idle\"} 0",
        "ovs_port_manager_ports{phase=\"ready\"} 1",
        "ovs_port_manager_attach_seconds_bucket{le=\"0.01\",part=\"total\"} 1",
        "ovs_port_manager_port_receive_bytes_total{container=\"good\",service=\"a\\\"b\\nc\",interface=\"eth1\"} 10",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("evil") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn ports_beyond_the_bound_are_counted_together() {
    let board = Board::new();
    let web = container("web", &[]);
    let row = |number: usize| Row {
        interface: Some(format!("eth{number}")),
        counters: Some(Counters::default()),
        ..Row::new(&web.id, "web", Phase::Ready)
    };
    let rows: Vec<_> = (0..1_003).map(row).collect();
    let text = exposition(&board, &rows).unwrap();
    assert!(text.contains("ovs_port_manager_ports_without_counters 3\n"), "{text}");
    let of_ports = |line: &&str| line.starts_with("ovs_port_manager_port_receive_bytes_total{");
    assert_eq!(text.lines().filter(of_ports).count(), 1_000);
}

#[test]
fn the_older_text_format_says_the_same_with_its_own_names() {
    let open = "# HELP a_build A.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
                # HELP a_bytes B.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total 5\n\
                # HELP a_ports C.\n# TYPE a_ports gauge\na_ports 2\n# EOF\n";
    expect![[r#"
        # HELP a_build_info A.
        # TYPE a_build_info gauge
        a_build_info{v="1"} 1
        # HELP a_bytes_total B.
        # TYPE a_bytes_total counter
        a_bytes_total 5
        # HELP a_ports C.
        # TYPE a_ports gauge
        a_ports 2
    "#]]
    .assert_eq(&prometheus_text(open));
}

#[test]
fn an_instance_that_stands_by_shows_nothing_of_what_it_did() {
    let board = Board::new();
    let web = container("web", &[("ovs.ip_address", "10.0.0.1/24")]);
    board.instance(Instance::Active);
    board.pending(&spec(&web), &"web_l".parse().unwrap());
    assert_eq!(board.state().rows().len(), 1);
    board.instance(Instance::Standby);
    assert!(board.state().rows().is_empty());
}
