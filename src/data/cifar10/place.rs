//! Which form of CIFAR-10 a path has, and where the set is looked for by default.

use std::env;
use std::path::{Path, PathBuf};

use super::batch_file::{Form, NAMES};
use super::{archive, folder};
use crate::files::disk;
use crate::files::lookup::{Kind, kind};
use crate::{Error, Result};

/// How the six batch files are stored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Folder(PathBuf, Form),
    Archive(PathBuf),
}

impl Layout {
    /// The folder or archive that holds the batch files.
    pub(super) fn path(&self) -> &Path {
        match self {
            Layout::Folder(path, _) | Layout::Archive(path) => path,
        }
    }

    /// The name of this layout.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Layout::Folder(_, Form::Binary) => "folder of .bin files",
            Layout::Folder(_, Form::Python) => "folder of Python pickles",
            Layout::Archive(_) => "archive",
        }
    }

    /// Why this cannot be the whole set: a file is missing or cut short. For an archive that is found only by reading it.
    fn incomplete(&self) -> Result<Option<Error>> {
        match self {
            Layout::Folder(folder, form) => folder::incomplete(folder, *form),
            Layout::Archive(_) => Ok(None),
        }
    }
}

/// Where a set was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The layout to read.
    pub(super) layout: Layout,
    /// The first candidate, if it was passed over because it is incomplete: where it is, and what it lacks.
    pub(super) passed_over: Option<String>,
    /// Other complete sets, in case this one is wrong.
    pub(super) others: Vec<PathBuf>,
}

impl Found {
    /// An error about the layout to read, with the other sets added to its message.
    pub(super) fn with_others(&self, error: Error) -> Error {
        match (error, self.others.first()) {
            (Error::Input { place, problem, remedy }, Some(other)) => {
                Error::input(place, problem, format!("{remedy}, or give {}, which is there too", other.display()))
            }
            (error, _) => error,
        }
    }
}

/// The folders that the archives unpack to.
const FOLDERS: [&str; 2] = ["cifar-10-batches-bin", "cifar-10-batches-py"];
/// The archives' names: as published, and as Keras 2 and Keras 3 store them.
const ARCHIVES: [&str; 4] = [
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py.tar.gz",
    "cifar-10-batches-py-target_archive",
];
/// The published archives' lengths.
const PUBLISHED: [u64; 2] = [170_052_171, 170_498_071];
/// The endings of files that are still being downloaded.
const ARRIVING: [&str; 7] = [".part", ".partial", ".crdownload", ".download", ".opdownload", ".aria2", ".tmp"];

/// Finds the set at `path`: in the folder itself, in a folder below it, or in an archive. `None` where nothing looks like it. The first
/// complete candidate is taken. If none is complete, a folder with a single batch file is enough, so that the missing file is named later.
pub(super) fn locate(path: &Path) -> Result<Option<Found>> {
    let alone = |layout| Found { layout, passed_over: None, others: Vec::new() };
    match kind(path)? {
        None => return Ok(None),
        Some(Kind::File(_)) => return Ok(Some(alone(Layout::Archive(path.to_owned())))),
        Some(Kind::Other) => return Err(Error::file(path, "is neither a file nor a folder", SAY)),
        Some(Kind::Folder) => {}
    }
    let mut candidates = Vec::new();
    for folder in folders(path)? {
        candidates.extend(forms(&folder)?.into_iter().map(|form| Layout::Folder(folder.clone(), form)));
    }
    let own = candidates.first().is_some_and(|first| first.path() == path);
    candidates.extend(archives(path)?.into_iter().map(Layout::Archive));
    let mut lacks = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        lacks.push(candidate.incomplete()?);
    }
    if candidates.is_empty() {
        return Ok(None);
    }
    let chosen = lacks.iter().position(Option::is_none).unwrap_or(0);
    let passed_over = match lacks.swap_remove(0) {
        Some(Error::Input { place, problem, .. }) if chosen > 0 => Some(format!("{place}: {problem}")),
        _ => None,
    };
    let layout = candidates.remove(chosen);
    let whole = |other: &Layout| matches!(other.incomplete(), Ok(None)) && other.path() != layout.path();
    let mut others: Vec<PathBuf> =
        candidates.iter().filter(|other| whole(other)).map(|other| other.path().to_owned()).collect();
    if own && others.is_empty() {
        // A folder of batch files that was given itself: the archive that it came from may lie beside it.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        others.extend(archives(parent).unwrap_or_default());
    }
    Ok(Some(Found { layout, passed_over, others }))
}

/// Whether a name is one that CIFAR-10 is usually stored under: `cifar-10-…` or `cifar10`, in upper case too.
fn telling(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    plain.starts_with("cifar10") && !plain.starts_with("cifar100")
}

/// The entries of a folder with such names, sorted. Empty where the folder cannot be listed; it may still be possible to enter it.
fn entries(folder: &Path) -> Vec<PathBuf> {
    disk::list_dir(folder).unwrap_or_default().into_iter().filter(|path| telling(path)).collect()
}

/// The folders to search for batch files: `path`, the folders that the archives unpack to, and others with similar names, up to two levels
/// below, as Keras 3 and Windows' "extract all" leave them.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![path.to_owned()];
    let mut add = |folder: PathBuf| -> Result<bool> {
        let fresh = kind(&folder)? == Some(Kind::Folder) && !all.contains(&folder);
        if fresh {
            all.push(folder);
        }
        Ok(fresh)
    };
    for folder in FOLDERS.map(|name| path.join(name)) {
        add(folder)?;
    }
    for below in entries(path) {
        if kind(&below)? == Some(Kind::Folder) {
            add(below.clone())?;
            for deeper in entries(&below) {
                add(deeper)?;
            }
        }
    }
    Ok(all)
}

/// The archives in a folder: first those with their usual names, then others with similar names whose content is an archive, such as
/// `cifar-10-binary (1).tar.gz`. An archive of the published length comes before others.
fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let usual = ARCHIVES.map(|name| folder.join(name));
    for (path, known) in
        usual.into_iter().map(|path| (path, true)).chain(entries(folder).into_iter().map(|p| (p, false)))
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let arriving = ARRIVING.iter().any(|end| name.ends_with(end));
        let Some(Kind::File(bytes)) = kind(&path)? else { continue };
        let listed = all.iter().any(|(other, _)| *other == path);
        if !listed && !arriving && (known || archive::is_one(&path)) {
            all.push((path, PUBLISHED.contains(&bytes)));
        }
    }
    all.sort_by_key(|(_, published)| !published);
    Ok(all.into_iter().map(|(path, _)| path).collect())
}

/// The forms of which `folder` holds at least one batch file.
fn forms(folder: &Path) -> Result<Vec<Form>> {
    let mut forms = Vec::new();
    for form in [Form::Binary, Form::Python] {
        for name in NAMES {
            if folder::find(folder, name, form)?.is_some() {
                forms.push(form);
                break;
            }
        }
    }
    Ok(forms)
}

const SAY: &str = "give the folder with data_batch_1.bin … test_batch.bin (or the Python version's), its parent, or \
                   cifar-10-binary.tar.gz; `normscape data fetch` downloads it";

/// The error for a path that holds no CIFAR-10.
pub(super) fn nothing_at(path: &Path) -> Error {
    let there = matches!(kind(path), Ok(Some(_)));
    Error::file(path, if there { "holds no CIFAR-10 batch files" } else { "does not exist" }, SAY)
}

/// The folder of downloads: `~/.cache/normscape`. `None` without a home.
pub fn cache_folder() -> Option<PathBuf> {
    Some(home()?.join(".cache/normscape"))
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> Option<PathBuf> {
    set("HOME")
}

/// The place that `NORMSCAPE_DATA` names.
pub fn named_by_environment() -> Option<PathBuf> {
    set("NORMSCAPE_DATA")
}

/// The folders in which CIFAR-10 is looked for by default, in this order: `data`, `target/data`, [`cache_folder`], and Keras's `datasets`
/// (in `KERAS_HOME`, or `~/.keras`).
pub fn usual_places() -> Vec<PathBuf> {
    let keras = set("KERAS_HOME").or_else(|| Some(home()?.join(".keras")));
    let at_home = [cache_folder(), keras.map(|keras| keras.join("datasets"))];
    ["data", "target/data"].map(PathBuf::from).into_iter().chain(at_home.into_iter().flatten()).collect()
}

/// [`usual_places`] in words, for messages.
pub fn usual_places_in_words() -> String {
    let places: Vec<String> = usual_places().iter().map(|path| path.display().to_string()).collect();
    match places.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => places.concat(),
    }
}

/// Where CIFAR-10 is: `explicit`, else the place that `NORMSCAPE_DATA` names, else the first of [`usual_places`] that holds the whole set,
/// else the first that holds a part of it.
///
/// The first two are returned unchecked: if they are wrong, [`load`](super::load()) says how.
pub fn find(explicit: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = explicit {
        return Some(path.to_owned());
    }
    named_by_environment().or_else(|| first_whole(usual_places()))
}

/// The first place that holds the whole set, else the first that holds a part of it.
fn first_whole(places: Vec<PathBuf>) -> Option<PathBuf> {
    let mut part = None;
    for place in places {
        match locate(&place) {
            Ok(Some(found)) if matches!(found.layout.incomplete(), Ok(None)) => return Some(place),
            Ok(Some(_)) => drop(part.get_or_insert(place)),
            _ => {}
        }
    }
    part
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
