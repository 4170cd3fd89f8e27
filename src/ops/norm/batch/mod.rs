//! Norms over the batch: a channel's statistics are taken over all samples and pixels, `m = H·W·N` of them.
//!
//! With μ the mean, and as D either `S = √(σ² + ε)` (BatchNorm; σ² the biased variance) or `s + ε` with the power mean
//! `s = (1/m Σ|x|ᵖ)^(1/p)`, at p = ∞ `max|x|`, taken *before* the shift (the ℓp norms of section 3.3):
//!
//! ```text
//! u = (x − μ)/D      y = γ u + β      (then the noise, then max(y, 0) with relu)
//! dβ = Σ dy      dγ = Σ dy·u      dx = γ/D (dy − dβ/m − r dγ/m)      r = m ∂D/∂x
//! ```
//!
//! with r = u for BatchNorm and `sign(x)(|x|/s)^(p−1)` for an ℓp norm; at p = ∞ r is m/k sign(x) at the k elements of largest |x| (as
//! PyTorch's `amax` and `norm` share it) and 0 elsewhere. r is 0 where s = 0, and sign(0) = 0. All of it is exact for every ε ≥ 0 (the paper's
//! Fact C.1 is ε = 0). With relu, dy counts only where y > 0. For a p that is not small and whole, s is `M (mean (|x|/M)ᵖ)^(1/p)` with
//! `M` near `max|x|`, so that no power overflows; where s is so small that its type cannot hold 1/s, all of this holds to rounding too.
//!
//! Where x moves by ẋ, γ by γ̇, β by β̇, and dy by ḋy,
//!
//! ```text
//! μ̇ = mean ẋ      Ḋ = mean r ẋ      u̇ = (ẋ − μ̇ − u Ḋ)/D      ẏ = γ̇ u + γ u̇ + β̇
//! ḋβ = Σ ḋy      ḋγ = Σ (ḋy u + dy u̇)
//! ḋx = (γ̇/D − γḊ/D²)(dy − dβ/m − r dγ/m) + γ/D (ḋy − ḋβ/m − r ḋγ/m − ṙ dγ/m)
//! ```
//!
//! with ṙ = u̇ for BatchNorm and `(p−1)((|x|/s)^(p−2) ẋ − r ṡ)/s` for an ℓp norm, 0 at p = 1 and ∞. ReLU and |x| have no curvature of
//! their own: at their kinks the conventions of the gradients hold.
//!
//! Noise: y is `s_ij (γ u + β) + m_ij` ([`crate::ops::noise`]), so dy enters above as `s_ij dy`.
//!
//! Source: Ioffe and Szegedy 2015; the paper's section 2, section 3.3, Algorithm 1 and Appendix C. A power mean per unit, and ε added to s, are this
//! project's reading of section 3.3.

mod constants;
pub(super) mod cpu;
pub(super) mod cpu_tangent;
pub(super) mod cuda;
mod cuda_tangent;
mod cuda_wide;
mod faint;
mod power;
mod powers;
pub mod std;
