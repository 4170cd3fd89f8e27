//! An evaluated instance: all the quantities that the statements mention, at ε = 0 and at an ε > 0.

use super::dense::{Square, dot, moments, norm};
use super::instance::Instance;
use super::jet::Norm;
use crate::mutant::{Mutant, made};

/// An instance, and the quantities computed from it.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The instance.
    pub of: &'a Instance,
    /// λ, the bound on ‖X‖.
    pub lambda: f64,
    /// The quantities at ε = 0.
    pub exact: Point,
    /// The quantities at the instance's own ε > 0.
    pub own: Point,
}

impl<'a> Case<'a> {
    /// Evaluates an instance.
    pub fn new(of: &'a Instance, lambda: f64) -> Case<'a> {
        let eps = of.floor * moments(&of.y).1;
        Case { of, lambda, exact: Point::new(of, 0.0), own: Point::new(of, eps) }
    }
}

/// An instance at one ε. Vectors are `[m]`, matrices `[m, m]`. S = √(σ² + ε) takes the place of the paper's σ.
#[derive(Debug, Clone)]
pub struct Point {
    /// m
    pub m: f64,
    /// γ
    pub gamma: f64,
    /// S
    pub s: f64,
    /// σ²/S² = ‖ŷ‖²/m
    pub rho: f64,
    /// f = γ²/S²
    pub f: f64,
    /// ŷ
    pub u: Vec<f64>,
    /// z
    pub z: Vec<f64>,
    /// g = ∂L/∂z at z
    pub g: Vec<f64>,
    /// H = ∂²L/∂z² at z
    pub h: Square,
    /// v = ∂L̂/∂y, by differentiation
    pub v: Vec<f64>,
    /// Ĥ = ∂²L̂/∂y², by differentiation
    pub hat: Square,
    /// H v
    pub hv: Vec<f64>,
    /// μ_g, the mean of g
    pub mean_g: f64,
    /// a = ⟨g, ŷ⟩
    pub a: f64,
    /// ‖g‖²
    pub gg: f64,
    /// ‖v‖²
    pub vv: f64,
    /// gᵀHg
    pub ghg: f64,
    /// vᵀHv
    pub vhv: f64,
    /// vᵀĤv
    pub hat_v: f64,
    /// Whether there are two samples at ε = 0. Then v is 0, and residuals are absolute.
    pub two: bool,
}

impl Point {
    /// Evaluates the instance at this ε ≥ 0.
    pub fn new(of: &Instance, eps: f64) -> Point {
        let Instance { y, gamma, beta, loss, .. } = of;
        let m = y.len() as f64;
        let law = Norm { gamma: *gamma, beta: *beta, eps };
        let (mean, variance) = moments(y);
        let s = (variance + eps).sqrt();
        let u: Vec<f64> = y.iter().map(|y| (y - mean) / s).collect();
        let z: Vec<f64> = u.iter().map(|u| gamma * u + beta).collect();
        let (g, h) = (loss.gradient(&z), loss.hessian(&z));
        let (v, hat) = law.second(y, &g, &h);
        let (g, h) = if made(Mutant::M7) { (loss.gradient(y), loss.hessian(y)) } else { (g, h) };
        let hv = h.apply(&v);
        Point {
            m,
            gamma: *gamma,
            s,
            rho: variance / (s * s),
            f: gamma * gamma / (s * s),
            mean_g: g.iter().sum::<f64>() / m,
            a: dot(&g, &u),
            gg: dot(&g, &g),
            vv: dot(&v, &v),
            ghg: h.form(&g),
            vhv: dot(&v, &hv),
            hat_v: hat.form(&v),
            two: y.len() == 2 && eps == 0.0,
            u,
            z,
            g,
            h,
            v,
            hat,
            hv,
        }
    }

    /// `scale`, or 1 if residuals are absolute.
    pub fn scale(&self, scale: f64) -> f64 {
        if self.two { 1.0 } else { scale }
    }

    /// The scale of v: `|γ|/S ‖g‖`.
    pub fn first(&self) -> f64 {
        self.gamma.abs() / self.s * self.gg.sqrt()
    }

    /// The scale of Ĥ: `f ‖H‖ + |γ| ‖g‖/S²`, where ‖H‖ is the Frobenius norm.
    pub fn second(&self) -> f64 {
        self.f * self.h.norm() + self.gamma.abs() * self.gg.sqrt() / (self.s * self.s)
    }

    /// The scale of vᵀĤv: `f ‖g‖²` times that of Ĥ.
    pub fn third(&self) -> f64 {
        self.f * self.gg * self.second()
    }

    /// κ = a‖v‖²/(mγ), the separation in the second form of Theorem 4.2.
    pub fn kappa(&self) -> f64 {
        self.a * self.vv / (self.m * self.gamma)
    }

    /// Whether v is nothing but rounding error.
    pub fn vanishes(&self) -> bool {
        self.two || norm(&self.v) <= 1e-9 * self.first()
    }
}
