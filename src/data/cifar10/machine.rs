//! The stack machine that turns a pickle's opcodes into values.

use super::value::{Array, Flaw, Global, Id, Value, integers};

/// The most opcodes of a pickle. A batch that Python 3 wrote with protocol 2 has 110,000.
pub(super) const OPCODES: usize = 1 << 20;

/// The values of a whole pickle, and the number of the pickled value. Nothing may follow the pickle.
pub(super) fn run(bytes: &[u8]) -> Done<(Vec<Value<'_>>, Id)> {
    let mut machine = Machine { bytes, next: 0, opcode: 0, values: vec![], stack: vec![], marks: vec![], memo: vec![] };
    let root = machine.run()?;
    Ok((machine.values, root))
}

struct Machine<'a> {
    bytes: &'a [u8],
    next: usize,
    /// The offset of the current opcode.
    opcode: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The stack heights that MARK recorded.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

type Done<T = ()> = Result<T, Flaw>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Done<Id> {
        if self.bytes.first() != Some(&0x80) {
            return self.flaw("is not a pickle of protocol 2 to 5");
        }
        for _ in 0..OPCODES {
            self.opcode = self.next;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.stop();
            }
            self.step(opcode)?;
        }
        self.flaw(format!("has more than {OPCODES} opcodes"))
    }

    fn step(&mut self, opcode: u8) -> Done {
        match opcode {
            0x80 => match self.byte()? {
                2..=5 => {}
                protocol => return self.flaw(format!("is a pickle of protocol {protocol}, not 2 to 5")),
            },
            // FRAME: a length that only helps to read ahead.
            0x95 => drop(self.take(8)?),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let int = self.number(4)? as u32 as i32;
                self.push(Value::Int(int.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Number);
            }
            // Python 2's strings are bytes.
            b'U' | b'C' => self.string(1)?,
            b'T' | b'B' => self.string(4)?,
            0x8e | 0x96 => self.string(8)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b')' => self.push(Value::Tuple(vec![])),
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => self.memoize(self.memo.len())?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                match (&self.values[names[0]], &self.values[names[1]]) {
                    (&Value::Text(module), &Value::Text(name)) => self.global(module, name)?,
                    _ => return self.flaw("names a global by something other than text"),
                }
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return self.flaw(format!("has opcode 0x{opcode:02x}, which plain arrays do not need")),
        }
        Ok(())
    }

    fn flaw<T>(&self, problem: impl Into<String>) -> Done<T> {
        Err(Flaw { byte: self.opcode, problem: problem.into() })
    }

    fn take(&mut self, n: usize) -> Done<&'a [u8]> {
        let Some(taken) = self.bytes[self.next..].get(..n) else {
            let problem = format!("ends early: {n} bytes are due here and {} are left", self.bytes.len() - self.next);
            return Err(Flaw { byte: self.next, problem });
        };
        self.next += n;
        Ok(taken)
    }

    fn byte(&mut self) -> Done<u8> {
        Ok(self.take(1)?[0])
    }

    /// Reads a little-endian number of up to 8 bytes.
    fn number(&mut self, bytes: usize) -> Done<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Done<&'a str> {
        // Names of modules are short; a file without line ends is not searched to its end.
        let rest = &self.bytes[self.next..];
        let Some(end) = rest.iter().take(256).position(|&byte| byte == b'\n') else {
            return self.flaw("has a global's name without an end");
        };
        let Ok(line) = str::from_utf8(&rest[..end]) else { return self.flaw("has a global's name that is not text") };
        self.next += end + 1;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn int(&mut self, bytes: usize) -> Done {
        let int = self.number(bytes)?;
        self.push(Value::Int(int as i64)); // at most 2 bytes
        Ok(())
    }

    /// LONG1: two's complement of any length. More than 8 bytes are an error, since no batch needs them.
    fn long(&mut self) -> Done {
        let bytes = usize::from(self.byte()?);
        if bytes > 8 {
            return self.flaw(format!("has an integer of {bytes} bytes"));
        }
        let unused = 64 - 8 * bytes as u32;
        let int = self.number(bytes)?;
        self.push(Value::Int(if bytes == 0 { 0 } else { (int << unused) as i64 >> unused }));
        Ok(())
    }

    fn sized(&mut self, length_bytes: usize) -> Done<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn string(&mut self, length_bytes: usize) -> Done {
        let bytes = self.sized(length_bytes)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn text(&mut self, length_bytes: usize) -> Done {
        let Ok(text) = str::from_utf8(self.sized(length_bytes)?) else {
            return self.flaw("has text that is not UTF-8");
        };
        self.push(Value::Text(text));
        Ok(())
    }

    /// The lowest stack height that the current opcode may pop to: values below the last mark must stay.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop_many(&mut self, n: usize) -> Done<Vec<Id>> {
        match self.stack.len().checked_sub(n) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => self.flaw("takes more values than there are"),
        }
    }

    fn pop(&mut self) -> Done<Id> {
        Ok(self.pop_many(1)?[0])
    }

    fn top(&self) -> Done<Id> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.flaw("uses a value where there is none"),
        }
    }

    fn since_mark(&mut self) -> Done<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.flaw("looks for a mark where there is none"),
        }
    }

    fn extend(&mut self, items: Vec<Id>) -> Done {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => list.extend(items),
            _ => return self.flaw("appends to something that is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Done {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        match &mut self.values[dict] {
            Value::Dict(dict) if odd.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return self.flaw("sets items of something that is no dictionary, or a key without a value"),
        }
        Ok(())
    }

    fn remember(&mut self, index_bytes: usize) -> Done {
        let index = self.number(index_bytes)?;
        self.memoize(usize::try_from(index).unwrap_or(usize::MAX))
    }

    fn memoize(&mut self, index: usize) -> Done {
        let id = self.top()?;
        if index >= OPCODES {
            return self.flaw(format!("remembers a value as number {index}"));
        }
        if self.memo.len() <= index {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(id);
        Ok(())
    }

    fn recall(&mut self, index_bytes: usize) -> Done {
        let index = self.number(index_bytes)?;
        let known = usize::try_from(index).ok().and_then(|index| self.memo.get(index).copied().flatten());
        match known {
            Some(id) => self.stack.push(id),
            None => return self.flaw(format!("recalls value number {index}, which was never remembered")),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Done {
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                return self.flaw(format!("asks for `{module}.{name}`", module = shown(module), name = shown(name)));
            }
        }
        Ok(())
    }

    /// REDUCE: only the calls that build plain arrays.
    fn reduce(&mut self) -> Done {
        let ids = self.pop_many(2)?;
        let (callee, args) = match (&self.values[ids[0]], &self.values[ids[1]]) {
            (&Value::Global(global), Value::Tuple(args)) => (global, args.as_slice()),
            _ => return self.flaw("calls something other than a known global"),
        };
        let made = match (callee, args) {
            // (class, shape, type code): all three are set again by the state that follows.
            (Global::Reconstruct, &[class, _, _]) if self.values[class] == Value::Global(Global::NdArray) => {
                Value::BlankArray
            }
            // The fifth, of newer versions, is the order of more axes than the two that are read here.
            (Global::FromBuffer, &[data, dtype, shape, order] | &[data, dtype, shape, order, _]) => {
                Value::Array(Array { shape, dtype, order, data })
            }
            (Global::Scalar, &[dtype, data]) => match integers(&self.values, dtype, data).as_deref() {
                Some(&[int]) => Value::Int(int),
                Some(_) => return self.flaw("has an integer of another length than its type's"),
                None => Value::Number,
            },
            (Global::OrderedDict, &[]) => Value::Dict(vec![]),
            // (code, align, copy): the byte order follows as state.
            (Global::Dtype, &[code, ..]) => Value::Dtype(code, None),
            (Global::Encode, &[text, codec]) => match (&self.values[text], &self.values[codec]) {
                (&Value::Text(text), Value::Text("latin1" | "latin-1")) => Value::Latin1(text),
                _ => return self.flaw("encodes something other than text as latin1"),
            },
            _ => return self.flaw("calls a global with other arguments than NumPy does"),
        };
        self.push(made);
        Ok(())
    }

    /// BUILD: sets the state of an array or of a dtype, of which only the byte order matters.
    fn build(&mut self) -> Done {
        let state = self.pop()?;
        let object = self.top()?;
        let Value::Tuple(state) = &self.values[state] else { return self.flaw("sets a state that is no tuple") };
        match (&self.values[object], state.as_slice()) {
            (&Value::Dtype(code, _), &[_version, order, ..]) => self.values[object] = Value::Dtype(code, Some(order)),
            (Value::BlankArray, &[_version, shape, dtype, order, data]) => {
                self.values[object] = Value::Array(Array { shape, dtype, order, data });
            }
            _ => return self.flaw("sets a state that is not NumPy's"),
        }
        Ok(())
    }

    fn stop(&mut self) -> Done<Id> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return self.flaw("ends with values left over");
        }
        if self.next < self.bytes.len() {
            self.opcode = self.next;
            return self.flaw(format!("goes on for {} bytes after its end", self.bytes.len() - self.next));
        }
        Ok(root)
    }
}

/// A name from the file, shortened and without anything that could disturb a terminal.
fn shown(name: &str) -> String {
    name.escape_default().take(64).collect()
}
