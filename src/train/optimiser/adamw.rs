//! AdamW (arXiv:1711.05101) in the order of `torch.optim.AdamW`, with state that can be saved.
//!
//! ```text
//! θ ← θ · (1 − lr · decay)
//! m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
//! θ ← θ − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
//! ```
//!
//! `adamw_bert` leaves out both divisions by `1 − βᵗ`, as `google-research/bert:optimization.py`.
//!
//! `t` counts per parameter: one that gets its first gradient late starts with its own bias correction, not with a step
//! three times too long. A parameter without a gradient is left alone, decay included. Biases and norms do not decay.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{CpuStorage, Device, InplaceOp2, InplaceOp3, Layout, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::Gradients;
use crate::error::{Error, Result};
use crate::train::model::Parameters;
use crate::train::model::parameters::{read_tensors, refuse_extra, write_tensors};
use crate::train::params::{self, OptimiserKind};

/// Numbers a task takes at once.
const CHUNK: usize = 16_384;

/// What AdamW remembers of one parameter.
#[derive(Clone)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    steps: u64,
}

/// The optimiser and its state.
pub struct AdamW {
    params: params::Optimiser,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimiser that has seen nothing.
    pub fn new(params: &params::Optimiser) -> Self {
        AdamW { params: params.clone(), moments: BTreeMap::new() }
    }

    /// Moves every parameter that has a gradient, which is multiplied by `scale`, at the learning rate `lr`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Gradients, lr: f64, scale: f64) -> Result<()> {
        let params::Optimiser { kind, beta1, beta2, eps, weight_decay, .. } = self.params;
        for (name, var) in parameters.iter() {
            let Some(gradient) = gradients.get(name) else { continue };
            let before = match self.moments.remove(name) {
                Some(moments) => moments,
                None => Moments { mean: gradient.zeros_like()?, square: gradient.zeros_like()?, steps: 0 },
            };
            let Moments { mean, square, steps } = before;
            let steps = steps + 1;
            let left = |beta: f64| match kind {
                OptimiserKind::Adamw => 1.0 - beta.powf(steps as f64),
                OptimiserKind::AdamwBert => 1.0,
            };
            let decay = if parameters.part(name)?.decays { weight_decay } else { 0.0 };
            let way = Way { kept: 1.0 - lr * decay, rate: lr / left(beta1), root: 1.0 / left(beta2).sqrt(), eps };
            let moments = if var.device().is_cpu() {
                let gradient = gradient.contiguous()?;
                mean.inplace_op2(&gradient, &Decaying { beta: beta1, scale, squared: false })?;
                square.inplace_op2(&gradient, &Decaying { beta: beta2, scale, squared: true })?;
                var.as_detached_tensor().inplace_op3(&mean, &square, &way)?;
                Moments { mean, square, steps }
            } else {
                let gradient = gradient.affine(scale, 0.0)?;
                let mean = (mean.affine(beta1, 0.0)? + gradient.affine(1.0 - beta1, 0.0)?)?.detach();
                let square = (square.affine(beta2, 0.0)? + gradient.sqr()?.affine(1.0 - beta2, 0.0)?)?.detach();
                let root = square.sqrt()?.affine(way.root, eps)?;
                let value = var.as_detached_tensor().affine(way.kept, 0.0)?;
                var.set(&(value - mean.div(&root)?.affine(way.rate, 0.0)?)?)?;
                Moments { mean, square, steps }
            };
            self.moments.insert(name.to_string(), moments);
        }
        Ok(())
    }

    /// Steps done for each parameter, for [`AdamW::load`].
    pub fn steps(&self) -> BTreeMap<String, u64> {
        self.moments.iter().map(|(name, moments)| (name.clone(), moments.steps)).collect()
    }

    /// Writes the moments as safetensors.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            tensors.insert(format!("{name}#mean"), moments.mean.clone());
            tensors.insert(format!("{name}#square"), moments.square.clone());
        }
        write_tensors(path, &tensors)
    }

    /// Reads the moments of exactly the parameters in `steps`.
    ///
    /// # Errors
    /// If the file lacks one or has one more.
    pub fn load(
        path: &Path,
        params: &params::Optimiser,
        steps: &BTreeMap<String, u64>,
        device: &Device,
    ) -> Result<Self> {
        let mut found = read_tensors(path, device)?;
        let mut take = |name: String| {
            found.remove(&name).ok_or_else(|| Error::data(format!("`{}` lacks `{name}`", path.display())))
        };
        let mut moments = BTreeMap::new();
        for (name, steps) in steps {
            let (mean, square) = (take(format!("{name}#mean"))?, take(format!("{name}#square"))?);
            moments.insert(name.clone(), Moments { mean, square, steps: *steps });
        }
        refuse_extra(path, &found)?;
        Ok(AdamW { params: params.clone(), moments })
    }
}

/// A moment in place: `m ← β m + (1 − β) g`, or with `g²`.
struct Decaying {
    beta: f64,
    /// Of the gradient.
    scale: f64,
    squared: bool,
}

impl Decaying {
    fn run<T: WithDType>(&self, moment: &mut [T], gradient: &[T]) {
        let [beta, rest, scale] = [self.beta, 1.0 - self.beta, self.scale].map(T::from_f64);
        moment.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).for_each(|(moment, gradient)| {
            for (m, g) in moment.iter_mut().zip(gradient) {
                let g = scale * *g;
                let g = if self.squared { g * g } else { g };
                *m = beta * *m + rest * g;
            }
        });
    }
}

/// The numbers of a contiguous storage.
fn span(layout: &Layout) -> candle_core::Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("the optimiser takes contiguous tensors"),
    }
}

impl InplaceOp2 for Decaying {
    fn name(&self) -> &'static str {
        "adamw-moment"
    }

    fn cpu_fwd(&self, m: &mut CpuStorage, lm: &Layout, g: &CpuStorage, lg: &Layout) -> candle_core::Result<()> {
        match (m, g) {
            (CpuStorage::F32(m), CpuStorage::F32(g)) => self.run(&mut m[span(lm)?], &g[span(lg)?]),
            (CpuStorage::F64(m), CpuStorage::F64(g)) => self.run(&mut m[span(lm)?], &g[span(lg)?]),
            _ => bail!("the optimiser takes f32 and f64"),
        }
        Ok(())
    }
}

/// The step itself, in place: `θ ← kept · θ − rate · m / (root · √v + eps)`.
struct Way {
    kept: f64,
    rate: f64,
    root: f64,
    eps: f64,
}

impl Way {
    fn run<T: WithDType>(&self, value: &mut [T], mean: &[T], square: &[T], sqrt: impl Fn(T) -> T + Sync) {
        let [kept, rate, root, eps] = [self.kept, self.rate, self.root, self.eps].map(T::from_f64);
        let chunks = value.par_chunks_mut(CHUNK).zip(mean.par_chunks(CHUNK)).zip(square.par_chunks(CHUNK));
        chunks.for_each(|((value, mean), square)| {
            for ((x, m), v) in value.iter_mut().zip(mean).zip(square) {
                *x = kept * *x - rate * (*m / (root * sqrt(*v) + eps));
            }
        });
    }
}

impl InplaceOp3 for Way {
    fn name(&self) -> &'static str {
        "adamw-step"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        lx: &Layout,
        m: &CpuStorage,
        lm: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> candle_core::Result<()> {
        match (x, m, v) {
            (CpuStorage::F32(x), CpuStorage::F32(m), CpuStorage::F32(v)) => {
                self.run(&mut x[span(lx)?], &m[span(lm)?], &v[span(lv)?], f32::sqrt);
            }
            (CpuStorage::F64(x), CpuStorage::F64(m), CpuStorage::F64(v)) => {
                self.run(&mut x[span(lx)?], &m[span(lm)?], &v[span(lv)?], f64::sqrt);
            }
            _ => bail!("the optimiser takes f32 and f64"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::default_params;
    use crate::train::model::parameters::{Declared, Init, Part, Role};
    use candle_core::DType;

    fn one(name: &str) -> Parameters {
        let part = Part { decays: !name.ends_with("bias"), ..Part::new(0, Role::Attention) };
        let declared = [Declared { name: name.into(), shape: vec![1], init: Init::Ones, part }];
        Parameters::draw(&declared, 1, DType::F64, &Device::Cpu).unwrap()
    }

    fn settings(weight_decay: f64) -> params::Optimiser {
        params::Optimiser { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay, ..default_params().optimiser }
    }

    fn gradient(name: &str, value: f64) -> Gradients {
        [(name.to_string(), Tensor::new(&[value], &Device::Cpu).unwrap())].into()
    }

    fn value(parameters: &Parameters, name: &str) -> f64 {
        parameters.detached().get(name).unwrap().to_vec1::<f64>().unwrap()[0]
    }

    fn after(name: &str, gradients: &[f64], weight_decay: f64) -> f64 {
        let (parameters, mut adamw) = (one(name), AdamW::new(&settings(weight_decay)));
        gradients.iter().for_each(|g| adamw.step(&parameters, &gradient(name, *g), 0.1, 1.0).unwrap());
        value(&parameters, name)
    }

    /// `p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64)); o = torch.optim.AdamW([p], lr=.1, weight_decay=.01)`
    /// and `p.grad = g; o.step()` for g in 1, -2, .5.
    #[test]
    fn agrees_with_torch() {
        let found = after("w.weight", &[1.0, -2.0, 0.5], 0.01);
        assert!((found - 0.947_445_708_319_350_5).abs() < 1e-12, "{found}");
    }

    /// The same gradients through the update of `google-research/bert:optimization.py`, written out.
    #[test]
    fn without_bias_correction_it_is_berts() {
        let mut params = settings(0.01);
        params.kind = OptimiserKind::AdamwBert;
        let (parameters, mut adamw) = (one("w.weight"), AdamW::new(&params));
        let (mut x, mut m, mut v) = (1.0_f64, 0.0, 0.0);
        for g in [1.0, -2.0, 0.5] {
            adamw.step(&parameters, &gradient("w.weight", g), 0.1, 1.0).unwrap();
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x -= 0.1 * (m / (f64::sqrt(v) + 1e-8) + 0.01 * x);
        }
        let found = value(&parameters, "w.weight");
        assert!((found - x).abs() < 1e-12, "{found}, not {x}");
    }

    #[test]
    fn what_is_declared_so_does_not_decay() {
        assert_eq!(after("a.bias", &[1.0, -2.0], 0.5), after("a.bias", &[1.0, -2.0], 0.0));
        assert_ne!(after("a.weight", &[1.0, -2.0], 0.5), after("a.weight", &[1.0, -2.0], 0.0));
    }

    #[test]
    fn a_late_parameter_starts_like_a_new_one_and_waits_untouched() {
        let name = "late.weight";
        let (parameters, mut adamw) = (one(name), AdamW::new(&settings(0.01)));
        (0..50).for_each(|_| adamw.step(&parameters, &empty_gradients(), 0.1, 1.0).unwrap());
        assert_eq!(value(&parameters, name), 1.0);
        adamw.step(&parameters, &gradient(name, 3.0), 0.1, 1.0).unwrap();
        assert_eq!(value(&parameters, name), after(name, &[3.0], 0.01));
    }

    fn empty_gradients() -> Gradients {
        super::super::empty()
    }

    #[test]
    fn saved_state_goes_on_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("optimiser.safetensors");
        let (parameters, mut adamw) = (one("w"), AdamW::new(&settings(0.01)));
        adamw.step(&parameters, &gradient("w", 1.0), 0.1, 1.0).unwrap();
        adamw.save(&path).unwrap();
        let mut resumed = AdamW::load(&path, &settings(0.01), &adamw.steps(), &Device::Cpu).unwrap();
        resumed.step(&parameters, &gradient("w", -2.0), 0.1, 1.0).unwrap();
        assert_eq!(value(&parameters, "w"), after("w", &[1.0, -2.0], 0.01));
        let more = [("w".to_string(), 1), ("x".to_string(), 1)].into();
        assert!(AdamW::load(&path, &settings(0.01), &more, &Device::Cpu).err().unwrap().what().contains("`x#mean`"));
        let none = BTreeMap::new();
        assert!(AdamW::load(&path, &settings(0.01), &none, &Device::Cpu).err().unwrap().what().contains("`w#mean`"));
    }
}
