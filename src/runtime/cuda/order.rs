//! In which orders the pieces of a graph may be done. Two pieces that touch the same bytes, of which one writes them, must be done in the order in which
//! they were asked for: a path of edges has to lead from the first to the second.

use super::region::Region;
use crate::runtime::rng::{Purpose, word};

/// A piece of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name in reports.
    pub name: &'static str,
    /// The tensors that it touches, and with `true` those that it may write.
    pub touches: Vec<(Region, bool)>,
    /// The pieces that end before it begins, by their places among all.
    pub after: Vec<usize>,
}

/// Why a graph may give other results in another order that its edges allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The edges lead in a circle.
    Circle,
    /// No path leads from one of these pieces to the other, and both touch the region, which one of them writes.
    Unordered {
        /// The places of the two, in the order in which they were asked for.
        pieces: [usize; 2],
        /// What both touch.
        region: Region,
    },
}

/// What two regions have in common.
fn common(a: Region, b: Region) -> Option<Region> {
    let (begin, end) = (a.offset.max(b.offset), (a.offset + a.bytes).min(b.offset + b.bytes));
    (a.arena == b.arena && begin < end).then(|| Region { arena: a.arena, offset: begin, bytes: end - begin })
}

/// What two pieces touch and one of them may write.
fn conflict(a: &Piece, b: &Piece) -> Option<Region> {
    let pairs = a.touches.iter().flat_map(|a| b.touches.iter().map(move |b| (a, b)));
    pairs.filter(|((_, written), (_, also))| *written || *also).find_map(|((a, _), (b, _))| common(*a, *b))
}

/// The edges that the pieces need, whatever edges they have: of each the pieces before it with which it conflicts.
pub fn needed(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let before =
        |later: usize| (0..later).filter(|&first| conflict(&pieces[first], &pieces[later]).is_some()).collect();
    (0..pieces.len()).map(before).collect()
}

/// An order that the edges allow, where piece i is done after those in `after[i]`; the seed chooses among several. None where they lead in a circle.
pub fn any(after: &[Vec<usize>], seed: u64) -> Option<Vec<usize>> {
    let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..after.len()).filter(|&piece| waiting[piece] == 0).collect();
    let mut found = Vec::with_capacity(after.len());
    while !ready.is_empty() {
        let chosen = word(seed, Purpose::Case, 0, 0, found.len() as u64) as usize % ready.len();
        let next = ready.swap_remove(chosen);
        found.push(next);
        for (piece, before) in after.iter().enumerate() {
            let edges = before.iter().filter(|&&before| before == next).count();
            waiting[piece] -= edges;
            if edges > 0 && waiting[piece] == 0 {
                ready.push(piece);
            }
        }
    }
    (found.len() == after.len()).then_some(found)
}

/// Checks that the pieces give the same results in every order that their edges allow. Errors: two for which this is not so.
pub fn check(pieces: &[Piece]) -> Result<(), Wrong> {
    let after: Vec<_> = pieces.iter().map(|piece| piece.after.clone()).collect();
    let order = any(&after, 0).ok_or(Wrong::Circle)?;
    // Of each piece those from which a path leads to it.
    let mut before = vec![vec![false; pieces.len()]; pieces.len()];
    for piece in order {
        let mut own = vec![false; pieces.len()];
        for &edge in &after[piece] {
            own[edge] = true;
            own.iter_mut().zip(&before[edge]).for_each(|(own, more)| *own |= more);
        }
        before[piece] = own;
    }
    for later in 0..pieces.len() {
        for first in (0..later).filter(|&first| !before[later][first]) {
            if let Some(region) = conflict(&pieces[first], &pieces[later]) {
                return Err(Wrong::Unordered { pieces: [first, later], region });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tensor::ArenaId;

    /// The `number`-th 64 bytes of an arena.
    fn tensor(number: usize) -> Region {
        Region { arena: ArenaId::numbered(0), offset: 64 * number, bytes: 64 }
    }

    fn piece(name: &'static str, reads: &[usize], writes: &[usize], after: &[usize]) -> Piece {
        let of = |all: &[usize], written: bool| all.iter().map(move |&n| (tensor(n), written)).collect::<Vec<_>>();
        Piece { name, touches: [of(reads, false), of(writes, true)].concat(), after: after.to_vec() }
    }

    /// A gradient of dy forks into dx and dw; the update of θ joins both, since dx reads θ too.
    fn backward() -> Vec<Piece> {
        let [x, dy, dx, theta, dw] = [0, 1, 2, 3, 4];
        vec![
            piece("loss", &[x], &[dy], &[]),
            piece("input gradient", &[dy, theta], &[dx], &[0]),
            piece("weight gradient", &[x, dy], &[dw], &[0]),
            piece("update", &[dw], &[theta], &[1, 2]),
        ]
    }

    #[test]
    fn a_branch_that_is_joined_is_in_order() {
        assert_eq!(check(&backward()), Ok(()));
        let edges = needed(&backward());
        assert_eq!(edges, [vec![], vec![0], vec![0], vec![1, 2]]);
        let orders: std::collections::BTreeSet<_> = (0..32).map(|seed| any(&edges, seed).unwrap()).collect();
        assert_eq!(orders.into_iter().collect::<Vec<_>>(), [[0, 1, 2, 3], [0, 2, 1, 3]]);
    }

    #[test]
    fn each_missing_edge_is_named() {
        for (place, edge, region) in [(1, 0, tensor(1)), (2, 0, tensor(1)), (3, 0, tensor(3)), (3, 1, tensor(4))] {
            let mut planted = backward();
            let missing = planted[place].after.remove(edge);
            assert_eq!(check(&planted), Err(Wrong::Unordered { pieces: [missing, place], region }), "{planted:?}");
        }
    }

    #[test]
    fn a_path_orders_as_well_as_an_edge_and_reading_needs_none() {
        // In a chain the last follows the first.
        let mut chain = backward();
        (0..4).for_each(|place: usize| chain[place].after = place.checked_sub(1).into_iter().collect());
        assert_eq!(check(&chain), Ok(()));
        // Two that only read, and two that touch what lies side by side.
        assert_eq!(check(&[piece("a", &[0], &[1], &[]), piece("b", &[0], &[2], &[])]), Ok(()));
        let half = |offset| Region { offset, ..tensor(0) };
        let mut overlapping = [piece("a", &[], &[0], &[]), piece("b", &[], &[1], &[])];
        assert_eq!(check(&overlapping), Ok(()));
        overlapping[1].touches[0].0 = half(32);
        let region = Region { bytes: 32, ..half(32) };
        assert_eq!(check(&overlapping), Err(Wrong::Unordered { pieces: [0, 1], region }));
    }

    #[test]
    fn edges_in_a_circle_allow_no_order() {
        let circle = [piece("a", &[], &[], &[1]), piece("b", &[], &[], &[0])];
        assert_eq!((check(&circle), any(&[vec![1], vec![0]], 3)), (Err(Wrong::Circle), None));
    }
}
