//! Figures like the paper's, for tests and for visual inspection.

use super::*;
use std::f64::consts::TAU;

/// Numbers from -1 to 1 that look like noise and are the same each time.
fn noise(i: usize, salt: usize) -> f64 {
    let hash =
        (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (salt as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((hash >> 11) as f64 / (1u64 << 53) as f64) * 2.0 - 1.0
}

/// Figure 4: lines and bands in three panels.
pub fn lines() -> Figure {
    let steps = || (0..300).map(|i| (i, 50.0 * i as f64));
    let loss = |style: usize| {
        let rate = [4e-4, 1.2e-3][style];
        steps().map(move |(i, x)| (x, 0.05 + 2.2 * (-rate * x).exp() * (1.0 + 0.12 * noise(i, style)))).collect()
    };
    let band = |style: usize, scale: f64, wide: f64| {
        let at = move |(i, x): (usize, f64)| {
            let middle = scale * (0.1 + (-x / 4000.0).exp());
            (x, middle * (0.8 + 0.1 * noise(i, style)), middle * wide * (1.2 + 0.3 * noise(i, style + 9)))
        };
        steps().map(at).collect::<Vec<_>>()
    };
    let beta = |style: usize, scale: f64| {
        let at = move |(i, x): (usize, f64)| (x, scale * (1.0 + x / 5000.0) * (0.6 * noise(i, style + 5)).exp());
        steps().map(at).collect::<Vec<_>>()
    };
    let panel = |title: &str, y: Axis, series| Panel { title: title.into(), x: Axis::linear("step"), y, series };
    Figure {
        title: "Figure 4: the loss landscape along the gradient, VGG".into(),
        subtitle: "15,000 steps, learning rate 0.1, batch 128; step lengths from 1/2 to 4 times the learning rate".into(),
        notes: vec![
            "One seed. The training set is CIFAR-10's first 10,000 images, a fifth of the paper's: losses late in training are lower than they would be on all of it, and the bands are narrower.".into(),
            "θ − s·g for eight s, evenly spaced in log s; ‖∇L(θ − s·g) − g‖₂, and β as the highest of ‖∇L(θ_s) − g‖₂ / (s‖g‖₂).".into(),
        ],
        panels: vec![
            panel("training loss", Axis::log("loss"), vec![
                Series::line("standard", 0, loss(0)),
                Series::line("BatchNorm", 1, loss(1)),
            ]),
            panel("loss along the gradient", Axis::log("loss at θ − s·g"), vec![
                Series::band("standard", 0, band(0, 2.0, 20.0)),
                Series::band("BatchNorm", 1, band(1, 1.0, 1.6)),
            ]),
            panel("effective β-smoothness", Axis::log("highest β"), vec![
                Series::line("standard", 0, beta(0, 40.0)),
                Series::line("BatchNorm", 1, beta(1, 3.0)),
            ]),
        ],
        columns: Some(3),
    }
}

/// The distributions of a layer over training.
fn distributions(n: usize, drift: f64, widen: f64, salt: usize) -> Vec<Ridge> {
    let edges: Vec<f64> = (0..=80).map(|i| -8.0 + 0.2 * f64::from(i)).collect();
    let at = |i: usize| {
        let t = i as f64 / (n - 1) as f64;
        let (mean, spread) = (drift * t + 0.1 * noise(i, salt), 0.5 + widen * t + 0.08 * noise(i, salt + 1));
        let density = |ends: &[f64]| {
            let x = 0.5 * (ends[0] + ends[1]);
            let bell = |m: f64, s: f64| (-0.5 * ((x - m) / s).powi(2)).exp() / (s * TAU.sqrt());
            0.8 * bell(mean, spread) + 0.2 * bell(mean + 1.5 * widen * t, 0.6 * spread)
        };
        Ridge {
            at: (15_000 * i / (n - 1)) as f64,
            density: edges.windows(2).map(density).collect(),
            edges: edges.clone(),
        }
    };
    (0..n).map(at).collect()
}

/// Figure 2: ridges in two rows of three panels.
pub fn ridges() -> Figure {
    let mut panels = Vec::new();
    for (variant, name) in ["standard", "BatchNorm"].into_iter().enumerate() {
        for (depth, layer) in [3, 7, 11].into_iter().enumerate() {
            let (drift, widen) = ([-1.0, 0.4][variant] * (1.0 + depth as f64), [1.2, 0.5][variant]);
            panels.push(Panel {
                title: format!("layer {layer}"),
                x: Axis::linear("activation"),
                y: Axis::linear("step"),
                series: vec![Series::ridge(name, variant, distributions(25, drift, widen, 10 * variant + depth))],
            });
        }
    }
    Figure {
        title: "Figure 2: distributions of activations over training".into(),
        subtitle: "VGG, one random unit of each layer, over batch and image; each curve stands at its step".into(),
        notes: vec!["Heights are densities on one scale within a panel.".into()],
        panels,
        columns: Some(3),
    }
    .with_shared_y()
}

fn network(title: &str, layers: &[(&str, &str, usize)], every: usize, start: usize) -> Column {
    let block = |(i, (label, detail, style)): (usize, &(&str, &str, usize))| Block {
        row: if i == 0 { 0 } else { start + every * (i - 1) },
        label: (*label).into(),
        detail: (*detail).into(),
        style: *style,
    };
    Column { title: title.into(), boxes: layers.iter().enumerate().map(block).collect() }
}

/// Figure 5: three networks.
pub fn networks() -> Diagram {
    let plain = [
        ("input", "128×10", 4),
        ("linear 10×10", "128×10", 0),
        ("linear 10×10", "128×10", 0),
        ("… 21 more", "", 4),
        ("linear 10×10", "128×10", 0),
        ("squared error", "", 4),
    ];
    let mut normed = Vec::new();
    for layer in plain {
        normed.push(layer);
        if layer.0.starts_with("linear") {
            normed.push(("BatchNorm", "128×10", 1));
        }
    }
    let mut noisy = normed.clone();
    noisy.insert(3, ("noise", "128×10", 2));
    Diagram {
        title: "Figure 5: the networks".into(),
        subtitle: "Each box is a layer, beside it what it gives".into(),
        notes: vec!["Drawn from the tables that the networks are built from.".into()],
        columns: vec![
            network("deep linear network", &plain, 2, 1),
            network("with BatchNorm", &normed, 1, 1),
            network("with noisy BatchNorm", &noisy, 1, 1),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws every sample into files. If `NORMSCAPE_SAMPLES` names a folder, the files stay there for inspection.
    #[test]
    fn every_sample_is_drawn() {
        let own = tempfile::tempdir().unwrap();
        let folder =
            std::env::var_os("NORMSCAPE_SAMPLES").map_or_else(|| own.path().to_owned(), std::path::PathBuf::from);
        for (name, figure) in [("lines", lines()), ("ridges", ridges())] {
            assert_eq!(figure.write(&folder, name).unwrap().len(), 4, "{name}");
        }
        assert_eq!(networks().write(&folder, "networks").unwrap().len(), 4);
    }
}
