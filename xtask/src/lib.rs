//! What the repository generates for itself, as functions that `cargo xtask` and tests call.

pub mod codegen;
pub mod docs;
