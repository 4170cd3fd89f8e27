//! Random numbers from a seed: splitmix64.

pub struct Random(u64);

impl Random {
    /// The numbers for `seed` and a place in the campaign. Every trial has its own, whichever worker runs it.
    pub fn new(seed: u64, place: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of `things`, each with the probability of its weight.
    pub fn weighted<'a, T>(&mut self, things: &'a [(u64, T)]) -> &'a T {
        let mut left = self.below(things.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in things {
            if left < *weight {
                return thing;
            }
            left -= weight;
        }
        &things[0].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_and_places_differ() {
        let mut counts = [0; 3];
        let mut random = Random::new(1, 2);
        (0..10_000).for_each(|_| counts[*random.weighted(&[(1, 0), (0, 1), (3, 2)])] += 1);
        assert!((2300..2700).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_ne!(Random::new(1, 2).next(), Random::new(1, 3).next());
    }
}
