//! Any bytes in any pieces: no panic, and the pieces make no difference.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ovsdb::fuzzing::decode(input));
