//! What is shipped beside the program, used as an operator uses it: the container image by its compose file, the
//! examples by Docker Compose, the dashboard and the alert rules by a real Prometheus.
//!
//! The Debian package has a check of its own, `make check-deb`, which needs a systemd.

mod dashboard;
mod examples;
mod image;
mod install;
mod stage;
