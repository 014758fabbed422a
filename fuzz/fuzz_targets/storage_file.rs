#![no_main]
//! See `bodies/storage_file.rs`.

#[path = "../bodies/storage_file.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::storage_file(data));
