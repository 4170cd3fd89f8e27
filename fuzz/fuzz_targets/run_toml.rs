//! The record of a run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    normscape_fuzz::file("run.toml", data);
    if let Ok((_, record)) = normscape::train::run_folder::RunFolder::open(normscape_fuzz::folder()) {
        let mut settings = record.settings;
        if settings.resolve().is_ok() {
            // A network whose description is as large as the file likes is refused before it is made.
            let _ = settings.network();
        }
    }
});
