//! A batch file of CIFAR-10's Python version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = normscape::data::cifar10::fuzzing::pickle(data);
});
