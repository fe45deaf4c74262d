//! Which texts are endpoints, and what is said of the others.

use super::*;

fn error(text: &str) -> String {
    text.parse::<Endpoint>().unwrap_err().to_string()
}

#[test]
fn an_endpoint_prints_as_it_was_written() {
    for text in [
        "unix:/run/openvswitch/db.sock",
        "unix:db:1.sock",
        "tcp:127.0.0.1:6640",
        "tcp:[::1]:6640",
        "tcp:[fe80::1%eth0]:65535",
        "tcp:ovs.example.org:1",
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn brackets_are_no_part_of_an_address() {
    let host = "::1".to_owned();
    assert_eq!("tcp:[::1]:6640".parse(), Ok(Endpoint::Tcp { host, port: 6640 }));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("", r#""" is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT"#),
        (
            "/run/db.sock",
            r#""/run/db.sock" is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT"#,
        ),
        ("ptcp:6640", r#""ptcp:6640" is no OVSDB endpoint: expected unix:PATH or tcp:HOST:PORT"#),
        ("unix:", r#""unix:" lacks the path of the socket: expected unix:PATH"#),
        ("tcp::6640", r#""tcp::6640" lacks a host: expected tcp:HOST:PORT"#),
        ("tcp:h", r#""tcp:h" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#),
        ("tcp:h:0", r#""tcp:h:0" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#),
        ("tcp:h:+1", r#""tcp:h:+1" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#),
        ("tcp:h:65536", r#""tcp:h:65536" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#),
        ("tcp:[::1]", r#""tcp:[::1]" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#),
        (
            "tcp:[::1]6640",
            r#""tcp:[::1]6640" lacks a port from 1 to 65535: expected tcp:HOST:PORT"#,
        ),
        ("tcp:::1:6640", r#""tcp:::1:6640": an IPv6 address needs brackets, as in tcp:[::1]:6640"#),
        (
            "tcp:[::1:6640",
            r#""tcp:[::1:6640": an IPv6 address needs brackets, as in tcp:[::1]:6640"#,
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[cfg(feature = "ssl")]
#[test]
fn an_ssl_endpoint_takes_its_certificates() {
    let endpoint: Endpoint = "ssl:[::1]:6640".parse().unwrap();
    assert_eq!(endpoint.to_string(), "ssl:[::1]:6640");
    let tls = Tls::new("ca.pem");
    let expected = Endpoint::Ssl { host: "::1".to_owned(), port: 6640, tls: Some(tls.clone()) };
    assert_eq!(endpoint.with_tls(tls), expected);
}

#[cfg(not(feature = "ssl"))]
#[test]
fn without_the_feature_there_is_no_ssl() {
    assert_eq!(
        error("ssl:h:1"),
        r#""ssl:h:1": this program was built without ssl, only unix:PATH and tcp:HOST:PORT"#
    );
}

#[test]
fn a_list_is_separated_by_commas() {
    let list = Endpoint::parse_list("tcp:a:1, unix:/b").unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[1], Endpoint::Unix("/b".into()));
    assert!(Endpoint::parse_list("tcp:a:1,,").is_err());
}
