//! No file of a room imports a file that imports it, directly or through others.

use super::{all, paths};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Circles that stay, by one of their files, with the reason.
const KEPT: [(&str, &str); 0] = [];

/// A file's module.
struct Module {
    file: String,
    /// `["train", "run_folder"]`
    at: Vec<String>,
    paths: Vec<paths::Path>,
    /// Words of the code outside paths.
    words: Vec<String>,
}

struct Modules {
    all: Vec<Module>,
    by_path: HashMap<Vec<String>, usize>,
}

impl Modules {
    fn read() -> Self {
        let module = |(path, _, text): (std::path::PathBuf, String, String)| {
            let file = path.to_string_lossy().into_owned();
            let mut at: Vec<String> =
                path.with_extension("").iter().map(|w| w.to_string_lossy().into_owned()).collect();
            at.pop_if(|last| ["mod", "lib"].contains(&last.as_str()));
            let (paths, words) = paths::read(&text);
            Module { file, at, paths, words }
        };
        let all: Vec<Module> = all().into_iter().map(module).collect();
        let by_path = all.iter().enumerate().map(|(index, module)| (module.at.clone(), index)).collect();
        Modules { all, by_path }
    }

    /// The file that defines what `words` name in a module's file; none for what another crate has, and for a module as such.
    fn definer(&self, module: usize, words: &[String]) -> Option<usize> {
        let [first, rest @ ..] = words else { return None };
        match first.as_str() {
            "crate" => self.inside(self.by_path[&vec![]], rest, 0),
            "self" => self.inside(module, rest, 0),
            "super" => self.inside(self.parent(module), rest, 0),
            _ => self.named(module, first, rest, 0).flatten(),
        }
    }

    fn parent(&self, module: usize) -> usize {
        let at = &self.all[module].at;
        self.by_path[&at[..at.len() - 1]]
    }

    /// What `words` name in a module: a child's, what it imports, or its own.
    fn inside(&self, module: usize, words: &[String], depth: usize) -> Option<usize> {
        let [first, rest @ ..] = words else { return None };
        if first == "super" {
            return self.inside(self.parent(module), rest, depth);
        }
        self.named(module, first, rest, depth).unwrap_or(Some(module))
    }

    /// The same, where the first word is a child's or an import's name.
    fn named(&self, module: usize, first: &String, rest: &[String], depth: usize) -> Option<Option<usize>> {
        let here = &self.all[module];
        let child = [here.at.as_slice(), std::slice::from_ref(first)].concat();
        if let Some(child) = self.by_path.get(&child) {
            return Some(self.inside(*child, rest, depth));
        }
        let import = here.paths.iter().find(|path| path.name.as_ref() == Some(first))?;
        assert!(depth < 9, "{}: {} leads nowhere", here.file, import.words.join("::"));
        let whole = [import.words.as_slice(), rest].concat();
        let [start, tail @ ..] = whole.as_slice() else { return None };
        Some(match start.as_str() {
            "crate" => self.inside(self.by_path[&vec![]], tail, depth + 1),
            "self" => self.inside(module, tail, depth + 1),
            "super" => self.inside(self.parent(module), tail, depth + 1),
            _ if *start == *first => None,
            _ => self.named(module, start, tail, depth + 1).flatten(),
        })
    }

    /// The files of its room that each file takes something from, with what it takes.
    fn arrows(&self) -> BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>> {
        let mut arrows: BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>> = BTreeMap::new();
        for (from, module) in self.all.iter().enumerate() {
            for path in &module.paths {
                // What is only handed on is taken by whoever names it.
                if path.public && !path.name.as_ref().is_some_and(|name| module.words.contains(name)) {
                    continue;
                }
                let Some(to) = self.definer(from, &path.words) else { continue };
                if to != from && self.all[to].at.first() == module.at.first() {
                    arrows.entry(from).or_default().entry(to).or_default().insert(path.words.join("::"));
                }
            }
        }
        arrows
    }
}

#[test]
fn no_two_files_of_a_room_import_each_other() {
    let modules = Modules::read();
    let arrows = modules.arrows();
    let count: usize = arrows.values().map(BTreeMap::len).sum();
    assert!(count > 300, "only {count} imports were found: is the search right?");

    // What each file reaches, over any number of others.
    let reach = |from: usize| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            open.extend(arrows.get(&at).into_iter().flat_map(BTreeMap::keys).filter(|to| reached.insert(**to)));
        }
        reached
    };
    let reached: Vec<BTreeSet<usize>> = (0..modules.all.len()).map(reach).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for file in 0..modules.all.len() {
        let circle: Vec<usize> =
            reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
        if circle.len() < 2 || !seen.insert(circle.clone()) {
            continue;
        }
        let names: Vec<&str> = circle.iter().map(|file| modules.all[*file].file.as_str()).collect();
        if KEPT.iter().any(|(kept, _)| names.contains(kept)) {
            continue;
        }
        let mut lines = vec![format!("{} files import each other:", circle.len())];
        for from in &circle {
            for (to, what) in arrows[from].iter().filter(|(to, _)| circle.contains(to)) {
                let what: Vec<&str> = what.iter().map(String::as_str).collect();
                lines.push(format!(
                    "  {} takes {} from {}",
                    modules.all[*from].file,
                    what.join(", "),
                    modules.all[*to].file
                ));
            }
        }
        circles.push(lines.join("\n"));
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
