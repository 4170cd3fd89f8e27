//! The length of each layer's weights, and how the loss depends on it.
//!
//! For the weights W of a layer and G = ∇_W L, the probe measures ‖W‖, ‖G‖, ⟨W, G⟩, and the effective rate η/‖W‖² at which a step turns W.
//! If a norm follows that makes the loss independent of W's length (BatchNorm and its kin, up to ε), then ⟨W, G⟩ = d L(cW)/dc at c = 1 is 0
//! (van Laarhoven 2017). With weight normalisation, W are the direction vectors; the loss is independent of their length by construction.

use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row, layers_of};
use crate::Result;
use crate::files::Arrays;
use crate::network::{Engine, WeightedLayer};
use crate::ops::backend::Backend;
use crate::runtime::tensor::{DType, In, Out, Shape, View};

/// The products that are computed for each layer: ⟨W, W⟩, ⟨G, G⟩ and ⟨W, G⟩.
const PRODUCTS: usize = 3;

/// The scale as a probe.
pub struct Measured {
    layers: Vec<WeightedLayer>,
    lr: f64,
    /// f64 `[layers, PRODUCTS]`
    products: View,
}

impl Kind for Measured {
    const ROW: Row = Row {
        probes: &[Probe {
            name: "scale",
            arrays: &[
                ("weight_norm", Entry::Layers),
                ("grad_norm", Entry::Layers),
                ("along", Entry::Layers),
                ("effective_rate", Entry::Layers),
            ],
        }],
        vectors: |_| 0,
        tangents: false,
        units: false,
        fits: |_| true,
        work: |of| 0.01 * of.step,
        order: Order::Any,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        let layers = engine.network().weighted_layers();
        let mut plan = engine.backend().plan();
        let products = plan.view(Shape::new([layers.len(), PRODUCTS]), DType::F64);
        engine.backend().commit(&plan)?;
        Ok(Measured { layers, lr: options.lr, products })
    }
}

impl<B: Backend> Measurement<B> for Measured {
    fn fixed(&self, _: &str) -> Arrays {
        layers_of(&self.layers)
    }

    fn shape(&self, _: Entry) -> Vec<usize> {
        vec![self.layers.len()]
    }

    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
        for (i, layer) in self.layers.iter().enumerate() {
            let part = |whole: In| In(whole.0.slice(layer.weight.start, Shape::new([layer.weight.len()])));
            let (w, g) = (part(at.theta), part(at.grad));
            for (which, (a, b)) in [(w, w), (g, g), (w, g)].into_iter().enumerate() {
                let to = self.products.slice(PRODUCTS * i + which, Shape::new([1]));
                engine.backend().dot(a, b, Out(to))?;
            }
        }
        Ok(())
    }

    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
        if !loss.is_finite() {
            return Ok(Found::one(Vec::new(), vec![("effective_rate_max", Some(f64::NAN))]));
        }
        let products = engine.read(self.products)?;
        let of = |value: &dyn Fn(&[f64]) -> f64| products.chunks_exact(PRODUCTS).map(value).collect::<Vec<_>>();
        let rates = of(&|of| self.lr / of[0]);
        let most = rates.iter().copied().fold(f64::NAN, f64::max);
        let entries = vec![of(&|of| of[0].sqrt()), of(&|of| of[1].sqrt()), of(&|of| of[2]), rates];
        Ok(Found::one(entries, vec![("effective_rate_max", Some(most))]))
    }
}
