//! An archive of CIFAR-10's batch files, packed or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = normscape_fuzz::file("cifar-10.tar.gz", data);
    let _ = normscape::data::cifar10::fuzzing::archive(&path);
});
