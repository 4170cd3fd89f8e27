//! Random numbers as pure functions: Philox4x32-10, and the laws drawn from its words.
//!
//! Nothing here has state. A draw is a function of (seed, purpose, layer, step, indices). So a probe cannot disturb training, a resumed run draws
//! what the uninterrupted run drew, and every device draws the same bits. The laws use only integer operations and the correctly rounded f32
//! operations `+ − × fma sqrt`, which a CUDA kernel can repeat exactly. They use no `log` and no division, since those differ between mathematics
//! libraries.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

/// What a draw is for. It is the highest byte of the counter, so no two purposes ever share a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Initial weights; `layer` is the slot's position among the parameters.
    Init = 1,
    /// Algorithm 1's noise of a unit: μ_j, σ_j.
    NoiseUnit = 2,
    /// Algorithm 1's noise of a sample: m_ij, s_ij.
    NoiseSample = 3,
    /// The order of the images in an epoch.
    Order = 4,
    /// Crop and flip of an image in an epoch.
    Augment = 5,
    /// Generated data sets.
    Data = 6,
    /// A probe's random directions.
    Direction = 7,
    /// The random inputs of tests and benchmarks.
    Case = 8,
    /// The units that a probe looks at.
    Unit = 9,
    /// The random instances for the paper's statements.
    Theory = 10,
}

/// The multipliers and Weyl constants of Philox4x32.
const M: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const W: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: four random words for a counter and a key.
#[inline(always)]
pub fn philox4x32(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = u64::from(M[0]) * u64::from(c[0]);
        let p1 = u64::from(M[1]) * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(W[0]), key[1].wrapping_add(W[1])];
    }
    c
}

/// The key for a seed.
#[inline(always)]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The highest word of a counter: the purpose of the draw, and the layer (24 bits).
#[inline(always)]
pub fn domain(purpose: Purpose, layer: u32) -> u32 {
    (purpose as u32) << 24 | (layer & 0x00FF_FFFF)
}

/// The four words at (`seed`, `purpose`, `layer`, `step`, `i`, `j`). `layer` has 24 bits.
///
/// For noise, `i` is the sample and `j` the unit (or a pair of units); elsewhere, `i` and `j` are the low and high halves of an index.
#[inline(always)]
pub fn draw(seed: u64, purpose: Purpose, layer: u32, step: u32, i: u32, j: u32) -> [u32; 4] {
    philox4x32([i, j, step, domain(purpose, layer)], key(seed))
}

/// The word at position `index` of the sequence (`seed`, `purpose`, `layer`, `step`).
#[inline]
pub fn word(seed: u64, purpose: Purpose, layer: u32, step: u32, index: u64) -> u32 {
    let block = index / 4;
    draw(seed, purpose, layer, step, block as u32, (block >> 32) as u32)[(index % 4) as usize]
}

/// Runs [`philox4x32`] on `N` counters side by side: `c[k][lane]` is word k of counter `lane`, in the argument and in the result.
#[inline(always)] // so that the lanes become registers of whatever instruction set the caller is compiled for
pub fn philox_lanes<const N: usize>(c: [[u32; N]; 4], mut key: [u32; 2]) -> [[u32; N]; 4] {
    // Words stand in the low halves of 64-bit lanes, where products are made; what is in the high halves does not count. Loops in place of `map`: that
    // is not always inlined, and is then compiled for another instruction set than the caller.
    let [mut c0, mut c1, mut c2, mut c3] = [[0u64; N]; 4];
    for (wide, words) in [&mut c0, &mut c1, &mut c2, &mut c3].into_iter().zip(&c) {
        for (to, &word) in wide.iter_mut().zip(words) {
            *to = u64::from(word);
        }
    }
    for _ in 0..10 {
        let (k0, k1) = (u64::from(key[0]), u64::from(key[1]));
        for (((a, b), c), d) in c0.iter_mut().zip(&mut c1).zip(&mut c2).zip(&mut c3) {
            let (p0, p1) = (u64::from(M[0]) * u64::from(*a as u32), u64::from(M[1]) * u64::from(*c as u32));
            (*a, *b) = (p1 >> 32 ^ *b ^ k0, p1);
            (*c, *d) = (p0 >> 32 ^ *d ^ k1, p0);
        }
        key = [key[0].wrapping_add(W[0]), key[1].wrapping_add(W[1])];
    }
    let mut out = [[0; N]; 4];
    for (to, wide) in out.iter_mut().zip([&c0, &c1, &c2, &c3]) {
        for (to, &word) in to.iter_mut().zip(wide) {
            *to = word as u32;
        }
    }
    out
}

/// The number of words that [`words`] makes at once: 16 blocks of the generator side by side.
pub const WORDS: usize = 64;

/// The words at positions `first..first + 64` of a sequence, the same as [`word`] gives one by one; `first` must be a multiple of 4.
#[inline(always)]
pub fn words(seed: u64, purpose: Purpose, layer: u32, step: u32, first: u64) -> [u32; WORDS] {
    const LANES: usize = WORDS / 4;
    let block = |lane: usize| first / 4 + lane as u64;
    let (mut low, mut high) = ([0; LANES], [0; LANES]);
    for (lane, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
        (*low, *high) = (block(lane) as u32, (block(lane) >> 32) as u32);
    }
    let c = philox_lanes([low, high, [step; LANES], [domain(purpose, layer); LANES]], key(seed));
    let mut words = [0; WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = c[at % 4][at / 4];
    }
    words
}

/// A uniform number in [0, 1) from a word: its upper 24 bits, so that every value is exact in f32.
#[inline(always)]
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A uniform number in [lo, lo + width) from a word, with one rounding.
#[inline(always)]
pub fn uniform_in(word: u32, lo: f32, width: f32) -> f32 {
    uniform(word).mul_add(width, lo)
}

/// ln(t) for a positive, normal f32, to 3e-8 relative in the mantissa part of `t`; a minimax polynomial of degree 8.
#[inline(always)]
fn ln(t: f32) -> f32 {
    // Exponent such that the mantissa lies in [√½, √2): there ln has no large cancelling parts.
    let shifted = t.to_bits().wrapping_sub(0x3F35_04F3);
    let exponent = (shifted as i32) >> 23;
    let f = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(0x3F35_04F3)) - 1.0;
    let mut p = 0.087_222_435_f32;
    p = p.mul_add(f, -0.143_667_88);
    p = p.mul_add(f, 0.149_522_83);
    p = p.mul_add(f, -0.165_624_02);
    p = p.mul_add(f, 0.199_568_33);
    p = p.mul_add(f, -0.250_020_74);
    p = p.mul_add(f, 0.333_341_87);
    p = p.mul_add(f, -0.499_999_88);
    p = p.mul_add(f, 1.0);
    (exponent as f32).mul_add(std::f32::consts::LN_2, p * f)
}

/// A standard normal number from a word, by the inverse of its distribution function; |z| ≤ 6.4.
///
/// The upper bit is the sign; the other 31 bits are the probability `a` of a value further out, so the tail is resolved as finely as the centre. With
/// `w = −ln(a (2 − a))`, z / (1 − a) is smooth in `w` (below 5) and in `√w` (above). The form is Giles's ("Approximating the erfinv function", 2012);
/// the two polynomials are this project's minimax fits, with relative errors of 1e-7 and 4e-7.
#[inline(always)]
pub fn normal(word: u32) -> f32 {
    // Between 2⁻³² and 1: odd multiples of 2⁻³², rounded to f32.
    let a = ((word << 1) | 1) as f32 * (1.0 / 4_294_967_296.0);
    let w = -ln(a * (2.0 - a));
    let x = w - 2.5;
    let mut centre = 4.035_428_7e-8_f32;
    centre = centre.mul_add(x, 4.861_035e-7);
    centre = centre.mul_add(x, -4.990_561e-6);
    centre = centre.mul_add(x, -6.217_988e-6);
    centre = centre.mul_add(x, 3.091_502e-4);
    centre = centre.mul_add(x, -1.773_010_1e-3);
    centre = centre.mul_add(x, -5.908_171e-3);
    centre = centre.mul_add(x, 0.348_802_66);
    centre = centre.mul_add(x, 2.123_313_7);
    // `w` can round to a hair below 0 where a is 1; the tail is not taken there, but its root must be a number.
    let y = w.max(0.0).sqrt() - 3.473_878;
    let mut tail = -2.395_297_2e-4_f32;
    tail = tail.mul_add(y, 8.423_084_5e-4);
    tail = tail.mul_add(y, -1.225_207_5e-3);
    tail = tail.mul_add(y, 1.563_300_3e-3);
    tail = tail.mul_add(y, -3.005_158_2e-3);
    tail = tail.mul_add(y, 4.898_663_6e-3);
    tail = tail.mul_add(y, 1.424_376_4);
    tail = tail.mul_add(y, 4.679_876_3);
    let z = (if w < 5.0 { centre } else { tail }) * (1.0 - a);
    f32::from_bits(z.to_bits() ^ (word & 0x8000_0000))
}

/// The image at `position` in the order of epoch `epoch`, out of `n` images: a bijection of 0..n for each (seed, epoch).
///
/// It is a Feistel network over the next power of four, applied until the result is below n. As a pure function it lets a kernel gather its own
/// batch, and a run be resumed anywhere, without a stored permutation.
pub fn shuffled(seed: u64, epoch: u32, position: u32, n: u32) -> u32 {
    let half_bits = (32 - n.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u32 << half_bits) - 1;
    let mut v = u64::from(position);
    loop {
        let (mut left, mut right) = ((v >> half_bits) as u32 & mask, v as u32 & mask);
        for round in 0..7 {
            // The round stands where other draws have the layer: each round has a function of its own.
            let f = draw(seed, Purpose::Order, round, epoch, right, 0)[0];
            (left, right) = (right, left ^ (f & mask));
        }
        v = u64::from(left) << half_bits | u64::from(right);
        if v < u64::from(n) {
            return v as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_random123s_known_answers() {
        let ones = [u32::MAX; 4];
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32(ones, [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(philox4x32(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn words_side_by_side_are_the_words_one_by_one() {
        for first in [0, 4, 1 << 20, (1 << 34) - 8] {
            let many = words(77, Purpose::Direction, 5, 9, first);
            let one = |at: usize| word(77, Purpose::Direction, 5, 9, first + at as u64);
            assert_eq!(many, std::array::from_fn(one), "from {first}");
        }
    }

    #[test]
    fn the_logarithm_is_accurate_over_every_exponent() {
        for i in 0..200_000u32 {
            let t = f32::from_bits(0x0080_0000 + i * 5_000); // to 1e38
            let exact = f64::from(t).ln();
            assert!((f64::from(ln(t)) - exact).abs() <= 2e-7 * exact.abs().max(1.0), "ln {t}");
        }
    }

    #[test]
    fn normals_have_the_normal_law() {
        // Moments over a million draws; bounds are five standard errors.
        let n = 1_000_000u32;
        let (mut s1, mut s2, mut s3, mut s4) = (0.0, 0.0, 0.0, 0.0);
        for i in 0..n / 4 {
            for word in draw(7, Purpose::Case, 0, 0, i, 0) {
                let z = f64::from(normal(word));
                s1 += z;
                s2 += z * z;
                s3 += z * z * z;
                s4 += z * z * z * z;
            }
        }
        let n = f64::from(n);
        assert!((s1 / n).abs() < 5.0 / n.sqrt());
        assert!((s2 / n - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
        assert!((s3 / n).abs() < 5.0 * (15.0 / n).sqrt());
        assert!((s4 / n - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
    }

    #[test]
    fn normals_are_the_quantiles_of_their_words() {
        // Φ⁻¹(1 − (2w + 1)/2³³) by a 40-digit computation.
        let exact = [
            (0, 6.337957755),
            (1, 6.166429518),
            (100, 5.463062554),
            (2147, 4.891636977),
            (1000000, 3.499768989),
            (100000000, 1.990225241),
            (536870912, 1.150349380),
            (1000000000, 0.729556553),
            (2000000000, 0.086180949),
        ];
        for (word, z) in exact {
            assert!((f64::from(normal(word)) - z).abs() < 2e-6 * (1.0 + z), "{word}: {} for {z}", normal(word));
            assert_eq!(normal(word | 0x8000_0000), -normal(word));
        }
        assert!(normal(0) > 6.3 && normal(0) < 6.4);
        assert!(normal(0x7FFF_FFFF) >= 0.0 && normal(0x7FFF_FFFF) < 1e-6);
    }

    #[test]
    fn an_epochs_order_is_a_permutation_that_differs_by_epoch_and_seed() {
        for n in [1, 2, 3, 10, 100, 1_000, 50_000] {
            let mut seen = vec![false; n as usize];
            for i in 0..n {
                let at = shuffled(3, 5, i, n) as usize;
                assert!(!std::mem::replace(&mut seen[at], true), "{n}: image {at} twice");
            }
        }
        let order = |seed, epoch| (0..1_000).map(|i| shuffled(seed, epoch, i, 1_000)).collect::<Vec<_>>();
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        // Fixed points of a random permutation: 1 in the mean.
        let fixed: usize =
            (0..200).map(|e| order(9, e).iter().enumerate().filter(|&(i, &v)| i as u32 == v).count()).sum();
        assert!((150..=250).contains(&fixed), "{fixed} fixed points in 200 orders");
    }
}
