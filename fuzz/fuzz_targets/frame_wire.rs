#![no_main]
//! See `bodies/frame_wire.rs`.

#[path = "../bodies/frame_wire.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::frame_wire(data));
