//! Refused command lines: exit code 2, one line that says what, where, and what would be right, and nothing left behind.

use super::{normscape, one_line, refused, room, text};

#[test]
fn wrong_command_lines_are_refused_in_one_line() {
    let dir = room();
    let path = dir.path();
    std::fs::create_dir(path.join("full")).unwrap();
    std::fs::write(path.join("full/file"), "").unwrap();
    let dln = "train --model dln --out run";
    let vgg = "train --model vgg11 --data images --out run";
    let cases = [
        ("trian".into(), "did you mean train?"),
        ("train --out run".into(), "--model"),
        ("train --model dln".into(), "--out"),
        (format!("{dln} --lrr 1"), "did you mean --lr?"),
        (format!("{dln} extra"), "extra: unknown argument"),
        (format!("{dln} --seed 1 --seed 2"), "--seed"),
        (format!("{dln} --lr nan"), "--lr NaN: out of range; it is a finite number above 0"),
        (format!("{dln} --lr -1"), "--lr -1: out of range"),
        (format!("{dln} --lr fast"), "--lr fast: not a value that it takes; a number is needed"),
        (format!("{dln} --lr"), "--lr"),
        (format!("{dln} --batch 0"), "--batch 0: no samples"),
        (format!("{vgg} --batch 0"), "--batch 0: no samples"),
        (format!("{dln} --batch 1 --norm batch"), "--batch 1: norm1 would see one sample per unit"),
        (format!("{dln} --steps 0"), "--steps 0"),
        (format!("{dln} --steps 99999999999999999999"), "--steps"),
        (format!("{dln} --norm foo"), "--norm foo: unknown"),
        (format!("{dln} --norm group:0"), "--norm group:0: no number of groups"),
        (format!("{dln} --norm group:4"), "--norm group:4: at norm1, 10 channels do not make 4 groups of one size"),
        (format!("{dln} --norm instance"), "--norm instance: at norm1, a group would have one value"),
        (format!("{dln} --norm layer --probe theory"), "the theorems are about BatchNorm"),
        (format!("{dln} --width 2"), "--width: not for dln"),
        (format!("{dln} --data images"), "--data images"),
        (format!("{dln} --noise-mean 1"), "--noise adds it"),
        (format!("{dln} --probe curvatur"), "--probe curvatur: unknown; there are"),
        (format!("{dln} --norm l1 --probe theory"), "the theorems are about BatchNorm"),
        (format!("{dln} --depth 1 --probe ics"), "--probe ics: the network has 1 layer with weights"),
        (format!("{dln} --probe-points 3"), "no probe is named"),
        (format!("{vgg} --probe-layers 3"), "--probe-layers, --probe-units, --probe-pre-norm"),
        (
            format!("{dln} --probe landscape --probe-units 3"),
            "no probe that is named looks at units; --probe activations",
        ),
        (
            format!("{vgg} --probe activations --probe-layers 3,10"),
            "--probe-layers 10: the network has 9 weighted layers; they are numbered from 1 to 9",
        ),
        (format!("{vgg} --probe moments --probe-layers 0"), "--probe-layers 0: the network has 9 weighted layers"),
        (format!("{vgg} --probe moments --probe-layers x"), "--probe-layers x: not a value that it takes"),
        (format!("{vgg} --probe moments --probe-units 0"), "--probe-units 0: layer 1 (conv1) has 64 units"),
        (
            format!("{vgg} --probe moments --probe-layers 9 --probe-units 11"),
            "--probe-units 11: layer 9 (fc) has 10 units; a number from 1 to 10 fits it",
        ),
        (format!("{dln} --probe activations --probe-bins 0"), "--probe-bins 0"),
        (format!("{dln} --probe activations --probe-bins 513"), "--probe-bins 513"),
        (format!("{dln} --probe activations --probe-bin-range -1:-2"), "--probe-bin-range -1.0:-2.0: not a range"),
        (format!("{dln} --probe activations --probe-bin-range -1"), "two numbers LO:HI"),
        (format!("{dln} --probe landscape --probe-range 2:1"), "--probe-range 2:1"),
        (format!("{dln} --threads 0"), "--threads 0"),
        (format!("{dln} --threads 100000"), "--threads 100000"),
        (format!("{dln} --device gpu"), "there are auto, cpu, emulator, cuda and cuda:N"),
        (format!("{dln} --device emulator --precision f64"), "emulator and cuda with f32, tf32 and bf16"),
        (format!("{dln} --device cpu --precision bf16"), "cpu with f32 and f64"),
        (format!("{dln} --precision f16"), "there are f32, tf32, bf16, f64"),
        (format!("{vgg} --width 0"), "--width 0"),
        (format!("{vgg} --width nan"), "--width NaN"),
        (format!("{vgg} --depth 3"), "--depth: not for vgg11"),
        (format!("{vgg} --activation tanh"), "--activation tanh: unknown; there are relu, elu, selu"),
        (format!("{dln} --activation elu"), "--activation: not for dln; it is linear"),
        ("train --model vgg16 --out run".into(), "--data images (generated)"),
        ("train --model vgg16 --out run --data nowhere".into(), "nowhere: does not exist"),
        ("train --model dln --out full".into(), "full: exists; choose another --out"),
        ("train --model dln --out full/file".into(), "full/file: exists"),
        ("train --resume --out nowhere".into(), "nowhere: no such folder"),
        ("train --resume --out full".into(), "run.toml: does not exist"),
        ("op conv2d --input none.npz --output out.npz".into(), "none.npz: does not exist"),
        ("op conv2d --input full/file --output out.npz".into(), "full/file: is empty"),
        ("op conv2d --input full/file --output full/file".into(), "would write over the input"),
        ("op --input a --output b".into(), "NAME"),
        ("probe --input none.npz --output out.npz".into(), "none.npz: does not exist"),
        ("probe --input none.npz".into(), "--output"),
        ("data inspect full".into(), "full: holds no CIFAR-10"),
        ("data inspect".into(), "normscape data fetch"),
        ("data sample images --out sheet.jpg".into(), "FILE.png or FILE.ppm"),
        ("data sample images --out sheet.png --per-class 0".into(), "--per-class 0"),
        ("data sample gaussian --out sheet.png".into(), "holds no images"),
        ("data fetch --url http://127.0.0.1:1/x --to there".into(), "http://127.0.0.1:1/x: cannot be fetched"),
        ("completions csh".into(), "csh: unknown; there are"),
        ("reproduce fig15".into(), "reproduce fig15: unknown; there are demo, fig1,"),
        ("reproduce none.toml".into(), "none.toml: does not exist"),
        ("reproduce full/file.toml".into(), "full/file.toml: does not exist"),
        ("reproduce fig9 --scale large".into(), "--scale large"),
        ("reproduce fig9 --jobs 0".into(), "--jobs 0"),
        ("reproduce fig9 --seeds 0".into(), "--seeds 0"),
        ("reproduce fig4 --scale smoke --data full --out there --quiet".into(), "full"),
        ("bench --step vgg16-batch".into(), "--step vgg16-batch: no norm is named; there are vgg16-0.25-batch,"),
        ("bench --step vgg16-0-batch".into(), "--width 0"),
        ("bench --step dln-batch --seconds inf".into(), "--seconds inf: not a time"),
        ("bench --step dln-batch --full".into(), "--full"),
        ("bench --seconds 1".into(), "--step"),
        ("bench --precision f64".into(), "name one, as in --step dln-batch"),
        ("bench --step dln-batch --layers".into(), "--layers: cannot be used with --step"),
        ("bench --counters --device cpu".into(), "--counters: --device cpu counts nothing; --device emulator does"),
        ("bench --counters --device cuda --precision bf16".into(), "--counters: --device cuda counts nothing"),
        ("bench --counters".into(), "--counters: --device auto counts nothing"),
        ("bench --counters --full --device emulator".into(), "--full"),
        ("bench --batch 3".into(), "--counters"),
        ("bench --counters --device emulator --batch 0".into(), "--batch 0: not so many samples; 1 to 1024"),
        ("bench --counters --device emulator --step vgg16".into(), "--step vgg16: unknown"),
        ("theory --instances 0".into(), "--instances 0: no instance; "),
        ("theory --m 1".into(), "--m 1: not so many samples; 2 to 256"),
        ("theory --m -3".into(), "--m -3: not a value that it takes"),
        ("theory --lambda 0".into(), "--lambda 0: no bound on a layer; a number from 1e-3 to 1e3"),
        ("theory --lambda nan".into(), "--lambda NaN"),
        ("theory --loss hinge".into(), "--loss hinge: unknown; there are all, quadratic"),
        ("theory --instances 3 --precision bf16 --device emulator".into(), "--precision bf16"),
        ("@none".into(), "none: does not exist"),
    ];
    for (line, says) in cases {
        let said = refused(path, &line);
        assert!(said.contains(says), "{line}: {said}");
    }
    let left: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).filter(|n| n != "there").collect();
    assert_eq!(left, ["full"], "nothing is left behind by what was refused");
}

#[cfg(unix)]
#[test]
fn names_of_any_bytes_are_taken_or_refused_in_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = room();
    let bytes = OsStr::from_bytes(b"run\xff\n");
    let line = ["train", "--model", "dln", "--steps", "1", "--quiet", "--out"];
    assert!(normscape(dir.path()).args(line).arg(bytes).output().unwrap().status.success());
    assert!(dir.path().join(bytes).join("run.toml").is_file());
    one_line(&normscape(dir.path()).args(line).arg(bytes).output().unwrap(), "a folder that is there");
    let said = one_line(
        &normscape(dir.path()).args(line).args([OsStr::new("x"), OsStr::new("--data"), bytes]).output().unwrap(),
        "--data",
    );
    assert!(said.contains("not UTF-8"), "{said}");
    one_line(&normscape(dir.path()).arg("no\nsuch\ncommand").output().unwrap(), "a command of three lines");
}

#[test]
fn an_instruction_set_that_is_not_there_is_refused_by_every_command_that_computes() {
    let dir = room();
    let with = |line: &str, isa: &str| {
        normscape(dir.path()).args(line.split_whitespace()).env("NORMSCAPE_ISA", isa).output().unwrap()
    };
    for line in [
        "info",
        "info --json",
        "train --model dln --out run --steps 1",
        "probe --input in.npz --output out.npz",
        "op relu --input in.npz --output out.npz",
        "theory --instances 3",
        "bench",
        "reproduce --dry-run",
        "reproduce --out run",
    ] {
        let said = one_line(&with(line, "avx3"), line);
        let says = "NORMSCAPE_ISA=avx3: no such instruction set; this machine has ";
        assert!(said.contains(says) && said.ends_with("portable\n"), "{line}: {said}");
    }
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx512f") {
        let said = one_line(&with("info", "avx512"), "info");
        assert!(said.contains("NORMSCAPE_ISA=avx512: this processor has no AVX-512"), "{said}");
    }
    for line in ["completions bash", "--version"] {
        assert!(with(line, "avx3").status.success(), "{line} computes nothing");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(all(target_arch = "x86_64", not(target_feature = "fma")))]
#[test]
fn portable_code_says_once_that_it_is_slow() {
    let dir = room();
    let said = |line: &str| {
        let line = line.split_whitespace();
        let out = normscape(dir.path()).args(line).env("NORMSCAPE_ISA", "portable").output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stderr).lines().filter(|line| line.contains("portable code is slow")).count()
    };
    let dln = "train --model dln --depth 2 --samples 10 --steps 2";
    for (line, times) in [
        (format!("{dln} --out a"), 1),
        (format!("{dln} --device cpu --precision f64 --out b"), 1),
        (format!("{dln} --quiet --out c"), 0),
        ("theory --instances 3".into(), 1),
        ("theory --instances 3 --quiet".into(), 0),
        // No step is made on the host's own vector units there.
        (format!("{dln} --device emulator --out d"), 0),
    ] {
        assert_eq!(said(&line), times, "{line}");
    }
}

#[test]
fn a_proxy_that_is_gone_is_named_with_its_variable() {
    let dir = room();
    // A port that was free a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY"] {
        let with = |proxy: &str| {
            let mut fetch = normscape(dir.path());
            one_line(&fetch.args(["data", "fetch", "--to", "to"]).env(variable, proxy).output().unwrap(), proxy)
        };
        let said = with(&format!("http://someone:secret@{gone}"));
        assert!(said.contains(&format!("proxy http://{gone}, which {variable} names")), "{said}");
        assert!(!said.contains("secret") && !said.contains("someone"), "{said}");
        let said = with("http://someone:secret@host:port");
        assert!(said.starts_with(&format!("error: {variable}: ")) && !said.contains("secret"), "{said}");
    }
}
