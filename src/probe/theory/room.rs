//! Which units of which layers are probed, and the memory for them.

use crate::network::layer::Layer;
use crate::network::{Engine, Tangents};
use crate::ops::backend::Backend;
use crate::ops::norm::{Axes, NormSpec};
use crate::runtime::tensor::{DType, Out, Shape, View};
use crate::{Error, Result};

/// The number of dot products per unit: the fields of [`Products`](super::statements::Products).
pub(super) const PRODUCTS: usize = 6;

/// A layer whose units are probed.
#[derive(Debug, Clone)]
pub(super) struct At {
    /// The layer's number in the paper, from 1.
    pub(super) number: usize,
    /// The link whose output is z.
    pub(super) link: usize,
    pub(super) units: Vec<usize>,
    /// A row for every probed unit, with 1 in its place and 0 elsewhere, `[units, C]`.
    pub(super) chosen: View,
    /// ∂L/∂z
    pub(super) grad: View,
    /// γ of the network's own norm, `[C]`, as of the time when the device is asked.
    pub(super) gamma: Option<View>,
    /// The hypothetical norm, where the network has none.
    pub(super) inserted: Option<Inserted>,
    /// f64 `[units, PRODUCTS]`
    pub(super) products: View,
}

/// What a BatchNorm after the layer would compute for γ = 1 and β = 0; other values only scale it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inserted {
    /// ∂L̂/∂y for ∂L/∂z = g
    pub(super) through: View,
    /// μ and σ², and below them dγ and dβ, `[C]` each.
    pub(super) statistics: [View; 2],
    pub(super) grads: [View; 2],
}

/// The probe's workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(super) tangents: Tangents,
    pub(super) layers: Vec<At>,
    /// ε of every norm: the network's own, or the inserted one's.
    pub(super) eps: f64,
    /// Each as long as the largest of the layers' tensors.
    pub(super) vectors: [View; 5],
    /// Each as long as the widest layer has units: zeros, ones, and four that are written but never read.
    pub(super) per_unit: [View; 6],
    pub(super) workspace: View,
}

impl Workspace {
    /// Allocates the workspace for some units (from 0) of some layers (weighted ones, from 1). `eps` is the ε of the network's norms, or of
    /// the inserted ones.
    ///
    /// Errors: the network lacks a layer or a unit, or has another norm than BatchNorm; bf16; not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, chosen: &[(usize, Vec<usize>)], eps: f64) -> Result<Workspace> {
        let tangents = engine.tangents()?;
        Self::with(engine, tangents, chosen, eps)
    }

    /// The same with given `tangents`, which others may use at other times.
    pub fn with<B: Backend>(
        engine: &mut Engine<B>,
        tangents: Tangents,
        chosen: &[(usize, Vec<usize>)],
        eps: f64,
    ) -> Result<Workspace> {
        let dtype = engine.backend().dtype();
        let (mut layers, mut largest, mut widest, mut workspace) = (Vec::new(), 0, 1, 0);
        for (number, units) in chosen {
            let (link, own) = place(engine, *number)?;
            let y = engine.linearised(&tangents, link).y.0.shape;
            let (rows, columns) = y.matrix();
            if let Some(unit) = units.iter().find(|&&unit| unit >= columns) {
                let problem = format!("layer {number} has {columns} units");
                return Err(Error::input(format!("unit {unit}"), problem, "they are numbered from 0"));
            }
            let mut plan = engine.backend().plan();
            let chosen = plan.view(Shape::new([units.len(), columns]), dtype);
            let grad = plan.view(y, dtype);
            let inserted = (!own).then(|| {
                let mut per_unit = || plan.view(Shape::new([columns]), dtype);
                let (statistics, grads) = ([per_unit(), per_unit()], [per_unit(), per_unit()]);
                Inserted { through: plan.view(y, dtype), statistics, grads }
            });
            let gamma = own.then(|| plan.view(Shape::new([columns]), dtype));
            let products = plan.view(Shape::new([units.len(), PRODUCTS]), DType::F64);
            engine.backend().commit(&plan)?;
            let mut rows_of = vec![0.0; units.len() * columns];
            units.iter().enumerate().for_each(|(row, unit)| rows_of[row * columns + unit] = 1.0);
            engine.backend().upload_f32(&rows_of, Out(chosen))?;
            (largest, widest) = (largest.max(rows * columns), widest.max(columns));
            workspace = workspace.max(engine.backend().norm_workspace(&NormSpec::batch(), y).len());
            layers.push(At { number: *number, link, units: units.clone(), chosen, grad, gamma, inserted, products });
        }
        let mut plan = engine.backend().plan();
        let vectors = [0; 5].map(|_| plan.view(Shape::new([largest]), dtype));
        let per_unit = [0; 6].map(|_| plan.view(Shape::new([widest]), dtype));
        let workspace = plan.view(Shape::new([workspace]), dtype);
        engine.backend().commit(&plan)?;
        for (value, to) in [0.0, 1.0].into_iter().zip(per_unit) {
            engine.backend().upload_f32(&vec![value; widest], Out(to))?;
        }
        Ok(Workspace { tangents, layers, eps, vectors, per_unit, workspace })
    }

    /// The layer and the unit of every entry, in order.
    pub fn entries(&self) -> Vec<(usize, usize)> {
        self.layers.iter().flat_map(|at| at.units.iter().map(|&unit| (at.number, unit))).collect()
    }
}

/// The link whose output is z of weighted layer `number`, and whether that is the network's own norm.
fn place<B: Backend>(engine: &Engine<B>, number: usize) -> Result<(usize, bool)> {
    let weighted = engine.network().weighted_layers();
    let Some(layer) = number.checked_sub(1).and_then(|at| weighted.get(at)) else {
        let problem = format!("the network has {} layers with weights", weighted.len());
        return Err(Error::input(format!("--probe-layers {number}"), problem, "they are numbered from 1"));
    };
    let link = layer.links.start;
    match engine.network().links().get(link + 1).map(|link| &link.layer) {
        Some(Layer::Norm(norm)) if norm.spec.is_batch_norm() => Ok((link + 1, true)),
        Some(Layer::Norm(norm)) if norm.spec.renorm.is_some() => Err(no_theorem("batch renormalisation")),
        Some(Layer::Norm(norm)) if norm.spec.axes == Axes::Batch => Err(no_theorem("an ℓp norm")),
        Some(Layer::Norm(_)) => Err(no_theorem("a norm of each sample by itself")),
        _ => Ok((link, false)),
    }
}

fn no_theorem(norm: &str) -> Error {
    let problem = format!("the theorems are about BatchNorm, and this network has {norm}");
    Error::input("--probe theory", problem, "--norm none and --norm batch have them")
}
