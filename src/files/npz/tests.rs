//! Tests of reading and writing NumPy archives.

use std::cell::Cell;
use std::fs;
use std::io::Cursor;

use super::*;

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

use super::fixture::*;

fn sample() -> Arrays {
    Arrays::from([
        ("f4".into(), Array::f32([2, 3], vec![0.1, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0, f32::MAX, 1.0 / 3.0])),
        ("f8".into(), Array::f64([3, 1, 1], vec![0.1, -1e-308, f64::NEG_INFINITY])),
        ("i8".into(), Array::i64([2], vec![i64::MIN, i64::MAX])),
        ("text".into(), Array::text([2, 2], vec!["".into(), "a\0b".into(), "Mądry 🦀".into(), " ".into()])),
        ("scalar.f4".into(), Array::scalar_f32(2.5)),
        ("scalar.f8".into(), Array::scalar_f64(-2.5)),
        ("scalar.i8".into(), Array::scalar_i64(-7)),
        ("scalar text ∇".into(), Array::scalar_text("vgg11")),
        ("empty.f4".into(), Array::f32([0], vec![])),
        ("empty.f8".into(), Array::f64([2, 0, 3], vec![])),
        ("empty.text".into(), Array::text([0], vec![])),
        ("empty.text.scalar".into(), Array::scalar_text("")),
    ])
}

#[test]
fn every_kind_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    for arrays in [sample(), Arrays::new()] {
        write(&path, &arrays).unwrap();
        assert_eq!(read(&path).unwrap(), arrays);
    }
    let odd = f32::from_bits(0x7fc0_1234);
    write(&path, &Arrays::from([("nan".into(), Array::f32([2], vec![odd, -0.0]))])).unwrap();
    let Values::F32(back) = &read(&path).unwrap()["nan"].values else { panic!("not float32") };
    assert_eq!([back[0].to_bits(), back[1].to_bits()], [odd.to_bits(), (-0f32).to_bits()]);
    // More than one buffer's worth.
    let many = Array::i64([300, 1000], (0..300_000).collect());
    write(&path, &Arrays::from([("many".into(), many.clone())])).unwrap();
    assert_eq!(read(&path).unwrap()["many"], many);
}

#[test]
fn the_same_arrays_are_the_same_bytes_and_stored_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.npz"), dir.path().join("two.npz"));
    write(&one, &sample()).unwrap();
    write(&two, &sample()).unwrap();
    let bytes = fs::read(&one).unwrap();
    assert_eq!(bytes, fs::read(&two).unwrap());
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = sample().into_keys().map(|name| name + ".npy").collect();
    assert_eq!(zip.len(), names.len());
    for (index, name) in names.iter().enumerate() {
        let member = zip.by_index(index).unwrap();
        assert_eq!((member.name_raw(), member.compression()), (name.as_bytes(), STORED));
        assert_eq!(member.last_modified(), Some(zip::DateTime::default()));
    }
}

#[test]
fn what_numpy_writes_is_read() {
    let floats = || Values::F32(vec![1.5, -2.0]);
    let doubles = || Values::F64(vec![1.5, -2.0]);
    let ints = |a, b| Values::I64(vec![a, b]);
    let bytes = |words: &[u32], big: bool| -> Vec<u8> {
        words.iter().flat_map(|word| if big { word.to_be_bytes() } else { word.to_le_bytes() }).collect()
    };
    let words = [0x41, 0x1f980, 0, 0x7a, 0, 0];
    let texts = || Values::Text(vec!["A🦀".into(), "z".into()]);
    let cases: Vec<(&str, Vec<u8>, Values)> = vec![
        ("<f2", vec![0x00, 0x3e, 0x00, 0xc0], floats()),
        (">f2", vec![0x3e, 0x00, 0xc0, 0x00], floats()),
        ("<f4", bytes(&[0x3fc0_0000, 0xc000_0000], false), floats()),
        (">f4", bytes(&[0x3fc0_0000, 0xc000_0000], true), floats()),
        ("<f8", [1.5f64.to_le_bytes(), (-2f64).to_le_bytes()].concat(), doubles()),
        (">f8", [1.5f64.to_be_bytes(), (-2f64).to_be_bytes()].concat(), doubles()),
        ("|b1", vec![0, 1], ints(0, 1)),
        ("|i1", vec![0x80, 0x7f], ints(-128, 127)),
        ("|u1", vec![0x80, 0x7f], ints(128, 127)),
        ("<i2", vec![0xfe, 0xff, 1, 2], ints(-2, 0x201)),
        (">i2", vec![0xff, 0xfe, 2, 1], ints(-2, 0x201)),
        ("<u2", vec![0xfe, 0xff, 1, 2], ints(0xfffe, 0x201)),
        (">u2", vec![0xff, 0xfe, 2, 1], ints(0xfffe, 0x201)),
        ("<i4", bytes(&[0xffff_fffe, 7], false), ints(-2, 7)),
        (">i4", bytes(&[0xffff_fffe, 7], true), ints(-2, 7)),
        ("<u4", bytes(&[0xffff_fffe, 7], false), ints(0xffff_fffe, 7)),
        (">u4", bytes(&[0xffff_fffe, 7], true), ints(0xffff_fffe, 7)),
        ("<i8", [(-2i64).to_le_bytes(), i64::MAX.to_le_bytes()].concat(), ints(-2, i64::MAX)),
        (">i8", [(-2i64).to_be_bytes(), i64::MAX.to_be_bytes()].concat(), ints(-2, i64::MAX)),
        ("<u8", [7u64.to_le_bytes(), (u64::MAX / 2).to_le_bytes()].concat(), ints(7, i64::MAX)),
        (">u8", [7u64.to_be_bytes(), (u64::MAX / 2).to_be_bytes()].concat(), ints(7, i64::MAX)),
        ("<U3", bytes(&words, false), texts()),
        (">U3", bytes(&words, true), texts()),
    ];
    for (descr, data, values) in cases {
        for (version, method) in [(1, STORED), (2, DEFLATED), (3, STORED), (1, DEFLATED)] {
            let array = npy(version, &dictionary(descr, "False", "(1, 2)"), &data);
            let arrays = load(&archive(&[("x.npy", &array)], method)).unwrap();
            assert_eq!(
                arrays,
                Arrays::from([("x".into(), Array { shape: vec![1, 2], values: values.clone() })]),
                "{descr}"
            );
            let half = &data[..data.len() / 2];
            let scalar = npy(version, &dictionary(descr, "False", "()"), half);
            let empty = npy(version, &dictionary(descr, "True", "(3, 0)"), &[]);
            let arrays = load(&archive(&[("s.npy", &scalar), ("e.npy", &empty)], method)).unwrap();
            assert_eq!((arrays["s"].shape.as_slice(), arrays["s"].len()), (&[][..], 1), "{descr}");
            assert_eq!((arrays["e"].shape.as_slice(), arrays["e"].len()), (&[3, 0][..], 0), "{descr}");
            assert_eq!(arrays["s"].values.kind(), values.kind(), "{descr}");
        }
    }
}

#[test]
fn column_major_values_become_row_major() {
    let shape = [2usize, 3, 4];
    let mut data = vec![0u8; 24];
    let mut expected = Vec::new();
    for i in 0..2 {
        for j in 0..3 {
            for k in 0..4 {
                data[i + 2 * (j + 3 * k)] = (100 * i + 10 * j + k) as u8;
                expected.push((100 * i + 10 * j + k) as i64);
            }
        }
    }
    let array = npy(1, &dictionary("|u1", "True", "(2, 3, 4)"), &data);
    let arrays = load(&archive(&[("x.npy", &array)], STORED)).unwrap();
    assert_eq!(arrays["x"], Array::i64(shape, expected));
    let letters: Vec<u8> = "abcdef".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let array = npy(1, &dictionary(">U1", "True", "(2, 3)"), &letters);
    let arrays = load(&archive(&[("x.npy", &array)], STORED)).unwrap();
    assert_eq!(arrays["x"], Array::text([2, 3], ["a", "c", "e", "b", "d", "f"].map(String::from).to_vec()));
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (descr, data, problem) in [
        ("<u8", &(1u64 << 63).to_le_bytes()[..], "above the largest int64"),
        (">u8", &[0xff; 8], "above the largest int64"),
        ("<U1", &[0x00, 0xd8, 0, 0], "damaged"),
        (">U1", &[0xff; 4], "damaged"),
    ] {
        let array = npy(1, &dictionary(descr, "False", "(1,)"), data);
        let message = refusal(&archive(&[("big.npy", &array)], STORED));
        assert!(message.contains("array big") && message.contains(problem), "{message}");
    }
}

#[test]
fn malformed_arrays_are_refused() {
    let good = dictionary("<f4", "False", "(2,)");
    let with = |from: &str, to: &str| npy(1, &good.replace(from, to), &[0; 8]);
    load(&archive(&[("x.npy", &with("", ""))], STORED)).unwrap();
    let mut cases = vec![
        with("<f4", "|O"),
        with("<f4", "<c8"),
        with("<f4", "<M8[ns]"),
        with("'<f4'", "[('a', '<f4')]"),
        with("(2,)", "(3,)"),
        with("(2,)", "(1,)"),
        with("(2,)", "(-2,)"),
        with("(2,)", "((2,),)"),
        with("(2,)", "(4294967296, 4294967296)"),
        with("(2,)", "(4611686018427387906,)"),
        with("'shape'", "'shapes'"),
        with("'fortran_order': False, ", ""),
        with("'fortran_order': False", "'shape': (2,)"),
        with(", }", ", 'more': 1}"),
        with("}", "} }"),
        with("{", ""),
        npy(4, &good, &[0; 8]),
        npy(1, "", &[0; 8]),
        // A byte more than NumPy's limit, and bytes that are not there.
        npy(2, &format!("{good:<10040}"), &[0; 8]),
        b"\x93NUMPY\x01\x00\x10\x27{".to_vec(),
        b"\x93NUM".to_vec(),
        b"not an array at all".to_vec(),
        vec![],
    ];
    // Parsers that try again at each bracket would need for ever if these were long, those that recurse would run out of
    // stack. Three levels are one more than is right, and no parser's end.
    for open in ["(", "[", "{", "{'a':", "((),", "(-", "1-", "not "] {
        let nested = open.repeat(3);
        cases.push(npy(1, &nested, &[]));
        cases.push(npy(1, &format!("{{'descr':{nested}"), &[]));
        cases.push([&b"\x93NUMPY\x01\x00"[..], &(nested.len() as u16).to_le_bytes(), nested.as_bytes()].concat());
    }
    for case in cases {
        for method in [STORED, DEFLATED] {
            let fine = npy(1, &good, &[0; 8]);
            let message = refusal(&archive(&[("fine.npy", &fine), ("bad\n.npy", &case)], method));
            assert!(message.contains("array bad\\n"), "{message}");
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let good = single(STORED);
    load(&good).unwrap();
    let single_array = npy(1, &dictionary("<f4", "False", "(2,)"), &[0; 8]);
    assert!(refusal(&single_array).contains("a single .npy array"));
    assert!(refusal(b"").contains("is empty"));
    for length in 1..good.len() {
        refusal(&good[..length]);
    }
    for bad in [&b"PK"[..], &[0; 4096], b"PK\x03\x04 and then nothing that belongs to an archive"] {
        refusal(bad);
    }
    // Bytes after the archive, and bytes in front of it, which numpy.load does not take either.
    refusal(&[&good[..], b"\0"].concat());
    assert!(refusal(&[b"\0", &good[..]].concat()).contains("has 1 bytes in front of its archive"));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(dir.path()), Err(Error::Input { .. })));
    assert!(matches!(read(&dir.path().join("none.npz")), Err(Error::Input { .. })));
}

#[test]
fn a_comment_at_the_archives_end_changes_nothing() {
    // Both with ZIP64's records and without them.
    let array = npy(1, &dictionary("<f4", "False", "(2,)"), &[0; 8]);
    for good in [single(DEFLATED), archive(&[("x.npy", &array), ("y.npy", &array)], STORED)] {
        let with = |comment: &[u8]| {
            let length = (comment.len() as u16).to_le_bytes();
            [&good[..good.len() - 2], &length, comment].concat()
        };
        let expected = load(&good).unwrap();
        let signature = &b"PK\x05\x06"[..];
        // A record of an empty archive, which a reader from the end would meet first; one that speaks of more; one that
        // is cut short; and a whole archive.
        let empty = [signature, &[0; 18]].concat();
        let mut other = empty.clone();
        other[8..12].copy_from_slice(&[1, 0, 1, 0]);
        for comment in [
            &b"written by hand"[..],
            &b"x".repeat(65_535),
            signature,
            &[b"before", signature, b"after"].concat(),
            &signature.repeat(1000),
            &[b"before", &empty[..]].concat(),
            &other,
            &empty[..20],
            &single(STORED),
            &empty.repeat(50),
        ] {
            assert!(load(&with(comment)).unwrap() == expected, "a comment of {} bytes", comment.len());
        }
        // One that says another length than it has.
        for length in [0u16, 4, 6, 65_535] {
            let mut wrong = with(b"hello");
            wrong[good.len() - 2..good.len()].copy_from_slice(&length.to_le_bytes());
            assert!(refusal(&wrong).contains("no end record"), "{length}");
        }
    }
}

#[test]
fn every_byte_of_a_boolean_but_0_is_true() {
    let array = npy(1, &dictionary("|b1", "False", "(6,)"), &[0, 1, 2, 127, 128, 255]);
    let arrays = load(&archive(&[("x.npy", &array)], STORED)).unwrap();
    assert_eq!(arrays["x"], Array::i64([6], vec![0, 1, 1, 1, 1, 1]));
}

#[test]
fn members_that_numpy_does_not_write_are_refused() {
    let array = npy(1, &dictionary("<f4", "False", "(2,)"), &[0; 8]);
    for name in ["x", "x.txt", "x.npy/", "folder/", ".npz"] {
        refusal(&archive(&[(name, if name.ends_with('/') { b"" } else { &array })], STORED));
    }
    let mut twice = archive(&[("first.npy", &array), ("other.npy", &array)], STORED);
    load(&twice).unwrap();
    while let Some(at) = twice.windows(5).position(|window| window == b"other") {
        twice[at..at + 5].copy_from_slice(b"first");
    }
    assert!(refusal(&twice).contains("twice"));
    let mut encrypted = single(STORED);
    patch(&mut encrypted, 6, 8, &[1, 0]);
    assert!(refusal(&encrypted).contains("array x: is encrypted"));
    for method in [1u16, 9, 12, 14, 93, 95, 99] {
        let mut other = single(STORED);
        patch(&mut other, 8, 10, &method.to_le_bytes());
        refusal(&other);
    }
    let names: Vec<String> = (0..4097).map(|index| format!("{index}.npy")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), array.as_slice())).collect();
    assert_eq!(load(&archive(&members[..4096], STORED)).unwrap().len(), 4096);
    assert!(refusal(&archive(&members, STORED)).contains("4097 members"));
}

#[test]
fn declared_sizes_are_not_believed() {
    let size_of = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let good = single(DEFLATED);
    load(&good).unwrap();
    let (packed, full) = (size_of(&good, 18), size_of(&good, 22));
    let claim = |full: u32, problem: &str| {
        let mut bytes = good.clone();
        patch(&mut bytes, 22, 24, &full.to_le_bytes());
        let message = refusal(&bytes);
        assert!(message.contains(problem), "{message}");
    };
    claim(1032 * packed + 1025, "more than deflate can pack");
    claim(1032 * packed + 1024, "array x: needs 512 bytes");
    claim(full + 1, "array x: needs 512 bytes");
    claim(full - 1, "array x: needs 512 bytes");
    for packed in [0, 1, packed - 1, packed + 1, good.len() as u32 + 1] {
        let mut bytes = good.clone();
        patch(&mut bytes, 18, 20, &packed.to_le_bytes());
        refusal(&bytes);
    }
    // The array and the archive agree on a length that the packed bytes do not have.
    for (says, has) in [(100u32, 64usize), (32, 64)] {
        let content = npy(1, &dictionary("<f8", "False", &format!("({says},)")), &vec![0; 8 * has]);
        let mut bytes = archive(&[("x.npy", &content)], DEFLATED);
        let entry = find(&bytes, b"PK\x01\x02");
        let claimed = (content.len() - 8 * has) as u32 + 8 * says;
        bytes[entry + 24..entry + 28].copy_from_slice(&claimed.to_le_bytes());
        refusal(&bytes);
    }
    for stored in [full - 1, full + 1, good.len() as u32 + 1024] {
        for (local, central) in [(18, 20), (22, 24)] {
            let mut bytes = single(STORED);
            patch(&mut bytes, local, central, &stored.to_le_bytes());
            refusal(&bytes);
        }
    }
    // The directory and the local header disagree; the content and its checksum disagree.
    let mut bytes = single(STORED);
    bytes[22] ^= 1;
    refusal(&bytes);
    let mut bytes = single(STORED);
    let last = find(&bytes, b"PK\x01\x02") - 1;
    bytes[last] ^= 1;
    assert!(refusal(&bytes).contains("array x: is damaged"));
}

#[test]
fn memory_is_bounded_by_the_file() {
    // 8 KiB of zeros pack into a few bytes, and are 64 KiB of int64.
    let content = npy(1, &dictionary("|b1", "False", "(8192,)"), &[0; 8192]);
    let zeros = archive(&[("zeros.npy", &content)], DEFLATED);
    assert_eq!(load_within(&zeros, 65536).unwrap()["zeros"].len(), 8192);
    let message = refusal_of(load_within(&zeros, 65535));
    assert!(message.contains("array zeros: would take 65536 bytes of memory"), "{message}");
    assert_eq!(memory_limit(0), MEMORY_FLOOR);
    assert_eq!(memory_limit(1 << 28), 1 << 32);
    assert_eq!(memory_limit(u64::MAX), MEMORY_CEILING);
    // Together they are too many; the first, whose values are damaged, is not even looked into.
    let content = npy(1, &dictionary("<f4", "False", "(50000,)"), &vec![0; 200_000]);
    let mut bytes = archive(&[("a.npy", &content), ("b.npy", &content)], DEFLATED);
    assert_eq!(load_within(&bytes, 400_000).unwrap().len(), 2);
    let packed_middle = find(&bytes, b"PK\x01\x02") / 4;
    bytes[packed_middle] ^= 0xff;
    let message = refusal_of(load_within(&bytes, 399_999));
    assert!(message.contains("array b: would take 200000 bytes of memory"), "{message}");
    // Strings without characters take no bytes in the file and some in memory.
    let content = npy(1, &dictionary("<U0", "False", "(1000,)"), &[]);
    let none = archive(&[("none.npy", &content)], STORED);
    let takes = 1000 * size_of::<String>() as u64;
    assert_eq!(load_within(&none, takes).unwrap()["none"].len(), 1000);
    assert!(refusal_of(load_within(&none, takes - 1)).contains("array none: would take"));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let long = "x".repeat(1025);
    for name in ["", "a/b", "a\\b", "a\nb", "\0", &long] {
        let error = write(&path, &Arrays::from([(name.into(), Array::scalar_f32(0.0))])).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    for array in [
        Array { shape: vec![2], values: Values::F32(vec![0.0]) },
        Array { shape: vec![usize::MAX, 2], values: Values::F32(vec![]) },
        Array::scalar_text("padded\0"),
    ] {
        let error = write(&path, &Arrays::from([("x".into(), array)])).unwrap_err();
        assert!(matches!(&error, Error::Input { place, .. } if place.contains("array x")), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_failure_of_the_disk_is_told() {
    struct Full(Cursor<Vec<u8>>);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.position() > 500 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write(bytes) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let mut full = Full(Cursor::new(Vec::new()));
    let error = write_all(&mut full, &sample()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    #[cfg(target_os = "linux")]
    {
        let error = write(Path::new("/dev/full"), &sample()).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error}");
    }
}

#[test]
fn a_mutated_file_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    write(&path, &sample()).unwrap();
    let text = npy(1, &dictionary("<U2", "True", "(2, 1)"), &[0; 16]);
    let half = npy(2, &dictionary(">f2", "False", "(3,)"), &[0; 6]);
    let packed = archive(&[("text.npy", &text), ("half.npy", &half)], DEFLATED);
    for good in [fs::read(&path).unwrap(), packed] {
        let refused = Cell::new(0);
        mutations(&good, 3000, |bytes| {
            fs::write(&path, bytes).unwrap();
            if let Err(error) = read(&path) {
                assert!(matches!(error, Error::Input { .. }), "{error:?}");
                refused.set(refused.get() + 1);
            }
        });
        assert!(refused.get() > 1000, "{refused:?} of 3000: these mutations change nothing");
    }
}
