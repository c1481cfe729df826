//! The block engine: a model computed step by step, and differentiated step by step (arXiv:1604.06174).
//!
//! Each step of a model is a pure function, so its gradient can be computed alone: the step is run on fresh variables,
//! and what flows back into them is handed to the step before. A graph lives only as long as its segment of
//! `checkpoint_every` steps is differentiated: of the segments before, the first state is kept and the rest computed
//! again. The last segment keeps its graphs from the forward pass, so with one segment nothing is computed twice.
//! Gradients are the same bits for every `checkpoint_every`, since each step is always differentiated by itself and
//! dropout is keyed by place.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, Var, WithDType};

use super::{Adapter, Architecture, Inputs, Parameters, Pass, Weights};
use crate::train::kernels::DropoutKey;
use crate::train::optimiser::{Gradients, add_gradients};

/// A model with its parameters, to be differentiated.
pub struct Engine<'a> {
    model: &'a dyn Architecture,
    parameters: &'a Parameters,
    tracked: Weights,
    detached: Weights,
    /// The first step that is trained; below it no graph is kept.
    first: usize,
    every: usize,
}

/// A step that was computed: its inputs as variables and its outputs with the graph between them.
struct Kept {
    inputs: Vec<Var>,
    outputs: Vec<Tensor>,
}

/// A forward pass that waits for its backward.
pub struct Run<'a> {
    engine: &'a Engine<'a>,
    inputs: &'a Inputs,
    dropout: Option<DropoutKey>,
    /// The state before each segment but the last.
    states: Vec<Vec<Tensor>>,
    /// The graphs of the last segment.
    kept: Vec<Kept>,
    /// The last state, as variables for the head to be computed from.
    last: Vec<Var>,
}

impl<'a> Engine<'a> {
    /// An engine that keeps a state every `every` steps; 0 keeps all graphs.
    pub fn new(model: &'a dyn Architecture, parameters: &'a Parameters, every: usize) -> Self {
        let every = if every == 0 { usize::MAX } else { every };
        let first = model.adapter().map_or(0, Adapter::first_step);
        Engine { model, parameters, tracked: parameters.tracked(), detached: parameters.detached(), first, every }
    }

    /// A pass over the variables themselves, for the head.
    pub fn pass(&self, dropout: Option<DropoutKey>) -> Pass<'_> {
        Pass { weights: &self.tracked, dropout }
    }

    /// Computes all steps.
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    pub fn forward(&'a self, inputs: &'a Inputs, dropout: Option<DropoutKey>) -> Result<Run<'a>> {
        let n_steps = self.model.steps();
        let last_segment = self.first + (n_steps - 1 - self.first) / self.every * self.every;
        let mut run = Run { engine: self, inputs, dropout, states: Vec::new(), kept: Vec::new(), last: Vec::new() };
        let mut state: Vec<Tensor> = Vec::new();
        let untracked = Pass { weights: &self.detached, dropout };
        for step in 0..last_segment {
            if step >= self.first && (step - self.first).is_multiple_of(self.every) {
                run.states.push(state.clone());
            }
            state = self.model.step(&untracked, inputs, step, &state)?;
        }
        (run.kept, state) = self.keep(last_segment..n_steps, state, inputs, dropout)?;
        run.last = variables(&state)?;
        Ok(run)
    }

    /// Computes some steps and keeps their graphs; gives the state behind them as well.
    fn keep(
        &self,
        steps: std::ops::Range<usize>,
        mut state: Vec<Tensor>,
        inputs: &Inputs,
        dropout: Option<DropoutKey>,
    ) -> Result<(Vec<Kept>, Vec<Tensor>)> {
        let pass = self.pass(dropout);
        let mut kept = Vec::new();
        for step in steps {
            let variables = variables(&state)?;
            let before: Vec<Tensor> = variables.iter().map(|var| var.as_tensor().clone()).collect();
            let outputs = self.model.step(&pass, inputs, step, &before)?;
            state = outputs.iter().map(Tensor::detach).collect();
            kept.push(Kept { inputs: variables, outputs });
        }
        Ok((kept, state))
    }
}

fn variables(state: &[Tensor]) -> Result<Vec<Var>> {
    state.iter().map(|tensor| Var::from_tensor(&tensor.detach())).collect()
}

impl Run<'_> {
    /// The last state, for the head.
    pub fn last(&self) -> Vec<Tensor> {
        self.last.iter().map(|var| var.as_tensor().clone()).collect()
    }

    /// Differentiates `loss`, which was computed from [`Run::last`], and adds the gradients of all parameters to `sum`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(mut self, loss: &Tensor, sum: &mut Gradients) -> crate::error::Result<()> {
        let mut found = loss.backward()?;
        let mut flowing: Vec<Option<Tensor>> = self.last.iter().map(|var| found.remove(var)).collect();
        add_gradients(sum, self.engine.parameters, found)?;
        let n_steps = self.engine.model.steps();
        let mut segment = std::mem::take(&mut self.kept);
        loop {
            while let Some(Kept { inputs, outputs }) = segment.pop() {
                let Some(root) = seeded(&outputs, &flowing)? else { break };
                let mut found = root.backward()?;
                flowing = inputs.iter().map(|var| found.remove(var).map(|gradient| gradient.detach())).collect();
                add_gradients(sum, self.engine.parameters, found)?;
            }
            let Some(state) = self.states.pop() else { return Ok(()) };
            let first = self.engine.first + self.states.len() * self.engine.every;
            let steps = first..n_steps.min(first + self.engine.every);
            (segment, _) = self.engine.keep(steps, state, self.inputs, self.dropout)?;
        }
    }
}

/// A number whose gradient by each output is what flows into it; `None` where nothing flows.
fn seeded(outputs: &[Tensor], flowing: &[Option<Tensor>]) -> Result<Option<Tensor>> {
    let mut root: Option<Tensor> = None;
    for (output, gradient) in outputs.iter().zip(flowing) {
        let Some(gradient) = gradient else { continue };
        let seed = match output.device().is_cpu() {
            true => output.contiguous()?.apply_op1(Seed(gradient.detach()))?,
            false => (output * gradient.detach())?.sum_all()?,
        };
        root = Some(match root {
            Some(before) => (before + seed)?,
            None => seed,
        });
    }
    Ok(root)
}

/// A number that stands for `Σ x · g` and is not computed: only its gradient by `x`, which is `g`, is asked for.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let zero = match x {
            CpuStorage::F64(_) => f64::to_cpu_storage_owned(vec![0.0]),
            _ => f32::to_cpu_storage_owned(vec![0.0]),
        };
        Ok((zero, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
