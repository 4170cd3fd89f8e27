//! A file of parameters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = normscape_fuzz::file("parameters.safetensors", data);
    if let Ok((arrays, _)) = normscape::files::safetensors::read(&path) {
        for array in arrays.values() {
            assert_eq!(array.shape.iter().product::<usize>(), array.len());
        }
    }
});
