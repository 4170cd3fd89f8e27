//! Tests of the header guard.

use super::*;

fn file(version: u8, text: &str) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes
}

fn read(text: &str) -> Result<Header, Fault> {
    Header::read(&mut &file(1, text)[..])
}

fn refusal(bytes: &[u8]) -> String {
    match Header::read(&mut &bytes[..]) {
        Err(Fault::Refused(problem, remedy)) => format!("{problem}; {remedy}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_numpy_writes_is_read() {
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n";
    for version in [1, 2, 3] {
        let header = Header::read(&mut &file(version, text)[..]).unwrap();
        assert_eq!((header.kind, header.fortran, header.count), (Kind::Float(4), false, 6));
        assert_eq!((header.shape.as_slice(), header.data_bytes), (&[2, 3][..], 24));
        assert_eq!(header.header_bytes, file(version, text).len() as u64);
    }
    let scalar = read("{\"shape\":(),\"fortran_order\":True,\"descr\":\">U5\"}").unwrap();
    assert_eq!((scalar.kind, scalar.big_endian, scalar.count, scalar.data_bytes), (Kind::Text(5), true, 1, 20));
    let empty = read("{'descr': '|b1', 'fortran_order': False, 'shape': (0,)}").unwrap();
    assert_eq!((empty.kind, empty.count), (Kind::Bool, 0));
}

#[test]
fn npyz_reads_the_header_that_it_is_handed() {
    for descr in ["|b1", "|i1", "|u1", "<i2", ">u4", ">i8", "<f2", ">f8", "<U1", ">U3"] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': True, 'shape': (2, 1, 3)}}");
        let header = read(&text).unwrap().for_npyz().unwrap();
        assert_eq!(header.dtype().descr(), format!("'{}'", descr.replace("|b1", "|u1")));
        assert_eq!((header.shape(), header.order()), (&[2, 1, 3][..], npyz::Order::Fortran));
    }
}

#[test]
fn types_that_numpy_does_not_know_are_refused_by_name() {
    // What numpy.savez of NumPy 2.4 writes for ml_dtypes 0.6: bfloat16; float8_e4m3fn, int4 and the like; float8_e5m2.
    for (descr, name) in [
        ("<V2", "bfloat16"),
        ("|V2", "bfloat16"),
        (">V2", "bfloat16"),
        ("<V1", "float8"),
        ("|V1", "float8"),
        ("<f1", "float8"),
    ] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3,), }}");
        let message = refusal(&file(1, &text));
        for part in [name, descr, "astype(float32)"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    for descr in ["|V4", "|V16", "<V3"] {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3,), }}");
        assert!(refusal(&file(1, &text)).contains("unsupported type"));
    }
}

#[test]
fn anything_else_is_refused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}";
    assert!(read(good).is_ok());
    for (from, to) in [
        ("'<f4'", "'|O'"),
        ("'<f4'", "'<c8'"),
        ("'<f4'", "'<f16'"),
        ("'<f4'", "'|V4'"),
        ("'<f4'", "'<M8[ns]'"),
        ("'<f4'", "'f4'"),
        ("'<f4'", "'|f4'"),
        ("'<f4'", "'=f4'"),
        ("'<f4'", "''"),
        ("'<f4'", "'<'"),
        ("'<f4'", "'<U'"),
        ("'<f4'", "'<U99999999999999999999'"),
        ("'<f4'", "'<f4"),
        ("'<f4'", "'<f\\x34'"),
        ("'<f4'", "[('a', '<f4')]"),
        ("'<f4'", "4"),
        ("False", "0"),
        ("False", "None"),
        ("(2,)", "(2)"),
        ("(2,)", "[2]"),
        ("(2,)", "(-2,)"),
        ("(2,)", "(2.0,)"),
        ("(2,)", "(2L,)"),
        ("(2,)", "(,)"),
        ("(2,)", "(2,,)"),
        ("(2,)", "(2 3)"),
        ("(2,)", "(18446744073709551616,)"),
        ("(2,)", "(4294967296, 4294967296)"),
        ("(2,)", "(0, 4611686018427387904)"),
        ("(2,)", "((2,),)"),
        ("}", ", 'shape': (2,)}"),
        ("}", ", 'more': 1}"),
        ("'shape': (2,)", ""),
        ("}", ""),
        ("}", "} 1"),
        ("}", "}}"),
        ("{", "("),
        (good, ""),
        (good, "{}"),
    ] {
        let text = good.replace(from, to);
        assert!(matches!(read(&text), Err(Fault::Refused(..))), "{text}");
    }
}

#[test]
fn a_header_has_as_many_bytes_as_numpy_allows_and_no_more() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}";
    for version in [1, 2, 3] {
        let longest = format!("{good:<MAX_TEXT$}");
        assert!(Header::read(&mut &file(version, &longest)[..]).is_ok());
        let longer = format!("{longest} ");
        assert!(refusal(&file(version, &longer)).contains("has a header of 10001 bytes"));
        // It says that it is as long as it may be, and has one byte.
        assert!(refusal(&file(version, &longest)[..13]).contains("ends inside its header"));
    }
}

#[test]
fn other_magic_and_deeper_nesting_than_a_tuple_in_a_dictionary_are_refused() {
    assert!(refusal(b"\x93NUMPY\x04\x00").contains("version 4.0"));
    assert!(refusal(b"PK\x03\x04\0\0\0\0").contains("not a NumPy array"));
    assert!(refusal(b"\x93NUM").contains("ends inside its header"));
    // Three levels, where two are right: few enough for any parser behind this one.
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("{'a':", "}"), ("-", ""), ("'", "'")] {
        let nested = |levels: usize| [open.repeat(levels), "1,".into(), close.repeat(levels)].concat();
        let right = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
        for text in [nested(3), format!("{right}{}}}", nested(2)), format!("{right}{}", open.repeat(2))] {
            assert!(matches!(read(&text), Err(Fault::Refused(..))), "{text}");
        }
    }
    let many = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({})}}", "1,".repeat(65));
    assert!(refusal(&file(1, &many)).contains("64 axes"));
}

#[test]
fn a_message_gives_the_byte_and_stays_on_one_line() {
    let message = refusal(&file(1, "{'descr': '<f4', \n'shape': (2, x)}"));
    assert!(message.contains("at byte 41, found 'x'"), "{message}");
    assert!(!refusal(&file(1, "{'descr': '\n\n\n4', 'shape': (2,)}")).contains('\n'));
    assert!(!refusal(&file(1, "{'descr'\x01: '<f4'}")).contains('\x01'));
}
