//! Mistakes that published reproductions of the paper make (E1 to E18), and some that are easily made here (M1 to M8).
//!
//! With the feature `mutants` the environment variable `NORMSCAPE_MUTANT` names one, and the program makes it: each must be found by a
//! test, which `cargo xtask mutants` checks and lists. Without the feature [`made`] is always false, and nothing of them is compiled.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The landscape is that of models trained on, not of θ − s·g.
    E1,
    /// The gradient's change is measured across different batches.
    E2,
    /// β is not divided by the distance.
    E3,
    /// β comes from the change of the gradient's norm.
    E4,
    /// One layer's gradient stands for all.
    E5,
    /// The probe's gradient is accumulated onto the base gradient.
    E6,
    /// A sum in place of the difference.
    E7,
    /// Momentum by default: the update is not along the gradient.
    E8,
    /// Probes move the running statistics.
    E9,
    /// Augmentation by default.
    E10,
    /// Lowest and highest over all steps together.
    E11,
    /// One draw of noise a unit, none a sample.
    E12,
    /// Covariate shift of activations in evaluation mode, not of gradients.
    E13,
    /// The network at θ_{t+1} gets the weights alone.
    E14,
    /// The network's description does not say where norms are.
    E15,
    /// Moments are constants in backward.
    E16,
    /// Far fewer steps by default, and nothing says so.
    E17,
    /// Results with six decimals.
    E18,
    /// σ for S in BatchNorm's backward.
    M1,
    /// s of the ℓp norm is not differentiated.
    M2,
    /// Noise is drawn anew for θ_s.
    M3,
    /// The landscape uses running statistics.
    M4,
    /// G' has every layer at θ_{t+1}.
    M5,
    /// The forward pass divides by the unbiased variance.
    M6,
    /// The theorems take L's gradient at y where z is another.
    M7,
    /// One draw stands for several.
    M8,
}

/// Whether this mistake is to be made.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn made(_: Mutant) -> bool {
    false
}

/// Whether this mistake is to be made.
#[cfg(feature = "mutants")]
pub fn made(mistake: Mutant) -> bool {
    static NAMED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("NORMSCAPE_MUTANT").unwrap_or_default());
    *named == format!("{mistake:?}")
}
