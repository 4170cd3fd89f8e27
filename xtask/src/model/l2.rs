//! What of a node's tensors comes from memory and what is still in L2: the least recently used bytes leave first.

use super::counted::Tensor;

/// Bytes of one arena that came in together.
#[derive(Debug, Clone, Copy)]
struct Piece {
    arena: u32,
    begin: u64,
    end: u64,
    /// Written, and not yet in memory.
    dirty: bool,
}

/// The cache; the piece that was used last comes last.
pub struct L2 {
    room: u64,
    pieces: Vec<Piece>,
}

impl L2 {
    /// An empty cache of so many bytes.
    pub fn new(bytes: f64) -> L2 {
        L2 { room: bytes as u64, pieces: Vec::new() }
    }

    /// Uses a tensor: gives the bytes of it that were not there, and those of others that leave for memory.
    pub fn use_tensor(&mut self, of: &Tensor) -> [f64; 2] {
        let (begin, end) = (of.offset, of.offset + of.bytes);
        let (mut here, mut others) = (Vec::new(), Vec::with_capacity(self.pieces.len() + 2));
        for piece in self.pieces.drain(..) {
            if piece.arena != of.arena || piece.end <= begin || end <= piece.begin {
                others.push(piece);
                continue;
            }
            here.push(Piece { begin: piece.begin.max(begin), end: piece.end.min(end), ..piece });
            let outside = [(piece.begin, begin), (end, piece.end)].into_iter().filter(|(from, to)| from < to);
            others.extend(outside.map(|(begin, end)| Piece { begin, end, ..piece }));
        }
        here.sort_by_key(|piece| piece.begin);
        let found: u64 = here.iter().map(|piece| piece.end - piece.begin).sum();
        // In order of addresses: what was there with what was not.
        let mut at = begin;
        for piece in here {
            others.extend((at < piece.begin).then_some(Piece {
                begin: at,
                end: piece.begin,
                dirty: of.written,
                ..piece
            }));
            at = piece.end;
            others.push(Piece { dirty: piece.dirty || of.written, ..piece });
        }
        others.extend((at < end).then_some(Piece { arena: of.arena, begin: at, end, dirty: of.written }));
        self.pieces = others;
        let mut over = self.pieces.iter().map(|p| p.end - p.begin).sum::<u64>().saturating_sub(self.room);
        let mut left = 0;
        while over > 0 && !self.pieces.is_empty() {
            let first = &mut self.pieces[0];
            let gone = over.min(first.end - first.begin);
            first.begin += gone;
            over -= gone;
            left += if first.dirty { gone } else { 0 };
            if first.begin == first.end {
                self.pieces.remove(0);
            }
        }
        [(of.bytes - found) as f64, left as f64]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let tensor = |offset, bytes, written| Tensor { arena: 0, offset, bytes, written };
        let mut l2 = L2::new(100.0);
        assert_eq!(l2.use_tensor(&tensor(0, 60, true)), [60.0, 0.0]);
        assert_eq!(l2.use_tensor(&tensor(0, 60, false)), [0.0, 0.0]);
        // Of 60 bytes that were written 20 leave.
        assert_eq!(l2.use_tensor(&tensor(60, 60, false)), [60.0, 20.0]);
        assert_eq!(l2.use_tensor(&tensor(0, 60, false)), [20.0, 0.0]);
        // Twice as much as there is room for.
        assert_eq!(l2.use_tensor(&tensor(200, 200, false)), [200.0, 40.0]);
    }
}
