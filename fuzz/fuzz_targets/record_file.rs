#![no_main]
//! See `bodies/record_file.rs`.

#[path = "../bodies/record_file.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::record_file(data));
