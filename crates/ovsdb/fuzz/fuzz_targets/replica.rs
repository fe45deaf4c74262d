//! Updates in any order: no panic, and indexes and subscribers agree with the rows.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ovsdb::fuzzing::fold(input));
