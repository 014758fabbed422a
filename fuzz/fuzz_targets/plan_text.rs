#![no_main]
//! See `bodies/plan_text.rs`.

#[path = "../bodies/plan_text.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::plan_text(data));
