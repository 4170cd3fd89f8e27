//! A file of arguments, and what `train` makes of them.
#![no_main]

use clap::{Args, FromArgMatches};
use normscape::cli::expand::expand;
use normscape::cli::train_options::TrainOptions;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = normscape_fuzz::file("arguments", data);
    let at = format!("@{}", path.display());
    let Ok(args) = expand(["train".into(), at.into()]) else { return };
    let table = TrainOptions::augment_args(clap::Command::new("train"));
    let Ok(matches) = table.try_get_matches_from(args) else { return };
    let Ok(options) = TrainOptions::from_arg_matches(&matches) else { return };
    if let Ok(settings) = options.settings("f32") {
        let _ = settings.network();
    }
});
