//! What is said when a first connection can't be made.

use std::error::Error;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use ovsdb::tables::{Bridge, Interface};
use ovsdb::{Client, ConnectError, Endpoint, Monitor, SchemaMismatch};

use crate::lab::{Server, all_tables, quick, read_schema};

async fn refusal(endpoint: Endpoint, monitor: Monitor) -> ConnectError {
    Client::connect_with(endpoint, monitor, quick()).await.expect_err("it connected")
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(dir.path().join("no socket"));
    let error = refusal(endpoint.clone(), all_tables()).await;
    assert_eq!(error.to_string(), format!("cannot connect to {endpoint}"));
    let ConnectError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let error = refusal(Endpoint::Unix(path), all_tables()).await;
    let ConnectError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    let error = refusal(endpoint, all_tables()).await;
    let ConnectError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let server = Server::start();
    let error = refusal(server.endpoint(), Monitor::new("OVN_Southbound")).await;
    assert!(error.to_string().ends_with("refused get_schema"), "{error}");
    let source = error.source().unwrap().to_string();
    assert!(source.starts_with("unknown database: "), "{source}");
    assert!(source.contains("OVN_Southbound"), "{source}");
}

#[tokio::test]
async fn a_column_that_the_schema_lacks_is_named() {
    let mut schema = read_schema();
    let columns = schema["tables"]["Interface"]["columns"].as_object_mut().unwrap();
    columns.remove("mtu_request").unwrap();
    schema["version"] = "1.0.0".into();
    let server = Server::with_schema(&schema);
    let error = refusal(server.endpoint(), all_tables()).await;
    assert_eq!(
        error.to_string(),
        "database Open_vSwitch (schema version 1.0.0) has no column mtu_request in table Interface"
    );
    let ConnectError::Schema(SchemaMismatch::MissingColumn { table, column, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((table, column), ("Interface", "mtu_request"));
    // It is no hindrance to whoever does not need it.
    let monitor = Monitor::new("Open_vSwitch").table::<Bridge>();
    Client::connect_with(server.endpoint(), monitor, quick()).await.unwrap();
}

#[tokio::test]
async fn a_table_that_the_schema_lacks_is_named() {
    let mut schema = read_schema();
    schema["version"] = "1.0.0".into();
    schema["tables"]["Port"]["columns"].as_object_mut().unwrap().remove("interfaces");
    schema["tables"].as_object_mut().unwrap().remove("Interface").unwrap();
    let server = Server::with_schema(&schema);
    let monitor = Monitor::new("Open_vSwitch").table::<Interface>();
    let error = refusal(server.endpoint(), monitor).await;
    assert_eq!(
        error.to_string(),
        "database Open_vSwitch (schema version 1.0.0) has no table Interface"
    );
}
