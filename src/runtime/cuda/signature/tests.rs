//! What the signature reader takes, and what it refuses.

use super::*;

#[test]
fn kernels_are_read_with_their_lines_and_comments() {
    let text = "#include \"prelude.cuh\"\n// y = a x.\n//\n// Twice.\nextern \"C\" __global__ void __launch_bounds__(256, 2)\n\
                scale_f32(const float* x, /* in\nelements */ unsigned len, const bf16* bias_or_null, float* y, unsigned char* z) {\n}\n\
                // __global__ in a comment is none\nextern \"C\" __global__ void __cluster_dims__(8, 1, 1) next(u64 n) {}\n";
    let kernels = read(text).unwrap();
    assert_eq!(kernels.len(), 2);
    let first = &kernels[0];
    assert_eq!((first.name.as_str(), first.line, &first.bounds[..]), ("scale_f32", 5, &[256, 2][..]));
    assert_eq!(first.comment, ["y = a x.", "", "Twice."]);
    let kinds: Vec<_> = first.parameters.iter().map(|p| p.kind.clone()).collect();
    use Kind::*;
    assert_eq!(kinds, [Input(Type::F32), Scalar(Type::U32), Optional(Type::Bf16), Output(Type::F32), Output(Type::U8)]);
    assert_eq!((kernels[1].cluster, kernels[1].line), (8, 10));
}

#[test]
fn a_kernel_waits_for_the_launch_before_it_in_its_first_statement() {
    let waits = |body: &str| read(&format!("extern \"C\" __global__ void k(float* y) {{{body}}}\n")).unwrap()[0].waits;
    assert!(waits("\n    // First.\n    wait_for_predecessor();\n    y[0] = 1.0f;\n"));
    for body in ["", "\n    y[0] = 1.0f;\n    wait_for_predecessor();\n", "\n    // wait_for_predecessor();\n"] {
        assert!(!waits(body), "{body}");
    }
    let both = "KERNEL_OF_T(256) first(T* y) {\n    y[0] = 0.0f;\n}\nKERNEL_OF_T(256)\nsecond(T* y) { wait_for_predecessor(); }\n";
    assert_eq!(read(both).unwrap().iter().map(|k| k.waits).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_kernel_of_both_types_has_two_entries() {
    let text = "extern \"C\" __global__ void first(u64 n) {}\n// y = x\nKERNEL_OF_T(256, 2)\ncopy(const T* x, const float* gain_or_null, T* y, Matrix matrix) {\n    y[0] = x[0];\n}\n";
    let kernels = read(text).unwrap();
    assert_eq!(
        kernels.iter().map(|k| (k.name.as_str(), k.of_t, k.line)).collect::<Vec<_>>(),
        [("first", false, 1), ("copy", true, 3)]
    );
    assert_eq!(kernels[1].parameters[3].kind, Kind::Struct("Matrix".into()));
    let with = with_entries(text, &kernels);
    assert!(with.starts_with(text), "{with}");
    let entry = |suffix: &str, ty: &str| {
        format!(
            "extern \"C\" __global__ void __launch_bounds__(256, 2) copy_{suffix}(const {ty}* x, const float* gain_or_null, \
             {ty}* y, Matrix matrix) {{ ::copy<{ty}>(x, gain_or_null, y, matrix); }}\n"
        )
    };
    assert_eq!(with[text.len()..], format!("{}{}", entry("f32", "float"), entry("bf16", "bf16")));
}

#[test]
fn a_kernel_of_both_types_may_have_clusters() {
    let text = "KERNEL_OF_T(128) CLUSTER_OF(4)\nshared(T* x) {}\n";
    let kernels = read(text).unwrap();
    assert_eq!((kernels[0].name.as_str(), kernels[0].cluster, kernels[0].of_t), ("shared", 4, true));
    let with = with_entries(text, &kernels);
    let entry = "#if CLUSTERS\nextern \"C\" __global__ void __launch_bounds__(128) __cluster_dims__(4, 1, 1) shared_f32(float* x) \
                 { ::shared<float>(x); }\n#endif\n";
    assert!(with[text.len()..].starts_with(entry), "{with}");
    assert!(read("KERNEL_OF_T(128) CLUSTER_OF(4, 2)\nshared(T* x) {}\n").is_err());
}

#[test]
fn a_matrix_may_be_taken_by_its_map() {
    let text = "extern \"C\" __global__ void k(const __grid_constant__ TensorMap left, float* y) {}\n";
    let kernels = read(text).unwrap();
    let [left, _] = &kernels[0].parameters[..] else { panic!("{kernels:?}") };
    assert_eq!((left.name.as_str(), &left.kind), ("left", &Kind::Map));
    assert_eq!(left.cuda("T"), "const __grid_constant__ TensorMap");
    let nameless = read("extern \"C\" __global__ void k(const __grid_constant__ TensorMap) {}\n").unwrap_err();
    assert!(nameless.problem.contains("lower case"), "{nameless:?}");
}

#[test]
fn a_file_with_hoppers_instructions_is_for_one_architecture() {
    assert_eq!(only_for("// Products.\n#include \"columns.cuh\"\n#include \"hopper.cuh\"\n"), Some(90));
    assert_eq!(only_for("// See hopper.cuh.\n#include \"tiles.cuh\"\n"), None);
}

#[test]
fn structs_are_read_with_their_fields() {
    let text = "#define BY_VALUE struct\n// A map.\nBY_VALUE Map {\n    unsigned rows, columns;  // of it\n    double eps;\n};\n";
    let found = structs(text).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), &found[0].comment[..]), ("Map", &["A map.".to_owned()][..]));
    let fields = [("rows", Type::U32), ("columns", Type::U32), ("eps", Type::F64)];
    assert_eq!(found[0].fields, fields.map(|(name, ty)| (name.to_owned(), ty)));
    let mistake = structs("\nBY_VALUE Map { size_t rows; };").unwrap_err();
    assert!(mistake.line == 2 && mistake.problem.contains("no number's type"), "{mistake:?}");
}

#[test]
fn what_is_outside_the_grammar_is_named_with_its_line() {
    let kernel = |parameters: &str| format!("\n\nextern \"C\" __global__ void k({parameters}) {{}}");
    for (text, words) in [
        ("\n\n__global__ void k(int n) {}".to_owned(), "extern"),
        ("\n\nextern \"C\" __global__ int k(int n) {}".to_owned(), "void"),
        (kernel("size_t n"), "none of the types"),
        (kernel("const T* x"), "none of the types"),
        (kernel("float** x"), "lower case"),
        (kernel("const float x"), "neither const"),
        (kernel("const Map map"), "neither const"),
        (kernel("float"), "no name"),
        (kernel("float X"), "lower case"),
        (kernel(""), "no name"),
        ("\n\nextern \"C\" __global__ void __launch_bounds__(N) k(int n) {}".to_owned(), "not a number"),
        ("\n\nKERNEL_OF_T k(int n) {}".to_owned(), "numbers in brackets"),
        ("\n\nKERNEL_OF_T(256) k(T n) {}".to_owned(), "none of the types"),
    ] {
        let mistake = read(&text).unwrap_err();
        assert!(mistake.line == 3 && mistake.problem.contains(words), "{text}: {mistake:?}");
    }
}
