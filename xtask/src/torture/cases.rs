//! The small runs to torture, and their inputs.

use super::program::Program;
use super::random::Random;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// The output of every case, in the folder that it runs in.
pub const OUT: &str = "out";

/// A command whose result is a folder, or a file in it.
pub struct Case {
    pub name: &'static str,
    pub args: Vec<String>,
    /// A command that is first run to its end, to make what this one starts from.
    pub before: Option<Vec<String>>,
    /// How often the case is chosen for kills.
    pub weight: u64,
    /// One call in this many is made to fail; more than 1 where many calls do the same. 0 in cases that are only for kills.
    pub stride: usize,
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(Into::into).collect()
}

impl Case {
    /// Whether the case holds its folder while it works, and so removes what an earlier command left half-written there.
    pub fn has_lock(&self) -> bool {
        ["train", "reproduce"].contains(&self.args[0].as_str())
    }

    /// The command that continues what is there: the same command, except for training.
    pub fn again(&self, program: &Program, dir: &Path, random: &mut Random) -> Vec<String> {
        let trains = self.args[0] == "train";
        let begun = dir.join(OUT).join("run.toml").exists();
        if self.args.contains(&"--resume".to_owned()) || !trains || !begun {
            // A run that has not begun may be started by either.
            let requeued = trains && program.resumes_if_there && random.below(2) == 0 && !begun;
            return if requeued { with(&self.args, "--resume-if-there") } else { self.args.clone() };
        }
        // What a requeued job runs is one and the same command each time.
        if program.resumes_if_there && random.below(2) == 0 {
            return with(&self.args, "--resume-if-there");
        }
        let mut args = words("train --resume --quiet --out");
        args.push(OUT.into());
        if self.args.contains(&"--tensorboard".to_owned()) {
            args.push("--tensorboard".into());
        }
        args
    }
}

fn with(args: &[String], more: &str) -> Vec<String> {
    let mut args = args.to_vec();
    args.push(more.into());
    args
}

/// The cases for kills. `shared` holds their inputs.
pub fn for_kills(shared: &Path) -> Vec<Case> {
    let shared = shared.display();
    let case = |weight, name, line: &str| Case {
        name,
        args: words(&format!("{line} --quiet --out {OUT}")),
        before: None,
        weight,
        stride: 0,
    };
    vec![
        case(
            8,
            "train dln",
            "train --model dln --depth 8 --dim 16 --samples 400 --batch 100 --norm batch --noise --momentum 0.5 --seed 3 --steps 300 \
             --probe landscape:20,ics:30,curvature:60,moments:10 --probe-points 4 --checkpoint-every 7 --tensorboard",
        ),
        case(
            6,
            "train vgg",
            "train --model vgg11 --width 0.05 --data images --limit-train 300 --limit-test 100 --batch 10 --augment --norm batch \
             --seed 5 --steps 20 --eval-every 4 --probe landscape:4,ics:5,activations:2 --probe-units 1 --probe-points 3 \
             --checkpoint-every 3",
        ),
        case(
            2,
            "train cifar",
            &format!(
                "train --model vgg11 --width 0.05 --data {shared}/cifar --limit-train 60 --limit-test 40 --batch 10 --norm l1 \
                 --steps 12 --eval-every 3 --probe landscape:3 --probe-points 2 --checkpoint-every 2"
            ),
        ),
        case(6, "reproduce dln", "reproduce fig9 theory --network dln --scale smoke"),
        case(3, "reproduce both", &format!("reproduce {shared}/both.toml --scale smoke --data images --tensorboard")),
    ]
}

/// The cases for failing calls.
pub fn for_calls(shared: &Path) -> Vec<Case> {
    let shared = shared.display();
    let train = "train --model dln --depth 3 --samples 50 --norm batch --noise --momentum 0.5 --batch 20 --seed 3 --threads 1 \
                 --probe landscape,moments --probe-every 10 --probe-points 2 --checkpoint-every 20 --keep-checkpoints 1 \
                 --tensorboard";
    let case = |stride, name, line: &str, before: Option<&str>| Case {
        name,
        args: words(line),
        before: before.map(words),
        weight: 0,
        stride,
    };
    let (first, whole) =
        (format!("{train} --steps 30 --quiet --out {OUT}"), format!("{train} --steps 60 --quiet --out {OUT}"));
    let resume = format!("train --resume --tensorboard --steps 60 --quiet --threads 1 --out {OUT}");
    vec![
        case(1, "train", &whole, None),
        case(1, "train --resume", &resume, Some(&first)),
        case(
            1,
            "reproduce",
            &format!("reproduce {shared}/small.toml --scale smoke --quiet --jobs 1 --threads 1 --out {OUT}"),
            None,
        ),
        case(1, "op", &format!("op elu --input {shared}/elu.npz --output {OUT}/out.npz --quiet --threads 1"), None),
        case(
            61,
            "train on CIFAR-10",
            &format!(
                "train --model vgg11 --width 0.02 --data {shared}/cifar --limit-train 20 --limit-test 10 --batch 10 --norm none \
                 --steps 1 --eval-every 1 --quiet --threads 1 --out {OUT}"
            ),
            None,
        ),
    ]
}

/// Writes the inputs of the cases: experiments, an operator's arrays, and a folder like CIFAR-10's.
pub fn prepare(shared: &Path) -> Result<(), String> {
    let refused = |e: std::io::Error| format!("{}: {e}", shared.display());
    let write = |name: &str, text: &str| std::fs::write(shared.join(name), text).map_err(refused);
    write("small.toml", &SMALL.replace("LIST", "[3]"))?;
    write("both.toml", &(SMALL.replace("LIST", "[3, 4]") + VGG))?;
    let golden = crate::root().join("tests/golden/elu_4d.npz");
    std::fs::copy(&golden, shared.join("elu.npz")).map_err(|e| format!("{}: {e}", golden.display()))?;
    let folder = shared.join("cifar");
    std::fs::create_dir_all(&folder).map_err(refused)?;
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        let path = folder.join(format!("{name}.bin"));
        batch(&path, name.bytes().map(u64::from).sum()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// A binary batch: some images of noise, then black ones, which take no disk space.
fn batch(path: &Path, seed: u64) -> std::io::Result<()> {
    const RECORD: usize = 3073;
    let mut random = Random::new(seed, 0);
    let mut file = std::fs::File::create(path)?;
    for _ in 0..100 {
        let mut record: Vec<u8> = (0..RECORD).map(|_| random.next() as u8).collect();
        record[0] %= 10;
        file.write_all(&record)?;
    }
    file.set_len(10_000 * RECORD as u64)?;
    file.seek(SeekFrom::End(-1))?;
    // Two batches never agree in a part.
    file.write_all(&[seed as u8])
}

const SMALL: &str = r#"title = "Depths"
[value.loss]
quantity = "loss"
label = "training loss"
[value.beta]
quantity = "landscape.beta"
label = "smoothness"
over = "max"
[[run]]
id = "depth-{depth}"
base = "dln"
norm = "batch"
vary.depth = LIST
probe = ["landscape:2"]
smoke = { samples = 40, steps = 12, depth = 3 }
[[panel]]
title = "loss"
show = "loss"
y_log = true
[[claim]]
id = "own.falls"
place = "nowhere"
statement = "The loss falls."
from = "smoke"
test = [{ run = "depth-3", value = "loss", is = "<", than = { steps = "first" } }]
"#;

const VGG: &str = r#"
[[run]]
id = "vgg-{norm}"
base = "vgg"
vary.norm = ["none", "batch"]
probe = ["landscape:2"]
eval_every = 3
smoke = { model = "vgg11", width = 0.04, limit_train = 40, limit_test = 20, batch = 8, steps = 6 }
"#;
