//! The loops of a function: natural loops of its graph of basic blocks.
//!
//! A branch backwards is not enough of a sign. The compiler moves rare paths behind a loop's end and has them jump back, and puts code that leaves
//! the loop between its beginning and its end: the former would look like a loop, the latter be counted as a part of one.

use super::classes::Counts;
use super::listing::{Function, Instruction};
use std::collections::{BTreeMap, BTreeSet};

/// A loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// Address of its first instruction.
    pub begin: u32,
    /// Address of its last instruction; not all in between belong to it.
    pub end: u32,
    /// Its instructions, as places in the function, those of loops within too.
    pub instructions: Vec<usize>,
    /// Of `instructions`.
    pub counts: Counts,
    /// Of those that are in no loop within: by these a hot loop is chosen.
    pub own: Counts,
    /// Whether it has no loop within.
    pub innermost: bool,
}

/// All loops that the function's beginning leads to, in order of their addresses.
pub fn find(function: &Function) -> Vec<Loop> {
    let code = &function.instructions;
    let blocks = Blocks::of(code);
    let mut bodies = blocks.loops();
    // A smaller loop that shares a block with a larger one is within it.
    bodies.sort_by_key(BTreeSet::len);
    let places = |blocks_of: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
        let mut places: Vec<usize> = blocks_of.flat_map(|block| blocks.places(block)).collect();
        places.sort_unstable();
        places
    };
    let one = |(at, body): (usize, &BTreeSet<usize>)| {
        let within: BTreeSet<usize> = bodies[..at].iter().filter(|b| b.is_subset(body)).flatten().copied().collect();
        let instructions = places(&mut body.iter().copied());
        let own = places(&mut body.difference(&within).copied());
        Some(Loop {
            begin: code[*instructions.first()?].address,
            end: code[*instructions.last()?].address,
            counts: Counts::of(instructions.iter().map(|&i| &code[i])),
            own: Counts::of(own.iter().map(|&i| &code[i])),
            innermost: within.is_empty(),
            instructions,
        })
    };
    let mut loops: Vec<Loop> = bodies.iter().enumerate().filter_map(one).collect();
    loops.sort_by_key(|l| (l.begin, l.end));
    loops
}

/// The basic blocks that the function's beginning leads to, as ranges of places, in order of their addresses.
pub fn basic_blocks(function: &Function) -> Vec<std::ops::Range<usize>> {
    let blocks = Blocks::of(&function.instructions);
    let mut ranges: Vec<_> = blocks.order.iter().map(|&block| blocks.places(block)).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// Where control goes from the instruction at `at`.
fn next(code: &[Instruction], at: usize) -> Vec<usize> {
    let this = &code[at];
    let mut to = Vec::new();
    let mut falls = true;
    match this.name() {
        // A condition may also stand among the operands, before the label.
        "BRA" | "JMP" => {
            falls = this.predicate.is_some() || !this.operands.starts_with('`');
            to.extend(&this.targets);
        }
        "BRX" | "BRXU" | "JMX" => {
            falls = this.predicate.is_some();
            to.extend(&this.targets);
        }
        "EXIT" | "RET" | "KILL" => falls = this.predicate.is_some(),
        "WARPSYNC" => to.extend(&this.targets),
        // BSSY names where lanes meet again, which is always right behind the BSYNC; a CALL comes back.
        _ => {}
    }
    if falls && at + 1 < code.len() {
        to.push(at + 1);
    }
    to
}

/// Basic blocks.
struct Blocks {
    /// The place of each one's first instruction, and at the end the number of instructions.
    starts: Vec<usize>,
    /// Where each leads.
    next: Vec<Vec<usize>>,
    /// Those that the beginning leads to, each after those that lead to it, but for loops.
    order: Vec<usize>,
}

impl Blocks {
    fn of(code: &[Instruction]) -> Blocks {
        let edges: Vec<Vec<usize>> = (0..code.len()).map(|at| next(code, at)).collect();
        let mut starts: BTreeSet<usize> = [0, code.len()].into();
        for (at, to) in edges.iter().enumerate() {
            if to[..] != [at + 1] {
                starts.extend(to);
                starts.insert(at + 1);
            }
        }
        let starts: Vec<usize> = starts.into_iter().filter(|&at| at <= code.len()).collect();
        let block = |at: usize| starts.partition_point(|&start| start <= at) - 1;
        let next: Vec<Vec<usize>> =
            starts.windows(2).map(|pair| edges[pair[1] - 1].iter().map(|&to| block(to)).collect()).collect();
        let order = order(&next);
        Blocks { starts, next, order }
    }

    /// The places of a block's instructions.
    fn places(&self, block: usize) -> std::ops::Range<usize> {
        self.starts[block]..self.starts[block + 1]
    }

    /// The blocks of each loop: one for each block that some later one, to which it is the only way, leads back to.
    fn loops(&self) -> Vec<BTreeSet<usize>> {
        let above = self.dominators();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.next.len()];
        for &block in &self.order {
            self.next[block].iter().for_each(|&to| before[to].push(block));
        }
        let dominates = |head: usize, mut block: usize| loop {
            if block == head {
                return true;
            }
            match above[block] {
                Some(up) if up != block => block = up,
                _ => return false,
            }
        };
        let mut loops: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for &block in &self.order {
            for &head in self.next[block].iter().filter(|&&head| dominates(head, block)) {
                let body = loops.entry(head).or_insert_with(|| [head].into());
                let mut open = vec![block];
                while let Some(block) = open.pop() {
                    if body.insert(block) {
                        open.extend(&before[block]);
                    }
                }
            }
        }
        loops.into_values().collect()
    }

    /// Each block's immediate dominator (Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm", 2001); the first block's is itself.
    fn dominators(&self) -> Vec<Option<usize>> {
        let mut rank = vec![usize::MAX; self.next.len()];
        self.order.iter().enumerate().for_each(|(i, &block)| rank[block] = i);
        let mut above: Vec<Option<usize>> = vec![None; self.next.len()];
        let Some(&first) = self.order.first() else { return above };
        above[first] = Some(first);
        let mut changed = true;
        while changed {
            changed = false;
            for &block in &self.order {
                for &to in self.next[block].iter().filter(|&&to| to != first) {
                    let meet = match above[to] {
                        None => Some(block),
                        Some(other) => common(&above, &rank, other, block),
                    };
                    if meet != above[to] {
                        above[to] = meet;
                        changed = true;
                    }
                }
            }
        }
        above
    }
}

/// The nearest block that is above both.
fn common(above: &[Option<usize>], rank: &[usize], mut a: usize, mut b: usize) -> Option<usize> {
    while a != b {
        if rank[a] > rank[b] {
            a = above[a]?;
        } else {
            b = above[b]?;
        }
    }
    Some(a)
}

/// What block 0 leads to, in reverse postorder.
fn order(next: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    if next.is_empty() {
        return order;
    }
    let mut seen = vec![false; next.len()];
    let mut open = vec![(0, 0)];
    seen[0] = true;
    while let Some((block, done)) = open.last_mut() {
        match next[*block].get(*done) {
            Some(&to) => {
                *done += 1;
                if !std::mem::replace(&mut seen[to], true) {
                    open.push((to, 0));
                }
            }
            None => {
                order.push(*block);
                open.pop();
            }
        }
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::super::classes::Class;
    use super::super::listing;
    use super::*;

    fn of(text: &str) -> Vec<Loop> {
        find(&listing::read(text).unwrap()[0])
    }

    /// A function of such lines: labels, and instructions, which come at 0, 0x10 and so on.
    fn written(lines: &[&str]) -> Vec<Loop> {
        let mut text = String::from(".text.f:\n");
        let mut address = 0;
        for line in lines {
            if line.ends_with(':') {
                text += &format!("{line}\n");
            } else {
                text += &format!("/*{address:04x}*/ {line} ;\n");
                address += 16;
            }
        }
        of(&text)
    }

    fn places(loops: &[Loop]) -> Vec<(u32, u32, usize, bool)> {
        loops.iter().map(|l| (l.begin, l.end, l.instructions.len(), l.innermost)).collect()
    }

    #[test]
    fn loops_of_a_recorded_kernel_are_found() {
        // One where the step has halted, and one where it goes on. The trap behind the last EXIT is none.
        let loops = of(include_str!("recorded/sgd_plain.txt"));
        assert_eq!(places(&loops), [(0x1b0, 0x2c0, 18, true), (0x380, 0x520, 27, true)]);
        assert_eq!(loops[1].counts.get(Class::GlobalLoads4), 2);
        assert_eq!(loops[1].counts.global_bytes(), 14);
    }

    #[test]
    fn a_loop_has_its_call_but_not_the_subroutine() {
        let loops = of(include_str!("recorded/quotients.txt"));
        assert_eq!(places(&loops), [(0xa0, 0x500, 71, true)]);
        // 1000 / x, and the division of 64 bits: called, or where 32 will do inline.
        assert_eq!(loops[0].counts.get(Class::IntegerDivisions), 3);
        assert_eq!(loops[0].counts.get(Class::Calls), 1);
    }

    #[test]
    fn an_inner_loop_counts_for_the_outer_one_but_is_not_its_own() {
        let loops = written(&[
            "MOV",
            ".outer:",
            "FFMA",
            ".inner:",
            "LDS",
            "@P0 BRA `(.inner)",
            "FFMA",
            "@P1 BRA `(.outer)",
            "EXIT",
        ]);
        assert_eq!(places(&loops), [(0x10, 0x50, 5, false), (0x20, 0x30, 2, true)]);
        assert_eq!((loops[0].counts.get(Class::SharedLoads), loops[0].own.get(Class::SharedLoads)), (1, 0));
        assert_eq!(loops[0].own.get(Class::Ffma), 2);
    }

    #[test]
    fn a_rare_path_that_jumps_back_is_no_loop() {
        let lines = [
            "BRA.DIV UR4, `(.rare)",
            "SHFL",
            ".on:",
            "EXIT",
            ".rare:",
            "WARPSYNC.COLLECTIVE R1, `(.met)",
            ".met:",
            "SHFL",
            "BRA `(.on)",
        ];
        assert_eq!(written(&lines), []);
    }

    #[test]
    fn a_path_that_was_moved_away_belongs_to_the_loop_and_one_that_leaves_it_does_not() {
        let lines = [
            ".loop:",
            "@P0 BRA `(.rare)",
            ".on:",
            "@!P1 BRA `(.next)",
            "STG",
            "EXIT",
            ".next:",
            "@P2 BRA `(.loop)",
            "EXIT",
            ".rare:",
            "LDL",
            "BRA `(.on)",
        ];
        let loops = written(&lines);
        assert_eq!(places(&loops), [(0, 0x70, 5, true)]);
        assert_eq!((loops[0].counts.get(Class::LocalMemory), loops[0].counts.get(Class::GlobalStores4)), (1, 0));
    }

    #[test]
    fn two_ways_back_to_one_beginning_are_one_loop() {
        let loops = written(&[".loop:", "FFMA", "@P0 BRA `(.loop)", "FMUL", "@P1 BRA `(.loop)", "EXIT"]);
        assert_eq!(places(&loops), [(0, 0x30, 4, true)]);
    }
}
