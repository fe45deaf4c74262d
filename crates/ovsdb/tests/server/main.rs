//! The client against a real `ovsdb-server`, judged by `ovs-vsctl`, and against servers that the
//! tests play where a real one would not do what is asked of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test that is how to fail, in its functions without #[test] as well"
)]

mod cluster;
mod cluster_lab;
mod connecting;
mod fake;
mod group_commit;
mod lab;
mod locks;
mod reconnecting;
mod replica;
mod requests;
mod restarts;
mod ssl;
mod transactions;
