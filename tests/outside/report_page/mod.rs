//! A report in a browser: headless Chromium, driven by `drive.py` with Selenium in the Python of `NORMSCAPE_PYTHON` (or `python3`). The
//! checks are in `checks.py` (interactive panels), `claims.py` and `reading.py`; each is a trial here.
//!
//! Without Chromium or Selenium, they are reported as ignored, with the reason. Under `CI=true` that is a failure. `cargo xtask test`
//! prepares the Python. The page, screenshots and the printed page are left in `target/tmp/report_page`.

mod sample;

use libtest_mimic::{Completion, Failed, Trial};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The checks, as `drive.py` calls them.
const CHECKS: [&str; 27] = [
    "the_first_screen_answers_the_question",
    "claims_are_read_at_a_glance",
    "hostile_words_are_words",
    "choices_draw_their_data",
    "choices_without_data_give_way",
    "what_is_shown_at_first_is_chosen_by_the_page",
    "scales_are_switched",
    "the_legend_hides_series",
    "every_style_is_seen",
    "any_address_opens_the_report",
    "an_axis_is_called_by_what_is_chosen",
    "values_are_shown_as_a_table",
    "arrows_move_along_the_values",
    "one_press_reads_every_series",
    "the_pointer_reads_values",
    "ridges_are_read_by_step_and_bin",
    "claims_are_filtered",
    "the_theme_is_toggled_everywhere",
    "every_control_is_reached_by_tab",
    "nothing_is_wider_than_the_page",
    "a_wide_table_keeps_names_in_sight",
    "everything_has_a_name",
    "text_stands_out_from_the_page",
    "it_prints",
    "it_reads_without_a_script",
    "pictures_are_taken",
    "nothing_is_logged_or_fetched",
];

/// What the browser said: for each check nothing, or what is wrong.
enum Outcome {
    Ran(BTreeMap<String, Option<String>>),
    /// Why it could not be started.
    Missing(String),
    Broken(String),
}

/// The exit code by which `drive.py` says that something is not installed.
const MISSING: i32 = 77;

fn drive() -> Result<Outcome, std::io::Error> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report_page");
    std::fs::create_dir_all(&folder)?;
    let page = folder.join("report.html");
    std::fs::write(&page, sample::page().html())?;
    let python = std::env::var_os("NORMSCAPE_PYTHON").filter(|p| !p.is_empty()).unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/report_page/drive.py");
    let started = Command::new(&python).arg("-B").arg(script).args([&page, &folder]).stdin(Stdio::null()).output();
    let output = match started {
        Ok(output) => output,
        Err(e) => return Ok(Outcome::Missing(format!("{}: {e}", python.display()))),
    };
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.code() == Some(MISSING) {
        return Ok(Outcome::Missing(said));
    }
    Ok(match serde_json::from_slice(&output.stdout) {
        Ok(results) => Outcome::Ran(results),
        Err(_) => Outcome::Broken(format!("drive.py ended with {}:\n{said}", output.status)),
    })
}

fn check(name: &str) -> Result<Completion, Failed> {
    // One browser serves all.
    static OUTCOME: OnceLock<Result<Outcome, String>> = OnceLock::new();
    match OUTCOME.get_or_init(|| drive().map_err(|e| e.to_string())) {
        Ok(Outcome::Ran(results)) => match results.get(name) {
            Some(None) => Ok(Completion::Completed),
            Some(Some(wrong)) => Err(wrong.into()),
            None => Err("drive.py did not run it".into()),
        },
        Ok(Outcome::Missing(reason)) if std::env::var("CI").is_ok_and(|ci| ci == "true") => Err(reason.into()),
        Ok(Outcome::Missing(reason)) => Ok(Completion::ignored_with(reason.clone())),
        Ok(Outcome::Broken(reason)) | Err(reason) => Err(reason.into()),
    }
}

pub fn trials() -> Vec<Trial> {
    CHECKS.map(|name| Trial::ignorable_test(format!("report_page::{name}"), move || check(name))).into()
}
