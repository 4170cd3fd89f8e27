//! Data sets for the tests: right ones in every form, and the parts from which tests build wrong ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::batch_file::{BINARY_BYTES, IMAGES, NAMES, RECORD};

/// Batch `number` as a `.bin` file. Labels and some pixels identify the batch and the record; the rest is black and compresses well.
pub(super) fn binary(number: usize) -> Vec<u8> {
    let mut bytes = vec![0; BINARY_BYTES as usize];
    for (i, record) in bytes.chunks_exact_mut(RECORD).enumerate() {
        record[0] = ((i + number) % 10) as u8;
        record[1 + i % 3072] = 1 + (i * 7 + number) as u8 % 255;
    }
    bytes
}

/// A binary batch in the form of the original Python version: byte by byte what Python 2's cPickle writes with protocol 2.
pub(super) fn pickled(binary: &[u8]) -> Vec<u8> {
    let (mut labels, mut pixels) = (vec![], Vec::with_capacity(binary.len()));
    for record in binary.chunks_exact(RECORD) {
        labels.push(record[0]);
        pixels.extend_from_slice(&record[1..]);
    }
    python2(&labels, [10_000, 3_072], b"u1", &pixels)
}

/// A batch with any labels, shape, dtype and content, laid out like the original.
pub(super) fn python2(labels: &[u8], shape: [u16; 2], dtype: &[u8; 2], pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05".to_vec();
    for some in labels.chunks(1000) {
        out.push(b'(');
        out.extend(some.iter().flat_map(|&label| [b'K', label]));
        out.push(b'e');
    }
    out.extend(b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08");
    out.extend(b"K\x00\x85q\x09U\x01bq\x0a\x87q\x0bRq\x0c(K\x01M");
    out.extend(shape[0].to_le_bytes());
    out.push(b'M');
    out.extend(shape[1].to_le_bytes());
    out.extend(b"\x86q\x0dcnumpy\ndtype\nq\x0eU\x02");
    out.extend(dtype);
    out.extend(
        b"q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89T",
    );
    out.extend((pixels.len() as u32).to_le_bytes());
    out.extend(pixels);
    out.extend(b"q\x14tbU\x09filenamesq\x15]q\x16");
    for some in (0..IMAGES).collect::<Vec<_>>().chunks(1000) {
        out.push(b'(');
        for i in some {
            let name = format!("leptodactylus_pentadactylus_s_{i:06}.png");
            out.extend([b'U', name.len() as u8]);
            out.extend(name.as_bytes());
            out.push(b'r');
            out.extend((23 + *i as u32).to_le_bytes());
        }
        out.push(b'e');
    }
    out.extend(b"u.");
    out
}

/// A batch as Python 3 writes it with protocol 2. That protocol has no bytes, so they are stored as text, to be encoded as latin1.
pub(super) fn python3_protocol_2(labels: &[u8], pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02}q\x00(X\x06\x00\x00\x00labelsq\x01]q\x02(".to_vec();
    out.extend(labels.iter().flat_map(|&label| [b'K', label]));
    out.extend(
        b"eX\x04\x00\x00\x00dataq\x03cnumpy._core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06",
    );
    out.extend(b"c_codecs\nencode\nq\x07X\x01\x00\x00\x00bq\x08X\x06\x00\x00\x00latin1q\x09\x86");
    out.extend(b"q\x0aRq\x0b\x87q\x0cRq\x0d(K\x01");
    out.extend(b"M\x10\x27M\x00\x0c\x86q\x0ecnumpy\ndtype\nq\x0fX\x02\x00\x00\x00u1q\x10\x89\x88\x87q\x11Rq\x12(K\x03");
    out.extend(b"X\x01\x00\x00\x00|q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x14b\x89h\x07X");
    let text: String = pixels.iter().map(|&pixel| char::from(pixel)).collect();
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend(b"q\x15h\x09\x86q\x16Rq\x17tq\x18bu.");
    out
}

/// A batch as Python 3 writes it with protocol 5: framed, memoised in order, and with the array read from a buffer.
pub(super) fn python3_protocol_5(labels: &[u8], pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x05\x95\x01\x00\x00\x00\x00\x00\x00\x00}\x94(C\x06labels\x94]\x94(".to_vec();
    out.extend(labels.iter().flat_map(|&label| [b'K', label]));
    out.extend(b"eC\x04data\x94\x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\x94(\x96");
    out.extend((pixels.len() as u64).to_le_bytes());
    out.extend(pixels);
    out.extend(
        b"\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNN",
    );
    out.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bM\x10\x27M\x00\x0c\x86\x94\x8c\x01C\x94t\x94R\x94u.");
    out
}

/// A pickled dictionary as Python 3 and NumPy write it with protocol 4, from the opcodes of its two fields.
pub(super) fn dictionary(labels: &[u8], data: &[u8]) -> Vec<u8> {
    [&b"\x80\x04}(\x8c\x06labels"[..], labels, b"\x8c\x04data", data, b"u."].concat()
}

/// The opcodes that push a global.
fn global(module: &str, name: &str) -> Vec<u8> {
    let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    [text(module), text(name), vec![0x93]].concat()
}

/// The opcodes that push bytes.
fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&b"B"[..], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// The opcodes of a dtype with this code and byte order.
fn dtype((code, order): (&str, &str)) -> Vec<u8> {
    let code = [&[0x8c, code.len() as u8], code.as_bytes(), b"\x89\x88\x87R(K\x03\x8c\x01"].concat();
    let state = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
    [global("numpy", "dtype"), code, order.as_bytes().to_vec(), state.to_vec()].concat()
}

/// The opcodes of an array with this class, shape, dtype code and byte order; `fortran` says that columns are contiguous.
pub(super) fn array(class: (&str, &str), shape: &[u16], kind: (&str, &str), fortran: bool, data: &[u8]) -> Vec<u8> {
    let class = [global("numpy._core.multiarray", "_reconstruct"), global(class.0, class.1)].concat();
    let extents: Vec<u8> = shape.iter().flat_map(|n| [&b"M"[..], &n.to_le_bytes()].concat()).collect();
    let order = if fortran { 0x88 } else { 0x89 };
    let state = [&b"K\x00\x85C\x01b\x87R(K\x01("[..], &extents, b"t", &dtype(kind), &[order]].concat();
    [class, state, bytes(data), b"tb".to_vec()].concat()
}

/// The opcodes of a NumPy integer.
pub(super) fn scalar(kind: (&str, &str), data: &[u8]) -> Vec<u8> {
    [global("numpy.core.multiarray", "scalar"), dtype(kind), bytes(data), b"\x86R".to_vec()].concat()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A tar archive of the members, in the given order.
pub(super) fn tar<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A folder with six valid `.bin` files: black images of class 0, which take next to no disk space.
pub(super) fn black_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let file = File::create(folder.path().join(format!("{name}.bin"))).unwrap();
        file.set_len(BINARY_BYTES).unwrap();
    }
    folder
}

/// Writes a file into a folder and returns its path.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}
