//! Tests of what `load` and `inspect` promise, on right and wrong sets in every form.

use std::fs;
use std::path::Path;

use super::batch_file::{At, BINARY_BYTES, Batch, Form, IMAGES, NAMES, PICKLE_BYTES, RECORD};
use super::fixture::{binary, black_folder, gzip, pickled, put, python2, python3_protocol_2, python3_protocol_5, tar};
use super::*;
use crate::data::image_set::IMAGE;

/// The one-line error message of a set that cannot be loaded.
fn refusal(path: &Path) -> String {
    let error = load(path).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(!message.contains('\n') && message.contains(&*path.file_name().unwrap().to_string_lossy()), "{message}");
    message
}

/// Asserts that `message` contains all of `parts`.
#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn every_form_loads_the_same_images() {
    let root = tempfile::tempdir().unwrap();
    let binaries: Vec<_> = (0..6).map(binary).collect();
    let pickles: Vec<_> = binaries.iter().map(|binary| pickled(binary)).collect();
    // Members in another order than the original's, beside some that are not batches.
    let archive = |folder: &str, extension: &str, batches: &[Vec<u8>]| {
        let names: Vec<String> = NAMES.iter().map(|name| format!("{folder}/{name}{extension}")).collect();
        let members = [3, 5, 0, 1, 4, 2].map(|i| (names[i].as_str(), batches[i].as_slice()));
        tar([("batches.meta.txt", &b"airplane\n"[..]), ("._data_batch_1.bin", b"?")].into_iter().chain(members))
    };
    let (binary_tar, python_tar) = (archive("a/b", ".bin", &binaries), archive("cifar-10-batches-py", "", &pickles));
    let archives = [
        put(root.path(), "binary.tar", &binary_tar),
        put(root.path(), "binary.tar.gz", &gzip(&binary_tar)),
        put(root.path(), "python.tar", &python_tar),
    ];
    for (i, name) in NAMES.iter().enumerate() {
        put(root.path(), &format!("plain/cifar-10-batches-bin/{name}.bin"), &binaries[i]);
        put(root.path(), &format!("torch/cifar-10-batches-py/{name}"), &pickles[i]);
        match i {
            // Packed and plain files may be mixed.
            2 => put(root.path(), &format!("packed/{name}.bin"), &binaries[i]),
            _ => put(root.path(), &format!("packed/{name}.bin.gz"), &gzip(&binaries[i])),
        };
    }

    let set = load(&root.path().join("plain/cifar-10-batches-bin")).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (50_000, 10_000));
    for (i, binary) in binaries.iter().enumerate() {
        let images = if i < 5 { &set.train } else { &set.test };
        for (k, record) in binary.chunks_exact(RECORD).enumerate() {
            let k = k + if i < 5 { i * IMAGES } else { 0 };
            assert!(images.labels[k] == record[0] && images.image(k) == &record[1..], "record {k} of batch {i}");
        }
    }
    let folders = ["plain", "packed", "torch", "torch/cifar-10-batches-py"].map(|name| root.path().join(name));
    for path in folders.iter().chain(&archives) {
        let other = load(path).unwrap();
        assert!(other.train == set.train && other.test == set.test, "{}", path.display());
    }

    let plain = inspect(&folders[0]).unwrap();
    assert_eq!(plain.kind, "folder of .bin files");
    assert_eq!(plain.path, folders[0].join("cifar-10-batches-bin"));
    assert_eq!((plain.train_per_class, plain.test_per_class), ([5_000; 10], [1_000; 10]));
    assert_eq!(plain.hash, set.hash());
    assert_eq!((plain.files[5].name.as_str(), plain.files[5].bytes), ("test_batch.bin", BINARY_BYTES));
    for (file, binary) in plain.files.iter().zip(&binaries) {
        assert_eq!(file.md5, crate::files::hash::md5_reader(&binary[..]).unwrap());
    }
    let python = inspect(&archives[2]).unwrap();
    assert_eq!((python.kind, &python.path, &python.hash), ("archive", &archives[2], &plain.hash));
    assert!(python.files.iter().zip(&plain.files).all(|(a, b)| a.md5 == b.md5));
    assert_eq!((python.files[0].name.as_str(), python.files[0].bytes), ("data_batch_1", pickles[0].len() as u64));
}

#[test]
fn a_wrong_length_of_a_binary_file_is_named_before_anything_is_read() {
    let folder = black_folder();
    assert!(load(folder.path()).is_ok());
    for bytes in [0, 1, BINARY_BYTES - 1, BINARY_BYTES + 1, BINARY_BYTES + RECORD as u64] {
        let path = folder.path().join("data_batch_3.bin");
        fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
        let message = load(folder.path()).unwrap_err().to_string();
        says(
            &message,
            &["data_batch_3.bin: ", &format!("has {bytes} bytes, not the 30730000"), "normscape data fetch"],
        );
    }
    fs::remove_file(folder.path().join("data_batch_2.bin")).unwrap();
    fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
    says(&refusal(folder.path()), &["has no data_batch_2.bin and no data_batch_2.bin.gz"]);
}

#[test]
fn a_wrong_label_is_named_with_its_byte() {
    let folder = black_folder();
    for (name, byte, label) in [("data_batch_1.bin", 0, 10), ("test_batch.bin", 9_999 * RECORD, 255)] {
        let mut bytes = binary(0);
        bytes[byte] = label;
        put(folder.path(), name, &bytes);
        let message = load(folder.path()).unwrap_err().to_string();
        let record = byte / RECORD;
        says(&message, &[name, &format!("byte {byte}: "), &format!("record {record} is {label}, not 0 to 9")]);
        put(folder.path(), name, &binary(record));
    }
    assert!(load(folder.path()).is_ok());
}

#[test]
fn a_packed_binary_file_is_exactly_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (mut pixels, mut labels) = (vec![0; IMAGES * IMAGE], vec![0; IMAGES]);
    let mut wrong = |bytes: &[u8]| {
        let path = put(folder.path(), "data_batch_5.bin.gz", bytes);
        let batch = Batch { pixels: &mut pixels, labels: &mut labels };
        folder::read_file(&path, Form::Binary, batch).map_err(|e| e.to_string())
    };
    let right = gzip(&binary(4));
    assert_eq!(wrong(&right), Ok(()));
    says(&wrong(&gzip(&[])).unwrap_err(), &["data_batch_5.bin.gz: has 0 bytes"]);
    says(&wrong(&gzip(&binary(4)[..RECORD])).unwrap_err(), &["has 3073 bytes"]);
    says(&wrong(&gzip(&[binary(4), vec![0]].concat())).unwrap_err(), &["goes on after byte 30730000"]);
    says(&wrong(b"").unwrap_err(), &["data_batch_5.bin.gz"]);
    says(&wrong(b"not packed at all").unwrap_err(), &["data_batch_5.bin.gz, byte 0: the packed data are damaged"]);
    says(&wrong(&right[..right.len() / 2]).unwrap_err(), &["the compressed data end early"]);
    says(&wrong(&right[..right.len() - 1]).unwrap_err(), &["byte 30730000: the compressed data end early"]);
    let mut flipped = right.clone();
    let sum = right.len() - 6;
    flipped[sum] ^= 1;
    says(&wrong(&flipped).unwrap_err(), &["byte 30730000: the packed data are damaged"]);
    // In two packed parts: refused at the 30,730,001st byte, however many follow.
    let longer = [gzip(&binary(4)), gzip(&[0; 1000])].concat();
    says(&wrong(&longer).unwrap_err(), &["goes on after byte 30730000"]);
}

#[test]
fn a_wrong_archive_is_refused_by_member_and_place() {
    let root = tempfile::tempdir().unwrap();
    let wrong = |bytes: &[u8]| refusal(&put(root.path(), "a.tar.gz", bytes));
    let first = binary(0);
    says(&wrong(b""), &["holds 0 of the 6 batch files (data_batch_1, "]);
    says(
        &wrong(&b"no archive at all, but a text that is longer than a block of 512 bytes\n".repeat(20)),
        &["is not a tar archive"],
    );
    says(&wrong(&gzip(b"short")), &["is not a tar archive"]);
    says(&wrong(&first), &["a.tar.gz"]);
    says(&wrong(&tar([("data_batch_1.bin", &first[..])])), &["holds 1 of the 6 batch files (data_batch_2, "]);
    says(&wrong(&tar([("data_batch_1.bin", &first[1..])])), &["a.tar.gz, data_batch_1.bin: has 30729999 bytes"]);
    says(
        &wrong(&tar([("data_batch_1.bin", &first[..]), ("x/data_batch_1", b"")])),
        &["data_batch_1: is in the archive twice"],
    );
    // The label of record 1, in the second member.
    let mut label = first.clone();
    label[RECORD] = 11;
    let members = tar([("data_batch_1.bin", &first[..]), ("data_batch_2.bin", &label[..])]);
    says(&wrong(&gzip(&members)), &["data_batch_2.bin, byte 3073: the label of record 1 is 11"]);
    // Cut short in the tar, in the packing, and within the member.
    says(&wrong(&members[..512 + 1000]), &["data_batch_1.bin: has 1000 bytes"]);
    says(&wrong(&members[..512 + first.len() + 700]), &["a.tar.gz"]);
    let packed = gzip(&members);
    says(&wrong(&packed[..packed.len() / 4]), &["data_batch_1.bin, byte ", "the compressed data end early"]);
}

#[test]
fn an_archive_is_read_to_its_check_sum_and_not_much_further() {
    let root = tempfile::tempdir().unwrap();
    let black = vec![0; BINARY_BYTES as usize];
    let names = NAMES.map(|name| format!("{name}.bin"));
    let mut whole = tar(names.iter().map(|name| (name.as_str(), black.as_slice())));
    let packed = gzip(&whole);
    let load_of = |bytes: &[u8]| load(&put(root.path(), "a.tgz", bytes)).map(drop).map_err(|e| e.to_string());
    assert_eq!(load_of(&packed), Ok(()));
    says(&load_of(&packed[..packed.len() - 8]).unwrap_err(), &["the compressed data end early"]);
    let mut flipped = packed.clone();
    let sum = packed.len() - 5;
    flipped[sum] ^= 0x40;
    says(&load_of(&flipped).unwrap_err(), &["the packed data are damaged"]);
    whole.extend(vec![0; 3 << 20]);
    says(&load_of(&gzip(&whole)).unwrap_err(), &["goes on after the archive's end"]);
}

#[test]
fn lying_and_exploding_archives_are_refused_within_bounds() {
    let root = tempfile::tempdir().unwrap();
    let wrong = |bytes: &[u8]| refusal(&put(root.path(), "a.tar.gz", bytes));
    let header = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let regular = tar::EntryType::Regular;
    says(&wrong(&header("data_batch_1.bin", regular, BINARY_BYTES + 1)), &["data_batch_1.bin: has 30730001 bytes"]);
    says(&wrong(&header("data_batch_1", regular, PICKLE_BYTES + 1)), &["data_batch_1: has 75497473 bytes, more than"]);
    says(&wrong(&header("data_batch_1", regular, 1 << 20)), &["data_batch_1, byte 0: "]);
    // A long name, other extensions, and a member to be skipped, longer than what the archive may unpack to.
    const MOST: u64 = 1 << 20;
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader, regular] {
        let mut bomb = gzip(&header("x", kind, 2 * MOST));
        bomb.extend(gzip(&vec![0; 2 * MOST as usize]));
        let path = put(root.path(), "a.tar.gz", &bomb);
        let message = archive::read_within(&path, Vec::new(), MOST).unwrap_err().to_string();
        says(&message, &["a.tar.gz, byte 10", "unpack to more than"]);
    }
}

#[test]
fn a_wrong_pickle_is_refused_by_field_or_byte() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        put(folder.path(), name, b"");
    }
    let path = folder.path().join(NAMES[0]);
    let wrong = |bytes: &[u8]| {
        put(folder.path(), NAMES[0], bytes);
        let at = At { path: &path, member: None };
        let (mut pixels, mut labels) = (vec![0; IMAGES * IMAGE], vec![0; IMAGES]);
        let batch = Batch { pixels: &mut pixels, labels: &mut labels };
        python::read(bytes, at, batch).map_err(|e| e.to_string())
    };
    let (labels, pixels) = (vec![9; IMAGES], vec![7; IMAGES * IMAGE]);
    let right = python2(&labels, [10_000, 3_072], b"u1", &pixels);
    assert_eq!(wrong(&right), Ok(()));
    says(&load(folder.path()).unwrap_err().to_string(), &["data_batch_2, byte 0: the pickle is not a pickle"]);

    says(&wrong(&right[..right.len() - 1]).unwrap_err(), &[&format!("byte {}: ", right.len() - 1), "ends early"]);
    says(&wrong(&right[..1000]).unwrap_err(), &["ends early"]);
    says(&wrong(&[&right[..], b"x"].concat()).unwrap_err(), &["goes on for 1 bytes after its end"]);
    says(&wrong(b"\x80\x02N.").unwrap_err(), &["is not a dictionary"]);
    says(&wrong(b"\x80\x02}.").unwrap_err(), &["the dictionary has no `labels`"]);
    let with = |labels: &[u8], shape, dtype, pixels: &[u8]| wrong(&python2(labels, shape, dtype, pixels)).unwrap_err();
    let shape = [10_000, 3_072];
    says(&with(&labels[1..], shape, b"u1", &pixels), &["field `labels`: has 9999 labels, not 10000"]);
    let mut label = labels.clone();
    label[77] = 10;
    says(&with(&label, shape, b"u1", &pixels), &["field `labels`: the label of record 77 is 10"]);
    says(
        &with(&labels, [3_072, 10_000], b"u1", &pixels),
        &["field `data`: has shape [3072, 10000], not [10000, 3072]"],
    );
    says(&with(&labels, shape, b"i1", &pixels), &["field `data`: is not of dtype uint8"]);
    says(&with(&labels, shape, b"u1", &pixels[1..]), &["field `data`: has 30719999 bytes of data, not 30720000"]);
    let order = right.windows(3).position(|w| w == b"b\x89T").unwrap() + 1;
    let mut none = right.clone();
    none[order] = b'N';
    says(&wrong(&none).unwrap_err(), &["field `data`: is neither in C order nor in Fortran order"]);
}

#[test]
fn what_python_3_writes_is_read_too() {
    let (labels, pixels) = (vec![3; IMAGES], (0..IMAGES * IMAGE).map(|i| (i % 255) as u8).collect::<Vec<_>>());
    for bytes in [python3_protocol_2(&labels, &pixels), python3_protocol_5(&labels, &pixels)] {
        let (mut found, mut classes) = (vec![0; IMAGES * IMAGE], vec![0; IMAGES]);
        let batch = Batch { pixels: &mut found, labels: &mut classes };
        python::read(&bytes, At { path: Path::new("batch"), member: None }, batch).unwrap();
        assert!(found == pixels && classes == labels);
    }
}

/// The images and labels of a pickled batch.
fn unpickled(bytes: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    let (mut pixels, mut labels) = (vec![0; IMAGES * IMAGE], vec![0; IMAGES]);
    let batch = Batch { pixels: &mut pixels, labels: &mut labels };
    python::read(bytes, At { path: Path::new("batch"), member: None }, batch).map_err(|e| e.to_string())?;
    Ok((pixels, labels))
}

#[test]
fn what_numpy_pickles_is_read_whatever_its_order_and_its_labels_are() {
    let pixels: Vec<u8> = (0..IMAGES * IMAGE).map(|i| (i * 31 % 253) as u8).collect();
    let labels: Vec<u8> = (0..IMAGES).map(|i| (i * 3 % 10) as u8).collect();
    let mut columns = vec![0; IMAGES * IMAGE];
    for (i, image) in pixels.chunks_exact(IMAGE).enumerate() {
        image.iter().enumerate().for_each(|(j, &pixel)| columns[j * IMAGES + i] = pixel);
    }
    for (numpy, class) in [("numpy", "ndarray"), ("numpy", "memmap"), ("numpy.core.memmap", "memmap")] {
        for fortran in [false, true] {
            let data = if fortran { &columns } else { &pixels };
            let array = fixture::array((numpy, class), &[10_000, 3_072], ("u1", "|"), fortran, data);
            let list: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
            let list = [&b"]("[..], &list, b"e"].concat();
            assert!(unpickled(&fixture::dictionary(&list, &array)) == Ok((pixels.clone(), labels.clone())));
        }
    }
    let array = fixture::array(("numpy", "ndarray"), &[10_000, 3_072], ("u1", "|"), false, &pixels);
    for (code, order) in [("i8", "<"), ("i8", ">"), ("u8", ">"), ("i4", "<"), ("u2", ">"), ("i1", "|"), ("u1", "|")] {
        let size = usize::from(code.as_bytes()[1] - b'0');
        let item = |label: u8| {
            let mut bytes = vec![0; size];
            bytes[if order == ">" { size - 1 } else { 0 }] = label;
            bytes
        };
        let bytes: Vec<u8> = labels.iter().flat_map(|&label| item(label)).collect();
        for shape in [&[10_000][..], &[10_000, 1]] {
            let of_labels = fixture::array(("numpy", "ndarray"), shape, (code, order), false, &bytes);
            let found = unpickled(&fixture::dictionary(&of_labels, &array));
            assert!(found == Ok((pixels.clone(), labels.clone())), "{order}{code} {shape:?}: {:?}", found.err());
        }
        // A list of NumPy's own integers.
        let scalars: Vec<Vec<u8>> = labels.iter().map(|&label| fixture::scalar((code, order), &item(label))).collect();
        let list = [&b"]("[..], &scalars.concat(), b"e"].concat();
        assert!(
            unpickled(&fixture::dictionary(&list, &array)) == Ok((pixels.clone(), labels.clone())),
            "{order}{code}"
        );
    }
}

#[test]
fn numpy_labels_of_other_kinds_are_refused() {
    let array = fixture::array(("numpy", "ndarray"), &[10_000, 3_072], ("u1", "|"), false, &vec![1; IMAGES * IMAGE]);
    let refused = |shape: &[u16], kind, bytes: &[u8]| {
        let labels = fixture::array(("numpy", "ndarray"), shape, kind, false, bytes);
        unpickled(&fixture::dictionary(&labels, &array)).unwrap_err()
    };
    let none = "field `labels`: is neither a list nor an array of integers";
    says(&refused(&[10_000], ("f4", "<"), &[0; 40_000]), &[none]);
    says(&refused(&[10_000], ("b1", "|"), &[0; 10_000]), &[none]);
    says(&refused(&[10_000], ("i8", "<"), &[0; 10_000]), &[none]);
    says(&refused(&[10_000], ("i8", "<"), &[0; 79_999]), &[none]);
    says(&refused(&[100, 100], ("u1", "|"), &[0; 10_000]), &[none]);
    says(&refused(&[9_999], ("u1", "|"), &[0; 9_999]), &["has 9999 labels"]);
    let mut bytes = [0; 80_000];
    bytes[8 * 5..][..8].fill(0xff);
    says(&refused(&[10_000], ("i8", "<"), &bytes), &["record 5 is -1"]);
    says(&refused(&[10_000], ("u8", "<"), &bytes), &["record 5 is 9223372036854775807"]);
    // 1 in the other byte order.
    says(&refused(&[10_000], ("i2", ">"), &[1; 20_000]), &["record 0 is 257"]);
}

#[test]
fn a_batch_that_stands_twice_is_refused_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    for (i, name) in NAMES.iter().enumerate() {
        put(folder.path(), &format!("{name}.bin"), &binary(i));
    }
    assert!(load(folder.path()).is_ok());
    put(folder.path(), "test_batch.bin", &binary(0));
    says(&refusal(folder.path()), &["test_batch.bin holds the same images as data_batch_1.bin", "data fetch"]);
    fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
    put(folder.path(), "test_batch.bin.gz", &gzip(&binary(3)));
    says(&refusal(folder.path()), &["test_batch.bin.gz holds the same images as data_batch_4.bin"]);
    let batches = [0, 1, 2, 2, 4, 5].map(|i| pickled(&binary(i)));
    let archive = put(folder.path(), "python.tar", &tar(NAMES.into_iter().zip(batches.iter().map(Vec::as_slice))));
    says(&refusal(&archive), &["data_batch_4 holds the same images as data_batch_3"]);
}

#[test]
fn what_is_read_in_place_of_a_part_is_told() {
    let root = tempfile::tempdir().unwrap();
    let names = NAMES.map(|name| format!("cifar-10-batches-bin/{name}.bin"));
    let batches: Vec<_> = (0..6).map(binary).collect();
    let bytes = gzip(&tar(names.iter().map(String::as_str).zip(batches.iter().map(Vec::as_slice))));
    let archive = put(root.path(), "cifar-10-binary (1).tar.gz", &bytes);
    put(root.path(), &names[0], &batches[0]);
    let found = inspect(root.path()).unwrap();
    assert_eq!((found.kind, &found.path), ("archive", &archive));
    says(&found.passed_over.unwrap(), &["cifar-10-batches-bin: has no data_batch_2.bin"]);
    let description = load(root.path()).unwrap().description;
    says(&description, &["(1).tar.gz (not from ", "has no data_batch_2.bin"]);
    // An error of the one that is read names the other.
    let folder = root.path().join("cifar-10-batches-bin");
    says(&load(&folder).unwrap_err().to_string(), &["has no data_batch_2.bin", "(1).tar.gz, which is there too"]);
    for (name, batch) in names.iter().zip(&batches) {
        put(root.path(), name, batch);
    }
    put(root.path(), &names[1], &[&[200], &batches[1][1..]].concat());
    let error = load(root.path()).unwrap_err().to_string();
    says(&error, &["data_batch_2.bin, byte 0: ", "(1).tar.gz, which is there too"]);
}

#[test]
fn a_pickle_that_is_too_long_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        put(folder.path(), name, b"").metadata().unwrap();
    }
    let file = fs::File::options().write(true).open(folder.path().join("data_batch_1")).unwrap();
    file.set_len(PICKLE_BYTES + 1).unwrap();
    says(&load(folder.path()).unwrap_err().to_string(), &["data_batch_1: has 75497473 bytes"]);
}

#[test]
fn paths_that_hold_no_set_say_what_would_be_right() {
    let root = tempfile::tempdir().unwrap();
    says(&refusal(root.path()), &["holds no CIFAR-10 batch files", "normscape data fetch"]);
    says(&refusal(&root.path().join("missing")), &["missing: does not exist", "normscape data fetch"]);
    says(&refusal(&put(root.path(), "notes.txt", b"hello")), &["is not a tar archive", "normscape data fetch"]);
    #[cfg(unix)]
    says(&refusal(Path::new("/dev/zero")), &["neither a file nor a folder"]);
}
