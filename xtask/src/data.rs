//! Finds what some tests read but the repository does not contain: the CIFAR-10 images and the golden cases.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The possible places of this optional material, relative to the repository's root: next to it, or inside it.
const PLACES: [&str; 2] = ["../shared", "shared"];

/// The folder for `NORMSCAPE_DATA`: the environment's, or the one into which the material's own script unpacks, in the target folder. `Err`
/// says why there is none.
pub fn cifar10() -> Result<PathBuf, String> {
    if let Some(given) = given("NORMSCAPE_DATA") {
        return Ok(given);
    }
    let script = find("data/unpack.py").ok_or("not set, and no data set lies beside the repository")?;
    let out = crate::target().join("data");
    let status = Command::new(crate::python::venv_with(&["pillow"])?)
        .arg(&script)
        .arg(&out)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("cannot start python3: {e}"))?;
    if !status.success() {
        return Err(format!("{} ended with {status}", script.display()));
    }
    Ok(out)
}

/// The folder for `NORMSCAPE_GOLDEN`.
pub fn golden() -> Result<PathBuf, String> {
    given("NORMSCAPE_GOLDEN")
        .or_else(|| find("golden"))
        .ok_or_else(|| "not set, and no golden cases lie beside the repository".into())
}

/// The path in this environment variable, if it is set.
pub fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = PLACES.iter().map(|place| crate::root().join(place).join(name)).find(|path| path.exists())?;
    Some(path.canonicalize().unwrap_or(path))
}
