use std::net::SocketAddr;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::routing::get;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::board::exposition;

/// More than it takes on a busy machine, and less than it takes until time alone closes a connection.
const SOON: Duration = Duration::from_secs(4);

/// What serves, its address and its board.
struct Server {
    address: SocketAddr,
    board: Arc<Board>,
    /// Lets an answer of `/slow` go.
    go: Arc<Notify>,
    serves: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let go = Arc::new(Notify::new());
        let slow = Arc::clone(&go);
        // More than the buffers of two sockets hold.
        let large = Bytes::from(vec![b'x'; 16 << 20]);
        let endless = || async {
            (
                Extension(Endless),
                Body::from_stream(futures_util::stream::pending::<io::Result<&str>>()),
            )
        };
        let router = Router::new()
            .route("/small", get(|| async { "small" }))
            .route("/large", get(move || async move { large }))
            .route("/endless", get(endless))
            .route(
                "/slow",
                get(move || {
                    let slow = Arc::clone(&slow);
                    async move { slow.notified().await }
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let board = Arc::new(Board::new());
        let serves = tokio::spawn(serve(listener, Door::Http, Arc::clone(&board), router));
        Self { address, board, go, serves }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Connections that ask for the same and whose answer has begun.
    async fn fill(&self, number: usize, path: &str) -> Vec<TcpStream> {
        let mut streams = Vec::new();
        for _ in 0..number {
            let stream = self.ask(path).await;
            timeout(SOON, stream.readable()).await.unwrap().unwrap();
            streams.push(stream);
        }
        streams
    }

    fn closed(&self, why: &str) -> u64 {
        let text = exposition(&self.board, &[]).unwrap();
        let name = "ovs_port_manager_connections_closed_total{listener=\"http\",reason=";
        let start = format!("{name}\"{why}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    }
}

/// All that comes until the other side ends.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("an end");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_connection_is_for_one_request() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let request = "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    stream.write_all(request.as_bytes()).await.unwrap();
    let told = read(&mut stream).await;
    assert_eq!(told.matches("HTTP/1.1 200 OK").count(), 1, "{told}");
    assert!(told.contains("connection: close\r\n") && told.ends_with("small"), "{told}");
}

#[tokio::test]
async fn who_asks_for_nothing_gives_way_and_is_told_when_to_come_back() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..PLACES {
        idle.push(server.connect().await);
    }
    assert!(read(&mut server.ask("/small").await).await.ends_with("small"));
    let told = read(&mut idle[0]).await;
    for part in ["HTTP/1.1 503 ", "\r\nRetry-After: 1\r\n", "\r\nConnection: close\r\n"] {
        assert!(told.contains(part), "{told}");
    }
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{told}");
    assert_eq!(server.closed("idle"), 1);
}

#[tokio::test]
async fn who_does_not_read_its_answer_gives_way() {
    let server = Server::start().await;
    let _unread = server.fill(PLACES, "/large").await;
    for _ in 0..3 {
        assert!(read(&mut server.ask("/small").await).await.ends_with("small"));
    }
    // One that has just ended may still count: that is one more to give way, not more.
    assert!((1..=3).contains(&server.closed("unread")), "{}", server.closed("unread"));
}

#[tokio::test]
async fn a_newcomer_waits_while_all_others_are_about_to_be_answered() {
    let server = Server::start().await;
    let mut slow = Vec::new();
    for _ in 0..PLACES {
        slow.push(server.ask("/slow").await);
    }
    let mut newcomer = server.ask("/small").await;
    assert!(timeout(Duration::from_millis(300), newcomer.readable()).await.is_err());
    server.go.notify_one();
    assert!(read(&mut newcomer).await.ends_with("small"));
    assert_eq!(["idle", "unread", "unanswered"].map(|why| server.closed(why)), [0; 3]);
}

#[tokio::test]
async fn the_oldest_stream_gives_way_to_a_new_one() {
    let server = Server::start().await;
    let mut streams = server.fill(super::super::places::STREAMS, "/endless").await;
    let mut more = server.fill(1, "/endless").await;
    assert!(read(&mut streams[0]).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(server.closed("stream"), 1);
    // Nobody is let into the stream's place by HEAD, which has no body.
    let mut head = server.connect().await;
    head.write_all(b"HEAD /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(read(&mut head).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(server.closed("stream"), 1);
    streams.append(&mut more);
}
