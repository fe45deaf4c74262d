//! Any bytes as a switch's answers, in any pieces: no panic, and the pieces make no difference.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| openflow::fuzzing::answers(input));
