//! The guard before npyz: reads one array's header strictly, in bounded time and memory.
//!
//! The header is a Python dictionary, and a few bytes can lead a general parser of Python literals into deep recursion. This parser knows
//! only the form that NumPy writes (three keys, in any order), computes every size with checked arithmetic, and gives npyz a header that it
//! has written itself.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, versions 1.0, 2.0 and 3.0.

use std::fmt::Write as _;
use std::io::{self, Read};

/// NumPy's own limit on the length of the dictionary.
const MAX_TEXT: usize = 10_000;

/// NumPy's own limit on the number of axes.
const MAX_AXES: usize = 64;

/// Why a header is refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// The bytes could not be read.
    Read(io::Error),
    /// They are no header, or describe an array that is not accepted here: what is wrong, and what would be right.
    Refused(String, &'static str),
}

const RESAVE: &str = "save it with numpy.savez";
const NUMERIC: &str = "give float16/32/64, integers, booleans or str (dtype <U…)";
const WIDEN: &str = "save array.astype(float32) in its place";

/// The type of the values, as far as reading them needs it; sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Signed(usize),
    Unsigned(usize),
    Float(usize),
    /// Strings of this many characters, four bytes each, padded with NUL.
    Text(usize),
}

/// A header that passed the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    big_endian: bool,
    /// The order is column-major: the first axis varies fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// The product of the shape.
    pub count: usize,
    /// Bytes of the values that follow the header.
    pub data_bytes: u64,
    /// Bytes of the header itself, including the magic.
    pub header_bytes: u64,
}

impl Header {
    /// Reads a header and leaves the reader at the first value.
    pub fn read(reader: &mut impl Read) -> Result<Self, Fault> {
        let mut start = [0; 8];
        fill(reader, &mut start)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(Fault::Refused("is not a NumPy array (it does not start with \\x93NUMPY)".into(), RESAVE));
        }
        let (length, before) = match (start[6], start[7]) {
            (1, 0) => {
                let mut length = [0; 2];
                fill(reader, &mut length)?;
                (usize::from(u16::from_le_bytes(length)), 10)
            }
            (2 | 3, 0) => {
                let mut length = [0; 4];
                fill(reader, &mut length)?;
                (u32::from_le_bytes(length) as usize, 12)
            }
            (major, minor) => {
                let problem = format!("has NumPy format version {major}.{minor}");
                return Err(Fault::Refused(problem, "give version 1.0, 2.0 or 3.0"));
            }
        };
        if length > MAX_TEXT {
            let problem = format!("has a header of {length} bytes, above NumPy's limit of {MAX_TEXT}");
            return Err(Fault::Refused(problem, RESAVE));
        }
        let mut text = vec![0; length];
        fill(reader, &mut text)?;
        Parser { text: &text, at: 0, before }.header()
    }

    /// Bytes that the values take in memory as [`super::Values`].
    pub fn memory(&self) -> u64 {
        let each = match self.kind {
            Kind::Float(2 | 4) => 4,
            Kind::Bool | Kind::Signed(_) | Kind::Unsigned(_) | Kind::Float(_) => 8,
            Kind::Text(characters) => (size_of::<String>() + 4 * characters) as u64,
        };
        (self.count as u64).saturating_mul(each)
    }

    /// The same header, rewritten for npyz.
    pub fn for_npyz(&self) -> io::Result<npyz::NpyHeader> {
        let mut shape = String::new();
        for extent in &self.shape {
            let _ = write!(shape, "{extent}, ");
        }
        let (letter, size) = match self.kind {
            // Read as bytes: any but 0 is True to NumPy, while npyz takes 0 and 1 alone.
            Kind::Bool => ('u', 1),
            Kind::Signed(size) => ('i', size),
            Kind::Unsigned(size) => ('u', size),
            Kind::Float(size) => ('f', size),
            Kind::Text(characters) => ('U', characters),
        };
        let order = match (self.kind, size) {
            (Kind::Text(_), _) | (_, 2..) => {
                if self.big_endian {
                    '>'
                } else {
                    '<'
                }
            }
            _ => '|',
        };
        let fortran = if self.fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{order}{letter}{size}', 'fortran_order': {fortran}, 'shape': ({shape})}}\n");
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        npyz::NpyHeader::from_reader(&bytes[..])
    }
}

fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), Fault> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Refused("ends inside its header".into(), RESAVE),
        _ => Fault::Read(error),
    })
}

/// A cursor over the dictionary. `before` is the offset of the dictionary's first byte in the member, for messages.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    before: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Result<Header, Fault> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{', "a dictionary")?;
        while !self.accept(b'}') {
            let at = self.at;
            let key = self.string()?.to_owned();
            self.expect(b':', "a colon")?;
            let fresh = match key.as_slice() {
                b"descr" => descr.replace(self.descr()?).is_none(),
                b"fortran_order" => fortran.replace(self.boolean()?).is_none(),
                b"shape" => shape.replace(self.shape()?).is_none(),
                _ => false,
            };
            if !fresh {
                self.at = at;
                return Err(self.unexpected("each of the keys 'descr', 'fortran_order' and 'shape' once"));
            }
            if !self.accept(b',') {
                self.expect(b'}', "a comma or the end of the dictionary")?;
                break;
            }
        }
        self.blanks();
        if self.at != self.text.len() {
            return Err(self.unexpected("nothing after the dictionary"));
        }
        let (Some((kind, big_endian)), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err(self.unexpected("the keys 'descr', 'fortran_order' and 'shape'"));
        };
        // An extent of 0 makes the product 0; NumPy still refuses the others where they alone are too many.
        let item = match kind {
            Kind::Bool => 1,
            Kind::Signed(size) | Kind::Unsigned(size) | Kind::Float(size) => size,
            Kind::Text(characters) => 4 * characters,
        };
        let most = shape.iter().filter(|&&extent| extent > 0).try_fold(item.max(1), |all, &n| all.checked_mul(n));
        if most.is_none_or(|bytes| bytes > isize::MAX as usize) {
            let problem = format!("has a shape that no memory holds: {}", axes(&shape));
            return Err(Fault::Refused(problem, RESAVE));
        }
        let count: usize = shape.iter().product();
        let (data_bytes, header_bytes) = ((count * item) as u64, (self.before + self.text.len()) as u64);
        Ok(Header { kind, big_endian, fortran, shape, count, data_bytes, header_bytes })
    }

    /// Parses a type such as `'<f4'`.
    fn descr(&mut self) -> Result<(Kind, bool), Fault> {
        self.blanks();
        if self.text.get(self.at) == Some(&b'[') {
            return Err(Fault::Refused("is a structured array".into(), NUMERIC));
        }
        let at = self.at;
        let name = self.string()?;
        let shown: String = name.iter().take(20).map(|&byte| char::from(byte)).collect();
        let refused_for =
            |what: &str, remedy| Err(Fault::Refused(format!("has {what} (dtype '{}')", shown.escape_debug()), remedy));
        let refused = |what: &str| refused_for(what, NUMERIC);
        let Some((&order, rest)) = name.split_first() else { return refused("no type") };
        let Some((&letter, digits)) = rest.split_first() else { return refused("an unknown type") };
        if letter == b'O' {
            return refused("Python objects, which only unpickling could read");
        }
        let plain = !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
        let Some(size) = plain.then(|| number(digits)).flatten() else { return refused("an unsupported type") };
        let kind = match (letter, size) {
            (b'b', 1) => Kind::Bool,
            (b'i', 1 | 2 | 4 | 8) => Kind::Signed(size),
            (b'u', 1 | 2 | 4 | 8) => Kind::Unsigned(size),
            (b'f', 2 | 4 | 8) => Kind::Float(size),
            (b'U', _) => Kind::Text(size),
            // NumPy knows none of ml_dtypes' types, and its files do not tell which they are.
            (b'V', 2) => return refused_for("two raw bytes a value, as numpy.savez writes bfloat16", WIDEN),
            (b'V' | b'f', 1) => {
                return refused_for("one raw byte a value, as numpy.savez writes float8 (and int4, float4)", WIDEN);
            }
            _ => return refused("an unsupported type"),
        };
        let one_byte = size == 1 && kind != Kind::Text(1);
        match order {
            b'<' => Ok((kind, false)),
            b'>' => Ok((kind, true)),
            b'|' if one_byte => Ok((kind, false)),
            _ => {
                self.at = at;
                Err(self.unexpected("a byte order, < or >"))
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, Fault> {
        self.blanks();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    /// Parses a tuple of extents: `()`, `(3,)`, `(3, 4)`.
    fn shape(&mut self) -> Result<Vec<usize>, Fault> {
        let mut shape = Vec::new();
        self.expect(b'(', "a tuple of extents")?;
        loop {
            if self.accept(b')') {
                return Ok(shape);
            }
            let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let Some(extent) = number(&self.text[self.at..self.at + digits]) else {
                return Err(self.unexpected("an extent from 0 to 2^64 - 1"));
            };
            if shape.len() == MAX_AXES {
                let problem = format!("has more than {MAX_AXES} axes, NumPy's limit");
                return Err(Fault::Refused(problem, RESAVE));
            }
            shape.push(extent);
            self.at += digits;
            if !self.accept(b',') {
                if shape.len() == 1 {
                    return Err(self.unexpected("a comma: (3) is no tuple"));
                }
                self.expect(b')', "a comma or the end of the tuple")?;
                return Ok(shape);
            }
        }
    }

    /// Parses a quoted string that contains no escapes, and returns it without its quotes.
    fn string(&mut self) -> Result<&'_ [u8], Fault> {
        self.blanks();
        let Some(&quote @ (b'\'' | b'"')) = self.text.get(self.at) else {
            return Err(self.unexpected("a quoted string"));
        };
        let rest = &self.text[self.at + 1..];
        match rest.iter().position(|&byte| byte == quote || byte == b'\\') {
            Some(length) if rest[length] == quote => {
                self.at += length + 2;
                Ok(&rest[..length])
            }
            _ => Err(self.unexpected("a quoted string with its end")),
        }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), Fault> {
        if self.accept(byte) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    /// Steps over `byte` and the blanks around it, if `byte` is next; says whether it was.
    fn accept(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.text.get(self.at) == Some(&byte);
        if there {
            self.at += 1;
            self.blanks();
        }
        there
    }

    fn blanks(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn unexpected(&self, what: &str) -> Fault {
        let found = match self.text.get(self.at) {
            Some(&byte) => format!("'{}'", char::from(byte).escape_debug()),
            None => "its end".into(),
        };
        let at = self.before + self.at;
        Fault::Refused(format!("has a damaged header: expected {what} at byte {at}, found {found}"), RESAVE)
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn axes(shape: &[usize]) -> String {
    let extents: Vec<String> = shape.iter().take(8).map(usize::to_string).collect();
    format!("({}{})", extents.join(", "), if shape.len() > 8 { ", …" } else { "" })
}

#[cfg(test)]
mod tests;
