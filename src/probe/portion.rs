//! The portions of a line: where several devices share its points, each takes some that follow one another, and what they find is put together in order.
//! Which device takes a point changes none of its bits.

use std::ops::Range;

/// A portion of a line's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Which portion it is, from 0.
    pub index: usize,
    /// The number of portions, at most [`Portion::MOST`].
    pub of: usize,
}

impl Portion {
    /// The whole line.
    pub const WHOLE: Portion = Portion { index: 0, of: 1 };
    /// The most portions of a line.
    pub const MOST: usize = 64;

    /// The portion of a run's own device, with which `helpers` others share the line.
    pub fn own(helpers: usize) -> Portion {
        Portion { index: 0, of: 1 + helpers }
    }

    /// The number of portions into which it makes sense to cut a line of `points` points: with θ′ of [`super::resolution`] each has at least two.
    pub fn most(points: usize) -> usize {
        points.div_ceil(2).clamp(1, Portion::MOST)
    }

    /// The portion's rows, of `all`.
    pub fn rows(self, all: usize) -> Range<usize> {
        self.index * all / self.of..(self.index + 1) * all / self.of
    }

    /// A number below [`Portion::MOST`]² that tells portions apart; 0 for the whole line.
    pub fn key(self) -> u64 {
        (self.index * Portion::MOST + self.of - 1) as u64
    }
}

/// What was found at points that follow one another. After a line's last point comes θ′ of [`super::resolution`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    /// L(θ_s)
    pub loss: Vec<f64>,
    /// What [`crate::ops::vector::Vector::compare_rows`] gives for ∇L(θ_s) and g: three numbers for each point.
    pub compared: Vec<f64>,
    /// The same for θ_s and θ.
    pub moved: Vec<f64>,
}

impl Points {
    /// Appends the points that follow.
    pub fn append(&mut self, mut next: Points) {
        self.loss.append(&mut next.loss);
        self.compared.append(&mut next.compared);
        self.moved.append(&mut next.moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn portions_follow_one_another_and_none_is_too_small() {
        for points in 1..300 {
            for of in 1..=Portion::most(points) {
                let mut next = 0;
                for rows in (0..of).map(|index| Portion { index, of }.rows(points + 1)) {
                    assert!(rows.start == next && (of == 1 || rows.len() >= 2), "{points} {of} {rows:?}");
                    next = rows.end;
                }
                assert_eq!(next, points + 1);
            }
        }
    }

    #[test]
    fn keys_tell_portions_apart() {
        let all = || (1..=Portion::MOST).flat_map(|of| (0..of).map(move |index| Portion { index, of }));
        let keys: BTreeSet<u64> = all().map(Portion::key).collect();
        assert_eq!((keys.len(), keys.first()), (all().count(), Some(&Portion::WHOLE.key())));
        assert!(Portion::WHOLE.key() == 0 && keys.last().is_some_and(|key| *key < 1 << 12));
    }
}
