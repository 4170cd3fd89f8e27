//! Which pickles the machine reads, and which it refuses.

use super::super::machine::OPCODES;
use super::*;

fn flaw(bytes: &[u8]) -> (usize, String) {
    let Flaw { byte, problem } = Pickle::parse(bytes).unwrap_err();
    (byte, problem)
}

#[test]
fn containers_strings_and_numbers_are_read() {
    // {'a': [1, 256, -1, -129], b'b': (None, True, 'a')} with protocol 2, the second 'a' from the memo.
    let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]\
                  (K\x01M\x00\x01J\xff\xff\xff\xff\x8a\x02\x7f\xffeU\x01bN\x88h\x01\x87u.";
    let pickle = Pickle::parse(bytes).unwrap();
    let Value::Dict(dict) = pickle.root() else { panic!("{:?}", pickle.root()) };
    assert_eq!(pickle.ints(pickle.entry(dict, "a").unwrap()), Some(vec![1, 256, -1, -129]));
    let Some(Value::Tuple(items)) = pickle.entry(dict, "b") else { panic!() };
    assert_eq!((pickle.value(items[0]), pickle.value(items[1])), (&Value::None, &Value::Bool(true)));
    assert!(pickle.reads(items[2], "a"));
    assert_eq!(pickle.entry(dict, "c"), None);
}

#[test]
fn what_could_execute_is_refused_where_it_stands() {
    let (byte, problem) = flaw(b"\x80\x02cos\nsystem\nU\x02ls\x85R.");
    assert_eq!(byte, 2);
    assert!(problem.contains("`os.system`"), "{problem}");
    // By STACK_GLOBAL, by INST, by OBJ, by an extension code, by NEWOBJ, by a persistent id.
    assert!(flaw(b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.").1.contains("`os.system`"));
    for bytes in
        [&b"\x80\x02(ios\nsystem\n."[..], b"\x80\x02(o.", b"\x80\x02\x82\x01.", b"\x80\x02))\x81.", b"\x80\x02NQ."]
    {
        assert!(flaw(bytes).1.contains("opcode 0x"), "{:?}", flaw(bytes));
    }
    // A known global with other arguments, or called by something unknown.
    assert!(flaw(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.").1.contains("other arguments"));
    assert!(flaw(b"\x80\x02N)R.").1.contains("known global"));
}

#[test]
fn broken_pickles_are_flaws_and_not_panics() {
    for bytes in [
        &b""[..],
        b"(",
        b"\x80",
        b"\x80\x01.",
        b"\x80\x06.",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02e.",
        b"\x80\x02(e.",
        b"\x80\x02NN.",
        b"\x80\x02(N.",
        b"\x80\x02N.N",
        b"\x80\x02](\x85.",
        b"\x80\x02N(a.",
        b"\x80\x02}Ns.",
        b"\x80\x02}(Nu.",
        b"\x80\x02NNa.",
        b"\x80\x02q\x00.",
        b"\x80\x02h\x00.",
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x02j\xff\xff\xff\xff.",
        b"\x80\x02U\x05abc",
        b"\x80\x02T\xff\xff\xff\xff",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x02\x8a\x09123456789.",
        b"\x80\x02c",
        b"\x80\x02NNb.",
        b"\x80\x02cnumpy\ndtype\nNb.",
        b"\x80\x02N\x93.",
        b"\x80\x02R.",
        b"\x80\x02b.",
    ] {
        let (byte, _) = flaw(bytes);
        assert!(byte <= bytes.len(), "{bytes:?}");
    }
    let (byte, problem) = flaw(b"\x80\x02N.NN");
    assert_eq!((byte, problem.as_str()), (4, "goes on for 2 bytes after its end"));
    let (byte, problem) = flaw(b"\x80\x02U\x05abc");
    assert_eq!((byte, problem.as_str()), (4, "ends early: 5 bytes are due here and 3 are left"));
}

#[test]
fn nesting_and_cycles_cost_nothing_and_length_is_bounded() {
    // 100,000 lists, each in the one before: nothing recurses.
    let mut bytes = b"\x80\x02".to_vec();
    bytes.extend(b"]".repeat(100_000));
    bytes.extend(b"a".repeat(99_999));
    bytes.push(b'.');
    assert!(Pickle::parse(&bytes).is_ok());
    // A list that holds itself.
    let pickle = Pickle::parse(b"\x80\x02]q\x00h\x00a.").unwrap();
    assert_eq!(pickle.ints(pickle.root()), None);
    let mut bytes = b"\x80\x02".to_vec();
    bytes.extend(b"N".repeat(OPCODES + 1));
    assert!(flaw(&bytes).1.contains("more than"));
}

#[test]
fn mutations_of_a_pickle_never_panic() {
    let good = b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n\
                 q\x03K\x00\x85U\x01b\x87R(K\x01\
                 K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN\
                 J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbu.";
    assert!(matches!(Pickle::parse(good).unwrap().root(), Value::Dict(_)));
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        for value in 0..=255 {
            bytes[at] = value;
            let _ = Pickle::parse(&bytes);
        }
        assert!(Pickle::parse(&good[..at]).is_err());
    }
}
