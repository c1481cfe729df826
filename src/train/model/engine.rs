//! The block engine: a model computed step by step, and differentiated step by step
//! (arXiv:1604.06174).
//!
//! Each step of a model is a pure function, so its gradient can be computed alone: the step is run
//! on fresh variables, and what flows back into them is handed to the step before. A graph lives
//! only as long as its segment of `checkpoint_every` steps is differentiated: of the segments
//! before, the first state is kept and the rest computed again. The last segment keeps its graphs
//! from the forward pass, so with one segment nothing is computed twice. Gradients are the same
//! bits for every `checkpoint_every`, since each step is always differentiated by itself and
//! dropout is keyed by place.
//!
//! What is seen of a step's inside is a variable too: what flows back into it joins the sweep when
//! that passes the step.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

use super::gradients::{Gradients, add_gradients};
use super::moves::Moves;
use super::{Architecture, Inputs, Needs, Parameters, Pass, Seen, Tap, Weights};
use crate::train::kernels::{self, DropoutKey, Flows, Tape};

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

/// A step that was computed: its inputs as variables (none, where nothing below it moves), its
/// outputs, and how it came from the ones to the others.
struct Computed {
    step: usize,
    inputs: Vec<Var>,
    outputs: Vec<Tensor>,
    tape: Tape,
    /// Its attention weights with their graph, where they are seen.
    attention: Vec<Tensor>,
}

/// A forward pass that waits for its backward.
pub struct Run<'a> {
    engine: &'a Engine<'a>,
    inputs: &'a Inputs,
    dropout: Option<DropoutKey>,
    needs: &'a Needs,
    /// The state before each segment but the last.
    states: Vec<Vec<Tensor>>,
    /// The graphs of the last segment.
    kept: Vec<Computed>,
    /// The last state, as variables for the head to be computed from.
    last: Vec<Var>,
    /// What is seen, as variables by step.
    hidden: BTreeMap<usize, Var>,
    attention: BTreeMap<usize, Vec<Var>>,
}

impl<'a> Engine<'a> {
    /// An engine in which every parameter moves, and which keeps a state every `every` steps; 0
    /// keeps all graphs.
    ///
    /// # Errors
    /// Never in practice: every parameter was declared.
    pub fn new(
        model: &'a dyn Architecture,
        parameters: &'a Parameters,
        every: usize,
    ) -> Result<Self> {
        Self::moving(model, parameters, every, &Moves::all())
    }

    /// The same where only some parameters move: for what stays as it is no gradient is computed.
    ///
    /// # Errors
    /// Never in practice: every parameter was declared.
    pub fn moving(
        model: &'a dyn Architecture,
        parameters: &'a Parameters,
        every: usize,
        moves: &Moves,
    ) -> Result<Self> {
        let every = if every == 0 { usize::MAX } else { every };
        // The last step keeps a graph even if nothing but the head moves: it is what the head is
        // computed from.
        let first = moves.first_step(parameters, model.steps())?.min(model.steps() - 1);
        let (tracked, detached) = (parameters.tracked(moves), parameters.detached());
        Ok(Engine { model, parameters, tracked, detached, first, every })
    }

    /// A pass over the variables themselves, for the head.
    pub fn pass(&self, dropout: Option<DropoutKey>) -> Pass<'_> {
        Pass::new(&self.tracked, dropout)
    }

    /// Computes all steps, and shows what is needed of them.
    ///
    /// # Errors
    /// If the shapes do not fit or the device fails.
    pub fn forward(
        &'a self,
        inputs: &'a Inputs,
        dropout: Option<DropoutKey>,
        needs: &'a Needs,
    ) -> Result<Run<'a>> {
        let n_steps = self.model.steps();
        let last_segment = self.first + (n_steps - 1 - self.first) / self.every * self.every;
        let mut run = Run {
            engine: self,
            inputs,
            dropout,
            needs,
            states: Vec::new(),
            kept: Vec::new(),
            last: Vec::new(),
            hidden: BTreeMap::new(),

            attention: BTreeMap::new(),
        };

        let mut state: Vec<Tensor> = Vec::new();
        for step in 0..last_segment {
            if step >= self.first && (step - self.first).is_multiple_of(self.every) {
                run.states.push(state.clone());
            }
            let tap = needs.attention.contains(&step).then(Tap::default);
            let untracked = Pass { tap: tap.as_ref(), ..Pass::new(&self.detached, dropout) };
            state = self.model.step(&untracked, inputs, step, &state)?;
            run.see(step, &state, tap.map(Tap::take).unwrap_or_default())?;
        }

        let kept = self.keep(last_segment..n_steps, state, &run)?;
        for one in &kept {
            run.see(one.step, &one.outputs, one.attention.clone())?;
        }
        run.last = match kept.last() {
            Some(one) => variables(&one.outputs)?,
            None => Vec::new(),
        };
        run.kept = kept;
        Ok(run)
    }

    /// Computes some steps and keeps their graphs.
    fn keep(
        &self,
        steps: std::ops::Range<usize>,
        mut state: Vec<Tensor>,
        run: &Run,
    ) -> Result<Vec<Computed>> {
        let mut kept = Vec::new();
        for step in steps {
            // Below the first step nothing moves: nothing has to flow back into its inputs.
            let inputs = if step == self.first { Vec::new() } else { variables(&state)? };
            let before: Vec<Tensor> = match step == self.first {
                true => state.iter().map(Tensor::detach).collect(),
                false => inputs.iter().map(|var| var.as_tensor().clone()).collect(),
            };
            let tap = run.needs.attention.contains(&step).then(Tap::default);
            let pass = Pass { tap: tap.as_ref(), ..self.pass(run.dropout) };
            let (outputs, tape) =
                kernels::recorded(|| self.model.step(&pass, run.inputs, step, &before));
            let outputs = outputs?;
            state.clone_from(&outputs);

            kept.push(Computed {
                step,
                inputs,
                outputs,
                tape,
                attention: tap.map(Tap::take).unwrap_or_default(),
            });
        }
        Ok(kept)
    }
}

/// Tensors as variables, outside of the graph they come from; those that are variables stay the
/// same.
fn variables(state: &[Tensor]) -> Result<Vec<Var>> {
    state.iter().map(Var::from_tensor).collect()
}

impl<'a> Run<'a> {
    /// Keeps what is needed of a step as variables.
    fn see(&mut self, step: usize, state: &[Tensor], attention: Vec<Tensor>) -> Result<()> {
        if self.needs.hidden.contains(&step) {
            self.hidden.insert(step, Var::from_tensor(&state[0].detach())?);
        }
        if !attention.is_empty() {
            self.attention.insert(step, variables(&attention)?);
        }
        Ok(())
    }

    /// What the pass shows; a loss is computed from it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn seen(&self) -> Result<Seen> {
        let last: Vec<Tensor> = self.last.iter().map(|var| var.as_tensor().clone()).collect();
        let tensor = |var: &Var| var.as_tensor().clone();
        Ok(Seen {
            last: self.engine.model.hidden(&self.engine.pass(self.dropout), &last)?,
            hidden: self.hidden.iter().map(|(step, var)| (*step, tensor(var))).collect(),
            attention: self
                .attention
                .iter()
                .map(|(step, all)| (*step, all.iter().map(tensor).collect()))
                .collect(),
        })
    }

    /// Differentiates `loss`, which was computed from [`Run::seen`], and adds the gradients of all
    /// parameters to `sum`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(mut self, loss: &Tensor, sum: &mut Gradients) -> crate::error::Result<()> {
        let mut found: Flows = loss.backward()?.try_into()?;
        let mut flowing = taken(&self.last, &mut found);
        let mut into_hidden: BTreeMap<usize, Tensor> = BTreeMap::new();

        for (step, var) in &self.hidden {
            into_hidden.extend(found.remove(var).map(|gradient| (*step, gradient)));
        }
        let mut into_attention: BTreeMap<usize, Vec<Option<Tensor>>> =
            self.attention.iter().map(|(step, all)| (*step, taken(all, &mut found))).collect();
        add_gradients(sum, self.engine.parameters, found)?;

        let n_steps = self.engine.model.steps();
        let mut segment = std::mem::take(&mut self.kept);

        loop {
            while let Some(Computed { step, inputs, outputs, tape, attention }) = segment.pop() {
                if let Some(gradient) = into_hidden.remove(&step) {
                    flowing[0] = Some(match flowing[0].take() {
                        Some(before) => kernels::add(&before, &gradient)?,
                        None => gradient,
                    });
                }

                let seen = into_attention.remove(&step).unwrap_or_default();
                let into = outputs.iter().zip(&flowing).chain(attention.iter().zip(&seen));
                let seeds: Vec<(&Tensor, Tensor)> =
                    into.filter_map(|(tensor, flowing)| Some((tensor, flowing.clone()?))).collect();
                let mut found = tape.backward(&seeds)?;
                flowing = taken(&inputs, &mut found);
                add_gradients(sum, self.engine.parameters, found)?;
            }
            let Some(state) = self.states.pop() else { return Ok(()) };
            let first = self.engine.first + self.states.len() * self.engine.every;
            segment =
                self.engine.keep(first..n_steps.min(first + self.engine.every), state, &self)?;
        }
    }
}

/// What flows into each of some variables.
fn taken(variables: &[Var], found: &mut Flows) -> Vec<Option<Tensor>> {
    variables.iter().map(|var| found.remove(var)).collect()
}
