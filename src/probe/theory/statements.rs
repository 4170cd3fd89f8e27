//! Both sides of the statements, in f64, computed from one unit's vectors and its products with H and Ĥ.

use crate::probe::measure::Entry;

/// One unit on one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The norm's input.
    pub y: Vec<f64>,
    /// ∂L/∂z
    pub g: Vec<f64>,
    /// ∂L̂/∂y; for an inserted norm with γ = 1.
    pub v: Vec<f64>,
    /// γ; `None` for an inserted norm, where it is S.
    pub gamma: Option<f64>,
    /// ε
    pub eps: f64,
}

/// Products with the second derivatives. v is that of [`Unit`], and u = ŷ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Products {
    /// vᵀĤv; for an inserted norm u̇ᵀHu̇, where u̇ is the change of ŷ as y moves along v.
    pub hat: f64,
    /// vᵀHv
    pub v_h_v: f64,
    /// ŷᵀHv
    pub u_h_v: f64,
    /// ŷᵀHŷ
    pub u_h_u: f64,
    /// gᵀHg
    pub g_h_g: f64,
    /// For an inserted norm: gᵀŷ̈, where ŷ̈ is the second derivative of ŷ, both times along v.
    pub normed: f64,
}

/// Both sides of the statements for one unit, and the quantities in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statements {
    /// Fact C.1: ‖v‖; the length of `(γ/S)(g − μ_g − ŷ a/m)`; and the length of the difference of the two vectors.
    pub fact_c1: [f64; 3],
    /// Theorem 4.1: ‖v‖²; `f (‖g‖² − m μ_g² − (2−ρ) a²/m)`, which equals it; and the printed bound, without `2−ρ`.
    pub theorem_4_1: [f64; 3],
    /// Theorem 4.2: vᵀĤv; the expression that equals it; and the printed bound, `f vᵀHv − γ/(m S²) a ‖v‖²`.
    pub theorem_4_2: [f64; 3],
    /// The second form of Theorem 4.2: vᵀĤv; and `f (gᵀHg − a‖v‖²/(mγ))`.
    pub second_form: [f64; 2],
    /// γ/S with S = √(σ² + ε). The paper says of it: "σ_j tends to be large".
    pub gain: f64,
    /// m μ_g²/‖g‖². The paper says of it: "significant".
    pub mean_share: f64,
    /// a²/(m‖g‖²)
    pub along_share: f64,
    /// a = ⟨g, ŷ⟩. The paper says of it: "away from 0".
    pub along: f64,
    /// vᵀHv
    pub v_h_v: f64,
    /// gᵀHg
    pub g_h_g: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// ŷ and S.
fn normed(y: &[f64], eps: f64) -> (Vec<f64>, f64) {
    let m = y.len() as f64;
    let mean = y.iter().sum::<f64>() / m;
    let s = (y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / m + eps).sqrt();
    (y.iter().map(|y| (y - mean) / s).collect(), s)
}

impl Statements {
    /// The names of [`Statements::values`] in files: `STATEMENT.left`, `STATEMENT.right`, and the other quantities.
    pub const ARRAYS: &'static [(&'static str, Entry)] = &[
        ("fact_c1.left", Entry::Units),
        ("fact_c1.right", Entry::Units),
        ("fact_c1.residual", Entry::Units),
        ("theorem_4_1.left", Entry::Units),
        ("theorem_4_1.right", Entry::Units),
        ("theorem_4_1.printed", Entry::Units),
        ("theorem_4_2.left", Entry::Units),
        ("theorem_4_2.right", Entry::Units),
        ("theorem_4_2.printed", Entry::Units),
        ("theorem_4_2_second_form.left", Entry::Units),
        ("theorem_4_2_second_form.right", Entry::Units),
        ("gain", Entry::Units),
        ("mean_share", Entry::Units),
        ("along_share", Entry::Units),
        ("along", Entry::Units),
        ("v_h_v", Entry::Units),
        ("g_h_g", Entry::Units),
    ];

    /// All numbers, in the order of [`Statements::ARRAYS`].
    pub fn values(&self) -> [f64; 17] {
        let Statements {
            fact_c1: [a, b, c], theorem_4_1: [d, e, f], theorem_4_2: [g, h, i], second_form: [j, k], ..
        } = *self;
        let Statements { gain, mean_share, along_share, along, v_h_v, g_h_g, .. } = *self;
        [a, b, c, d, e, f, g, h, i, j, k, gain, mean_share, along_share, along, v_h_v, g_h_g]
    }

    /// The statements for a hypothetical norm after a layer, with γ = S. v and its products are given for γ = 1, and are scaled.
    pub fn of_inserted(mut unit: Unit, products: Products) -> Statements {
        let (_, s) = normed(&unit.y, unit.eps);
        unit.v.iter_mut().for_each(|v| *v *= s);
        unit.gamma = Some(s);
        // y moves along v, S times as far; z by γ = S times what ŷ does.
        let hat = s.powi(4) * products.hat + s.powi(3) * products.normed;
        let products =
            Products { hat, v_h_v: s * s * products.v_h_v, u_h_v: s * products.u_h_v, normed: 0.0, ..products };
        Statements::of_own(unit, products)
    }

    /// The statements for a network's own norm.
    pub fn of_own(unit: Unit, products: Products) -> Statements {
        let Unit { y, g, v, gamma, eps } = unit;
        let (m, gamma) = (y.len() as f64, gamma.unwrap_or(1.0));
        let (u, s) = normed(&y, eps);
        let (f, rho) = (gamma * gamma / (s * s), dot(&u, &u) / m);
        let (mean, along) = (g.iter().sum::<f64>() / m, dot(&g, &u));
        let (g_g, v_v) = (dot(&g, &g), dot(&v, &v));
        let said: Vec<f64> = g.iter().zip(&u).map(|(g, u)| gamma / s * (g - mean - u * along / m)).collect();
        let apart: Vec<f64> = v.iter().zip(&said).map(|(v, said)| v - said).collect();
        // ⟨g̃, v⟩, d = ⟨v, ŷ⟩ and w = v − ŷ d/m of the form for ε > 0.
        let centred = dot(&g, &v) - mean * v.iter().sum::<f64>();
        let d = dot(&v, &u);
        let w_h_w = products.v_h_v - 2.0 * d / m * products.u_h_v + d * d / (m * m) * products.u_h_u;
        let curve = gamma / (m * s * s);
        let is = f * w_h_w - curve * (2.0 * centred * d + along * (v_v - 3.0 * d * d / m));
        Statements {
            fact_c1: [v_v.sqrt(), dot(&said, &said).sqrt(), dot(&apart, &apart).sqrt()],
            theorem_4_1: [
                v_v,
                f * (g_g - m * mean * mean - (2.0 - rho) * along * along / m),
                f * (g_g - m * mean * mean - along * along / m),
            ],
            theorem_4_2: [products.hat, is, f * products.v_h_v - curve * along * v_v],
            second_form: [products.hat, f * (products.g_h_g - along * v_v / (m * gamma))],
            gain: gamma / s,
            mean_share: m * mean * mean / g_g,
            along_share: along * along / (m * g_g),
            along,
            v_h_v: products.v_h_v,
            g_h_g: products.g_h_g,
        }
    }
}
