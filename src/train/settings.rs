//! Everything that a run depends on, resolved; `run.toml` records it, and `--resume` reads it back.

use super::probe_entry;
use crate::mutant::{Mutant, made};
use crate::network::{Activation, Dln, Network, Norm, Normalisation, Reduction, dln, vgg};
use crate::ops::noise::NoiseOptions;
use crate::probe::activations::Look;
use crate::probe::line::{Spacing, step_lengths};
use crate::probe::table::of_units;
use crate::probe::units;
use crate::runtime::tensor::DType;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of one run. Field names are the options of `normscape train`, with `_` for `-`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `vgg11`, `vgg13`, `vgg16`, `vgg19` or `dln`.
    pub model: String,
    /// VGG: width multiplier.
    pub width: f64,
    /// DLN: linear layers.
    pub depth: usize,
    /// DLN: width of every layer.
    pub dim: usize,
    /// DLN: samples of its data set.
    pub samples: usize,
    /// DLN: whether a norm follows the last layer too.
    pub norm_last: bool,
    /// DLN: whether the loss is the mean over samples, not the sum.
    pub mean_loss: bool,
    /// DLN: whether the loss is half the sum.
    #[serde(default)]
    pub half_loss: bool,
    /// The norm, as `--norm` takes it.
    pub norm: String,
    /// Whether Algorithm 1's noise is added.
    pub noise: bool,
    /// n_μ, the largest mean of the noise.
    pub noise_mean: f32,
    /// n_σ, the largest scale of the noise.
    pub noise_scale: f32,
    /// r_μ = r_σ, the noise's spread within a batch.
    pub noise_spread: f32,
    /// ε of the normalisation.
    pub eps: f64,
    /// The name of an [`Activation`].
    pub activation: String,
    /// `images`, `gaussian`, or a path.
    pub data: String,
    /// Samples per step.
    pub batch: usize,
    /// Learning rate, fixed.
    pub lr: f64,
    /// Momentum; the paper has none.
    pub momentum: f64,
    /// Weight decay; the paper has none.
    pub weight_decay: f64,
    /// Number of updates.
    pub steps: u64,
    /// Whether training images are randomly cropped and flipped.
    pub augment: bool,
    /// Use only this many of the first training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
    /// Use only this many of the first test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Test loss and accuracy every so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<u64>,
    /// A checkpoint every so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// How many checkpoints to keep.
    pub keep_checkpoints: usize,
    /// Names of probes, each followed by `:STEPS` if it has an interval of its own.
    pub probe: Vec<String>,
    /// Probe every so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_every: Option<u64>,
    /// Probe at these steps too.
    pub probe_at: Vec<u64>,
    /// Points of a landscape.
    pub probe_points: usize,
    /// The range of the landscape's step lengths, in learning rates.
    pub probe_range: [f64; 2],
    /// `geometric` or `linear`.
    pub probe_spacing: String,
    /// Steps of Lanczos for the largest eigenvalue.
    pub probe_lanczos: usize,
    /// Random vectors for the trace.
    pub probe_hutchinson: usize,
    /// Weighted layers, from 1, whose units are probed. Until resolved, an empty list means all but the last.
    pub probe_layers: Vec<usize>,
    /// Units per layer, chosen at random by the seed.
    pub probe_units: usize,
    /// Measure units' values before the norm, instead of what enters the activation function.
    pub probe_pre_norm: bool,
    /// Bins of a histogram.
    pub probe_bins: usize,
    /// The range of the bins.
    pub probe_bin_range: [f64; 2],
    /// Seed of weights, order, augmentation, noise and generated data.
    pub seed: u64,
    /// `f32`, `f64`, `tf32` or `bf16`; the device must have it.
    pub precision: String,
    /// Compute convolutions as direct sums, whatever their shape. Older records do not say; at that time there was nothing else.
    #[serde(default = "as_it_was")]
    pub direct_convolution: bool,
}

/// The value of `direct_convolution` for runs from before there was a choice.
fn as_it_was() -> bool {
    true
}

/// Fails unless `fine`, naming the option.
fn require(fine: bool, option: &str, value: impl std::fmt::Display, right: &str) -> Result<()> {
    if fine { Ok(()) } else { Err(Error::input(format!("--{option} {value}"), "out of range", right)) }
}

impl Settings {
    /// The defaults of a model: the paper's settings. For VGG, `data` is still empty.
    pub fn defaults(model: &str) -> Settings {
        let deep_linear = model == "dln";
        Settings {
            model: model.into(),
            width: 1.0,
            depth: 25,
            dim: 10,
            samples: 1000,
            norm_last: false,
            mean_loss: false,
            half_loss: false,
            norm: "none".into(),
            noise: false,
            noise_mean: 0.5,
            noise_scale: 1.25,
            noise_spread: 0.1,
            eps: 1e-5,
            activation: "relu".into(),
            data: if deep_linear { "gaussian".into() } else { String::new() },
            batch: if deep_linear { 0 } else { 128 },
            lr: if deep_linear { 1e-6 } else { 0.1 },
            momentum: if made(Mutant::E8) { 0.9 } else { 0.0 },
            weight_decay: 0.0,
            steps: match deep_linear {
                _ if made(Mutant::E17) => 1_500,
                true => 10_000,
                false => 15_000,
            },
            augment: made(Mutant::E10),
            limit_train: None,
            limit_test: None,
            eval_every: None,
            checkpoint_every: None,
            keep_checkpoints: 2,
            probe: Vec::new(),
            probe_every: None,
            probe_at: Vec::new(),
            probe_points: 8,
            probe_range: if deep_linear { [0.01, 30.0] } else { [0.5, 4.0] },
            probe_spacing: "geometric".into(),
            probe_lanczos: 20,
            probe_hutchinson: 8,
            probe_layers: Vec::new(),
            probe_units: 2,
            probe_pre_norm: false,
            probe_bins: 64,
            probe_bin_range: [-4.0, 4.0],
            seed: 0,
            precision: "f32".into(),
            direct_convolution: false,
        }
    }

    /// Whether this is the deep linear network.
    pub fn deep_linear(&self) -> bool {
        self.model == "dln"
    }

    /// Checks every value and fills in those that depend on others (`--batch` of the DLN, `noisy`). Errors name the option.
    pub fn resolve(&mut self) -> Result<()> {
        if self.norm == "noisy" {
            (self.norm, self.noise) = ("batch".into(), true);
        }
        self.norm = self.norm.parse::<Norm>()?.to_string();
        if self.deep_linear() {
            require(
                (1..=100_000_000).contains(&self.samples),
                "samples",
                self.samples,
                "it lies between 1 and 100000000",
            )?;
            if self.batch == 0 {
                self.batch = self.samples;
            }
            require(self.batch <= self.samples, "batch", self.batch, "it is at most --samples")?;
            if self.data != "gaussian" {
                return Err(Error::input(format!("--data {}", self.data), "not for the dln", "its data are gaussian"));
            }
            require(!self.augment, "augment", "", "there is nothing to augment in Gaussian data")?;
            if self.mean_loss && self.half_loss {
                return Err(Error::input("--mean-loss, --half-loss", "two losses", "one of them is the loss"));
            }
            require(self.eval_every.is_none(), "eval-every", "", "the dln has no test set")?;
            if self.limit_train.is_some() || self.limit_test.is_some() {
                return Err(Error::input(
                    "--limit-train, --limit-test",
                    "not for the dln",
                    "--samples sets the size of its data",
                ));
            }
        } else if self.data.is_empty() || self.data == "gaussian" {
            let right =
                "--data images (generated), or the folder or archive of CIFAR-10, is needed, here or in NORMSCAPE_DATA";
            return Err(Error::input(format!("--model {}", self.model), "no images to train on", right));
        }
        require((1..=1 << 24).contains(&self.batch), "batch", self.batch, "it lies between 1 and 16777216")?;
        require(self.lr.is_finite() && self.lr > 0.0, "lr", self.lr, "it is a finite number above 0")?;
        require((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "it lies in [0, 1)")?;
        let decay = self.weight_decay;
        require(decay.is_finite() && decay >= 0.0, "weight-decay", decay, "it is a finite number of at least 0")?;
        require(self.eps.is_finite() && self.eps >= 0.0, "eps", self.eps, "it is a finite number of at least 0")?;
        let noise = |x: f32, low: f32| x.is_finite() && x >= low;
        require(noise(self.noise_mean, 0.0), "noise-mean", self.noise_mean, "it is a finite number of at least 0")?;
        require(noise(self.noise_scale, 1.0), "noise-scale", self.noise_scale, "it is a finite number of at least 1")?;
        require(
            noise(self.noise_spread, 0.0),
            "noise-spread",
            self.noise_spread,
            "it is a finite number of at least 0",
        )?;
        let most_steps = u64::from(u32::MAX) - 1;
        require((1..=most_steps).contains(&self.steps), "steps", self.steps, "it lies between 1 and 4294967294")?;
        for (option, every) in [
            ("eval-every", self.eval_every),
            ("checkpoint-every", self.checkpoint_every),
            ("probe-every", self.probe_every),
        ] {
            require(every != Some(0), option, 0, "it is at least 1")?;
        }
        require(self.keep_checkpoints >= 1, "keep-checkpoints", self.keep_checkpoints, "it is at least 1")?;
        let activation = self.activation.parse::<Activation>()?;
        if self.deep_linear() && activation != Activation::Relu {
            return Err(Error::input(format!("--activation {activation}"), "not for the dln", "it is linear"));
        }
        self.dtype()?;
        self.check_probes()
    }

    fn check_probes(&mut self) -> Result<()> {
        self.probe.iter().try_for_each(|entry| probe_entry::check(entry))?;
        let when = self.probe_every.is_some() || !self.probe_at.is_empty();
        if self.probe.is_empty() && when {
            return Err(Error::input("--probe-every, --probe-at", "no probe is named", "--probe landscape says which"));
        }
        let common = self.probe.iter().any(|entry| !probe_entry::has_own(entry));
        if when && !self.probe.is_empty() && !common {
            let right = "leave them out, or the intervals after the names";
            return Err(Error::input("--probe-every, --probe-at", "every probe has its own interval", right));
        }
        if common && !when {
            self.probe_every = Some(1);
        }
        for (option, count) in [("probe-lanczos", self.probe_lanczos), ("probe-hutchinson", self.probe_hutchinson)] {
            require((1..=1000).contains(&count), option, count, "it lies between 1 and 1000")?;
        }
        if of_units().any(|name| self.asks(name)) {
            let network = self.network()?;
            if self.probe_layers.is_empty() {
                self.probe_layers = units::default_layers(&network);
            }
            self.probe_layers.sort_unstable();
            self.probe_layers.dedup();
            self.look(&network)?;
        }
        self.probe_at.sort_unstable();
        self.probe_at.dedup();
        if let Some(last) = self.probe_at.last().filter(|&&last| last > self.steps) {
            return Err(Error::input(
                format!("--probe-at {last}"),
                "after the run's end",
                format!("the last step is {}", self.steps),
            ));
        }
        // Absolute step lengths can leave the numbers' range where the relative ones do not.
        let fits = |s: &f64| *s > 0.0 && s.is_finite();
        if !self.step_lengths()?.iter().all(fits) {
            let [low, high] = self.probe_range;
            let right = "times the learning rate, it must stay above 0 and finite";
            return Err(Error::input(format!("--probe-range {low:?}:{high:?}"), "out of range", right));
        }
        Ok(())
    }

    /// How the deep linear network's squared errors are reduced to a loss.
    fn reduction(&self) -> Reduction {
        match (self.mean_loss, self.half_loss) {
            (true, _) => Reduction::Mean,
            (_, true) => Reduction::Half,
            _ => Reduction::Sum,
        }
    }

    /// The landscape's step lengths, in absolute terms.
    pub fn step_lengths(&self) -> Result<Vec<f64>> {
        let spacing = match self.probe_spacing.as_str() {
            "geometric" => Spacing::Geometric,
            "linear" => Spacing::Linear,
            other => {
                return Err(Error::input(
                    format!("--probe-spacing {other}"),
                    "unknown",
                    "there are geometric and linear",
                ));
            }
        };
        let [low, high] = self.probe_range;
        let relative = step_lengths(self.probe_points, low, high, spacing)?;
        Ok(relative.into_iter().map(|s| s * self.lr).collect())
    }

    /// What the probes of single units look at; `None` where there is no such probe. Errors: an impossible layer, number of units or number
    /// of bins.
    pub fn look(&self, network: &Network) -> Result<Option<Look>> {
        if !of_units().any(|name| self.asks(name)) {
            return Ok(None);
        }
        let Settings { probe_units, probe_pre_norm: pre_norm, probe_bin_range: range, probe_bins: bins, .. } = *self;
        let chosen = units::choose(network, &self.probe_layers, probe_units, self.seed)?;
        let look = Look { chosen, pre_norm, range, bins };
        look.check().map(|()| Some(look))
    }

    /// The type of parameters. It is also that of activations, except in bf16.
    pub fn dtype(&self) -> Result<DType> {
        match self.precision.as_str() {
            "f32" | "tf32" | "bf16" => Ok(DType::F32),
            "f64" => Ok(DType::F64),
            other => {
                Err(Error::input(format!("--precision {other}"), "is unknown", "there are f32, tf32, bf16 and f64"))
            }
        }
    }

    /// The norm, noise and activation function.
    pub fn normalisation(&self) -> Result<Normalisation> {
        let noise = NoiseOptions {
            mean: self.noise_mean,
            scale: self.noise_scale,
            spread: self.noise_spread,
            ..NoiseOptions::default()
        };
        let (norm, activation) = (self.norm.parse()?, self.activation.parse()?);
        Ok(Normalisation { norm, eps: self.eps, noise: self.noise.then_some(noise), activation })
    }

    /// The network.
    pub fn network(&self) -> Result<Network> {
        if self.deep_linear() {
            let Settings { depth, dim, norm_last, .. } = *self;
            return dln(Dln { depth, dim, norm_last, loss: self.reduction() }, self.normalisation()?);
        }
        vgg(&self.model, self.width, self.normalisation()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_the_options_name() {
        type Spoil = fn(&mut Settings);
        let cases: [(&str, Spoil); 12] = [
            ("--lr", |s| s.lr = f64::NAN),
            ("--lr", |s| s.lr = 0.0),
            ("--batch", |s| s.batch = 0),
            ("--steps", |s| s.steps = 0),
            ("--momentum", |s| s.momentum = 1.0),
            ("--weight-decay", |s| s.weight_decay = -1.0),
            ("--eps", |s| s.eps = f64::INFINITY),
            ("--norm lp:0.5", |s| s.norm = "lp:0.5".into()),
            ("--norm group:x", |s| s.norm = "group:x".into()),
            ("--probe nothing", |s| s.probe = vec!["nothing".into()]),
            ("--probe-range", |s| s.probe_range = [2.0, 1.0]),
            ("--precision f16", |s| s.precision = "f16".into()),
        ];
        for (option, spoil) in cases {
            let mut settings = Settings { data: "images".into(), ..Settings::defaults("vgg11") };
            spoil(&mut settings);
            let error = settings.resolve().expect_err(option).to_string();
            assert!(error.starts_with(option), "{option}: {error}");
        }
    }

    #[test]
    fn noisy_is_batch_with_noise() {
        let mut settings = Settings { norm: "noisy".into(), data: "images".into(), ..Settings::defaults("vgg11") };
        settings.resolve().unwrap();
        assert_eq!((settings.norm.as_str(), settings.noise), ("batch", true));
    }
}
