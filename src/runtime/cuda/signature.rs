//! The signatures of kernels, read from their text: what `build.rs` generates launch functions from.
//!
//! The grammar is small on purpose, and anything outside it is an error that names the line:
//!
//! ```text
//! kernel    = 'extern "C" __global__ void' attribute* NAME '(' parameter (',' parameter)* ')' '{'
//! attribute = '__launch_bounds__(' N (',' N)? ')' | '__cluster_dims__(' N ', 1, 1)'
//! parameter = 'const' TYPE '*' NAME      an input; may be absent where NAME ends in _or_null
//!           | TYPE '*' NAME              an output, also one that is updated
//!           | TYPE NAME                  a number
//! TYPE      = 'float' | 'double' | 'bf16' | 'int' | 'unsigned' | 'u64' | 'unsigned char'
//! ```
//!
//! This file stands alone: `build.rs` includes it as it is, and the drivers use it to read kernels at run time.

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
}

impl Type {
    const ALL: [Type; 7] = [Type::F32, Type::F64, Type::Bf16, Type::I32, Type::U32, Type::U64, Type::U8];

    /// As kernels spell it.
    pub fn cuda(self) -> &'static str {
        match self {
            Type::F32 => "float",
            Type::F64 => "double",
            Type::Bf16 => "bf16",
            Type::I32 => "int",
            Type::U32 => "unsigned",
            Type::U64 => "u64",
            Type::U8 => "unsigned char",
        }
    }

    /// As Rust spells it.
    pub fn rust(self) -> &'static str {
        match self {
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Bf16 => "half::bf16",
            Type::I32 => "i32",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::U8 => "u8",
        }
    }
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `const T*`: a tensor that is read.
    Input,
    /// `const T* …_or_null`: a tensor that is read where it is there.
    Optional,
    /// `T*`: a tensor that is written.
    Output,
    /// `T* …_or_null`: a tensor that is written where it is there.
    OptionalOutput,
    /// `T`: a number.
    Scalar,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the kernel's text.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its type, or what it points to.
    pub ty: Type,
}

/// One kernel: its name and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name, unique among all kernels.
    pub name: String,
    /// The comment that stands right above it, a line each.
    pub comment: Vec<String>,
    /// Threads that a block may have.
    pub max_threads: u32,
    /// Blocks of a cluster; 1 without clusters.
    pub cluster: u32,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The line on which it starts, from 1.
    pub line: usize,
}

/// What is wrong with a kernel's text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What was found and what would be right.
    pub problem: String,
}

/// The signatures of all kernels in `text`. Errors: a `__global__` outside the grammar, the first one.
pub fn read(text: &str) -> Result<Vec<Signature>, Mistake> {
    let code = without_comments(text);
    let mut found: Vec<Signature> = Vec::new();
    let mut at = 0;
    while let Some(step) = code[at..].find("__global__") {
        let start = at + step;
        let line = line_of(&code, start);
        let wrong = |problem: String| Mistake { line, problem };
        if !code[..start].trim_end().ends_with("extern \"C\"") {
            return Err(wrong("a kernel begins with extern \"C\" __global__ void".into()));
        }
        let open = code[start..].find('{').map(|n| start + n).ok_or_else(|| wrong("no { after __global__".into()))?;
        let signature = one(&code[start + "__global__".len()..open]).map_err(wrong)?;
        if found.iter().any(|other| other.name == signature.name) {
            return Err(wrong(format!("a second kernel {}", signature.name)));
        }
        found.push(Signature { line, comment: comment_above(text, line), ..signature });
        at = open;
    }
    Ok(found)
}

/// Comments become spaces; line breaks stay.
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

/// From behind `__global__` to before `{`.
fn one(text: &str) -> Result<Signature, String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.strip_prefix("void ").ok_or("a kernel gives void")?;
    let (mut max_threads, mut cluster) = (1024, 1);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("__launch_bounds__(") {
            let (numbers, after) = after.split_once(')').ok_or("__launch_bounds__ is not closed")?;
            max_threads = number(numbers.split(',').next().unwrap_or_default())?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("__cluster_dims__(") {
            let (numbers, after) = after.split_once(')').ok_or("__cluster_dims__ is not closed")?;
            let numbers: Vec<_> = numbers.split(',').map(number).collect::<Result<_, _>>()?;
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
    let parameters = parameters.split(',').map(parameter).collect::<Result<Vec<_>, _>>()?;
    Ok(Signature { name, comment: Vec::new(), max_threads, cluster, parameters, line: 0 })
}

fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("{} is not a number", text.trim()))
}

fn identifier(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    if first && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not a name in lower case"))
}

fn parameter(text: &str) -> Result<Parameter, String> {
    let text = text.trim();
    let (constant, rest) = match text.strip_prefix("const ") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (pointer, ty, name) = match rest.split_once('*') {
        Some((ty, name)) => (true, ty, name),
        None => {
            let (ty, name) = rest.rsplit_once(' ').ok_or_else(|| format!("parameter '{text}' has no name"))?;
            (false, ty, name)
        }
    };
    let known = || Type::ALL.map(Type::cuda).join(", ");
    let ty = Type::ALL.into_iter().find(|t| t.cuda() == ty.trim());
    let ty = ty.ok_or_else(|| format!("parameter '{text}' is of none of the types {}", known()))?;
    let name = identifier(name.trim())?;
    let absent = name.ends_with("_or_null");
    let kind = match (pointer, constant) {
        (true, true) if absent => Kind::Optional,
        (true, true) => Kind::Input,
        (true, false) if absent => Kind::OptionalOutput,
        (true, false) => Kind::Output,
        (false, false) if !absent => Kind::Scalar,
        (false, _) => return Err(format!("parameter '{text}': a number is neither const nor null")),
    };
    Ok(Parameter { name, kind, ty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_read_with_their_lines_and_comments() {
        let text = "#include \"prelude.cuh\"\n// y = a x.\n//\n// Twice.\nextern \"C\" __global__ void __launch_bounds__(256, 2)\n\
                    scale_f32(const float* x, /* in\nelements */ unsigned len, const bf16* bias_or_null, float* y, unsigned char* z) {\n}\n\
                    // __global__ in a comment is none\nextern \"C\" __global__ void __cluster_dims__(8, 1, 1) next(u64 n) {}\n";
        let kernels = read(text).unwrap();
        assert_eq!(kernels.len(), 2);
        let first = &kernels[0];
        assert_eq!((first.name.as_str(), first.line, first.max_threads, first.cluster), ("scale_f32", 5, 256, 1));
        assert_eq!(first.comment, ["y = a x.", "", "Twice."]);
        let kinds: Vec<_> = first.parameters.iter().map(|p| (p.kind, p.ty)).collect();
        use Kind::*;
        assert_eq!(
            kinds,
            [(Input, Type::F32), (Scalar, Type::U32), (Optional, Type::Bf16), (Output, Type::F32), (Output, Type::U8)]
        );
        assert_eq!((kernels[1].cluster, kernels[1].line), (8, 10));
    }

    #[test]
    fn what_is_outside_the_grammar_is_named_with_its_line() {
        let kernel = |parameters: &str| format!("\n\nextern \"C\" __global__ void k({parameters}) {{}}");
        for (text, words) in [
            ("\n\n__global__ void k(int n) {}".to_owned(), "extern"),
            ("\n\nextern \"C\" __global__ int k(int n) {}".to_owned(), "void"),
            (kernel("size_t n"), "none of the types"),
            (kernel("float** x"), "lower case"),
            (kernel("const float x"), "neither const"),
            (kernel("float"), "no name"),
            (kernel("float X"), "lower case"),
            (kernel(""), "no name"),
            ("\n\nextern \"C\" __global__ void __launch_bounds__(N) k(int n) {}".to_owned(), "not a number"),
        ] {
            let mistake = read(&text).unwrap_err();
            assert!(mistake.line == 3 && mistake.problem.contains(words), "{text}: {mistake:?}");
        }
    }
}
