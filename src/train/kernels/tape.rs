//! What our operations did in a forward pass, to be differentiated in reverse.
//!
//! Candle's own graph makes a gradient of zeros for every tensor and adds what flows into it, on
//! one thread: 6 to 8 % of a training step on two cores, and more of it on more. Here the first
//! gradient is taken as it stands and others are added by all threads; what an entry kept is given
//! back as soon as it is differentiated.
//!
//! While a tape runs, each of our operations gives a variable that candle knows nothing of. Between
//! them candle's operations may stand: where a gradient flows into the result of one, candle
//! differentiates that stretch, down to the variables it was computed from.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, TensorId, WithDType, bail,
};
use pulp::Simd;

use super::operation::Operation;
use super::real::Real;
use super::rows::{Kernel, each, run_detached, variable, with_storages};

thread_local! {
    /// The tape that runs on this thread.
    static RUNNING: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// An operation that was done.
struct Entry {
    operation: Box<dyn Operation>,
    inputs: Vec<Tensor>,
    output: TensorId,
}

/// The operations of a forward pass, in order.
pub struct Tape(Vec<Entry>);

/// Runs `f`, and writes down the operations that it does on this thread.
pub fn recorded<R>(f: impl FnOnce() -> R) -> (R, Tape) {
    /// Puts back what ran before, also where `f` panics.
    struct Before(Option<Vec<Entry>>);
    impl Drop for Before {
        fn drop(&mut self) {
            RUNNING.set(self.0.take());
        }
    }

    let _before = Before(RUNNING.replace(Some(Vec::new())));
    let done = f();
    (done, Tape(RUNNING.take().unwrap_or_default()))
}

/// Whether operations are written down.
pub(super) fn is_running() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Does an operation and writes it down.
pub(super) fn record(operation: Box<dyn Operation>, inputs: &[&Tensor]) -> Result<Tensor> {
    let (storage, shape) = with_storages(inputs, |storages| operation.forward(storages))?;
    let output = variable(storage, shape)?.as_tensor().clone();
    let inputs = inputs.iter().copied().cloned().collect();
    RUNNING.with_borrow_mut(|running| {
        if let Some(entries) = running {
            entries.push(Entry { operation, inputs, output: output.id() });
        }
    });
    Ok(output)
}

impl Tape {
    /// The gradients by all variables, from what flows into some tensors.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(self, seeds: &[(&Tensor, Tensor)]) -> Result<Flows> {
        let mut flows = Flows::default();
        flows.give_all(seeds)?;

        for Entry { operation, inputs, output } in self.0.into_iter().rev() {
            let Some(gradient) = flows.0.remove(&output) else { continue };
            let borrowed: Vec<&Tensor> = inputs.iter().collect();
            let found = operation.backward(&borrowed, &gradient)?;

            for (input, found) in borrowed.into_iter().zip(found) {
                if let Some(found) = found {
                    flows.give_all(&[(input, found)])?;
                }
            }
        }

        Ok(flows)
    }
}

/// What flows into tensors: their gradients. None holds on to a graph.
#[derive(Default)]
pub struct Flows(HashMap<TensorId, Tensor>);

impl Flows {
    /// Takes the gradient by a variable.
    pub fn remove(&mut self, variable: &Tensor) -> Option<Tensor> {
        self.0.remove(&variable.id())
    }

    /// Lets gradients flow into tensors; those that candle computed are differentiated together.
    fn give_all(&mut self, seeds: &[(&Tensor, Tensor)]) -> Result<()> {
        let mut root: Option<Tensor> = None;
        for (tensor, gradient) in seeds {
            if tensor.is_variable() {
                self.add(tensor.id(), gradient)?;
            } else if tensor.track_op() {
                let seed = seed(tensor, gradient)?;
                root = Some(match root {
                    Some(before) => (before + seed)?,
                    None => seed,
                });
            }
        }

        match root {
            Some(root) => self.add_all(&root.backward()?),
            None => Ok(()),
        }
    }

    fn add_all(&mut self, found: &GradStore) -> Result<()> {
        for id in found.get_ids() {
            if let Some(gradient) = found.get_id(*id) {
                self.add(*id, gradient)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, id: TensorId, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.detach();
        let total = match self.0.remove(&id) {
            Some(before) => add(&before, &gradient)?,
            None => gradient,
        };
        self.0.insert(id, total);
        Ok(())
    }
}

impl TryFrom<GradStore> for Flows {
    type Error = candle_core::Error;

    fn try_from(found: GradStore) -> Result<Self> {
        let mut flows = Flows::default();
        flows.add_all(&found)?;
        Ok(flows)
    }
}

/// The sum of two tensors of one shape, outside of any graph; on the CPU by all threads.
///
/// # Errors
/// If the shapes differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !a.device().is_cpu() {
        return Ok((a + b)?.detach());
    }
    if a.shape() != b.shape() {
        bail!("{:?} and {:?} have no sum", a.dims(), b.dims());
    }
    run_detached(&Sum, &[a, b], a.shape())
}

struct Sum;

impl Kernel for Sum {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        each(simd, inputs[0].len(), |at, out| {
            let all = out.iter_mut().zip(inputs[0][at.clone()].iter().zip(&inputs[1][at]));
            all.for_each(|(sum, (a, b))| *sum = *a + *b);
        })
    }
}

/// A number whose gradient by `x` is `gradient`.
fn seed(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    match x.device().is_cpu() {
        true => x.contiguous()?.apply_op1(Seed(gradient.detach())),
        false => (x * gradient.detach())?.sum_all(),
    }
}

/// A number that stands for `Σ x · g` and is not computed: only its gradient by `x`, which is `g`,
/// is asked for.
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

#[cfg(test)]
mod tests {
    use super::super::{Activation, activate, linear, residual};
    use super::*;
    use candle_core::{Device, Var};

    /// Our operations and candle's in turns, with tensors that are used twice: the same gradients
    /// as candle's graph alone gives, and the tape is no longer than it must be.
    #[test]
    fn a_tape_gives_the_gradients_of_the_graph() {
        let numbers = |n: usize, by: f64| (0..n).map(|at| (at as f64 * by).sin()).collect();
        let var = |shape: (usize, usize), by| {
            let numbers: Vec<f64> = numbers(shape.0 * shape.1, by);
            Var::from_vec(numbers, shape, &Device::Cpu).unwrap()
        };
        let (x, w, other) = (var((3, 4), 0.7), var((4, 4), 1.3), var((3, 4), 2.1));
        let f = || -> Result<[Tensor; 2]> {
            let a = linear(&x, &w, None)?;
            let b = (a.sqr()? + other.as_tensor())?;
            let c = activate(&b, Activation::Silu)?;
            let d = residual(&c, &a, 0.0, None, "")?;
            Ok([linear(&d, &w, None)?, (b * d)?])
        };

        let seeds = [var((3, 4), 0.3), var((3, 4), 0.9)];
        let [y, z] = f().unwrap();
        let weighted = |y: &Tensor, seed: &Var| (y * seed.as_detached_tensor()).unwrap();
        let loss = (weighted(&y, &seeds[0]) + weighted(&z, &seeds[1])).unwrap();
        let right = loss.sum_all().unwrap().backward().unwrap();

        let (done, tape) = recorded(f);
        let [y, z] = done.unwrap();
        assert_eq!(tape.0.len(), 4);
        let seeds = [(&y, seeds[0].detach()), (&z, seeds[1].detach())];
        let mut found = tape.backward(&seeds).unwrap();
        assert!(!is_running());

        for var in [&x, &w, &other] {
            let far = (found.remove(var).unwrap() - right.get(var).unwrap()).unwrap();
            let far = far.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(far < 1e-12, "{far}");
            assert!(found.remove(var).is_none());
        }
    }

    #[test]
    fn tensors_of_other_shapes_are_not_added() {
        let zeros = |n: usize| Tensor::zeros(n, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(add(&zeros(3), &zeros(4)).is_err());
    }
}
