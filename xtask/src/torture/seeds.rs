//! The fuzzers' initial inputs: a small run's own files, golden cases, experiments, and a few pickles and archives.

use super::program::Program;
use std::path::Path;

/// Writes the seeds of every target to `corpus/TARGET/`; existing files stay. `dir` is the folder for a run.
pub fn write(program: &Program, corpus: &Path, dir: &Path) -> Result<(), String> {
    super::fresh(dir)?;
    let line = "train --model dln --depth 2 --dim 3 --samples 8 --norm batch --steps 3 --probe landscape,moments --probe-points 2 \
                --probe-units 1 --probe-layers 1 --quiet --out run";
    program.done(dir, &line.split_whitespace().collect::<Vec<_>>())?;
    let run = dir.join("run");
    let newest = run.join("checkpoints/step-3");
    let put = |target: &str, name: &str, bytes: &[u8]| put(&corpus.join(target).join(name), bytes);
    for (target, from) in [
        ("npz", run.join("landscape.npz")),
        ("npz", run.join("moments.npz")),
        ("safetensors", newest.join("parameters.safetensors")),
        ("safetensors", newest.join("state.safetensors")),
        ("checkpoint", newest.join("state.json")),
        ("checkpoint", newest.join("manifest.json")),
        ("run_toml", run.join("run.toml")),
    ] {
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        put(target, &name, &read(&from)?)?;
    }
    let log = read(&run.join("metrics.csv"))?;
    put("metrics", "whole", &[&[128 + 2], log.as_slice()].concat())?;
    let rows = log.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    put("metrics", "rows", &[&[3], &log[rows..]].concat())?;
    put(
        "arguments",
        "dln",
        b"--model\ndln\n--out\no\n--norm\nlp:3\n--steps\n5\n--probe\nlandscape:2,ics\n--probe-range\n1:2\n",
    )?;
    put(
        "arguments",
        "vgg",
        b"--model=vgg11\n--out=o\n--data=images\n--width=0.5\n--noise\n--probe-at=3,1\n--lr=1e-3\n",
    )?;
    for folder in ["tests/golden", "experiments"] {
        let folder = crate::root().join(folder);
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let bytes = read(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|e| e.to_str()) {
                Some("npz") if bytes.len() <= 4096 => {
                    put("npz", &name, &bytes)?;
                    for (i, array) in members(&bytes).enumerate().filter(|(_, array)| array.len() <= 1024) {
                        put("npy", &format!("{name}-{i}"), array)?;
                    }
                }
                Some("toml") if bytes.len() <= 8192 && name != "runs.toml" => put("experiment", &name, &bytes)?,
                _ => {}
            }
        }
    }
    put("pickle", "python-2", &python_2(b"U\x06labels", b"]q\x05(K\x01K\x02e"))?;
    put(
        "pickle",
        "labels",
        b"\x80\x05\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x06labels\x94]\x94(K\x01K\x02eu.",
    )?;
    put("pickle", "buffer", PROTOCOL_5)?;
    put("pickle", "text", PROTOCOL_2)?;
    put("binary", "records", &[7; 3 * 3073])?;
    put("binary", "packed", PACKED)?;
    let tar = archive(&[("cifar-10-batches-bin/data_batch_1.bin", &[3; 600]), ("readme.html", b"text")]);
    put("archive", "binary", &tar)?;
    let pickle = python_2(b"U\x06labels", b"]q\x05(K\x01e");
    put("archive", "python", &archive(&[("cifar-10-batches-py/test_batch", &pickle)]))?;
    put("archive", "packed", PACKED)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let refused = |e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(refused)?;
    std::fs::write(path, bytes).map_err(refused)
}

/// The arrays of an archive that stores them uncompressed.
fn members(npz: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = (0..npz.len()).filter(|&at| npz[at..].starts_with(b"\x93NUMPY"));
    starts.map(|at| {
        let rest = &npz[at..];
        let end = (1..rest.len())
            .find(|&end| rest[end..].starts_with(b"PK\x03\x04") || rest[end..].starts_with(b"PK\x01\x02"));
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// A batch in the original's layout, with one image of two pixels.
fn python_2(key: &[u8], labels: &[u8]) -> Vec<u8> {
    let head: &[u8] = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x08training";
    let data: &[u8] = b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87q\x0b\
        Rq\x0c(K\x01K\x01K\x02\x86q\x0dcnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xff\
        J\xff\xff\xff\xffK\x00tq\x13b\x89U\x02\x01\x02q\x14tb";
    [head, key, labels, data, b"u."].concat()
}

/// Batches as Python 3 writes them: with protocol 5, and below it with protocol 2.
const PROTOCOL_5: &[u8] = b"\x80\x05\x95\x01\x00\x00\x00\x00\x00\x00\x00}\x94(C\x06labels\x94]\x94(K\x03eC\x04data\x94\
    \x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\x94(\x96\x02\x00\x00\x00\x00\x00\x00\x00\x01\x02\x94\x8c\x05numpy\x94\
    \x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\
    K\x01K\x02\x86\x94\x8c\x01C\x94t\x94R\x94u.";
const PROTOCOL_2: &[u8] = b"\x80\x02}q\x00(X\x06\x00\x00\x00labelsq\x01]q\x02(K\x01eX\x04\x00\x00\x00dataq\x03\
    cnumpy._core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06c_codecs\nencode\nq\x07X\x01\x00\x00\x00bq\x08\
    X\x06\x00\x00\x00latin1q\x09\x86q\x0aRq\x0b\x87q\x0cRq\x0d(K\x01K\x01K\x02\x86q\x0ecnumpy\ndtype\nq\x0fX\x02\x00\x00\x00u1q\x10\
    \x89\x88\x87q\x11Rq\x12(K\x03X\x01\x00\x00\x00|q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x14b\x89h\x07\
    X\x02\x00\x00\x00\x01\x02q\x15h\x09\x86q\x16Rq\x17tq\x18bu.";

/// A gzip member of three bytes, stored.
const PACKED: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01\x03\x00\xfc\xffabc\xc2\x41\x24\x35\x03\x00\x00\x00";

/// A tar archive of some files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(*content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_cut_out_of_their_archive() {
        let npz = b"PK\x03\x04name\x93NUMPY1PK\x03\x04other\x93NUMPY22PK\x01\x02end";
        let found: Vec<&[u8]> = members(npz).collect();
        assert_eq!(found, [b"\x93NUMPY1".as_slice(), b"\x93NUMPY22"]);
        assert_eq!(archive(&[("a", b"x")]).len(), 512 + 512 + 1024);
    }
}
