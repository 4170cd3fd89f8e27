//! An archive of arrays.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = normscape_fuzz::file("case.npz", data);
    if let Ok(arrays) = normscape::files::npz::read(&path) {
        for array in arrays.values() {
            assert_eq!(array.shape.iter().product::<usize>(), array.len());
        }
    }
});
