//! `normscape probe`: loss, gradient and landscape at parameters and a batch from the user.

use super::line::{self, Along, Workspace};
use crate::files::{Array, Arrays, limits};
use crate::network::{Activation, CLASSES, Dln, Engine, Network, Norm, Normalisation, Scalar, dln, vgg};
use crate::ops::backend::Backend;
use crate::ops::boundary::{Extents, Inputs, Layout, Tensor};
use crate::ops::noise::NoiseOptions;
use crate::runtime::cpu::Cpu;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{DType, In, Out};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const REMEDY: &str = "a smaller network or batch needs less";

/// Evaluates a probe case: `loss`, `grad.NAME` for every parameter, and with `attr.steps` the `landscape.*` arrays.
///
/// Errors, each naming the array or attribute: it is missing, unknown, or of the wrong shape or type; a label is out of range.
pub fn run<B: Backend>(backend: B, inputs: &mut Inputs, stop: Arc<AtomicBool>) -> Result<Arrays> {
    let double = backend.dtype() == DType::F64;
    let network = network(inputs)?;
    let (x, answer) = batch(&network, inputs)?;
    // What the file claims it may not have: θ is looked for in it afterwards.
    limits::require(8 * network.slots().len() as u128, REMEDY)?;
    let mut theta = vec![0.0; network.slots().len()];
    // Gradients come in the shapes in which their parameters were given.
    let mut shapes = Vec::new();
    for slot in network.slots().iter() {
        let [shape, same] = slot.order.read_shapes(slot.shape);
        let given = inputs.tensor(&slot.name, Layout::Parameter(slot.order), Extents::Either(&shape, &same))?;
        theta[slot.start..][..slot.shape.len()].copy_from_slice(&given.inside());
        shapes.push(given.shape);
    }
    let steps = inputs.numbers("steps")?;
    if let Some(bad) = steps.iter().flatten().find(|s| !(**s > 0.0 && s.is_finite())) {
        return Err(inputs.refuse("attr.steps", format!("has {bad}"), "every step length lies above 0"));
    }
    let (seed, step) = (inputs.integer("seed", i64::MAX as u64, 0)?, inputs.integer("step", u64::from(u32::MAX), 0)?);
    inputs.finish("probe")?;

    // Of a device's own memory the device tells.
    if !backend.is_async() {
        let vectors = if steps.is_some() { 4 } else { 2 };
        let planned = match double {
            true => planned(Cpu::<f64>::planning(), &network, x.shape[0], vectors)?,
            false => planned(Cpu::<f32>::planning(), &network, x.shape[0], vectors)?,
        };
        // The gradient as it is fetched, and as the file has it.
        limits::require(planned + 24 * network.slots().len() as u128, REMEDY)?;
    }
    let mut engine = Engine::new(backend, network, x.shape[0], stop)?;
    let (at, grad) = (engine.vector()?, engine.vector()?);
    engine.backend().upload_f64(&theta, Out(at))?;
    match &answer {
        Answer::Labels(labels) => engine.set_batch_f64(&x.inside(), None, Some(labels))?,
        Answer::Target(target) => engine.set_batch_f64(&x.inside(), Some(&target.inside()), None)?,
    }
    engine.set_state(&StepState::new(seed, step, 0.0))?;
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(at), Out(grad), Out(loss), Out(correct))?;

    let array = |shape: Vec<usize>, values: Vec<f64>| match double {
        true => Array::f64(shape, values),
        false => Array::f32(shape, values.into_iter().map(|v| v as f32).collect()),
    };
    let mut out = Arrays::new();
    out.insert("loss".into(), array(Vec::new(), vec![engine.scalar(Scalar::Loss)?]));
    let flat = engine.backend().download_f64(In(grad))?;
    for (slot, shape) in engine.network().slots().iter().zip(shapes) {
        let values = slot.order.to_file(slot.shape, &flat[slot.start..][..slot.shape.len()]);
        out.insert(format!("grad.{}", slot.name), array(shape, values));
    }
    if let Some(steps) = steps {
        let room = Workspace::new(&mut engine, &steps, Along::Gradient)?;
        let found = line::landscape(&mut engine, In(at), In(grad), &steps, room)?;
        let count = vec![steps.len()];
        for (name, values) in [("loss", found.loss), ("grad_l2_diff", found.grad_l2_diff), ("beta", found.beta)] {
            out.insert(format!("landscape.{name}"), array(count.clone(), values));
        }
        out.insert("landscape.steps".into(), array(count, steps));
    }
    Ok(out)
}

/// Bytes for the engine and `vectors` vectors.
fn planned<B: Backend>(backend: B, network: &Network, batch: usize, vectors: usize) -> Result<u128> {
    let mut engine = Engine::new(backend, network.clone(), batch, Arc::default())?;
    for _ in 0..vectors {
        engine.vector()?;
    }
    Ok(engine.observe().bytes() as u128)
}

/// The network that the attributes describe.
fn network(inputs: &mut Inputs) -> Result<Network> {
    let model = inputs.required_text("model")?;
    let asked = inputs.required_text("norm")?;
    let noisy = asked == "noisy";
    let norm = if noisy { Ok(Norm::Batch) } else { asked.parse::<Norm>() };
    let norm = norm.map_err(|e| blame(inputs, "attr.norm", &asked, e))?;
    let asked = inputs.text("activation")?.unwrap_or_else(|| "relu".into());
    let activation = asked.parse::<Activation>().map_err(|e| blame(inputs, "attr.activation", &asked, e))?;
    let noise = noisy.then(NoiseOptions::default);
    let normalisation = Normalisation { norm, eps: inputs.eps()?, noise, activation };
    if model == "dln" {
        if activation != Activation::Relu {
            return Err(inputs.refuse("attr.activation", format!("is {activation}"), "the dln is linear"));
        }
        let (depth, dim) = (inputs.integer("depth", 10_000, 25)?, inputs.integer("dim", 16_384, 10)?);
        let settings = Dln { depth: depth as usize, dim: dim as usize, ..Dln::default() };
        return dln(settings, normalisation)
            .map_err(|e| blame(inputs, "attr.depth, attr.dim", &format!("{depth}, {dim}"), e));
    }
    let width = inputs.number("width", "a number above 0, at most 128, is taken", |w| w > 0.0 && w <= 128.0)?;
    vgg(&model, width.unwrap_or(1.0), normalisation).map_err(|e| blame(inputs, "attr.model", &model, e))
}

/// Rewords an error about an option as one about the array that replaced the option.
fn blame(inputs: &Inputs, name: &str, value: &str, error: Error) -> Error {
    match error {
        Error::Input { problem, remedy, .. } => inputs.refuse(name, format!("is {value}: {problem}"), remedy),
        other => other,
    }
}

/// The data that the loss compares the output with.
enum Answer {
    Labels(Vec<u32>),
    Target(Tensor),
}

/// The batch, checked against the network: N×3×32×32 with labels, or N×dim with targets.
fn batch(network: &Network, inputs: &mut Inputs) -> Result<(Tensor, Answer)> {
    let [h, w, _, c] = network.input(1).hwnc();
    let image = h * w > 1;
    let (axes, letters) = if image { (4, "N×3×32×32") } else { (2, "N×dim") };
    let x = inputs.tensor("x", Layout::Activations, Extents::Axes(axes, letters))?;
    let n = x.shape[0];
    let whole = if image { vec![n, c, h, w] } else { vec![n, c] };
    if x.shape != whole {
        return Err(inputs.refuse("x", format!("has the shape {:?}", x.shape), format!("{whole:?} fits the network")));
    }
    let answer = match image {
        true => Answer::Labels(inputs.labels("labels", n, CLASSES)?),
        false => Answer::Target(inputs.tensor("target", Layout::Activations, Extents::Exact(&x.shape))?),
    };
    Ok((x, answer))
}
