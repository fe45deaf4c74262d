//! Requests that a hostile page has a browser make. The browser is trusted with saying for whom it asks.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::HostNames;

/// Where a browser says that a request is from (Fetch Metadata, W3C).
const SITE: &str = "sec-fetch-site";

const UNKNOWN_HOST: &str = "this is not the host of that name; ask by its IP address, as localhost, by its host name, \
or by a name that its option http_hosts lists\n";
const OTHER_PAGE: &str = "a page of another origin asks; there is nothing here for it\n";

/// Refuses requests that a page of another origin causes, and those that name another host than this one: a browser that
/// has been brought here by a page's own name (DNS rebinding) sends that name.
pub(super) async fn refuse(
    State(hosts): State<Arc<HostNames>>,
    request: Request,
    next: Next,
) -> Response {
    match complaint(request.headers(), &hosts) {
        Some(told) => (StatusCode::FORBIDDEN, told).into_response(),
        None => next.run(request).await,
    }
}

fn complaint(headers: &HeaderMap, hosts: &HostNames) -> Option<&'static str> {
    // A page of this host's would have none for GET, and there is no such page.
    let elsewhere = |site: &[u8]| !matches!(site, b"none" | b"same-origin");
    let mut sites = headers.get_all(SITE).iter();
    if headers.contains_key(ORIGIN) || sites.any(|site| elsewhere(site.as_bytes())) {
        return Some(OTHER_PAGE);
    }
    // Each of them, as somebody on the way may have believed any; none is not known, either.
    let known = |host: &HeaderValue| host.to_str().is_ok_and(|host| is_known(host, hosts));
    let is_named = headers.contains_key(HOST) && headers.get_all(HOST).iter().all(known);
    (!is_named).then_some(UNKNOWN_HOST)
}

/// Whether a request may name a host like this: by an IP address, as localhost, by this machine's own name, or by one
/// that the configuration lists.
fn is_known(host: &str, hosts: &HostNames) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let own = rustix::system::uname();
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || own.nodename().to_str().is_ok_and(|own| own.eq_ignore_ascii_case(name))
        || hosts.0.iter().any(|host| host.as_str().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> HostNames {
        HostNames(vec!["metrics.example".parse().unwrap()])
    }

    #[test]
    fn a_host_is_known_by_address_as_localhost_by_its_own_name_and_by_configured_ones() {
        let uname = rustix::system::uname();
        let own = uname.nodename().to_str().unwrap();
        let named = format!("{own}:9472");
        for known in [
            "127.0.0.1:9472",
            "192.0.2.1",
            "[::1]:9472",
            "localhost",
            "LOCALHOST:9472",
            "metrics.example",
            "Metrics.Example:9472",
            own,
            &named,
        ] {
            assert!(is_known(known, &hosts()), "{known}");
        }
        for unknown in [
            "",
            "evil.example:9472",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:evil",
            "metrics.example.evil",
            "sub.metrics.example",
        ] {
            assert!(!is_known(unknown, &hosts()), "{unknown}");
        }
    }

    #[test]
    fn a_browser_is_answered_only_if_no_page_of_another_origin_asks() {
        let told = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "localhost:9472".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            complaint(&headers, &hosts())
        };
        assert_eq!(told("accept", "*/*"), None);
        for site in ["none", "same-origin"] {
            assert_eq!(told(SITE, site), None, "{site}");
        }
        for site in ["cross-site", "same-site", "another word"] {
            assert_eq!(told(SITE, site), Some(OTHER_PAGE), "{site}");
        }
        for origin in ["http://evil.example", "http://localhost:8080", "null"] {
            assert_eq!(told("origin", origin), Some(OTHER_PAGE), "{origin}");
        }
        assert_eq!(complaint(&HeaderMap::new(), &hosts()), Some(UNKNOWN_HOST));
        let mut two = HeaderMap::new();
        for host in ["localhost", "evil.example"] {
            two.append(HOST, host.parse().unwrap());
        }
        assert_eq!(complaint(&two, &hosts()), Some(UNKNOWN_HOST));
    }
}
