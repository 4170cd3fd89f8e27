//! What the environment asks of the stand-in: `STAND_IN` holds words that blanks part, `STAND_IN_LOG` names the file of breaches.

use std::path::PathBuf;

/// What is asked for. The words are:
///
/// - `FUNCTION=CODE`: each call of that function gives the code, and nothing is done; `FUNCTION@N=CODE`: its N-th call, from 1. What lets
///   something go does so all the same: CUDA gives back errors of earlier work there. `cuStreamEndCapture` ends what is recorded.
/// - `device=`: only calls on this device's context are counted for that, and fail
/// - `version=`, `count=`, `capability=`, `multiprocessors=`, `card=`: what it tells of the driver and the devices
/// - `free=`: MiB of memory of each device
/// - `refuse=CODE`: what the build has compiled is not loaded, and gives the code; what a test's own compiler made is
/// - `clusters=0`: no cluster of blocks fits the device
/// - `seed=`: another order of a graph's nodes, among those that its edges allow
/// - `strict=1`: a breach or a leak ends the process with exit code 77
#[derive(Debug, Clone, Default)]
pub struct Settings {
    words: Vec<(String, String)>,
    /// Where breaches and the report at the end are appended; without it they go to standard error.
    pub log: Option<PathBuf>,
}

impl Settings {
    /// Those of these words.
    pub fn of(text: &str, log: Option<PathBuf>) -> Settings {
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings { words: text.split_whitespace().filter_map(pair).collect(), log }
    }

    /// Those of the environment.
    pub fn from_environment() -> Settings {
        let words = std::env::var("STAND_IN").unwrap_or_default();
        Settings::of(&words, std::env::var_os("STAND_IN_LOG").map(PathBuf::from))
    }

    /// What stands after `name=`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.words.iter().find(|(word, _)| word == name).map(|(_, value)| value.as_str())
    }

    /// The number after `name=`, or `usual`.
    pub fn number(&self, name: &str, usual: i32) -> i32 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(usual)
    }

    /// The code that the `call`-th call of `function` must give.
    pub fn fault(&self, function: &str, call: u64) -> Option<u32> {
        let asked = self.text(&format!("{function}@{call}")).or_else(|| self.text(function));
        asked.and_then(|code| code.parse().ok()).filter(|&code| code != 0)
    }
}
