//! The protocol core.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
pub mod machine;
pub mod time;
