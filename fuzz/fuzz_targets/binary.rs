//! A batch file of CIFAR-10's binary version, plain or packed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = normscape::data::cifar10::fuzzing::binary(data);
});
