//! Mistakes that published reproductions of the paper make (E1 to E18), and some that are easy to make here (M1 to M8).
//!
//! In a development build, the environment variable `NORMSCAPE_MUTANT` names one mistake, and the program makes it. A test must find each;
//! `cargo xtask mutants` checks this with the programs that `cargo xtask test` builds, and lists the results. In a release, [`made`] is
//! always false and no mistake is compiled.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The landscape is measured on models that were trained on, not at θ − s·g.
    E1,
    /// The gradient's change is measured across different batches.
    E2,
    /// β is not divided by the distance.
    E3,
    /// β comes from the change of the gradient's norm.
    E4,
    /// One layer's gradient is used for the whole gradient.
    E5,
    /// The probe's gradient is accumulated onto the base gradient.
    E6,
    /// The gradients are added, not subtracted.
    E7,
    /// Momentum is on by default, so the update is not along the gradient.
    E8,
    /// Probes change the running statistics.
    E9,
    /// Augmentation is on by default.
    E10,
    /// The lowest and highest values are taken over all steps together.
    E11,
    /// Noise is drawn once per unit, not once per sample.
    E12,
    /// Covariate shift is measured on activations in evaluation mode, not on gradients.
    E13,
    /// Only the weights are copied into the network at θ_{t+1}.
    E14,
    /// The network's description does not say where norms are.
    E15,
    /// The backward pass treats the moments as constants.
    E16,
    /// The default takes far fewer steps, and nothing says so.
    E17,
    /// Results are stored with six decimals.
    E18,
    /// BatchNorm's backward pass uses σ where it needs S.
    M1,
    /// The ℓp norm's scale s is not differentiated.
    M2,
    /// Noise is drawn again for θ_s.
    M3,
    /// The landscape uses running statistics.
    M4,
    /// G' is computed with every layer at θ_{t+1}.
    M5,
    /// The forward pass divides by the unbiased variance.
    M6,
    /// The theorems use the gradient of L at y where they need it at z.
    M7,
    /// One draw is used for several.
    M8,
}

/// Whether to make this mistake.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn made(_: Mutant) -> bool {
    false
}

/// Whether to make this mistake.
#[cfg(debug_assertions)]
pub fn made(mistake: Mutant) -> bool {
    use Mutant::*;
    const ALL: [Mutant; 26] = [
        E1, E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13, E14, E15, E16, E17, E18, M1, M2, M3, M4, M5, M6, M7, M8,
    ];
    // This is asked for single values of arrays: the variable is read once, and what is compared is no text.
    static NAMED: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    let read = || {
        let name = std::env::var("NORMSCAPE_MUTANT").ok()?;
        ALL.into_iter().find(|one| format!("{one:?}") == name)
    };
    *NAMED.get_or_init(read) == Some(mistake)
}
