//! What branches of a step's graph could gain at most: the longest path through its nodes, beside their sum.
//!
//! A node has to follow an earlier one if both touch the same bytes and one of them writes there. Many such pairs only share a buffer (partial sums, the
//! operands of products); with buffers of their own a node would follow only the last that wrote what it reads. What a kernel may write it is taken not to
//! read, which shortens the path. Nodes side by side are taken to slow one another by nothing, which no card can do: so both are bounds.

use super::card::Card;
use super::counted::{Node, Tensor};
use super::time::{Group, Predicted};

/// The longest path, at one end of the nodes' times.
pub struct Path {
    /// Seconds of its nodes and of the gaps between them.
    pub seconds: f64,
    /// Of each node whether it is on it.
    pub on: Vec<bool>,
}

fn overlap(a: &Tensor, b: &Tensor) -> bool {
    a.arena == b.arena && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
}

/// Of each node those that it follows; with `own` each node has buffers of its own.
fn edges(work: &[Node], own: bool) -> Vec<Vec<usize>> {
    let conflict = |first: &Node, later: &Node| {
        let of = |a: &Tensor| later.tensors.iter().any(|b| (a.written || b.written) && overlap(a, b));
        first.tensors.iter().any(of)
    };
    let wrote = |node: &Node, read: &Tensor| node.tensors.iter().any(|t| t.written && overlap(t, read));
    let of = |later: usize| {
        if !own {
            return (0..later).filter(|&first| conflict(&work[first], &work[later])).collect();
        }
        let read = work[later].tensors.iter().filter(|tensor| !tensor.written);
        read.filter_map(|tensor| (0..later).rev().find(|&first| wrote(&work[first], tensor))).collect()
    };
    (0..work.len()).map(of).collect()
}

/// The longest path at `end` of the nodes' times: 0 is the slow one.
pub fn longest(work: &[Node], nodes: &[Predicted], card: &Card, end: usize, own: bool) -> Path {
    let mut ends: Vec<f64> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::new();
    for (node, edges) in nodes.iter().zip(edges(work, own)) {
        let last = edges.into_iter().max_by(|&a, &b| ends[a].total_cmp(&ends[b]));
        ends.push(node.seconds[end] + last.map_or(0.0, |last| ends[last] + card.gap[end]));
        before.push(last);
    }
    let mut on = vec![false; nodes.len()];
    let mut at = (0..ends.len()).max_by(|&a, &b| ends[a].total_cmp(&ends[b]));
    let seconds = at.map_or(0.0, |at| ends[at]);
    while let Some(place) = at {
        on[place] = true;
        at = before[place];
    }
    Path { seconds, on }
}

/// The groups of the nodes beside a path, with how many and how long they are.
pub fn beside(nodes: &[Predicted], path: &Path, end: usize) -> Vec<(Group, usize, f64)> {
    let of = |group: Group| {
        let own: Vec<_> = nodes.iter().zip(&path.on).filter(|(node, on)| !**on && node.group == group).collect();
        (group, own.len(), own.iter().map(|(node, _)| node.seconds[end]).sum())
    };
    Group::ALL.into_iter().map(of).filter(|(_, count, _)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::super::counted::tests::node;
    use super::super::l2::L2;
    use super::super::time::predict;
    use super::*;

    /// A node that reads and writes the numbered kilobytes, and takes `seconds`.
    fn of(reads: &[u64], writes: &[u64], seconds: f64, card: &Card) -> (Node, Predicted) {
        let tensor = |n: &u64, written: bool| Tensor { arena: 0, offset: n << 10, bytes: 1 << 10, written };
        let mut node = node();
        node.tensors = reads.iter().map(|n| tensor(n, false)).chain(writes.iter().map(|n| tensor(n, true))).collect();
        node.counts = None;
        let found = predict(&node, None, card, &mut L2::new(card.l2_bytes));
        (node, Predicted { seconds: [seconds; 2], ..found })
    }

    #[test]
    fn a_branch_beside_the_path_is_not_on_it() {
        let card = Card::named("h200").unwrap();
        let [x, dy, dx, dw, shared] = [0, 1, 2, 3, 4];
        let all = [
            of(&[x], &[dy], 1.0, &card),
            of(&[dy], &[dx, shared], 3.0, &card),
            of(&[x, dy], &[dw, shared], 2.0, &card),
            of(&[dx], &[x], 1.0, &card),
        ];
        let (work, nodes): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let gaps = |count: f64| count * card.gap[1];
        // Where both gradients share a buffer, and one reads what the last writes, nothing runs beside anything.
        let path = longest(&work, &nodes, &card, 1, false);
        assert_eq!(path.on, [true; 4]);
        assert!((path.seconds - 7.0 - gaps(3.0)).abs() < 1e-9, "{}", path.seconds);
        let path = longest(&work, &nodes, &card, 1, true);
        assert_eq!(path.on, [true, true, false, true]);
        assert!((path.seconds - 5.0 - gaps(2.0)).abs() < 1e-9, "{}", path.seconds);
        let aside = beside(&nodes, &path, 1);
        assert_eq!(aside.iter().map(|&(_, count, seconds)| (count, seconds)).collect::<Vec<_>>(), [(1, 2.0)]);
        assert!(longest(&[], &[], &card, 0, true).seconds == 0.0);
    }
}
