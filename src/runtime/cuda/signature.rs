//! Reads the signatures of kernels from their text; `build.rs` generates launch structs from them.
//!
//! The grammar is small on purpose, and anything outside it is an error that names the line:
//!
//! ```text
//! kernel    = 'extern "C" __global__ void' attribute* NAME '(' parameter (',' parameter)* ')' '{'
//!           | 'KERNEL_OF_T(' bounds ')' cluster? NAME '(' parameter (',' parameter)* ')' '{'      T is float and bf16: two entries
//! cluster   = 'CLUSTER_OF(' N ')'        where the device has clusters
//! attribute = '__launch_bounds__(' bounds ')' | '__cluster_dims__(' N ', 1, 1)'
//! bounds    = N (',' N)?
//! parameter = 'const' TYPE '*' NAME      an input; may be absent where NAME ends in _or_null
//!           | TYPE '*' NAME              an output, also one that is updated
//!           | TYPE NAME                  a number
//!           | STRUCT NAME                numbers that always go together
//!           | 'const __grid_constant__ TensorMap' NAME      a matrix that is read tile by tile (hopper.cuh)
//! struct    = 'BY_VALUE' STRUCT '{' (TYPE NAME (',' NAME)* ';')* '};'
//! TYPE      = 'float' | 'double' | 'bf16' | 'int' | 'unsigned' | 'u64' | 'unsigned char'; of a pointer in KERNEL_OF_T also 'T'
//! ```
//!
//! This file depends on no other: `build.rs` includes it as it is, and the drivers use it to read kernels at run time.

/// The type of a parameter, or of what it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `float`
    F32,
    /// `double`
    F64,
    /// `bf16`, as the prelude declares it
    Bf16,
    /// `int`
    I32,
    /// `unsigned`
    U32,
    /// `u64`, as the prelude declares it
    U64,
    /// `unsigned char`
    U8,
    /// `T`: float in one of the kernel's two entries, bf16 in the other
    T,
}

impl Type {
    const ALL: [Type; 8] = [Type::F32, Type::F64, Type::Bf16, Type::I32, Type::U32, Type::U64, Type::U8, Type::T];

    /// Its spelling in kernels.
    pub fn cuda(self) -> &'static str {
        match self {
            Type::F32 => "float",
            Type::F64 => "double",
            Type::Bf16 => "bf16",
            Type::I32 => "int",
            Type::U32 => "unsigned",
            Type::U64 => "u64",
            Type::U8 => "unsigned char",
            Type::T => "T",
        }
    }

    /// Its spelling in Rust.
    pub fn rust(self) -> &'static str {
        match self {
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Bf16 => "half::bf16",
            Type::I32 => "i32",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::U8 => "u8",
            Type::T => "T",
        }
    }

    /// Its size in bytes, which is also its alignment.
    pub fn bytes(self) -> usize {
        match self {
            Type::F64 | Type::U64 => 8,
            Type::F32 | Type::I32 | Type::U32 | Type::T => 4,
            Type::Bf16 => 2,
            Type::U8 => 1,
        }
    }

    fn read(text: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.cuda() == text)
    }
}

/// Numbers that always go together: a struct that kernels take by value, with C's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struct {
    /// Its name, in the kernels and in Rust.
    pub name: String,
    /// The comment right above it, line by line.
    pub comment: Vec<String>,
    /// The names and types of its fields, in order.
    pub fields: Vec<(String, Type)>,
}

/// The kind of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `const T*`: a tensor that is read.
    Input(Type),
    /// `const T* …_or_null`: an optional tensor that is read.
    Optional(Type),
    /// `T*`: a tensor that is written.
    Output(Type),
    /// `T* …_or_null`: an optional tensor that is written.
    OptionalOutput(Type),
    /// `T`: a number.
    Scalar(Type),
    /// Several numbers that go together; this is the struct's name.
    Struct(String),
    /// A matrix that is read by bulk copies of its tiles, as the driver describes it to the device.
    Map,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the kernel's text.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
}

impl Parameter {
    /// The type of the parameter, as kernels spell it, with `element` in place of T.
    pub fn cuda(&self, element: &str) -> String {
        let of = |ty: Type| if ty == Type::T { element.to_owned() } else { ty.cuda().to_owned() };
        match &self.kind {
            Kind::Input(ty) | Kind::Optional(ty) => format!("const {}*", of(*ty)),
            Kind::Output(ty) | Kind::OptionalOutput(ty) => format!("{}*", of(*ty)),
            Kind::Scalar(ty) => of(*ty),
            Kind::Struct(name) => name.clone(),
            Kind::Map => TENSOR_MAP.to_owned(),
        }
    }
}

/// One kernel: its name and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name, unique among all kernels.
    pub name: String,
    /// The comment right above it, line by line.
    pub comment: Vec<String>,
    /// Whether it was written once for both T = float and T = bf16.
    pub of_t: bool,
    /// The arguments of `__launch_bounds__`; the first is the most threads that a block may have.
    pub bounds: Vec<u32>,
    /// The number of blocks in a cluster; 1 without clusters.
    pub cluster: u32,
    /// Whether it begins with waiting for the launch before it, so that it may come to the device while that one runs.
    pub waits: bool,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The line on which it starts, from 1.
    pub line: usize,
}

impl Signature {
    /// The names of its entries in a module, and what T is in each.
    pub fn entries(&self) -> Vec<(String, Type)> {
        if self.of_t {
            return vec![(format!("{}_f32", self.name), Type::F32), (format!("{}_bf16", self.name), Type::Bf16)];
        }
        vec![(self.name.clone(), Type::T)]
    }
}

/// A mistake in a kernel's text, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What was found, and what would be right.
    pub problem: String,
}

const GLOBAL: &str = "__global__";
const OF_T: &str = "KERNEL_OF_T";
const CLUSTER_OF: &str = "CLUSTER_OF";
/// A kernel's first statement, where it waits for the launch before it.
const WAIT: &str = "wait_for_predecessor();";
const BY_VALUE: &str = "BY_VALUE";
const TENSOR_MAP: &str = "const __grid_constant__ TensorMap";
/// The header whose instructions only sm_90a has.
const HOPPER: &str = "#include \"hopper.cuh\"";

/// The one architecture that a file of kernels is for, as 90 for sm_90a; none where it is for all.
pub fn only_for(text: &str) -> Option<u32> {
    text.lines().any(|line| line.trim_end() == HOPPER).then_some(90)
}

/// The signatures of all kernels in `text`. Errors: the first kernel outside the grammar.
pub fn read(text: &str) -> Result<Vec<Signature>, Mistake> {
    let code = without_comments(text);
    let mut found: Vec<Signature> = Vec::new();
    let mut at = 0;
    while let Some((start, of_t)) = next(&code, at) {
        let line = line_of(&code, start);
        let wrong = |problem: String| Mistake { line, problem };
        if !of_t && !code[..start].trim_end().ends_with("extern \"C\"") {
            return Err(wrong("a kernel begins with extern \"C\" __global__ void, or with KERNEL_OF_T".into()));
        }
        let open = code[start..].find('{').map(|n| start + n).ok_or_else(|| wrong("no { after the kernel".into()))?;
        let signature = one(&code[start..open], of_t).map_err(wrong)?;
        if found.iter().any(|other| other.name == signature.name) {
            return Err(wrong(format!("a second kernel {}", signature.name)));
        }
        let waits = code[open + 1..].trim_start().starts_with(WAIT);
        found.push(Signature { line, comment: comment_above(text, line), waits, ..signature });
        at = open;
    }
    Ok(found)
}

/// Where the next kernel begins, and whether it is a kernel of T.
fn next(code: &str, at: usize) -> Option<(usize, bool)> {
    let place = |word: &str| code[at..].find(word).map(|n| at + n);
    match (place(GLOBAL), place(OF_T)) {
        (Some(global), Some(of_t)) => Some((global.min(of_t), of_t < global)),
        (global, of_t) => global.map(|at| (at, false)).or(of_t.map(|at| (at, true))),
    }
}

/// The text that compilers are given: with the two entries of every kernel of T appended. A parameter may have the same name as its kernel.
pub fn with_entries(text: &str, signatures: &[Signature]) -> String {
    let mut out = text.to_owned();
    for signature in signatures.iter().filter(|s| s.of_t) {
        for (entry, ty) in signature.entries() {
            let element = ty.cuda();
            let bounds: Vec<_> = signature.bounds.iter().map(u32::to_string).collect();
            let list =
                |of: &dyn Fn(&Parameter) -> String| signature.parameters.iter().map(of).collect::<Vec<_>>().join(", ");
            let takes = list(&|p| format!("{} {}", p.cuda(element), p.name));
            let gives = list(&|p| p.name.clone());
            let (before, dims, after) = match signature.cluster {
                1 => ("", String::new(), ""),
                blocks => ("#if CLUSTERS\n", format!(" __cluster_dims__({blocks}, 1, 1)"), "#endif\n"),
            };
            out += &format!(
                "{before}extern \"C\" __global__ void __launch_bounds__({}){dims} {entry}({takes}) {{ ::{}<{element}>({gives}); }}\n{after}",
                bounds.join(", "),
                signature.name
            );
        }
    }
    out
}

/// The structs in `text` that kernels take by value. Errors: the first struct outside the grammar.
pub fn structs(text: &str) -> Result<Vec<Struct>, Mistake> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (start, _) in code.match_indices(BY_VALUE) {
        // What defines the word is none.
        if code[..start].trim_end().ends_with("#define") {
            continue;
        }
        let line = line_of(&code, start);
        let wrong = |problem: String| Mistake { line, problem };
        let body = || {
            let (name, rest) = code[start + BY_VALUE.len()..].split_once('{')?;
            Some((name.trim(), rest.split_once('}')?.0))
        };
        let (name, body) = body().ok_or_else(|| wrong("a struct by value is BY_VALUE NAME { … };".into()))?;
        let mut fields = Vec::new();
        for declaration in body.split(';').map(str::trim).filter(|d| !d.is_empty()) {
            let (ty, names) = declaration.split_once(' ').unwrap_or((declaration, ""));
            let ty = Type::read(ty).filter(|ty| *ty != Type::T);
            let ty = ty.ok_or_else(|| wrong(format!("'{declaration}' in {name} is of no number's type")))?;
            for field in names.split(',') {
                fields.push((identifier(field.trim()).map_err(wrong)?, ty));
            }
        }
        found.push(Struct { name: name.to_owned(), comment: comment_above(text, line), fields });
    }
    Ok(found)
}

/// Replaces comments with spaces; line breaks stay.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let (mut rest, mut end) = (text, "");
    while let Some(c) = rest.chars().next() {
        if end.is_empty() && rest.starts_with("//") {
            end = "\n";
        } else if end.is_empty() && rest.starts_with("/*") {
            end = "*/";
        } else if !end.is_empty() && rest.starts_with(end) {
            // What ends a comment is not code either, but for the line break.
            let length = if end == "\n" { 0 } else { end.len() };
            code.extend(std::iter::repeat_n(' ', length));
            rest = &rest[length..];
            end = "";
            continue;
        }
        code.push(if end.is_empty() || c == '\n' { c } else { ' ' });
        rest = &rest[c.len_utf8()..];
    }
    code
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The `//` lines right above line `line`.
fn comment_above(text: &str, line: usize) -> Vec<String> {
    let above: Vec<_> = text.lines().take(line - 1).collect();
    let mut comment: Vec<_> = above
        .iter()
        .rev()
        .map_while(|l| {
            l.trim_start().strip_prefix("//").map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end().to_owned())
        })
        .collect();
    comment.reverse();
    comment
}

/// Reads one signature, from `__global__` or `KERNEL_OF_T` up to `{`.
fn one(text: &str, of_t: bool) -> Result<Signature, String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut bounds, mut cluster) = (vec![1024], 1);
    let mut rest = if of_t {
        let (given, rest) = between(&text[OF_T.len()..], OF_T)?;
        bounds = given;
        match rest.trim_start().strip_prefix(CLUSTER_OF) {
            None => rest,
            Some(after) => match between(after, CLUSTER_OF)? {
                (blocks, rest) if blocks.len() == 1 => {
                    cluster = blocks[0];
                    rest
                }
                _ => return Err("a cluster of a kernel of T is written CLUSTER_OF(N)".into()),
            },
        }
    } else {
        text[GLOBAL.len()..].trim_start().strip_prefix("void ").ok_or("a kernel gives void")?
    };
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("__launch_bounds__") {
            (bounds, rest) = between(after, "__launch_bounds__")?;
        } else if let Some(after) = rest.strip_prefix("__cluster_dims__") {
            let (numbers, after) = between(after, "__cluster_dims__")?;
            match numbers[..] {
                [n, 1, 1] => cluster = n,
                _ => return Err("a cluster is written __cluster_dims__(N, 1, 1)".into()),
            }
            rest = after;
        } else {
            break;
        }
    }
    let (name, parameters) = rest.split_once('(').ok_or("no parameters")?;
    let parameters = parameters.trim_end().strip_suffix(')').ok_or("the parameters do not end in ) {")?;
    let name = identifier(name.trim())?;
    let parameters = parameters.split(',').map(|p| parameter(p, of_t)).collect::<Result<Vec<_>, _>>()?;
    Ok(Signature { name, comment: Vec::new(), of_t, bounds, cluster, waits: false, parameters, line: 0 })
}

/// The numbers in the brackets after `word` at the beginning of `text`; and the rest of the text.
fn between<'t>(text: &'t str, word: &str) -> Result<(Vec<u32>, &'t str), String> {
    let bracket = || text.strip_prefix('(')?.split_once(')');
    let (numbers, rest) = bracket().ok_or_else(|| format!("{word} is followed by numbers in brackets"))?;
    let number = |text: &str| text.trim().parse().map_err(|_| format!("{} is not a number", text.trim()));
    Ok((numbers.split(',').map(number).collect::<Result<_, _>>()?, rest))
}

fn identifier(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    if first && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not a name in lower case"))
}

fn parameter(text: &str, of_t: bool) -> Result<Parameter, String> {
    let text = text.trim();
    if let Some(name) = text.strip_prefix(TENSOR_MAP) {
        return Ok(Parameter { name: identifier(name.trim())?, kind: Kind::Map });
    }
    let (constant, rest) = match text.strip_prefix("const ") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (pointer, ty, name) = match rest.split_once('*') {
        Some((ty, name)) => (true, ty.trim(), name),
        None => {
            let (ty, name) = rest.rsplit_once(' ').ok_or_else(|| format!("parameter '{text}' has no name"))?;
            (false, ty.trim(), name)
        }
    };
    let name = identifier(name.trim())?;
    let absent = name.ends_with("_or_null");
    if !pointer && (constant || absent) {
        return Err(format!("parameter '{text}': a number is neither const nor null"));
    }
    // The names of structs begin with a capital; T alone is the element's type.
    if !pointer && ty != "T" && ty.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Ok(Parameter { name, kind: Kind::Struct(ty.to_owned()) });
    }
    let known = || Type::ALL.map(Type::cuda).join(", ");
    let found = Type::read(ty).filter(|ty| *ty != Type::T || (of_t && pointer));
    let ty = found.ok_or_else(|| format!("parameter '{text}' is of none of the types {}", known()))?;
    let kind = match (pointer, constant) {
        (true, true) if absent => Kind::Optional(ty),
        (true, true) => Kind::Input(ty),
        (true, false) if absent => Kind::OptionalOutput(ty),
        (true, false) => Kind::Output(ty),
        (false, _) => Kind::Scalar(ty),
    };
    Ok(Parameter { name, kind })
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
