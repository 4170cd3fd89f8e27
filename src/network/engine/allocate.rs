//! Building an engine from a network: all of its memory is planned, allocated and initialised.

use super::super::chain::{Loss, Network};
use super::super::dln::whole_chain;
use super::effective::Effective;
use super::plan::{Laid, checked, lay_out};
use super::{Engine, SCALARS, Whole};
use crate::ops::backend::Backend;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{DType, Out, Shape};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl<B: Backend> Engine<B> {
    /// Plans and allocates everything except parameter vectors. `stop` is checked between layers: once it is set, every pass ends with
    /// [`Error::Interrupted`].
    ///
    /// Errors: a norm would have only one sample per unit; not enough memory.
    pub fn new(mut backend: B, network: Network, batch: usize, stop: Arc<AtomicBool>) -> Result<Self> {
        if batch == 0 {
            return Err(Error::input("--batch 0", "no samples", "a batch has at least 1"));
        }
        let (dtype, activation) = (backend.dtype(), backend.activation_dtype());
        let mut plan = backend.plan();
        let input = plan.view(checked(network.input(batch))?, activation);
        // With the slots of the running statistics.
        let statistics = plan.view(Shape::new([network.running().len()]), dtype);
        let Laid { planned, x, workspace, widest, factors } =
            lay_out(&backend, &mut plan, &network, (batch, input), statistics, true)?;
        let gradients = [0, 1].map(|_| plan.view(Shape::new([widest]), activation));
        let workspace = plan.view(Shape::new([workspace]), dtype);
        let answer = match network.loss() {
            Loss::CrossEntropy => plan.view(Shape::new([batch]), DType::U32),
            Loss::SquaredError(_) => plan.view(x.shape, activation),
        };
        let samples = plan.view(Shape::new([batch]), DType::F64);
        let scalars = plan.view(Shape::new([SCALARS]), DType::F64);
        let state = plan.view(StepState::shape(), StepState::DTYPE);
        let running = plan.view(statistics.shape, dtype);
        let factors_view = plan.view(statistics.shape, DType::F64);
        let operands = (activation != dtype).then(|| plan.view(Shape::new([network.slots().len()]), activation));
        let effective = Effective::plan(&mut plan, &network, dtype, operands);
        let whole = whole_chain(&network, batch).filter(|chain| backend.has_deep_linear(chain)).map(|chain| {
            let room = plan.view(Shape::new([backend.deep_linear_room(&chain)]), DType::F64);
            Whole { chain, room, prepared: false, unmade: false }
        });
        backend.commit(&plan)?;
        backend.upload(&factors, Out(factors_view))?;
        let mut engine = Engine {
            backend,
            network,
            batch,
            planned,
            workspace,
            gradients,
            input,
            answer,
            samples,
            scalars,
            state,
            running,
            statistics,
            factors: factors_view,
            operands,
            beside: None,
            effective,
            rounded: None,
            graphs: Vec::new(),
            whole,
            planned_bytes: plan.bytes(),
            companions: Vec::new(),
            stop,
        };
        engine.reset_running()?;
        Ok(engine)
    }
}
