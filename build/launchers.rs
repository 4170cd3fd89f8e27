//! Typed launches, one struct per kernel, as Rust text.

use crate::signature::{Kind, Parameter, Signature, Struct, Type, only_for, with_entries};
use std::fmt::Write;
use std::path::PathBuf;

/// A file of kernels.
pub struct File {
    /// Its name without `.cu`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its text, with the entries of its kernels of T at the end.
    pub text: String,
    /// What it holds.
    pub kernels: Vec<Signature>,
}

impl File {
    /// The file of kernels `text`.
    pub fn new(name: String, path: PathBuf, text: &str, kernels: Vec<Signature>) -> File {
        File { name, path, text: with_entries(text, &kernels), kernels }
    }
}

/// A file that kernels include.
pub struct Header {
    /// Its name, as `#include` has it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Bytes that a struct by value may have: those of an argument.
const MOST_BYTES: usize = 32;

/// The text of the module `kernels`. Errors: a parameter of a struct that `structs` does not have, or one that is too large.
pub fn generate(files: &[File], headers: &[Header], structs: &[Struct]) -> Result<String, String> {
    let mut out = String::from("/// The files of kernels.\npub static SOURCES: &[Source] = &[\n");
    for File { name, text, path, .. } in files {
        // The text below is the file's own as it was read; this has the compiler know that it was.
        let only_for = only_for(text);
        writeln!(
            out,
            "    Source {{ name: {name:?}, only_for: {only_for:?}, text: {{ const _: &str = include_str!({path:?}); {text:?} }} }},"
        )
        .unwrap();
    }
    out += "];\n/// Names and texts of the files that these include.\npub static HEADERS: &[(&str, &str)] = &[\n";
    for Header { name, path, .. } in headers {
        writeln!(out, "    ({name:?}, include_str!({path:?})),").unwrap();
    }
    out += "];\n";
    out += "/// Every kernel.\npub static ALL: &[&Kernel] = &[\n";
    for (name, _) in files.iter().flat_map(|file| &file.kernels).flat_map(Signature::entries) {
        writeln!(out, "    &{},", name.to_uppercase()).unwrap();
    }
    out += "];\n";
    for of in structs {
        out += &by_value(of)?;
    }
    for (source, file) in files.iter().enumerate() {
        for kernel in &file.kernels {
            let refuse = |problem: String| format!("{}.cu:{}: {problem}", file.name, kernel.line);
            for (name, _) in kernel.entries() {
                out += &description(kernel, &name, source, structs).map_err(refuse)?;
            }
            out += &launch(kernel, &file.name);
        }
    }
    Ok(out)
}

/// The struct `of` in Rust.
fn by_value(of: &Struct) -> Result<String, String> {
    let mut out = documentation(&of.comment);
    writeln!(out, "#[repr(C)]\n#[derive(Debug, Clone, Copy, PartialEq)]\npub struct {} {{", of.name).unwrap();
    for (name, ty) in &of.fields {
        writeln!(out, "    pub {name}: {},", ty.rust()).unwrap();
    }
    out += "}\n";
    let bytes = laid_out(of).last().map_or(0, |&(_, ty, at)| at + ty.bytes());
    if bytes > MOST_BYTES {
        return Err(format!("struct {} has {bytes} bytes; {MOST_BYTES} fit", of.name));
    }
    writeln!(
        out,
        "impl {} {{\n    fn arg(&self) -> Arg {{\n        let mut words = Words([0; {MOST_BYTES}]);",
        of.name
    )
    .unwrap();
    for (name, _, at) in laid_out(of) {
        writeln!(out, "        words.put({at}, &self.{name});").unwrap();
    }
    out += "        Arg::Value(words)\n    }\n}\n";
    Ok(out)
}

/// Name, type and place in bytes of each field.
fn laid_out(of: &Struct) -> Vec<(&str, Type, usize)> {
    let mut end = 0_usize;
    let fields = of.fields.iter().map(|(name, ty)| {
        let at = end.next_multiple_of(ty.bytes());
        end = at + ty.bytes();
        (name.as_str(), *ty, at)
    });
    fields.collect()
}

/// The table entry of one kernel of a module.
fn description(kernel: &Signature, name: &str, source: usize, structs: &[Struct]) -> Result<String, String> {
    let mut parameters = Vec::new();
    for Parameter { name, kind } in &kernel.parameters {
        let numbers = match kind {
            Kind::Scalar(ty) => vec![(name.as_str(), *ty, 0)],
            Kind::Struct(of) => {
                let known = structs.iter().find(|known| known.name == *of);
                laid_out(known.ok_or_else(|| format!("there is no struct {of} BY_VALUE"))?)
            }
            _ => Vec::new(),
        };
        let numbers: Vec<_> = numbers
            .iter()
            .map(|(name, ty, at)| format!("Number {{ name: {name:?}, ty: Type::{ty:?}, at: {at} }}"))
            .collect();
        parameters.push(format!("Parameter {{ name: {name:?}, numbers: &[{}] }}", numbers.join(", ")));
    }
    Ok(format!(
        "pub static {}: Kernel = Kernel {{ name: {name:?}, source: {source}, max_threads: {}, cluster: {}, waits: {}, parameters: &[{}] }};\n",
        name.to_uppercase(),
        kernel.bounds.first().copied().unwrap_or(1024),
        kernel.cluster,
        kernel.waits,
        parameters.join(", ")
    ))
}

/// The struct of a kernel's operands, which launches it.
fn launch(kernel: &Signature, file: &str) -> String {
    let name = camel(&kernel.name);
    let mut lifetimes = vec!["'a".to_owned()];
    let (mut fields, mut args) = (String::new(), String::new());
    for (i, parameter) in kernel.parameters.iter().enumerate() {
        let field = rust_name(&parameter.name);
        let own = format!("'o{i}");
        let (ty, arg) = match &parameter.kind {
            Kind::Input(ty) => (format!("Slice<'a, {}>", ty.rust()), format!("self.{field}.arg()")),
            Kind::Optional(ty) => {
                (format!("Option<Slice<'a, {}>>", ty.rust()), format!("self.{field}.map_or(Arg::Null, |t| t.arg())"))
            }
            Kind::Output(ty) => (format!("&'a mut SliceMut<{own}, {}>", ty.rust()), format!("self.{field}.arg()")),
            Kind::OptionalOutput(ty) => (
                format!("Option<&'a mut SliceMut<{own}, {}>>", ty.rust()),
                format!("self.{field}.map_or(Arg::Null, |t| t.arg())"),
            ),
            Kind::Scalar(ty) => (ty.rust().to_owned(), format!("scalar(self.{field})")),
            Kind::Struct(of) => (of.clone(), format!("self.{field}.arg()")),
            Kind::Map => ("TileMap<'a>".to_owned(), format!("self.{field}.arg()")),
        };
        if matches!(parameter.kind, Kind::Output(_) | Kind::OptionalOutput(_)) {
            lifetimes.push(own);
        }
        writeln!(fields, "    pub {field}: {ty},").unwrap();
        write!(args, "{arg}, ").unwrap();
    }
    let generics = if kernel.of_t { format!("{}, T", lifetimes.join(", ")) } else { lifetimes.join(", ") };
    let bounds = if kernel.of_t { format!("{}, T: Stored", lifetimes.join(", ")) } else { lifetimes.join(", ") };
    let chosen = if kernel.of_t {
        let upper = kernel.name.to_uppercase();
        format!("if T::HALF {{ &{upper}_BF16 }} else {{ &{upper}_F32 }}")
    } else {
        format!("&{}", kernel.name.to_uppercase())
    };
    let mut out = documentation(&kernel.comment);
    writeln!(out, "///\n/// `{file}.cu`, line {}.", kernel.line).unwrap();
    writeln!(out, "pub struct {name}<{bounds}> {{\n{fields}}}").unwrap();
    writeln!(
        out,
        "impl<{bounds}> {name}<{generics}> {{\n    /// Runs the kernel.\n    pub fn launch<D: Driver>(self, driver: &mut D, grid: Grid) -> \
         Result<()> {{\n        driver.launch({chosen}, grid, &[{args}])\n    }}\n}}"
    )
    .unwrap();
    out
}

/// A kernel's name as that of a struct.
fn camel(name: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('_').filter(|p| !p.is_empty()).map(part).collect()
}

/// A parameter's name in Rust: an optional one's type says that it may be absent, and some words are taken.
fn rust_name(name: &str) -> String {
    match name.strip_suffix("_or_null").unwrap_or(name) {
        taken @ ("in" | "type" | "move" | "loop" | "ref" | "box") => format!("{taken}_"),
        name => name.to_owned(),
    }
}

/// Comments of kernels are plain text: brackets and the like are no links.
fn documentation(comment: &[String]) -> String {
    let escaped = |line: &String| line.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<").replace('>', "\\>");
    comment.iter().map(|line| format!("/// {}\n", escaped(line))).collect()
}
