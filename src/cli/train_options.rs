//! The options of `normscape train`, and how they become a run's settings.

use super::values;
use crate::data::cifar10;
use crate::network::Activation;
use crate::probe::table;
use crate::train::Settings;
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

/// The most training time that a kill or a full disk may cost a run, unless `--save-every-seconds` says otherwise.
pub const SAVED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// The help of `--probe`.
fn probes() -> String {
    let names = table::names().join(", ");
    format!("Measurements during training: {names}; NAME:STEPS gives one an interval of its own")
}

/// The help of `--probe-layers`.
fn layers() -> String {
    let names = table::of_units().collect::<Vec<_>>().join(", ");
    format!("{names}: weighted layers, counted from 1, as 3,11 [default: all but the last]")
}

/// Options of `train`. An option that was not given is `None`, so that `--resume` can tell.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct TrainOptions {
    /// The run's folder; unless with --resume, it must not exist yet or hold nothing but logs
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Continue the run in --out; its settings come from there
    #[arg(long)]
    pub resume: bool,
    /// Continue the run in --out where there is one, else begin it: for jobs that may be started again
    #[arg(long, conflicts_with = "resume")]
    pub resume_if_there: bool,
    /// Seed of weights, order, augmentation, noise and generated data [default: 0]
    #[arg(long, value_name = "N", value_parser = values::whole)]
    pub seed: Option<u64>,
    /// Updates to make [default: 15000; dln 10000]
    #[arg(long, value_name = "N", value_parser = values::whole)]
    pub steps: Option<u64>,

    /// The network
    #[arg(long, help_heading = "Network", value_parser = ["vgg11", "vgg13", "vgg16", "vgg19", "dln"])]
    #[arg(required_unless_present = "resume")]
    pub model: Option<String>,
    /// VGG: multiplies every layer's channels [default: 1]
    #[arg(long, help_heading = "Network", value_name = "W", value_parser = values::number)]
    pub width: Option<f64>,
    /// dln: linear layers [default: 25]
    #[arg(long, help_heading = "Network", value_name = "N", value_parser = values::count)]
    pub depth: Option<usize>,
    /// dln: width of every layer [default: 10]
    #[arg(long, help_heading = "Network", value_name = "N", value_parser = values::count)]
    pub dim: Option<usize>,
    /// dln: add a norm after the last layer too
    #[arg(long, help_heading = "Network")]
    pub norm_last: bool,
    /// dln: use the mean over samples as the loss, in place of the sum
    #[arg(long, help_heading = "Network")]
    pub mean_loss: bool,
    /// dln: use half the sum as the loss, as TensorFlow's l2_loss
    #[arg(long, help_heading = "Network")]
    pub half_loss: bool,
    /// none, batch, noisy (batch with --noise), renorm (or renorm:R:D), l1, l2, linf, lp:P, layer, group:G (G groups of channels), instance, rms or weight
    /// [default: none]
    #[arg(long, help_heading = "Network", value_name = "NORM")]
    pub norm: Option<String>,
    /// Add noise after every normalisation, new at every step (the paper's Algorithm 1); works with --norm none too
    #[arg(long, help_heading = "Network")]
    pub noise: bool,
    /// Largest mean of the noise, n_μ [default: 0.5]
    #[arg(long, help_heading = "Network", value_name = "X", value_parser = values::single)]
    pub noise_mean: Option<f32>,
    /// Largest scale of the noise, n_σ [default: 1.25]
    #[arg(long, help_heading = "Network", value_name = "X", value_parser = values::single)]
    pub noise_scale: Option<f32>,
    /// Spread of the noise within a batch, r_μ = r_σ [default: 0.1]
    #[arg(long, help_heading = "Network", value_name = "X", value_parser = values::single)]
    pub noise_spread: Option<f32>,
    /// ε of the normalisation [default: 1e-5]
    #[arg(long, help_heading = "Network", value_name = "X", value_parser = values::number)]
    pub eps: Option<f64>,
    /// The activation function, by name.
    #[arg(long, help_heading = "Network", value_name = "NAME", help = format!("{} [default: relu]", Activation::names()))]
    pub activation: Option<String>,
    /// Compute convolutions as direct sums (in f32 the CPU's usual algorithm takes fewer products and rounds differently)
    #[arg(long, help_heading = "Network")]
    pub direct_convolution: bool,

    /// CIFAR-10's folder or archive, images (generated) or gaussian [default: what NORMSCAPE_DATA names; dln gaussian]
    #[arg(long, help_heading = "Data", value_name = "DATA")]
    pub data: Option<String>,
    /// dln: samples in its data [default: 1000]
    #[arg(long, help_heading = "Data", value_name = "N", value_parser = values::count)]
    pub samples: Option<usize>,
    /// Samples per step [default: 128; dln: all]
    #[arg(long, help_heading = "Data", value_name = "N", value_parser = values::count)]
    pub batch: Option<usize>,
    /// Crop and flip training images at random
    #[arg(long, help_heading = "Data")]
    pub augment: bool,
    /// Use only the first N training images
    #[arg(long, help_heading = "Data", value_name = "N", value_parser = values::count)]
    pub limit_train: Option<usize>,
    /// Use only the first N test images
    #[arg(long, help_heading = "Data", value_name = "N", value_parser = values::count)]
    pub limit_test: Option<usize>,

    /// Learning rate [default: 0.1; dln 1e-6]
    #[arg(long, help_heading = "Optimiser", value_name = "X", value_parser = values::number)]
    pub lr: Option<f64>,
    /// Momentum [default: 0]
    #[arg(long, help_heading = "Optimiser", value_name = "X", value_parser = values::number)]
    pub momentum: Option<f64>,
    /// Weight decay [default: 0]
    #[arg(long, help_heading = "Optimiser", value_name = "X", value_parser = values::number)]
    pub weight_decay: Option<f64>,

    /// Measure test loss and accuracy every so many steps, and at the end
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "STEPS", value_parser = values::whole)]
    pub eval_every: Option<u64>,
    /// Write a checkpoint every so many steps, besides the one at the end
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "STEPS", value_parser = values::whole)]
    pub checkpoint_every: Option<u64>,
    /// Also save the run after so many seconds, so that a kill costs no more; 0: never [default: 300]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::whole)]
    pub save_every_seconds: Option<u64>,
    /// How many checkpoints to keep [default: 2]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub keep_checkpoints: Option<usize>,
    /// Measurements during training, by name
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "NAMES", value_delimiter = ',', help = probes())]
    pub probe: Option<Vec<String>>,
    /// Probe every so many steps [default: every step]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "STEPS", value_parser = values::whole)]
    pub probe_every: Option<u64>,
    /// Probe at these steps, as 0,100,1000
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "STEPS", value_parser = values::whole, value_delimiter = ',')]
    pub probe_at: Option<Vec<u64>>,
    /// Points of a probed line [default: 8]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub probe_points: Option<usize>,
    /// Step lengths along the line, in learning rates [default: 0.5:4; dln 0.01:30]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "LO:HI", value_parser = values::range)]
    pub probe_range: Option<[f64; 2]>,
    /// How the points of the line are spaced [default: geometric]
    #[arg(long, help_heading = "Measurements and checkpoints", value_parser = ["geometric", "linear"])]
    pub probe_spacing: Option<String>,
    /// curvature: steps of Lanczos for the largest eigenvalue [default: 20]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub probe_lanczos: Option<usize>,
    /// curvature: random vectors for the trace [default: 8]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub probe_hutchinson: Option<usize>,
    /// The weighted layers for probes that look at single units
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "LAYERS", value_parser = values::count, value_delimiter = ',', help = layers())]
    pub probe_layers: Option<Vec<usize>>,
    /// Units per layer, chosen at random by the seed [default: 2]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub probe_units: Option<usize>,
    /// Look at units' values before the norm, instead of what enters the activation function
    #[arg(long, help_heading = "Measurements and checkpoints")]
    pub probe_pre_norm: bool,
    /// activations: bins of a histogram [default: 64]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "N", value_parser = values::count)]
    pub probe_bins: Option<usize>,
    /// Range of the bins; values outside it are counted too [default: -4:4]
    #[arg(long, help_heading = "Measurements and checkpoints", value_name = "LO:HI", value_parser = values::range, allow_hyphen_values = true)]
    pub probe_bin_range: Option<[f64; 2]>,

    /// Write TensorBoard events into the run's folder
    #[arg(long, help_heading = "Measurements and checkpoints")]
    pub tensorboard: bool,
}

/// For every given field, writes `$given` over the field of `$settings` with the same name.
macro_rules! overwrite {
    ($options:ident, $settings:ident: $($field:ident)*; some: $($some:ident)*; flags: $($flag:ident)*) => {
        $(if let Some(given) = &$options.$field { $settings.$field = given.clone(); })*
        $(if let Some(given) = $options.$some { $settings.$some = Some(given); })*
        $($settings.$flag |= $options.$flag;)*
    };
}

impl TrainOptions {
    /// The value of `--save-every-seconds`; `None` where it is 0. Like `--threads`, it applies to this part of a run only.
    pub fn save_within(&self) -> Option<Duration> {
        match self.save_every_seconds {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => Some(SAVED_WITHIN),
        }
    }

    /// The resolved settings of a new run. Errors name the option.
    pub fn settings(&self, precision: &str) -> Result<Settings> {
        let model = self.model.as_deref().unwrap_or_default();
        self.check_belongs(model == "dln", model)?;
        let mut settings = Settings::defaults(model);
        settings.precision = precision.into();
        self.overwrite(&mut settings)?;
        if self.takes_data_from_environment(&settings)
            && let Some(path) = cifar10::named_by_environment()
        {
            settings.data = path.into_os_string().into_string().map_err(|path| {
                Error::input(
                    "NORMSCAPE_DATA",
                    format!("is not text: {}", path.display()),
                    "give --data, or another path",
                )
            })?;
        }
        settings.resolve()?;
        self.check_useful(&settings)?;
        Ok(settings)
    }

    /// Whether a new run of these settings trains on the images that `NORMSCAPE_DATA` names, because `--data` was not given.
    pub fn takes_data_from_environment(&self, settings: &Settings) -> bool {
        self.data.is_none() && !settings.deep_linear()
    }

    /// Writes the given options over `settings`.
    pub fn overwrite(&self, settings: &mut Settings) -> Result<()> {
        if self.batch == Some(0) {
            // In unresolved settings 0 stands for "all".
            return Err(Error::input("--batch 0", "no samples", "a batch has at least 1"));
        }
        overwrite!(self, settings:
            seed steps model width depth dim norm noise_mean noise_scale noise_spread eps activation data samples batch lr
            momentum weight_decay keep_checkpoints probe probe_at probe_points probe_range probe_spacing
            probe_lanczos probe_hutchinson probe_layers probe_units probe_bins probe_bin_range;
            some: limit_train limit_test eval_every checkpoint_every probe_every;
            flags: norm_last mean_loss half_loss noise augment probe_pre_norm direct_convolution);
        Ok(())
    }

    /// Refuses an option for the other kind of network, which would change nothing.
    fn check_belongs(&self, deep_linear: bool, model: &str) -> Result<()> {
        let foreign = if deep_linear {
            vec![
                ("--width", self.width.is_some(), "--dim is the width of its layers"),
                ("--activation", self.activation.is_some(), "it is linear"),
                ("--direct-convolution", self.direct_convolution, "it has no convolutions"),
            ]
        } else {
            vec![
                ("--depth", self.depth.is_some(), "the model's name says its depth"),
                ("--dim", self.dim.is_some(), "--width multiplies its channels"),
                ("--samples", self.samples.is_some(), "--limit-train cuts its data down"),
                ("--norm-last", self.norm_last, "it is for --model dln"),
                ("--mean-loss", self.mean_loss, "its loss is a mean already"),
                ("--half-loss", self.half_loss, "its loss is the cross-entropy"),
            ]
        };
        match foreign.into_iter().find(|(_, given, _)| *given) {
            Some((option, _, remedy)) => Err(Error::input(option, format!("not for {model}"), remedy)),
            None => Ok(()),
        }
    }

    /// Refuses options of a feature that is not asked for.
    fn check_useful(&self, settings: &Settings) -> Result<()> {
        let noise = [self.noise_mean, self.noise_scale, self.noise_spread];
        if !settings.noise && noise.iter().any(Option::is_some) {
            return Err(Error::input(
                "--noise-mean, --noise-scale, --noise-spread",
                "there is no noise",
                "--noise adds it",
            ));
        }
        let probe = [self.probe_points.is_some(), self.probe_range.is_some(), self.probe_spacing.is_some()];
        if settings.probe.is_empty() && probe.contains(&true) {
            let options = "--probe-points, --probe-range, --probe-spacing";
            return Err(Error::input(options, "no probe is named", "--probe landscape says which"));
        }
        let of_units = [
            self.probe_layers.is_some(),
            self.probe_units.is_some(),
            self.probe_pre_norm,
            self.probe_bins.is_some(),
            self.probe_bin_range.is_some(),
        ];
        if of_units.contains(&true) && !table::of_units().any(|name| settings.asks(name)) {
            let options = "--probe-layers, --probe-units, --probe-pre-norm, --probe-bins, --probe-bin-range";
            let right = "--probe activations, moments or theory does";
            return Err(Error::input(options, "no probe that is named looks at units", right));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        train: TrainOptions,
    }

    fn parse(args: &str) -> TrainOptions {
        let args = ["train", "--out", "o"].into_iter().chain(args.split_whitespace());
        Alone::from_arg_matches(&Alone::command().get_matches_from(args)).unwrap().train
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let text = "--model vgg13 --width 0.5 --norm lp:3 --noise --noise-mean 0.25 --noise-scale 1.5 --noise-spread 0.2 --eps 0 \
                    --activation selu --data images --batch 7 --augment --limit-train 70 --limit-test 30 --lr 0.2 --momentum 0.9 \
                    --weight-decay 0.01 --steps 40 --eval-every 5 --checkpoint-every 6 --keep-checkpoints 3 --probe landscape,moments \
                    --probe-every 8 --probe-at 3,1 --probe-points 4 --probe-range 1:2 --probe-spacing linear --seed 9 \
                    --probe-layers 3,2 --probe-units 4 --probe-pre-norm --probe-bins 9 --probe-bin-range -1:5 --direct-convolution";
        let got = parse(text).settings("f64").unwrap();
        let want = Settings {
            model: "vgg13".into(),
            width: 0.5,
            norm: "lp:3".into(),
            noise: true,
            noise_mean: 0.25,
            noise_scale: 1.5,
            noise_spread: 0.2,
            eps: 0.0,
            activation: "selu".into(),
            data: "images".into(),
            batch: 7,
            augment: true,
            limit_train: Some(70),
            limit_test: Some(30),
            lr: 0.2,
            momentum: 0.9,
            weight_decay: 0.01,
            steps: 40,
            eval_every: Some(5),
            checkpoint_every: Some(6),
            keep_checkpoints: 3,
            probe: vec!["landscape".into(), "moments".into()],
            probe_layers: vec![2, 3],
            probe_units: 4,
            probe_pre_norm: true,
            direct_convolution: true,
            probe_bins: 9,
            probe_bin_range: [-1.0, 5.0],
            probe_every: Some(8),
            probe_at: vec![1, 3],
            probe_points: 4,
            probe_range: [1.0, 2.0],
            probe_spacing: "linear".into(),
            seed: 9,
            precision: "f64".into(),
            ..Settings::defaults("vgg13")
        };
        assert_eq!(got, want);
        let got = parse("--model dln --depth 3 --dim 4 --samples 50 --norm-last --mean-loss --norm noisy")
            .settings("f32")
            .unwrap();
        let dln = Settings::defaults("dln");
        let want = Settings {
            depth: 3,
            dim: 4,
            samples: 50,
            batch: 50,
            norm_last: true,
            mean_loss: true,
            half_loss: false,
            norm: "batch".into(),
            noise: true,
            ..dln
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_help_tells_the_defaults_that_there_are() {
        let table = Alone::command();
        let (vgg, dln) = (Settings::defaults("vgg16"), Settings::defaults("dln"));
        let expected = [
            ("steps", format!("[default: {}; dln {}]", vgg.steps, dln.steps)),
            ("width", format!("[default: {}]", vgg.width)),
            ("depth", format!("[default: {}]", dln.depth)),
            ("dim", format!("[default: {}]", dln.dim)),
            ("samples", format!("[default: {}]", dln.samples)),
            ("norm", format!("[default: {}]", vgg.norm)),
            ("noise_mean", format!("[default: {}]", vgg.noise_mean)),
            ("noise_scale", format!("[default: {}]", vgg.noise_scale)),
            ("noise_spread", format!("[default: {}]", vgg.noise_spread)),
            ("eps", format!("[default: {:?}]", vgg.eps)),
            ("activation", format!("[default: {}]", vgg.activation)),
            ("batch", format!("[default: {}; dln: all]", vgg.batch)),
            ("lr", format!("[default: {:?}; dln {:?}]", vgg.lr, dln.lr)),
            ("momentum", format!("[default: {}]", vgg.momentum)),
            ("weight_decay", format!("[default: {}]", vgg.weight_decay)),
            ("keep_checkpoints", format!("[default: {}]", vgg.keep_checkpoints)),
            ("probe_points", format!("[default: {}]", vgg.probe_points)),
            ("probe_spacing", format!("[default: {}]", vgg.probe_spacing)),
            ("probe_lanczos", format!("[default: {}]", vgg.probe_lanczos)),
            ("probe_units", format!("[default: {}]", vgg.probe_units)),
            ("probe_bins", format!("[default: {}]", vgg.probe_bins)),
            ("probe_hutchinson", format!("[default: {}]", vgg.probe_hutchinson)),
            ("seed", format!("[default: {}]", vgg.seed)),
        ];
        for (id, default) in expected {
            let option = table.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            let help = option.get_help().unwrap().to_string();
            assert!(help.ends_with(&default), "{id}: {help}: {default}");
        }
        let range = |[low, high]: [f64; 2]| format!("{low}:{high}");
        for (id, default) in [
            ("probe_range", format!("[default: {}; dln {}]", range(vgg.probe_range), range(dln.probe_range))),
            ("probe_bin_range", format!("[default: {}]", range(vgg.probe_bin_range))),
        ] {
            let help = table.get_arguments().find(|arg| arg.get_id() == id).unwrap().get_help().unwrap().to_string();
            assert!(help.ends_with(&default), "{help}");
        }
    }
}
