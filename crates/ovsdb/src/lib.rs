//! (written in the next steps)
