//! The command line as a person meets it: help, answers, complaints, exit status. Nothing here needs root.

mod check;
mod complaints;
mod compose;
mod help;
mod program;
