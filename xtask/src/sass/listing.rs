//! A listing of nvdisasm's, read: functions, instructions, and where branches lead.

use std::collections::HashMap;

/// A kernel's machine code, or that of a function that stands alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name: a kernel's as the source has it.
    pub name: String,
    /// In order of addresses. Subroutines that the compiler adds, as those of divisions, come after the kernel's own.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// Bytes from the function's beginning.
    pub address: u32,
    /// `P0` or `!UP1`: on what it depends whether the instruction is carried out.
    pub predicate: Option<String>,
    /// With its modifiers, as `LDG.E.128`.
    pub opcode: String,
    /// Everything behind it.
    pub operands: String,
    /// The labels that it names.
    pub labels: Vec<String>,
    /// Places in the function of the instructions at those labels; a label outside has none.
    pub targets: Vec<usize>,
}

impl Instruction {
    /// The first part of the opcode.
    pub fn name(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    /// Whether the opcode has this modifier.
    pub fn has(&self, modifier: &str) -> bool {
        self.opcode.split('.').skip(1).any(|part| part == modifier)
    }
}

/// Reads what `nvdisasm -c` prints. Errors: a line that looks like an instruction and is none.
pub fn read(text: &str) -> Result<Vec<Function>, String> {
    let mut functions: Vec<Function> = Vec::new();
    let mut labels: HashMap<&str, usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(label) = line.strip_suffix(':').filter(|label| !label.contains(char::is_whitespace)) {
            if let Some(name) = label.strip_prefix(".text.") {
                resolve(functions.last_mut(), &labels);
                labels.clear();
                functions.push(Function { name: name.to_owned(), instructions: Vec::new() });
            }
            if let Some(function) = functions.last() {
                labels.insert(label, function.instructions.len());
            }
        } else if let Some(rest) = line.trim_start().strip_prefix("/*") {
            let wrong = || format!("line {} of a listing is no instruction: {}", number + 1, line.trim());
            let function = functions.last_mut().ok_or_else(wrong)?;
            function.instructions.push(instruction(rest).ok_or_else(wrong)?);
        }
    }
    resolve(functions.last_mut(), &labels);
    Ok(functions)
}

/// Looks up where the labels are that instructions name.
fn resolve(function: Option<&mut Function>, labels: &HashMap<&str, usize>) {
    let Some(function) = function else { return };
    let count = function.instructions.len();
    for instruction in &mut function.instructions {
        let place = |label: &String| labels.get(label.as_str()).copied().filter(|&at| at < count);
        instruction.targets = instruction.labels.iter().filter_map(place).collect();
    }
}

/// `01e0*/   @!P0 BRA `(.L_x_2) ;`, after the first `/*`.
fn instruction(text: &str) -> Option<Instruction> {
    let (address, rest) = text.split_once("*/")?;
    let address = u32::from_str_radix(address.trim(), 16).ok()?;
    let mut rest = rest.rsplit_once(';')?.0.trim();
    let mut predicate = None;
    if let Some(after) = rest.strip_prefix('@') {
        let (word, behind) = after.split_once(' ')?;
        predicate = Some(word.to_owned());
        rest = behind.trim_start();
    }
    let (opcode, operands) = rest.split_once(' ').unwrap_or((rest, ""));
    let opcode_like = opcode.starts_with(|c: char| c.is_ascii_uppercase());
    let operands = operands.trim().to_owned();
    opcode_like.then(|| Instruction {
        address,
        predicate,
        opcode: opcode.to_owned(),
        labels: labels(&operands),
        operands,
        targets: Vec::new(),
    })
}

/// The labels in an instruction's operands: `` `(.L_x_2)``, and of a branch through a table `(*"BRANCH_TARGETS .L_x_1,.L_x_2"*)`.
fn labels(operands: &str) -> Vec<String> {
    if let Some((_, table)) = operands.split_once("BRANCH_TARGETS ") {
        let table = table.split('"').next().unwrap_or_default();
        return table.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
    }
    operands.split("`(").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read_with_predicates_and_targets() {
        let functions = read(include_str!("recorded/quotients.txt")).unwrap();
        let [function] = &functions[..] else { panic!("{} functions", functions.len()) };
        assert_eq!(function.name, "quotients");
        let at = |address: u32| function.instructions.iter().find(|i| i.address == address).unwrap();
        let load = at(0xd0);
        assert_eq!((&*load.opcode, &*load.operands, load.name()), ("LDG.E", "R0, desc[UR8][R12.64]", "LDG"));
        assert!(load.has("E") && !load.has("LDG") && load.predicate.is_none());
        let back = at(0x500);
        assert_eq!((back.predicate.as_deref(), &*back.opcode), (Some("!P0"), "BRA"));
        assert_eq!(back.targets.iter().map(|&to| function.instructions[to].address).collect::<Vec<_>>(), [0xa0]);
        // A subroutine is a part of the function.
        let call = at(0x300);
        assert_eq!(call.labels, ["$__internal_0_$__cuda_sm20_div_u64"]);
        assert_eq!(function.instructions[call.targets[0]].address, 0x520);
        assert_eq!(at(0x580).opcode, "NOP");
    }

    #[test]
    fn a_branch_through_a_table_leads_to_all_of_it() {
        let text = ".text.f:\n/*0000*/ BRX R4 -0x10   (*\"BRANCH_TARGETS .L_x_1,.L_x_2\"*);\n.L_x_1:\n/*0010*/ EXIT ;\n.L_x_2:\n/*0020*/ EXIT ;\n";
        assert_eq!(read(text).unwrap()[0].instructions[0].targets, [1, 2]);
    }

    #[test]
    fn what_is_no_instruction_is_refused_with_its_line() {
        for (text, line) in
            [("/*0000*/ EXIT ;\n", 1), (".text.f:\n/*00zz*/ EXIT ;\n", 2), (".text.f:\n/*0000*/ EXIT\n", 2)]
        {
            let problem = read(text).unwrap_err();
            assert!(problem.starts_with(&format!("line {line} of a listing")), "{problem}");
        }
    }
}
