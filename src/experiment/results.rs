//! Reads a finished run's files as numbers: tracks, each with a value at every probed or logged step.

use super::pick::{Over, Pick};
use super::scale::Scale;
use super::series::{Training, median, smoothed, training};
use crate::files::{Array, Arrays, Values, npz};
use crate::mutant::{Mutant, made};
use crate::probe::table;
use crate::train::Settings;
use crate::{Error, Result};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A quantity's value at every probed or logged step.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// What distinguishes it from other tracks of the quantity: ("layer", "3"), ("unit", "17").
    pub facets: Vec<(&'static str, String)>,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// What one of several values at a step belongs to: the kind, the text shown, and the number within the kind.
type Facet = (&'static str, String, f64);

/// One run's files, each read once.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    settings: Settings,
    training: OnceCell<Rc<Training>>,
    files: RefCell<BTreeMap<String, Rc<Arrays>>>,
}

impl Results {
    /// The results in a run's folder.
    pub fn of(folder: &Path, settings: &Settings) -> Results {
        let (folder, settings) = (folder.to_owned(), settings.clone());
        Results { folder, settings, training: OnceCell::new(), files: RefCell::default() }
    }

    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the run logged about its training.
    pub fn training(&self) -> Result<Rc<Training>> {
        if let Some(found) = self.training.get() {
            return Ok(found.clone());
        }
        let found = Rc::new(training(&self.folder)?);
        Ok(self.training.get_or_init(|| found).clone())
    }

    /// The arrays of a probe's file.
    pub fn arrays(&self, file: &str) -> Result<Rc<Arrays>> {
        if let Some(found) = self.files.borrow().get(file) {
            return Ok(found.clone());
        }
        let found = Rc::new(npz::read(&self.folder.join(format!("{file}.npz")))?);
        self.files.borrow_mut().insert(file.into(), found.clone());
        Ok(found)
    }

    /// Whether the run's loss ended as NaN.
    pub fn diverged(&self) -> Result<bool> {
        Ok(self.training()?.loss.last().is_some_and(|loss| !loss.is_finite()))
    }

    /// The tracks of this run that `pick` describes. Errors: a file or an array is missing.
    pub fn tracks(&self, pick: &Pick, scale: Scale) -> Result<Vec<Track>> {
        let layers = pick.layer.as_ref().and_then(|by| by.at(scale)).map(Vec::as_slice);
        let mut tracks = self.raw(&pick.quantity, pick, layers)?;
        if let Some(per) = &pick.per {
            let below = self.raw(per, pick, layers)?;
            if below.len() != 1 && below.len() != tracks.len() {
                let found = format!("{} numbers at a step, by {}", tracks.len(), below.len());
                return Err(Error::input(
                    format!("{} per {per}", pick.quantity),
                    found,
                    "one for all, or one for each",
                ));
            }
            for (i, track) in tracks.iter_mut().enumerate() {
                let below = &below[if below.len() == 1 { 0 } else { i }].points;
                // At the steps that have both.
                let of = |step: f64| below.binary_search_by(|point| point.0.total_cmp(&step)).ok().map(|i| below[i].1);
                track.points = track.points.iter().filter_map(|&(step, y)| Some((step, y / of(step)?))).collect();
            }
        }
        if pick.abs {
            tracks.iter_mut().flat_map(|track| &mut track.points).for_each(|point| point.1 = point.1.abs());
        }
        if pick.times_rate {
            tracks.iter_mut().flat_map(|track| &mut track.points).for_each(|point| point.1 *= self.settings.lr);
        }
        if pick.change {
            for track in &mut tracks {
                track.points = track.points.windows(2).map(|pair| (pair[1].0, (pair[1].1 - pair[0].1).abs())).collect();
            }
        }
        if let Some(over) = pick.over {
            let steps = tracks.first().map_or(&[][..], |track| &track.points[..]);
            let at = |i: usize| tracks.iter().filter_map(|track| track.points.get(i)).map(|point| point.1).collect();
            let points = steps.iter().enumerate().map(|(i, &(step, _))| (step, over.of(at(i)))).collect();
            tracks = vec![Track { facets: Vec::new(), points }];
        }
        if let Some(&width) = pick.smooth.as_ref().and_then(|by| by.at(scale)).filter(|&&width| width > 1) {
            for track in &mut tracks {
                let (steps, values): (Vec<f64>, Vec<f64>) = track.points.iter().copied().unzip();
                // Windows of rows, at the middle of their steps.
                let middles = smoothed(&steps, width).into_iter().map(|window| window.1);
                track.points = middles.zip(smoothed(&values, width)).map(|(step, window)| (step, window.1)).collect();
            }
        }
        Ok(tracks)
    }

    /// The quantity as the files hold it, for the picked layers and units.
    fn raw(&self, quantity: &str, pick: &Pick, layers: Option<&[usize]>) -> Result<Vec<Track>> {
        let Some((file, array)) = quantity.split_once('.') else { return Ok(vec![self.logged(quantity)?]) };
        let arrays = self.arrays(file)?;
        let missing = |name: &str| {
            let path = self.folder.join(format!("{file}.npz"));
            Error::file(&path, format!("no array {name} with an entry for every step"), "a run's own file has it")
        };
        let get = |name: &str| arrays.get(name).ok_or_else(|| missing(name));
        let steps =
            get("step")?.to_f64().or_else(|| whole(&get("step").ok()?.values)).ok_or_else(|| missing("step"))?;
        let of = get(array)?;
        let values = of.to_f64().or_else(|| whole(&of.values)).ok_or_else(|| missing(array))?;
        let width = of.shape.iter().skip(1).product::<usize>();
        if of.shape.first() != Some(&steps.len()) || values.len() != steps.len() * width {
            return Err(missing(array));
        }
        let along_a_line = table::is_line(file);
        let changes = arrays.get("grad_l2_diff").filter(|_| array == "beta").and_then(Array::to_f64);
        let changes = changes.filter(|changes| changes.len() == values.len());
        let mut tracks = Vec::new();
        for (place, facets) in self.places(&arrays, &of.shape[1..])?.into_iter().enumerate() {
            if !picked(pick, layers, &facets) {
                continue;
            }
            let value = |i: usize| {
                let value = values[i * width + place];
                // Beyond where the numbers end a loss and its gradient are without bound. A β of a change that is known was not resolved.
                let known = |of: &Vec<f64>| of[i * width + place].is_finite();
                let unknown = along_a_line && value.is_nan() && !changes.as_ref().is_some_and(known);
                if unknown { f64::INFINITY } else { value }
            };
            let points = steps.iter().enumerate().map(|(i, &step)| (step, value(i))).collect();
            tracks.push(Track { facets: facets.into_iter().map(|(name, shown, _)| (name, shown)).collect(), points });
        }
        Ok(tracks)
    }

    /// What each entry of a step belongs to: for each kind its name, the text shown, and the number within the kind.
    fn places(&self, arrays: &Arrays, shape: &[usize]) -> Result<Vec<Vec<Facet>>> {
        let numbers = |name: &str| arrays.get(name).and_then(|array| array.to_f64().or_else(|| whole(&array.values)));
        let (lr, count) = (self.settings.lr, shape.iter().product::<usize>());
        Ok(match (shape, numbers("s"), numbers("layer")) {
            (&[_], Some(along), _) => (0..count)
                .map(|i| {
                    let s = along.get(i).map_or(f64::NAN, |s| s / lr);
                    vec![("s/lr", crate::report::significant(s, 3), s)]
                })
                .collect(),
            (&[_] | &[_, _], _, Some(layers)) => {
                let units = numbers("unit").unwrap_or_default();
                let across = if shape.len() == 2 { shape[1].max(1) } else { 1 };
                let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
                let mut places = Vec::new();
                for i in 0..count {
                    let layer = layers.get(i / across).copied().unwrap_or(f64::NAN);
                    let mut facets = vec![("layer", format!("{layer}"), layer)];
                    if let Some(unit) = units.get(i) {
                        let place = seen.entry(layer as u64).or_default();
                        facets.push(("unit", format!("{unit}"), *place as f64));
                        *place += 1;
                    }
                    places.push(facets);
                }
                places
            }
            (&[], ..) => vec![Vec::new()],
            _ => (0..count).map(|i| vec![("entry", i.to_string(), i as f64)]).collect(),
        })
    }

    /// A column of `metrics.csv`.
    fn logged(&self, quantity: &str) -> Result<Track> {
        let of = self.training()?;
        let column = match quantity {
            "loss" => &of.loss,
            "train_accuracy" => &of.accuracy,
            "test_loss" => &of.test_loss,
            "test_accuracy" => &of.test_accuracy,
            "diverged" => {
                let ended = of.loss.len().saturating_sub(1) as f64;
                let points = vec![(ended, f64::from(u8::from(self.diverged()?)))];
                return Ok(Track { facets: Vec::new(), points });
            }
            _ => {
                let right =
                    "there are loss, train_accuracy, test_loss, test_accuracy, diverged and FILE.ARRAY of a probe";
                return Err(Error::input(format!("quantity {quantity}"), "unknown", right));
            }
        };
        let tests = quantity.starts_with("test");
        // A loss that is no number is a loss without bound; what was not measured is left out.
        let bound = |value: f64| if quantity == "loss" && value.is_nan() { f64::INFINITY } else { value };
        let rows = column.iter().enumerate().filter(|(_, value)| !(tests && value.is_nan()));
        Ok(Track { facets: Vec::new(), points: rows.map(|(step, &value)| (step as f64, bound(value))).collect() })
    }
}

fn picked(pick: &Pick, layers: Option<&[usize]>, facets: &[Facet]) -> bool {
    facets.iter().all(|&(name, _, number)| match name {
        "layer" => layers.is_none_or(|layers| layers.iter().any(|&layer| layer as f64 == number)),
        "unit" => pick.unit.is_none_or(|unit| unit as f64 == number),
        // Ends included, to rounding.
        "s/lr" => pick.along.is_none_or(|[low, high]| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(&number)),
        _ => true,
    })
}

fn whole(values: &Values) -> Option<Vec<f64>> {
    match values {
        Values::I64(values) => Some(values.iter().map(|&value| value as f64).collect()),
        _ => None,
    }
}

impl Over {
    /// The numbers reduced to one. NaN, such as the cosine with a zero gradient, is left out; the result is NaN where nothing is left.
    pub fn of(self, mut values: Vec<f64>) -> f64 {
        values.retain(|value| !value.is_nan());
        if values.is_empty() {
            return f64::NAN;
        }
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Over::Min => low,
            Over::Max => high,
            Over::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Over::Median => median(values),
            Over::Ratio => high / low,
            Over::Spread => high - low,
            Over::First => values[0],
            Over::Last => values[values.len() - 1],
            Over::Positive => values.iter().filter(|&&value| value > 0.0).count() as f64 / values.len() as f64,
        }
    }
}

/// The lowest and highest of several tracks of one run, at each step separately.
pub fn ends(tracks: &[Track]) -> Vec<(f64, f64, f64)> {
    let steps = tracks.first().map_or(&[][..], |track| &track.points[..]);
    let of = |i: usize, over: Over| {
        let there = tracks.iter().flat_map(|track| match made(Mutant::E11) {
            true => track.points.iter(),
            false => track.points.get(i..=i).unwrap_or_default().iter(),
        });
        over.of(there.map(|point| point.1).collect())
    };
    steps.iter().enumerate().map(|(i, &(step, _))| (step, of(i, Over::Min), of(i, Over::Max))).collect()
}

/// The median of several seeds' tracks at every step of the longest. `missing` is the value of a track that ended earlier.
pub fn middle(tracks: &[Vec<(f64, f64)>], missing: Option<f64>) -> Vec<(f64, f64)> {
    let several = if made(Mutant::M8) { tracks.get(..1).unwrap_or_default() } else { tracks };
    across(several, missing, |values| Over::Median.of(values))
}

/// From this many seeds on, a band covers only their middle half: the outermost of many seeds would hide what most do.
pub const MANY: usize = 8;

/// The band of several seeds' tracks at every step: from the lowest to the highest, or with [`MANY`] seeds and more their middle half.
pub fn spread(tracks: &[Vec<(f64, f64)>], missing: Option<f64>) -> Vec<(f64, f64, f64)> {
    let inner = if tracks.len() >= MANY { tracks.len() / 4 } else { 0 };
    let at = |place: fn(usize, usize) -> usize| {
        across(tracks, missing, move |mut values: Vec<f64>| {
            values.retain(|value| !value.is_nan());
            values.sort_unstable_by(f64::total_cmp);
            // Where only some seeds have a value there is less to leave out.
            let inner = inner.min(values.len().saturating_sub(1) / 2);
            values.get(place(inner, values.len())).copied().unwrap_or(f64::NAN)
        })
    };
    let (low, high) = (at(|inner, _| inner), at(|inner, count| count.wrapping_sub(1 + inner)));
    low.into_iter().zip(high).map(|((step, low), (_, high))| (step, low, high)).collect()
}

fn across(tracks: &[Vec<(f64, f64)>], missing: Option<f64>, of: impl Fn(Vec<f64>) -> f64) -> Vec<(f64, f64)> {
    let Some(longest) = tracks.iter().max_by_key(|track| track.len()) else { return Vec::new() };
    let at = |i: usize| tracks.iter().filter_map(|track| track.get(i).map(|point| point.1).or(missing)).collect();
    longest.iter().enumerate().map(|(i, &(step, _))| (step, of(at(i)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_that_of_one_step() {
        let track = |values: [f64; 2]| Track { facets: Vec::new(), points: vec![(0.0, values[0]), (10.0, values[1])] };
        // Two points along a line, at two steps: lowest and highest over the points at each step by itself.
        let tracks = [track([1.0, 10.0]), track([3.0, 20.0])];
        assert_eq!(ends(&tracks), [(0.0, 1.0, 3.0), (10.0, 10.0, 20.0)]);
        assert!(ends(&[]).is_empty());
    }

    #[test]
    fn a_beta_that_was_not_told_is_unknown_and_one_of_no_gradient_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let nan = f64::NAN;
        let rows = |values: [f64; 6]| Array::f64([2, 3], values.to_vec());
        let arrays = Arrays::from([
            ("step".into(), Array::i64([2], vec![0, 5])),
            ("s".into(), Array::f64([3], vec![0.1, 0.2, 0.3])),
            ("grad_l2_diff".into(), rows([0.0, 1.0, 2.0, 1.0, nan, f64::INFINITY])),
            ("beta".into(), rows([nan, nan, 7.0, nan, nan, nan])),
        ]);
        npz::write(&folder.path().join("landscape.npz"), &arrays).unwrap();
        let settings = Settings { lr: 0.1, ..Settings::defaults("dln") };
        let results = Results::of(folder.path(), &settings);
        let tracks = |over: &str| {
            let pick: Pick = toml::from_str(&format!("quantity = \"landscape.beta\"\nlabel = \"\"\n{over}")).unwrap();
            let tracks = results.tracks(&pick, Scale::Quick).unwrap();
            tracks.iter().map(|track| track.points.iter().map(|p| p.1.to_string()).collect()).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(tracks(""), [["NaN", "NaN"], ["NaN", "inf"], ["7", "inf"]]);
        assert_eq!(tracks("over = \"max\""), [["7", "inf"]]);
        assert_eq!(tracks("over = \"max\"\ntimes_rate = true"), [[(7.0 * 0.1).to_string(), "inf".into()]]);
        assert_eq!(tracks("over = \"max\"\nalong = [1.0, 1.0]"), [["NaN", "NaN"]]);
    }

    #[test]
    fn several_draws_stand_for_one_network() {
        let draw = |losses: &[f64]| losses.iter().enumerate().map(|(i, &loss)| (i as f64, loss)).collect::<Vec<_>>();
        // The third diverged after its first step.
        let draws = [draw(&[9.0, 9.0, 9.0]), draw(&[4.0, 2.0, 1.0]), draw(&[5.0])];
        let middle_of = |missing| middle(&draws, missing).into_iter().map(|point| point.1).collect::<Vec<_>>();
        assert_eq!(middle_of(Some(f64::INFINITY)), [5.0, 9.0, 9.0]);
        // Of what a probe finds only those that were measured count.
        assert_eq!(middle_of(None), [5.0, 5.5, 5.0]);
        assert_eq!(spread(&draws, None)[1], (1.0, 2.0, 9.0));
        // Of fifteen, three at either end are left out; what ended counts as what stands for it.
        let fifteen: Vec<_> = (0..15).map(|i| vec![(0.0, f64::from(i))]).collect();
        assert_eq!(spread(&fifteen, None), [(0.0, 3.0, 11.0)]);
        let ended: Vec<_> = (0..8).map(|i| if i < 2 { vec![] } else { vec![(0.0, f64::from(i))] }).collect();
        assert_eq!(spread(&ended, Some(f64::INFINITY)), [(0.0, 4.0, 7.0)]);
        assert!(spread(&[vec![(0.0, f64::NAN)]], None)[0].1.is_nan());
    }

    #[test]
    fn what_is_made_of_numbers() {
        let of = |over: Over| over.of(vec![2.0, -1.0, 4.0, 3.0]);
        let all =
            [Over::Min, Over::Max, Over::Mean, Over::Median, Over::Spread, Over::First, Over::Last, Over::Positive];
        assert_eq!(all.map(of), [-1.0, 4.0, 2.0, 2.5, 5.0, 2.0, 3.0, 0.75]);
        assert_eq!(Over::Ratio.of(vec![2.0, 8.0]), 4.0);
        // A unit that is off has no cosine, which is no reason to know nothing of the others.
        assert!(Over::Mean.of(vec![]).is_nan() && Over::Max.of(vec![f64::NAN]).is_nan());
        assert_eq!(Over::Mean.of(vec![1.0, f64::NAN, 3.0]), 2.0);
    }
}
