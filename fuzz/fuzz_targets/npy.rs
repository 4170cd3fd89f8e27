//! One array as an `.npz` file holds it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(array) = normscape::files::fuzzing::npy(data) {
        assert_eq!(array.shape.iter().product::<usize>(), array.len());
    }
});
