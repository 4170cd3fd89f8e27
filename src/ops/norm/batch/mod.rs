//! Norms over the batch: a channel's statistics are taken over all samples and pixels, `m = H·W·N` of them.
//!
//! With μ the mean, D is either `S = √(σ² + ε)` (BatchNorm; σ² is the biased variance) or `s + ε` with the power mean `s = (1/m Σ|x|ᵖ)^(1/p)`, which
//! at p = ∞ is `max|x|`, taken *before* the shift (the ℓp norms of section 3.3):
//!
//! ```text
//! u = (x − μ)/D      y = γ u + β      (then the noise, then max(y, 0) with relu)
//! dβ = Σ dy      dγ = Σ dy·u      dx = γ/D (dy − dβ/m − r dγ/m)      r = m ∂D/∂x
//! ```
//!
//! r is u for BatchNorm and `sign(x)(|x|/s)^(p−1)` for an ℓp norm. At p = ∞, r is m/k sign(x) at the k elements of largest |x| (they share it
//! equally, as in PyTorch's `amax` and `norm`) and 0 elsewhere. r is 0 where s = 0, and sign(0) = 0. All of this is exact for every ε ≥ 0 (the
//! paper's Fact C.1 is the case ε = 0). With relu, dy counts only where y > 0. For a p that is not a small whole number, s is computed as
//! `M (mean (|x|/M)ᵖ)^(1/p)` with `M` near `max|x|`, so that no power overflows. Where s is so small that its type cannot hold 1/s, all of this still
//! holds to rounding.
//!
//! Where ẋ, γ̇, β̇ and ḋy are the tangents of x, γ, β and dy,
//!
//! ```text
//! μ̇ = mean ẋ      Ḋ = mean r ẋ      u̇ = (ẋ − μ̇ − u Ḋ)/D      ẏ = γ̇ u + γ u̇ + β̇
//! ḋβ = Σ ḋy      ḋγ = Σ (ḋy u + dy u̇)
//! ḋx = (γ̇/D − γḊ/D²)(dy − dβ/m − r dγ/m) + γ/D (ḋy − ḋβ/m − r ḋγ/m − ṙ dγ/m)
//! ```
//!
//! where ṙ is u̇ for BatchNorm and `(p−1)((|x|/s)^(p−2) ẋ − r ṡ)/s` for an ℓp norm, which is 0 at p = 1 and ∞. ReLU and |x| contribute no curvature
//! of their own: at their kinks the conventions of the gradients hold.
//!
//! With noise, y is `s_ij (γ u + β) + m_ij` ([`crate::ops::noise`]), so `s_ij dy` takes the place of dy above.
//!
//! Source: Ioffe and Szegedy 2015; the paper's section 2, section 3.3, Algorithm 1 and Appendix C. That each unit has a power mean of its own, and
//! that ε is added to s, is this project's reading of section 3.3.

mod constants;
pub(super) mod cpu;
pub(super) mod cpu_tangent;
pub(super) mod cuda;
mod cuda_tangent;
mod faint;
mod power;
mod powers;
pub mod std;
