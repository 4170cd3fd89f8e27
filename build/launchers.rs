//! Typed launch functions, one per kernel, as Rust text.

use crate::signature::{Kind, Parameter, Signature, Type};
use std::fmt::Write;
use std::path::PathBuf;

/// A file of kernels.
pub struct File {
    /// Its name without `.cu`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub kernels: Vec<Signature>,
}

/// The text of the module `kernels`.
pub fn generate(files: &[File], prelude: &str) -> String {
    let mut out = String::from("/// The files of kernels.\npub static SOURCES: &[Source] = &[\n");
    for File { name, path, .. } in files {
        writeln!(out, "    Source {{ name: {name:?}, text: include_str!({path:?}) }},").unwrap();
    }
    writeln!(out, "];\n/// What every file includes.\npub static PRELUDE: &str = include_str!({prelude:?});").unwrap();
    out += "/// Every kernel.\npub static ALL: &[&Kernel] = &[\n";
    for kernel in files.iter().flat_map(|file| &file.kernels) {
        writeln!(out, "    &{},", kernel.name.to_uppercase()).unwrap();
    }
    out += "];\n";
    for (source, file) in files.iter().enumerate() {
        for kernel in &file.kernels {
            out += &description(kernel, source);
        }
        for kernel in &file.kernels {
            let twin = |suffix: &str| {
                let stem = kernel.name.strip_suffix("_f32")?;
                file.kernels.iter().find(|other| other.name.strip_suffix(suffix) == Some(stem))
            };
            if kernel.name.strip_suffix("_bf16").is_some_and(|stem| has(file, &format!("{stem}_f32"))) {
                continue;
            }
            out += &launcher(kernel, twin("_bf16"), &file.name);
        }
    }
    out
}

fn has(file: &File, name: &str) -> bool {
    file.kernels.iter().any(|kernel| kernel.name == name)
}

fn description(kernel: &Signature, source: usize) -> String {
    let Signature { name, max_threads, cluster, parameters, .. } = kernel;
    let parameters: Vec<_> = parameters.iter().map(|p| format!("({:?}, Type::{:?})", p.name, p.ty)).collect();
    format!(
        "pub static {}: Kernel = Kernel {{ name: {name:?}, source: {source}, max_threads: {max_threads}, cluster: {cluster}, \
         parameters: &[{}] }};\n",
        name.to_uppercase(),
        parameters.join(", ")
    )
}

/// The launch function of `kernel`; where `half` is its twin for bf16, of both.
fn launcher(kernel: &Signature, half: Option<&Signature>, file: &str) -> String {
    let types: Vec<String> = match half {
        None => kernel.parameters.iter().map(|p| p.ty.rust().to_owned()).collect(),
        Some(half) => {
            let differs = |(a, b): (&Parameter, &Parameter)| match (a.ty, b.ty) {
                (a, b) if a == b => a.rust().to_owned(),
                (Type::F32, Type::Bf16) => "T".to_owned(),
                _ => panic!(
                    "{file}.cu:{}: {} and {} differ in more than float and bf16",
                    half.line, kernel.name, half.name
                ),
            };
            let same = |(a, b): (&Parameter, &Parameter)| a.name == b.name && a.kind == b.kind;
            let pairs = || kernel.parameters.iter().zip(&half.parameters);
            assert!(
                kernel.parameters.len() == half.parameters.len() && pairs().all(same),
                "{file}.cu:{}: {} and {} take different parameters",
                half.line,
                kernel.name,
                half.name
            );
            pairs().map(differs).collect()
        }
    };
    let mut out = String::new();
    for line in &kernel.comment {
        writeln!(out, "/// {}", escaped(line)).unwrap();
    }
    writeln!(out, "///\n/// `{file}.cu`, line {}.", kernel.line).unwrap();
    let name = if half.is_some() { kernel.name.trim_end_matches("_f32") } else { &kernel.name };
    let generic = if half.is_some() { ", T: Stored" } else { "" };
    writeln!(out, "pub fn {name}<D: Driver{generic}>(driver: &mut D, grid: Grid").unwrap();
    for (parameter, ty) in kernel.parameters.iter().zip(&types) {
        let ty = match parameter.kind {
            Kind::Input => format!("&Slice<'_, {ty}>"),
            Kind::Optional => format!("Option<&Slice<'_, {ty}>>"),
            Kind::Output => format!("&mut SliceMut<'_, {ty}>"),
            Kind::OptionalOutput => format!("Option<&mut SliceMut<'_, {ty}>>"),
            Kind::Scalar => ty.clone(),
        };
        writeln!(out, "    , {}: {ty}", rust_name(&parameter.name)).unwrap();
    }
    out += ") -> Result<()> {\n";
    match half {
        None => writeln!(out, "    let kernel = &{};", kernel.name.to_uppercase()).unwrap(),
        Some(half) => writeln!(
            out,
            "    let kernel = if T::HALF {{ &{} }} else {{ &{} }};",
            half.name.to_uppercase(),
            kernel.name.to_uppercase()
        )
        .unwrap(),
    }
    out += "    driver.launch(kernel, grid, &[";
    for parameter in &kernel.parameters {
        let name = rust_name(&parameter.name);
        match parameter.kind {
            Kind::Input | Kind::Output => write!(out, "{name}.arg(), "),
            Kind::Optional | Kind::OptionalOutput => write!(out, "{name}.map_or(Arg::Null, |t| t.arg()), "),
            Kind::Scalar => write!(out, "scalar({name}), "),
        }
        .unwrap();
    }
    out += "])\n}\n";
    out
}

/// A parameter's name in Rust, where some words are taken.
fn rust_name(name: &str) -> String {
    match name {
        "in" | "out" | "type" | "move" | "loop" | "ref" | "driver" | "grid" | "kernel" | "box" => format!("{name}_"),
        _ => name.to_owned(),
    }
}

/// Comments of kernels are plain text: brackets and the like are no links.
fn escaped(line: &str) -> String {
    line.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<").replace('>', "\\>")
}
