//! Options out of range, and sizes that no machine can hold.

use crate::program::{bounded, program, refusal, refused, tree};

/// Beside those that every command line is held to: values that are numbers, yet no sizes.
pub fn options_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let dln = "train --model dln --out run --steps 1";
    let vgg = "train --model vgg11 --data images --out run --steps 1";
    for (line, says) in [
        (format!("{dln} --samples 1 --norm batch"), "--batch 1: norm1 would see one sample per unit"),
        (format!("{dln} --lr inf"), "--lr inf: out of range"),
        (format!("{dln} --lr 0"), "--lr 0: out of range"),
        (format!("{dln} --eps nan"), "--eps NaN: out of range"),
        (format!("{dln} --momentum nan"), "--momentum NaN: out of range"),
        (format!("{dln} --weight-decay inf"), "--weight-decay inf: out of range"),
        (format!("{dln} --noise --noise-spread nan"), "--noise-spread NaN: out of range"),
        (format!("{dln} --norm lp:nan"), "--norm lp:nan"),
        (format!("{dln} --norm group:-1"), "--norm group:-1"),
        (format!("{dln} --norm group:18446744073709551616"), "--norm group:18446744073709551616"),
        (format!("{dln} --norm group:18446744073709551615"), "--norm group:18446744073709551615"),
        (format!("{dln} --norm lp:0.999"), "--norm lp:0.999"),
        (format!("{dln} --depth 0"), "--depth 0"),
        (format!("{dln} --depth 18446744073709551615"), "--depth 18446744073709551615"),
        (format!("{dln} --dim 0"), "--dim 0"),
        (format!("{dln} --dim 18446744073709551615"), "--dim 18446744073709551615"),
        (format!("{dln} --samples 0"), "--samples 0"),
        (format!("{dln} --samples 18446744073709551615"), "--samples 18446744073709551615"),
        (format!("{dln} --batch 18446744073709551615"), "--batch 18446744073709551615"),
        (format!("{dln} --seed 18446744073709551616"), "--seed 18446744073709551616"),
        (format!("{dln} --checkpoint-every 0"), "--checkpoint-every 0"),
        (format!("{dln} --keep-checkpoints 0"), "--keep-checkpoints 0"),
        (format!("{dln} --probe landscape --probe-points 0"), "--probe-points 0"),
        (format!("{dln} --probe landscape --probe-points 18446744073709551615"), "--probe-points"),
        (format!("{dln} --probe landscape --probe-range nan:1"), "--probe-range NaN:1"),
        (format!("{dln} --probe landscape --probe-range 1:inf"), "--probe-range 1:inf"),
        (format!("{dln} --probe landscape --probe-every 0"), "--probe-every 0"),
        (format!("{dln} --probe landscape --probe-at 2"), "--probe-at 2"),
        ("train --model dln --out run --steps 4294967295".into(), "--steps 4294967295"),
        (format!("{vgg} --width 129"), "--width 129"),
        (format!("{vgg} --width inf"), "--width inf"),
        (format!("{vgg} --batch 18446744073709551615"), "--batch 18446744073709551615"),
        (format!("{vgg} --batch 10001"), "--batch"),
        (format!("{vgg} --limit-train 0"), "--limit-train"),
        (format!("{vgg} --width 0.5 --limit-test 2001"), "--limit-test"),
        (format!("{vgg} --width 0.5 --limit-train 10 --batch 11"), "--batch"),
    ] {
        refused(dir.path(), &line, &[says]);
        assert_eq!(tree(dir.path()).len(), 0, "{line}");
    }
}

/// Networks and data that fit in no memory are refused by their sizes, before anything of them is made: in bounds of memory,
/// and in none, where the system would promise it and then kill.
pub fn more_than_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let dln = "train --model dln --out run --steps 1";
    let vgg = "train --data images --out run --steps 1";
    for line in [
        format!("{vgg} --model vgg16 --width 100"),
        format!("{vgg} --model vgg19 --width 128 --norm batch --momentum 0.9"),
        format!("{vgg} --model vgg11 --width 64 --batch 10000"),
        format!("{dln} --dim 16384 --depth 10000"),
        format!("{dln} --dim 16384 --depth 1000 --samples 2"),
        format!("{dln} --samples 16777216 --depth 10000"),
    ] {
        for out in [bounded(dir.path(), &line, 512 << 10).output(), program(dir.path(), &line).output()] {
            refusal(&line, &out.unwrap(), &["memory: ", " MiB are needed, ", "needs less"]);
        }
        assert_eq!(tree(dir.path()).len(), 0, "{line}");
    }
}
