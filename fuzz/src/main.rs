//! One program for every target: `KPIPE_FUZZ_TARGET` names the one that libFuzzer drives.
//! `fuzz/run` builds and starts it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
mod targets;

static TARGET: LazyLock<&targets::Target> = LazyLock::new(|| {
    let name = std::env::var("KPIPE_FUZZ_TARGET").unwrap_or_default();
    let known: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
    let found = targets::TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("KPIPE_FUZZ_TARGET is `{name}`; known are {known:?}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
