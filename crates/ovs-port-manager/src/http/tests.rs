use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;

use super::*;

/// Status, content type and text of an answer.
async fn ask(board: &Arc<Board>, request: Request<Body>) -> (u16, String, String) {
    let response = router(Arc::clone(board)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get(CONTENT_TYPE).map(|it| it.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: Method, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

async fn get(board: &Arc<Board>, uri: &str) -> (u16, String, String) {
    ask(board, request(Method::GET, uri)).await
}

#[tokio::test]
async fn health_and_readiness_differ() {
    let board = Arc::new(Board::new());
    assert_eq!(get(&board, "/healthz").await.0, 200);
    let (status, _, told) = get(&board, "/readyz").await;
    assert_eq!((status, told.as_str()), (503, "not connected to OVSDB\n"));
    board.ovsdb(true);
    board.docker(true);
    board.surveyed();
    assert_eq!(get(&board, "/readyz").await.2, "ready\n");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let board = Arc::new(Board::new());
    let (status, kind, text) = get(&board, "/metrics").await;
    assert_eq!((status, kind.as_str()), (200, PROMETHEUS_TEXT));
    assert!(text.contains("# TYPE ovs_port_manager_retries_total counter"), "{text}");
    let mut request = request(Method::GET, "/metrics");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    request.headers_mut().insert(ACCEPT, accept.parse().unwrap());
    let (_, kind, text) = ask(&board, request).await;
    assert_eq!(kind, OPEN_METRICS);
    assert!(text.contains("# TYPE ovs_port_manager_retries counter") && text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn ports_are_json_that_the_commands_read() {
    let board = Arc::new(Board::new());
    let (status, kind, text) = get(&board, "/api/v1/ports").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    let ports: Ports = serde_json::from_str(&text).unwrap();
    assert_eq!(ports.instance, Instance::Starting);
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_done_is_told_in_a_line() {
    let board = Arc::new(Board::new());
    let (status, _, told) = get(&board, "/api/v1/port%0As").await;
    assert_eq!(status, 404);
    assert!(told.starts_with("there is no /api/v1/port%0As; there are /metrics"), "{told}");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let (status, _, told) = ask(&board, request(method, "/api/v1/ports")).await;
        assert_eq!((status, told.as_str()), (405, "nothing can be changed here; use GET\n"));
    }
}

proptest! {
    #[test]
    fn no_path_is_too_odd(path in "(/|/api|/v1|/ports|/metrics|%[0-9a-f]{2}|[ -~]){0,12}", post: bool) {
        let method = if post { Method::POST } else { Method::GET };
        let uri = format!("/{path}");
        // What is no URI at all is hyper's to refuse.
        prop_assume!(uri.parse::<Uri>().is_ok() && !path.contains("events"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (status, _, told) =
            runtime.block_on(ask(&Arc::new(Board::new()), request(method, &uri)));
        prop_assert!([200, 404, 405, 503].contains(&status), "{uri}: {status}");
        if status >= 400 {
            prop_assert_eq!(told.lines().count(), 1, "{}: {}", uri, told);
        }
    }
}
