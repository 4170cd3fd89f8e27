//! The JSON files of a checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    normscape_fuzz::file("state.json", data);
    normscape_fuzz::file("manifest.json", data);
    let _ = normscape::train::checkpoint::state_of(normscape_fuzz::folder());
    let _ = normscape::train::checkpoint::manifest_holds(normscape_fuzz::folder());
});
