//! Wrong content: batch files, arrays, checkpoints, logs.

use crate::program::{RUN, checkpoints, done, nothing_half, program, refusal, refused, results, text, told, tree};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Bytes of a binary batch: 10,000 records of a label and an image.
pub const BATCH: usize = 10_000 * 3_073;

/// Six right batch files: black images of class 0, of which the disk stores next to nothing.
fn black(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        File::create(folder.join(format!("{name}.bin"))).unwrap().set_len(BATCH as u64).unwrap();
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

pub fn batch_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wrong = |says: &[&str]| {
        refused(path, "data inspect set", says);
        refused(path, "train --model vgg11 --width 0.02 --data set --steps 1 --out run", says);
        assert!(!path.join("run").exists());
    };
    wrong(&["set: does not exist", "normscape data fetch"]);
    black(&path.join("set"));
    let third = path.join("set/data_batch_3.bin");
    let resize = |bytes: usize| File::options().write(true).open(&third).unwrap().set_len(bytes as u64).unwrap();
    for bytes in [0, 1, BATCH - 1, BATCH + 1, BATCH + 3_073] {
        resize(bytes);
        wrong(&["data_batch_3.bin: ", &format!("has {bytes} bytes, not the {BATCH}")]);
    }
    resize(BATCH);
    let mut labelled = vec![0; BATCH];
    labelled[7 * 3_073] = 10;
    std::fs::write(&third, &labelled).unwrap();
    wrong(&["data_batch_3.bin, byte 21511: ", "the label of record 7 is 10, not 0 to 9"]);
    std::fs::remove_file(&third).unwrap();
    wrong(&["set: has no data_batch_3.bin"]);

    let packed = gzip(&vec![0; BATCH]);
    let longer = gzip(&vec![0; BATCH + 1]);
    for (content, says) in [
        (&packed[..packed.len() / 2], "the compressed data end early"),
        (&gzip(&[0; 3_073])[..], "has 3073 bytes, not the"),
        (&gzip(&labelled)[..], "record 7 is 10"),
        (&longer[..], "goes on after byte 30730000"),
        (b"not packed at all, but long enough to be seen through", "the packed data are damaged"),
        (b"", "data_batch_3.bin.gz"),
    ] {
        std::fs::write(path.join("set/data_batch_3.bin.gz"), content).unwrap();
        wrong(&["set/data_batch_3.bin.gz", says, "give the original file"]);
    }

    std::fs::remove_dir_all(path.join("set")).unwrap();
    let member = |name: &str, bytes: &[u8], says: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(says);
        header.set_cksum();
        let mut all = [header.as_bytes(), bytes].concat();
        all.resize(all.len().next_multiple_of(512), 0);
        all
    };
    let right = member("cifar-10-batches-bin/data_batch_1.bin", &vec![0; BATCH], BATCH as u64);
    let archive = gzip(&[&right[..], &[0; 1024]].concat());
    for (content, says) in [
        (archive.clone(), "holds 1 of the 6 batch files (data_batch_2, "),
        (archive[..archive.len() / 2].to_vec(), "end early"),
        (gzip(&member("test_batch.bin", &labelled, 9)), "test_batch.bin: has 9 bytes, not the"),
        (gzip(&member("test_batch.bin", &labelled, BATCH as u64)), "test_batch.bin, byte 21511: the label of record 7"),
        (gzip(&member("data_batch_1", b"", 75_497_473)), "more than the 75497472 a batch can have"),
        (longer, "holds 0 of the 6"),
        (vec![], "holds 0 of the 6"),
        (b"neither tar nor gzip".to_vec(), "set"),
    ] {
        std::fs::write(path.join("set"), content).unwrap();
        wrong(&["set", says]);
    }
}

/// An array as NumPy writes it, its header version 1.0.
pub fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    headed(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}"), data)
}

fn headed(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len() + 1).unwrap();
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), b"\n", data].concat()
}

/// An `.npz` of members that are stored as they are.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    packed(members, CompressionMethod::Stored)
}

fn packed(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Asserts that `op` and `probe` refuse the file, and write nothing.
#[track_caller]
fn no_case(bytes: &[u8], says: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("case.npz"), bytes).unwrap();
    for line in ["op relu --input case.npz --output out.npz", "probe --input case.npz --output out.npz"] {
        refused(dir.path(), line, &[&["case.npz"], says].concat());
        assert_eq!(tree(dir.path()).len(), 1, "{line}: nothing is written");
    }
}

pub fn arrays() {
    let good = archive(&[("x", &npy("<f4", "2, 2", &[0; 16]))]);
    let x = |member: &[u8], says: &[&str]| no_case(&archive(&[("x", member)]), &[&["array x"], says].concat());
    // Three levels where two are right: the parsers behind the guard could read these, and must not be handed them.
    let nested = |open: &str| headed(&format!("{{'descr': {}", open.repeat(2)), b"");
    for open in ["(", "{", "{'descr': "] {
        x(&nested(open), &["damaged header: expected", "at byte 2"]);
    }
    for open in ["[", "[('a', "] {
        x(&nested(open), &["is a structured array"]);
    }
    let largest = u64::MAX.to_string();
    x(&npy("<f4", &format!("{largest}, {largest}"), b""), &["no memory holds"]);
    x(&npy("<f4", "4294967296, 4294967296, 2", b""), &["no memory holds"]);
    x(&npy("<f4", "99999999999999999999999,", b""), &["an extent from 0 to"]);
    x(&npy("<f4", "-1,", b""), &["an extent from 0 to"]);
    x(&npy("<f4", "5,", &[0; 16]), &["needs 20 bytes for its shape and has 16"]);
    x(&npy("<U5", "1,", &[0; 16]), &["needs 20 bytes for its shape and has 16"]);
    x(&npy("<f4", &"1, ".repeat(65), &[0; 4]), &["more than 64 axes"]);
    x(&npy("|O", "1,", b"\x80\x04."), &["Python objects"]);
    let right = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }";
    x(&headed(&format!("{right:<10000}"), &[0; 4]), &["a header of 10001 bytes, above NumPy's limit of 10000"]);
    x(b"\x93NUMPY\x09\x00", &["version 9.0"]);
    x(b"\x93NUM", &["ends inside its header"]);
    x(b"", &["ends inside its header"]);
    no_case(b"", &["is empty"]);
    no_case(&good[..good.len() / 2], &["ends early"]);
    no_case(&good[..good.len() - 1], &["ends early"]);
    no_case(&npy("<f4", "1,", &[0; 4]), &["a single .npy array"]);
    no_case(&[&good[..], &[0; 100]].concat(), &["no end record"]);
    // The member's data: its check sum no longer fits.
    let mut flipped = good.clone();
    let at = good.windows(5).position(|w| w == b"NUMPY").unwrap() + 75;
    flipped[at] ^= 0x10;
    no_case(&flipped, &["array x"]);
}

/// Few bytes that unpack to many: refused before memory is taken for them.
pub fn bombs() {
    // One value more than any file may have.
    let bytes = (256 << 20) + 4;
    let zeros = npy("<f4", &format!("{},", bytes / 4), &vec![0; bytes]);
    let bomb = packed(&[("x", &zeros)], CompressionMethod::Deflated);
    assert!(bomb.len() < 4 << 20);
    no_case(&bomb, &["array x", "would take 268435460 bytes of memory"]);
    // The same in pieces, each of which would pass: the last is one too many.
    let piece = npy("|b1", "4194304,", &vec![0; 4 << 20]);
    let names: Vec<_> = (0..9).map(|i| format!("x{i:02}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), piece.as_slice())).collect();
    no_case(&packed(&members, CompressionMethod::Deflated), &["array x08", "of memory, far more than the file has"]);
    // A header that promises more than deflate can pack into its bytes.
    let mut lying = packed(&[("x", &npy("<f4", "2, 2", &[0; 16]))], CompressionMethod::Deflated);
    let entry = lying.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let packed_bytes = u32::from_le_bytes(lying[entry + 20..entry + 24].try_into().unwrap());
    lying[entry + 24..entry + 28].copy_from_slice(&(1032 * packed_bytes + 1025).to_le_bytes());
    no_case(&lying, &["array x", "more than deflate can pack"]);
}

/// Damages one part of every checkpoint of `run`.
fn damage(run: &Path, part: &str, how: fn(&Path)) {
    for step in checkpoints(run) {
        how(&run.join(format!("checkpoints/step-{step}/{part}")));
    }
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Asserts that the run does not go on, says why for each checkpoint, and stays as it was.
#[track_caller]
fn no_checkpoint_is_valid(dir: &Path, part: &str, says: &str) {
    let before = tree(dir);
    let out = program(dir, "train --resume --out run --quiet").output().unwrap();
    let said = text(&out.stderr);
    assert_eq!((out.status.code(), said.lines().count()), (Some(2), 3), "{part}: {said}");
    let lines: Vec<_> = said.lines().collect();
    for (line, step) in lines.iter().zip([40, 20]) {
        let place = format!("warning: run/checkpoints/step-{step}/{part}: ");
        assert!(line.starts_with(&place) && line.contains(says), "{part}: {said}");
    }
    told(part, &format!("{}\n", lines[2]), &["run/checkpoints: none of 2 checkpoints is valid"]);
    assert!(tree(dir) == before, "{part}: the run is left as it was");
}

/// A run with two checkpoints.
fn saved(dir: &Path) {
    done(dir, &format!("{RUN} --steps 40 --out run"));
    assert_eq!(checkpoints(&dir.join("run")), [20, 40]);
}

pub fn damaged_checkpoints() {
    let parts = ["parameters.safetensors", "state.safetensors", "state.json"];
    for part in parts {
        for (how, says) in [(flip as fn(&Path), "damaged: "), (|p| std::fs::remove_file(p).unwrap(), "does not exist")]
        {
            let dir = tempfile::tempdir().unwrap();
            saved(dir.path());
            damage(&dir.path().join("run"), part, how);
            no_checkpoint_is_valid(dir.path(), part, says);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    saved(path);
    for (content, says) in [("", "EOF"), ("[[[[", "expected"), ("{}", "missing field")] {
        for step in [20, 40] {
            std::fs::write(path.join(format!("run/checkpoints/step-{step}/manifest.json")), content).unwrap();
        }
        no_checkpoint_is_valid(path, "manifest.json", says);
    }
    damage(&path.join("run"), "manifest.json", |p| std::fs::remove_file(p).unwrap());
    no_checkpoint_is_valid(path, "manifest.json", "does not exist");

    // Of another network: its record with these checkpoints, and these checkpoints' record with its.
    let other = RUN.replace("--depth 3", "--depth 4");
    done(path, &format!("{other} --steps 40 --out other"));
    std::fs::remove_dir_all(path.join("run/checkpoints")).unwrap();
    std::fs::rename(path.join("other/checkpoints"), path.join("run/checkpoints")).unwrap();
    no_checkpoint_is_valid(path, "manifest.json", "of another network");
}

/// A run's record and logs that are damaged: the run is left as it was.
pub fn damaged_logs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    saved(path);
    let run = path.join("run");
    for (name, says) in [("run.toml", "run.toml"), ("metrics.csv", "metrics.csv"), ("landscape.npz", "landscape.npz")] {
        let file = run.join(name);
        let right = std::fs::read(&file).unwrap();
        for content in [None, Some(&right[..0]), Some(&right[..right.len() / 2])] {
            match content {
                None => std::fs::remove_file(&file).unwrap(),
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            }
            let logs = |run: &Path| {
                let mut all = tree(run);
                // The record is written anew, with this version of the program in it.
                all.remove(&run.join("run.toml"));
                all
            };
            let before = logs(&run);
            refused(path, "train --resume --out run --quiet", &[says]);
            assert!(logs(&run) == before, "{name}");
            nothing_half(path, name);
            std::fs::write(&file, &right).unwrap();
        }
    }
    let expected = results(&run, 40);
    done(path, "train --resume --out run --quiet");
    assert_eq!(results(&run, 40), expected);
    let out = program(path, &format!("{RUN} --steps 40 --out run")).output().unwrap();
    refusal("a run that is there", &out, &["run: exists", "--resume"]);
}
