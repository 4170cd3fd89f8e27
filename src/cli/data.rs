//! `normscape data fetch | inspect | sample`

use super::progress::Bytes;
use super::sheet::{self, Format};
use super::{Answer, Globals, interrupt, values};
use crate::data::cifar10::{self, Inspection};
use crate::data::gaussian::GaussianSet;
use crate::data::image_set::{CLASSES, ImageSet, Images, Standardisation};
use crate::data::{fetch, images};
use crate::report::{Cell, Table, significant};
use crate::train::Settings;
use crate::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Subcommands of `data`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Download CIFAR-10 (162 MiB); a stopped download is continued, and the file is checked
    Fetch {
        /// Where to download the archive from
        #[arg(long, value_name = "URL", default_value = fetch::URL)]
        url: String,
        /// The folder to put it in [default: ~/.cache/normscape]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Read all of a data set and say what it is
    Inspect(Set),
    /// Write a contact sheet: images of every class
    Sample {
        /// The data set
        #[command(flatten)]
        set: Set,
        /// The picture to write: FILE.png or FILE.ppm
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Images of each class
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = values::count)]
        per_class: usize,
    },
}

/// The data set to look at.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// CIFAR-10's folder or archive, images (generated) or gaussian [default: CIFAR-10 where it is found]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Seed of generated data
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole)]
    seed: u64,
}

/// A set known by name, or the place of CIFAR-10.
enum Kind {
    Images,
    Gaussian,
    Cifar10(PathBuf),
}

impl Set {
    fn kind(&self) -> Result<Kind> {
        let named = self.path.clone().or_else(cifar10::named_by_environment);
        match named.as_deref().and_then(Path::to_str) {
            Some("images") => Ok(Kind::Images),
            Some("gaussian") => Ok(Kind::Gaussian),
            _ => cifar10::find(named.as_deref()).map(Kind::Cifar10).ok_or_else(|| {
                let remedy = "give its PATH, set NORMSCAPE_DATA, or download it: normscape data fetch";
                Error::input("CIFAR-10", format!("not found in {}", cifar10::usual_places_in_words()), remedy)
            }),
        }
    }
}

/// Runs a subcommand.
pub fn run(command: &Command, globals: &Globals) -> Result<Answer> {
    match command {
        Command::Fetch { url, to } => fetch(url, to.as_deref(), globals),
        Command::Inspect(set) => inspect(set, globals),
        Command::Sample { set, out, per_class } => sample(set, out, *per_class, globals),
    }
}

fn fetch(url: &str, to: Option<&Path>, globals: &Globals) -> Result<Answer> {
    let cache = cifar10::cache_folder();
    let to = to.map(PathBuf::from).or(cache.clone());
    let to =
        to.ok_or_else(|| Error::input("data fetch", "no home folder to keep it in", "--to says where to put it"))?;
    let stop = interrupt::flag()?;
    let mut progress = Bytes::new(globals.quiet);
    let fetched = fetch::fetch(url, &to, &mut |have, all| progress.at(have, all), &stop);
    progress.end();
    let path = match fetched {
        Err(Error::Interrupted) => {
            let line =
                format!("interrupted: what has arrived is kept in {}; the same command goes on with it", to.display());
            return Ok(Answer::default().with(line, interrupt::CODE));
        }
        other => other?,
    };
    if globals.json {
        return Ok(Answer::json(&json!({ "path": path.to_string_lossy() })).in_files());
    }
    let found = cifar10::find(None).is_some_and(|found| cache.as_deref() == Some(&found) && found == to);
    let how = if found { "it will be found there".into() } else { format!("use it with: --data {}", path.display()) };
    Ok(Answer::text(format!("{}: complete, and its MD5 is right; {how}", path.display())).in_files())
}

fn inspect(set: &Set, globals: &Globals) -> Result<Answer> {
    match set.kind()? {
        Kind::Cifar10(path) => {
            let found = cifar10::inspect(&path)?;
            Ok(if globals.json { Answer::json(&cifar10_json(&found)) } else { Answer::text(cifar10_words(&found)) })
        }
        Kind::Images => {
            let set = images::generate(set.seed, images::TRAIN, images::TEST);
            Ok(images_answer(&set, globals))
        }
        Kind::Gaussian => gaussian(set.seed, globals),
    }
}

/// Two tables: images per class; mean and standard deviation per channel.
fn image_tables(
    names: &[&str; CLASSES],
    train: [usize; CLASSES],
    test: [usize; CLASSES],
    mean: [f32; 3],
    std: [f32; 3],
) -> String {
    let mut classes = Table::new(["label", "class", "training", "test"]);
    let count = |n: usize| Cell::number(n.to_string());
    for (label, name) in names.iter().enumerate() {
        classes.row([count(label), Cell::from(*name), count(train[label]), count(test[label])]);
    }
    classes.row([Cell::from(""), Cell::from("all"), count(train.iter().sum()), count(test.iter().sum())]);
    let mut channels = Table::new(["channel", "mean", "deviation"]);
    for (channel, name) in ["red", "green", "blue"].into_iter().enumerate() {
        let shown = |x: f32| Cell::number(format!("{x:.4}"));
        channels.row([Cell::from(name), shown(mean[channel]), shown(std[channel])]);
    }
    format!("{classes}\n{channels}")
}

fn cifar10_words(found: &Inspection) -> String {
    let mut files = Table::new(["file", "bytes", "MD5 of the batch as a .bin file"]);
    for file in &found.files {
        files.row([Cell::from(file.name.clone()), Cell::from(file.bytes), Cell::from(file.md5.clone())]);
    }
    let tables = image_tables(&cifar10::CLASSES, found.train_per_class, found.test_per_class, found.mean, found.std);
    let (kind, path, hash) = (found.kind, found.path.display(), &found.hash);
    let not_from = found.passed_over.as_ref().map_or_else(String::new, |what| format!("\npassed over: {what}"));
    format!("CIFAR-10, whole: {kind}, {path}{not_from}\n\n{files}\n{tables}\nSHA-256 of images and labels: {hash}\n")
}

fn cifar10_json(found: &Inspection) -> serde_json::Value {
    let file = |f: &cifar10::BatchFile| json!({ "name": f.name, "bytes": f.bytes, "md5": f.md5 });
    json!({
        "data": "cifar10",
        "kind": found.kind,
        "path": found.path.to_string_lossy(),
        "passed_over": found.passed_over,
        "files": found.files.iter().map(file).collect::<Vec<_>>(),
        "classes": cifar10::CLASSES,
        "train_per_class": found.train_per_class,
        "test_per_class": found.test_per_class,
        "mean": found.mean,
        "std": found.std,
        "sha256": found.hash,
    })
}

fn images_answer(set: &ImageSet, globals: &Globals) -> Answer {
    let Standardisation { mean, std, .. } = Standardisation::of(&set.train);
    let (train, test, hash) = (set.train.per_class(), set.test.per_class(), set.hash());
    if globals.json {
        return Answer::json(&json!({
            "data": set.name, "kind": "generated", "classes": set.classes, "train_per_class": train, "test_per_class": test,
            "mean": mean, "std": std, "sha256": hash,
        }));
    }
    let tables = image_tables(&set.classes, train, test, mean, std);
    Answer::text(format!("{}\n\n{tables}\nSHA-256 of images and labels: {hash}\n", set.description))
}

/// Describes the deep linear network's data, at its default size.
fn gaussian(seed: u64, globals: &Globals) -> Result<Answer> {
    let Settings { samples, dim, .. } = Settings::defaults("dln");
    let set = GaussianSet::generate(seed, samples, dim)?;
    let mut table = Table::new(["array", "shape", "mean", "deviation"]);
    let mut arrays = serde_json::Map::new();
    for (name, values, rows) in [("x", &set.x, samples), ("target", &set.target, samples), ("A", &set.a, dim)] {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let std = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        table.row([
            name.into(),
            format!("{rows}×{dim}").into(),
            Cell::number(significant(mean, 3)),
            Cell::number(significant(std, 3)),
        ]);
        arrays.insert(name.into(), json!({ "shape": [rows, dim], "mean": mean, "std": std }));
    }
    if globals.json {
        return Ok(Answer::json(&json!({ "data": "gaussian", "kind": "generated", "seed": seed, "arrays": arrays })));
    }
    Ok(Answer::text(format!("Gaussian inputs x and targets A·x of the deep linear network, seed {seed}\n\n{table}")))
}

fn sample(set: &Set, out: &Path, per_class: usize, globals: &Globals) -> Result<Answer> {
    const MOST: usize = 100;
    let format = Format::of(out)?;
    if !(1..=MOST).contains(&per_class) {
        return Err(Error::input(
            format!("--per-class {per_class}"),
            "out of range",
            format!("it lies between 1 and {MOST}"),
        ));
    }
    let (images, names) = match set.kind()? {
        Kind::Gaussian => return Err(Error::input("gaussian", "holds no images", "images and CIFAR-10 do")),
        Kind::Images => {
            let set = images::generate(set.seed, per_class * CLASSES, 0);
            (set.train, set.classes)
        }
        Kind::Cifar10(path) => {
            let set = cifar10::load(&path)?;
            (set.train, set.classes)
        }
    };
    let rows = first_of_each(&images, per_class);
    sheet::write(out, format, &images, &rows)?;
    if globals.json {
        return Ok(
            Answer::json(&json!({ "out": out.to_string_lossy(), "rows": names, "per_class": per_class })).in_files()
        );
    }
    Ok(Answer::text(format!(
        "{}: {per_class} training images of each class; from top: {}",
        out.display(),
        names.join(", ")
    ))
    .in_files())
}

/// For each class, the indices of its first images.
fn first_of_each(images: &Images, per_class: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); CLASSES];
    for (i, &label) in images.labels.iter().enumerate() {
        if let Some(row) = rows.get_mut(usize::from(label)).filter(|row| row.len() < per_class) {
            row.push(i);
        }
    }
    rows
}
