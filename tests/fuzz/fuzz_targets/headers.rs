//! libFuzzer entry of `targets::headers`.
#![no_main]
#![allow(dead_code)] // the other targets of the shared file

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::headers(data));
