//! (written in the next steps)
fn main() {}
