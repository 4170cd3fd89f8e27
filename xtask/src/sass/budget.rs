//! `xtask/budgets.toml`: what kernels may take, and where one takes more.

use super::check::{Check, Checked, CheckedLoop};
use super::classes::{Class, Counts};
use super::measure::Measured;
use super::occupancy;
use super::rule::Rule;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The compiler's version by which the numbers were measured, as `13.0`.
    pub compiler: String,
    /// What is compiled for: spills and local memory are looked at on all of them.
    pub architectures: Vec<u32>,
    /// The one of them for which all else is.
    pub measured_on: u32,
    /// What holds for every kernel.
    every: Every,
    /// Where a kernel may do more than that.
    #[serde(default, rename = "exception")]
    exceptions: Vec<Exception>,
    /// Budgets of kernels.
    #[serde(default, rename = "kernel")]
    kernels: Vec<Budget>,
}

/// What holds for every kernel on every architecture.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Every {
    /// Bytes.
    spills: u32,
    /// Instructions.
    local_memory: u32,
    /// Instructions; where nothing is said of them they are not looked at.
    early_accesses: Option<u32>,
}

/// One kernel, on some architectures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    kernel: String,
    architectures: Vec<u32>,
    #[serde(default)]
    spills: u32,
    #[serde(default)]
    local_memory: u32,
}

/// The budget of a kernel, or of all whose names match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The kernel's name; `*` stands for anything.
    name: String,
    /// Bytes of dynamic shared memory that a block is launched with: the machine code does not tell.
    #[serde(default)]
    pub dynamic_shared: u32,
    /// Registers at the most.
    pub registers: Option<u32>,
    /// Blocks at the least that a multiprocessor holds.
    pub blocks_per_multiprocessor: Option<u32>,
    /// Instructions of some classes at the most, in the whole kernel.
    #[serde(default)]
    at_most: BTreeMap<Class, u32>,
    /// Budgets of loops.
    #[serde(default, rename = "loop")]
    pub loops: Vec<LoopBudget>,
}

/// The budget of a loop.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopBudget {
    /// Which loop.
    choose: Rule,
    /// Instructions a tensor-core instruction, at the most.
    instructions_per_mma: Option<f64>,
    /// Instructions an FFMA, at the most.
    instructions_per_ffma: Option<f64>,
    /// Instructions an element, at the most.
    instructions_per_element: Option<f64>,
    /// Bytes that an element moves to global memory and from it.
    bytes_per_element: Option<u32>,
    /// Instructions of some classes at the most.
    #[serde(default)]
    at_most: BTreeMap<Class, u32>,
}

/// Whether a name matches a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|name| (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))),
    }
}

impl Budgets {
    /// Reads the file's text; `kernels` are the names that there are. Errors: what is no budget, with its line; a kernel that there is not; a
    /// kernel with two budgets.
    pub fn read(text: &str, kernels: &[String]) -> Result<Budgets, String> {
        let budgets: Budgets = toml::from_str(text).map_err(|e| e.to_string())?;
        if !budgets.architectures.contains(&budgets.measured_on) {
            return Err(format!("architectures lacks {}, the one that is measured on", budgets.measured_on));
        }
        let missing = |found: bool, name: &str| if found { Ok(()) } else { Err(format!("no kernel is called {name}")) };
        for Exception { kernel, architectures, .. } in &budgets.exceptions {
            missing(kernels.contains(kernel), kernel)?;
            if let Some(other) = architectures.iter().find(|a| !budgets.architectures.contains(a)) {
                return Err(format!("the exception of {kernel} is for sm_{other}, which nothing is compiled for"));
            }
        }
        for Budget { name, .. } in &budgets.kernels {
            missing(kernels.iter().any(|kernel| matches(name, kernel)), name)?;
        }
        for budget in &budgets.kernels {
            for limits in &budget.loops {
                if limits.instructions_per_element.is_some() != limits.bytes_per_element.is_some_and(|bytes| bytes > 0)
                {
                    return Err(format!(
                        "{}: instructions_per_element and bytes_per_element, more than 0, go together",
                        budget.name
                    ));
                }
            }
        }
        for kernel in kernels {
            budgets.of(kernel)?;
        }
        Ok(budgets)
    }

    /// A kernel's budget: the one of its name, otherwise the one that matches. Errors: two.
    fn of(&self, kernel: &str) -> Result<Option<&Budget>, String> {
        let only = |found: Vec<_>| match found[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(format!("{kernel} has two budgets")),
        };
        let exact = only(self.kernels.iter().filter(|budget| budget.name == kernel).collect())?;
        match exact {
            Some(budget) => Ok(Some(budget)),
            None => only(self.kernels.iter().filter(|budget| matches(&budget.name, kernel)).collect()),
        }
    }

    /// Holds a kernel to what is said of it. Errors: a loop that it does not have.
    pub fn check<'m>(&self, of: &'m Measured) -> Result<Checked<'m>, String> {
        let budget = self.of(&of.kernel)?.filter(|_| of.architecture == self.measured_on);
        let dynamic = self.of(&of.kernel)?.map_or(0, |budget| budget.dynamic_shared);
        let blocks = occupancy::blocks(of.architecture, of.threads, of.registers, of.shared + dynamic);
        let granted = |kind: fn(&Exception) -> u32| {
            let own =
                self.exceptions.iter().filter(|e| e.kernel == of.kernel && e.architectures.contains(&of.architecture));
            own.map(kind).max().unwrap_or(0)
        };
        let mut checks = vec![
            Check::most("bytes spilled", of.spills, self.every.spills.max(granted(|e| e.spills))),
            Check::most(
                Class::LocalMemory.name(),
                of.counts.get(Class::LocalMemory),
                self.every.local_memory.max(granted(|e| e.local_memory)),
            ),
        ];
        checks.extend(self.every.early_accesses.map(|most| Check::most("early_accesses", of.early, most)));
        let mut loops = Vec::new();
        match budget {
            None => {
                let usual = Rule::USUAL.iter().map(|&rule| (rule, rule.choose(&of.loops)));
                let (rule, chosen) =
                    usual.into_iter().find(|(_, l)| !l.is_empty()).unwrap_or((Rule::USUAL[0], Vec::new()));
                loops.extend(chosen.into_iter().map(|of| CheckedLoop { rule, of, checks: Vec::new() }));
            }
            Some(budget) => {
                checks.extend(budget.registers.map(|most| Check::most("registers", of.registers, most)));
                checks.extend(budget.blocks_per_multiprocessor.map(|least| Check {
                    what: "blocks a multiprocessor".into(),
                    found: blocks.into(),
                    allowed: least.into(),
                    least: true,
                }));
                checks.extend(at_most(&budget.at_most, &of.counts));
                for limits in &budget.loops {
                    let rule = limits.choose;
                    let chosen = rule.choose(&of.loops);
                    if chosen.is_empty() {
                        return Err(format!("{}: it has no loop that '{rule}' chooses", of.kernel));
                    }
                    for of in chosen {
                        loops.push(CheckedLoop { rule, of, checks: limits.checks(&of.counts) });
                    }
                }
            }
        }
        Ok(Checked { of, budgeted: budget.is_some(), blocks, checks, loops })
    }
}

fn at_most(limits: &BTreeMap<Class, u32>, counts: &Counts) -> Vec<Check> {
    let check = |(class, most): (&Class, &u32)| Check::most(class.name(), counts.get(*class), *most);
    limits.iter().map(check).collect()
}

impl LoopBudget {
    fn checks(&self, counts: &Counts) -> Vec<Check> {
        let all = f64::from(counts.get(Class::Instructions));
        // A loop without a single one takes infinitely many for it, which no limit allows.
        let each = |what: &str, of: f64, most: Option<f64>| most.map(|most| Check::most(what, all / of, most));
        let elements = f64::from(counts.global_bytes()) / f64::from(self.bytes_per_element.unwrap_or(1));
        let ratios = [
            each("instructions a mma", counts.get(Class::Mma).into(), self.instructions_per_mma),
            each("instructions an FFMA", counts.get(Class::Ffma).into(), self.instructions_per_ffma),
            each("instructions an element", elements, self.instructions_per_element),
        ];
        ratios.into_iter().flatten().chain(at_most(&self.at_most, counts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel as it was recorded.
    fn recorded(text: &str, registers: u32, spills: u32) -> Measured {
        Measured { threads: 256, registers, spills, ..Measured::of_listing(text) }
    }

    fn sgd() -> Measured {
        recorded(include_str!("recorded/sgd_plain.txt"), 16, 0)
    }

    const HEAD: &str =
        "compiler = '13.0'\narchitectures = [80, 90]\nmeasured_on = 90\nevery = { spills = 0, local_memory = 0 }\n";

    fn read(text: &str) -> Result<Budgets, String> {
        Budgets::read(&format!("{HEAD}{text}"), &["sgd_plain".into(), "quotients".into()])
    }

    fn breaches(text: &str, of: &Measured) -> Vec<String> {
        read(text).unwrap().check(of).unwrap().breaches()
    }

    #[test]
    fn what_is_at_its_limit_holds() {
        let text = "[[kernel]]\nname = 'sgd_plain'\nregisters = 16\nblocks_per_multiprocessor = 8\nat_most = { global_stores_2 = 2 }\n\
                    [[kernel.loop]]\nchoose = 'most global_bytes'\nbytes_per_element = 14\ninstructions_per_element = 27\n\
                    at_most = { global_stores_2 = 1, integer_divisions = 0 }\n";
        assert_eq!(breaches(text, &sgd()), Vec::<String>::new());
    }

    #[test]
    fn a_breach_names_kernel_number_limit_and_loop() {
        let text = "[[kernel]]\nname = 'sgd_*'\nregisters = 15\nblocks_per_multiprocessor = 9\n\
                    [[kernel.loop]]\nchoose = 'most global_bytes'\nbytes_per_element = 14\ninstructions_per_element = 26.5\n\
                    [[kernel.loop]]\nchoose = 'fewest global_bytes'\nat_most = { global_stores_2 = 0 }\n";
        let wanted = [
            "sgd_plain (sm_90): 16 registers; at most 15 are allowed",
            "sgd_plain (sm_90): 8 blocks a multiprocessor; at least 9 are allowed",
            "sgd_plain (sm_90): 27 instructions an element in the loop at 0x380–0x520 (most global_bytes); at most 26.5 are allowed",
            "sgd_plain (sm_90): 1 global_stores_2 in the loop at 0x1b0–0x2c0 (fewest global_bytes); at most 0 are allowed",
        ];
        assert_eq!(breaches(text, &sgd()), wanted);
    }

    #[test]
    fn divisions_in_a_loop_are_a_breach() {
        let text = "[[kernel]]\nname = 'quotients'\n[[kernel.loop]]\nchoose = 'most global_bytes'\nat_most = { integer_divisions = 0 }\n";
        let found = breaches(text, &recorded(include_str!("recorded/quotients.txt"), 26, 0));
        assert!(found.len() == 1 && found[0].contains("3 integer_divisions in the loop at 0xa0–0x500"), "{found:?}");
    }

    #[test]
    fn spills_are_a_breach_without_a_budget_and_on_every_architecture() {
        let mut spilling = recorded(include_str!("recorded/sgd_plain.txt"), 16, 8);
        assert_eq!(breaches("", &spilling), ["sgd_plain (sm_90): 8 bytes spilled; at most 0 are allowed"]);
        let exception = "[[exception]]\nkernel = 'sgd_plain'\narchitectures = [90]\nspills = 8\n";
        assert_eq!(breaches(exception, &spilling), Vec::<String>::new());
        spilling.architecture = 80;
        assert_eq!(breaches(exception, &spilling), ["sgd_plain (sm_80): 8 bytes spilled; at most 0 are allowed"]);
    }

    #[test]
    fn a_kernel_that_does_not_wait_for_its_predecessor_is_a_breach() {
        let all = recorded(include_str!("recorded/sgd_plain.txt"), 16, 0);
        let head = HEAD.replace("local_memory = 0", "local_memory = 0, early_accesses = 0");
        let budgets = Budgets::read(&head, &["sgd_plain".into()]).unwrap();
        // It was recorded before kernels waited.
        let found = budgets.check(&all).unwrap().breaches();
        assert_eq!(found, [format!("sgd_plain (sm_90): {} early_accesses; at most 0 are allowed", all.early)]);
        assert!(all.early > 10 && budgets.check(&Measured { early: 0, ..all }).unwrap().breaches().is_empty());
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let refused = |text: &str, part: &str| {
            let problem = read(text).and_then(|budgets| budgets.check(&sgd()).map(|_| ())).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        };
        refused("[[kernel]]\nname = 'sgd_plane'\n", "no kernel is called sgd_plane");
        refused("[[kernel]]\nname = 'adam_*'\n", "no kernel is called adam_*");
        refused("[[exception]]\nkernel = 'sgd_*'\narchitectures = [80]\n", "no kernel is called sgd_*");
        refused("[[exception]]\nkernel = 'sgd_plain'\narchitectures = [75]\n", "sm_75");
        refused(
            "[[kernel]]\nname = 'sgd_plain'\n[[kernel.loop]]\nchoose = 'most mma'\n",
            "no loop that 'most mma' chooses",
        );
        refused("[[kernel]]\nname = 'sgd_plain'\n[[kernel.loop]]\nchoose = 'some mma'\n", "'some mma' is no rule");
        refused(
            "[[kernel]]\nname = 'sgd_plain'\n[[kernel.loop]]\nchoose = 'most tensors'\n",
            "'most tensors' is no rule",
        );
        refused("[[kernel]]\nname = 'sgd_plain'\nat_most = { tensors = 1 }\n", "tensors");
        refused("[[kernel]]\nname = 'sgd_plain'\nregister = 1\n", "register");
        refused("[[kernel]]\nname = 'sgd_*'\n[[kernel]]\nname = '*_plain'\n", "two budgets");
        let alone =
            "[[kernel]]\nname = 'sgd_plain'\n[[kernel.loop]]\nchoose = 'most ffma'\ninstructions_per_element = 1\n";
        refused(alone, "go together");
    }

    #[test]
    fn a_name_comes_before_a_pattern() {
        let text = "[[kernel]]\nname = '*'\nregisters = 8\n[[kernel]]\nname = 'sgd_plain'\nregisters = 16\n";
        assert_eq!(breaches(text, &sgd()), Vec::<String>::new());
    }

    #[test]
    fn loops_with_as_many_are_all_meant_and_those_with_none_never() {
        let of = sgd();
        let chosen = |rule: &str| Rule::try_from(rule.to_owned()).unwrap().choose(&of.loops).len();
        assert_eq!(
            [chosen("most global_stores_2"), chosen("most ffma"), chosen("fewest ffma"), chosen("most mma")],
            [2, 1, 1, 0]
        );
    }
}
