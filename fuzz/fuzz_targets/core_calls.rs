#![no_main]
//! See `bodies/core_calls.rs`.

#[path = "../bodies/core_calls.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::core_calls(data));
