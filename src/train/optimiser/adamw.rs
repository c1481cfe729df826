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
//! `t` counts per parameter: one that gets its first gradient late starts with its own bias
//! correction, not with a step three times too long. A parameter without a gradient is left alone,
//! decay included, and so is the part of one that does not move ([`Moves`]): each place of a
//! parameter that moves in parts has its own count. Biases and norms do not decay.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use candle_core::{
    CpuStorage, Device, InplaceOp2, InplaceOp3, Layout, Tensor, Var, WithDType, bail,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::train::model::Parameters;
use crate::train::model::gradients::Gradients;
use crate::train::model::moves::{self, Moves, Share};
use crate::train::model::parameters::{read_tensors, refuse_extra, write_tensors};
use crate::train::params::{self, OptimiserKind};

/// Numbers a task takes at once.
const CHUNK: usize = 16_384;

/// What AdamW remembers of one parameter.
#[derive(Clone)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    steps: Steps,
}

/// Steps done for a parameter: for all of it, or for each place along a dimension once its parts
/// moved apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// For all of it.
    Whole(u64),
    /// For each place along a dimension.
    Slices {
        /// The dimension.
        dim: usize,
        /// Steps of each place.
        counts: Vec<u64>,
    },
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

    /// Moves every parameter that has a gradient, which is multiplied by `scale`, at the learning
    /// rate `lr`, as far as `moves` lets it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        moves: &Moves,
        lr: f64,
        scale: f64,
    ) -> Result<()> {
        for (name, var) in parameters.iter() {
            let (Some(gradient), Some(share)) = (gradients.get(name), moves.of(name)) else {
                continue;
            };
            let Moments { mean, square, steps } = match self.moments.remove(name) {
                Some(moments) => moments,
                None => Moments {
                    mean: gradient.zeros_like()?,
                    square: gradient.zeros_like()?,
                    steps: Steps::Whole(0),
                },
            };

            let decays = parameters.part(name)?.decays;
            let (steps, parts, rate) = cut(steps, share, gradient.dims());

            let moments = match parts {
                None => {
                    let Steps::Whole(done) = steps else {
                        return Err(Error::data("a whole parameter with parts"));
                    };
                    let way = self.way(done + 1, lr * rate, decays);
                    let (mean, square) =
                        self.move_one(var, gradient, Means { mean, square }, scale, &way)?;
                    Moments { mean, square, steps: Steps::Whole(done + 1) }
                }
                Some(parts) => {
                    let Steps::Slices { dim, mut counts } = steps else {
                        return Err(Error::data("a parameter in parts without their steps"));
                    };
                    for range in &parts {
                        let done = counts[range.start];
                        let way = self.way(done + 1, lr * rate, decays);
                        let of = |tensor: &Tensor| moves::part(tensor, dim, range);
                        let value = Var::from_tensor(&of(&var.as_detached_tensor())?)?;
                        let means = Means { mean: of(&mean)?, square: of(&square)? };
                        let (m, v) = self.move_one(&value, &of(gradient)?, means, scale, &way)?;

                        mean.slice_set(&m, dim, range.start)?;
                        square.slice_set(&v, dim, range.start)?;
                        var.as_detached_tensor().slice_set(
                            &value.as_detached_tensor(),
                            dim,
                            range.start,
                        )?;
                        counts[range.clone()].fill(done + 1);
                    }
                    Moments { mean, square, steps: Steps::Slices { dim, counts } }
                }
            };
            self.moments.insert(name.to_string(), moments);
        }
        Ok(())
    }

    /// The step of a parameter that is its `nth`.
    fn way(&self, nth: u64, lr: f64, decays: bool) -> Way {
        let params::Optimiser { kind, beta1, beta2, eps, weight_decay, .. } = self.params;
        let left = |beta: f64| match kind {
            OptimiserKind::Adamw => 1.0 - beta.powf(nth as f64),
            OptimiserKind::AdamwBert => 1.0,
        };
        let decay = if decays { weight_decay } else { 0.0 };
        Way { kept: 1.0 - lr * decay, rate: lr / left(beta1), root: 1.0 / left(beta2).sqrt(), eps }
    }

    /// Moves one parameter, or a part of one, and gives its means behind the step.
    fn move_one(
        &self,
        var: &Var,
        gradient: &Tensor,
        means: Means,
        scale: f64,
        way: &Way,
    ) -> Result<(Tensor, Tensor)> {
        let params::Optimiser { beta1, beta2, eps, .. } = self.params;
        let Means { mean, square } = means;

        if var.device().is_cpu() {
            let gradient = gradient.contiguous()?;
            mean.inplace_op2(&gradient, &Decaying { beta: beta1, scale, squared: false })?;
            square.inplace_op2(&gradient, &Decaying { beta: beta2, scale, squared: true })?;
            var.as_detached_tensor().inplace_op3(&mean, &square, way)?;
            return Ok((mean, square));
        }

        let gradient = gradient.affine(scale, 0.0)?;
        let mean = (mean.affine(beta1, 0.0)? + gradient.affine(1.0 - beta1, 0.0)?)?.detach();
        let square =
            (square.affine(beta2, 0.0)? + gradient.sqr()?.affine(1.0 - beta2, 0.0)?)?.detach();
        let root = square.sqrt()?.affine(way.root, eps)?;
        let value = var.as_detached_tensor().affine(way.kept, 0.0)?;
        var.set(&(value - mean.div(&root)?.affine(way.rate, 0.0)?)?)?;

        Ok((mean, square))
    }

    /// Steps done for each parameter, for [`AdamW::load`].
    pub fn steps(&self) -> BTreeMap<String, Steps> {
        self.moments.iter().map(|(name, moments)| (name.clone(), moments.steps.clone())).collect()
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
        steps: &BTreeMap<String, Steps>,
        device: &Device,
    ) -> Result<Self> {
        let mut found = read_tensors(path, device)?;
        let mut take = |name: String| {
            found
                .remove(&name)
                .ok_or_else(|| Error::data(format!("`{}` lacks `{name}`", path.display())))
        };
        let mut moments = BTreeMap::new();

        for (name, steps) in steps {
            let (mean, square) = (take(format!("{name}#mean"))?, take(format!("{name}#square"))?);
            moments.insert(name.clone(), Moments { mean, square, steps: steps.clone() });
        }

        refuse_extra(path, &found)?;
        Ok(AdamW { params: params.clone(), moments })
    }
}

/// The two means of a parameter.
struct Means {
    mean: Tensor,
    square: Tensor,
}

/// The parts of a parameter that move, each of one number of steps done, with the steps in the form
/// they need and the share of the rate; no parts where it moves as a whole and always did.
fn cut(steps: Steps, share: &Share, dims: &[usize]) -> (Steps, Option<Vec<Range<usize>>>, f64) {
    let (rate, wanted) = match share {
        Share::Whole { rate } => (*rate, None),
        Share::Slices { dim, ranges, rate } => (*rate, Some((*dim, ranges.clone()))),
    };
    let (dim, counts) = match (steps, &wanted) {
        (Steps::Whole(done), None) => return (Steps::Whole(done), None, rate),
        (Steps::Whole(done), Some((dim, _))) => (*dim, vec![done; dims[*dim]]),
        // What was cut along another dimension before keeps one count for all: the greatest.
        (Steps::Slices { dim, counts }, Some((wanted, _))) if dim != *wanted => {
            (*wanted, vec![counts.iter().copied().max().unwrap_or(0); dims[*wanted]])
        }
        (Steps::Slices { dim, counts }, _) => (dim, counts),
    };

    let whole = 0..dims[dim];
    let ranges = wanted.map_or_else(|| vec![whole], |(_, ranges)| ranges);
    // Places that did as many steps before are one part.
    let mut parts: Vec<Range<usize>> = Vec::new();

    for place in ranges.into_iter().flatten() {
        match parts.last_mut() {
            Some(last) if last.end == place && counts[last.start] == counts[place] => {
                last.end = place + 1
            }
            _ => parts.push(place..place + 1),
        }
    }

    (Steps::Slices { dim, counts }, Some(parts), rate)
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
        moment.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).for_each(
            |(moment, gradient)| {
                for (m, g) in moment.iter_mut().zip(gradient) {
                    let g = scale * *g;
                    let g = if self.squared { g * g } else { g };
                    *m = beta * *m + rest * g;
                }
            },
        );
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

    fn cpu_fwd(
        &self,
        m: &mut CpuStorage,
        lm: &Layout,
        g: &CpuStorage,
        lg: &Layout,
    ) -> candle_core::Result<()> {
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
    fn run<T: WithDType>(
        &self,
        value: &mut [T],
        mean: &[T],
        square: &[T],
        sqrt: impl Fn(T) -> T + Sync,
    ) {
        let [kept, rate, root, eps] = [self.kept, self.rate, self.root, self.eps].map(T::from_f64);
        let chunks =
            value.par_chunks_mut(CHUNK).zip(mean.par_chunks(CHUNK)).zip(square.par_chunks(CHUNK));
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
        params::Optimiser {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay,
            ..default_params().optimiser
        }
    }

    fn gradient(name: &str, value: f64) -> Gradients {
        [(name.to_string(), Tensor::new(&[value], &Device::Cpu).unwrap())].into()
    }

    fn value(parameters: &Parameters, name: &str) -> f64 {
        parameters.detached().get(name).unwrap().to_vec1::<f64>().unwrap()[0]
    }

    fn after(name: &str, gradients: &[f64], weight_decay: f64) -> f64 {
        let (parameters, mut adamw) = (one(name), AdamW::new(&settings(weight_decay)));
        gradients.iter().for_each(|g| {
            adamw.step(&parameters, &gradient(name, *g), &Moves::all(), 0.1, 1.0).unwrap()
        });
        value(&parameters, name)
    }

    /// `p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64)); o = torch.optim.AdamW([p],
    /// lr=.1, weight_decay=.01)` and `p.grad = g; o.step()` for g in 1, -2, .5.
    #[test]
    fn agrees_with_torch() {
        let found = after("w.weight", &[1.0, -2.0, 0.5], 0.01);
        assert!((found - 0.947_445_708_319_350_5).abs() < 1e-12, "{found}");
    }

    /// The same gradients through the update of `google-research/bert:optimization.py`, written
    /// out.
    #[test]
    fn without_bias_correction_it_is_berts() {
        let mut params = settings(0.01);
        params.kind = OptimiserKind::AdamwBert;
        let (parameters, mut adamw) = (one("w.weight"), AdamW::new(&params));
        let (mut x, mut m, mut v) = (1.0_f64, 0.0, 0.0);

        for g in [1.0, -2.0, 0.5] {
            adamw.step(&parameters, &gradient("w.weight", g), &Moves::all(), 0.1, 1.0).unwrap();
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
        (0..50).for_each(|_| {
            adamw.step(&parameters, &empty_gradients(), &Moves::all(), 0.1, 1.0).unwrap()
        });
        assert_eq!(value(&parameters, name), 1.0);
        adamw.step(&parameters, &gradient(name, 3.0), &Moves::all(), 0.1, 1.0).unwrap();
        assert_eq!(value(&parameters, name), after(name, &[3.0], 0.01));
    }

    fn empty_gradients() -> Gradients {
        crate::train::model::gradients::empty()
    }

    #[test]
    fn saved_state_goes_on_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("optimiser.safetensors");
        let (parameters, mut adamw) = (one("w"), AdamW::new(&settings(0.01)));
        adamw.step(&parameters, &gradient("w", 1.0), &Moves::all(), 0.1, 1.0).unwrap();
        adamw.save(&path).unwrap();
        let mut resumed =
            AdamW::load(&path, &settings(0.01), &adamw.steps(), &Device::Cpu).unwrap();
        resumed.step(&parameters, &gradient("w", -2.0), &Moves::all(), 0.1, 1.0).unwrap();
        assert_eq!(value(&parameters, "w"), after("w", &[1.0, -2.0], 0.01));
        let more = [("w".to_string(), Steps::Whole(1)), ("x".to_string(), Steps::Whole(1))].into();
        assert!(
            AdamW::load(&path, &settings(0.01), &more, &Device::Cpu)
                .err()
                .unwrap()
                .what()
                .contains("`x#mean`")
        );

        let none = BTreeMap::new();
        assert!(
            AdamW::load(&path, &settings(0.01), &none, &Device::Cpu)
                .err()
                .unwrap()
                .what()
                .contains("`w#mean`")
        );
    }

    /// Each place behaves as a parameter of its own that is late: it does not move, decay or count
    /// while it rests, and begins like a new one.
    #[test]
    fn parts_move_as_parameters_of_their_own() {
        let declared = [Declared {
            name: "w".into(),
            shape: vec![3, 2],
            init: Init::Ones,
            part: Part::new(0, Role::Attention),
        }];

        let parameters = Parameters::draw(&declared, 1, DType::F64, &Device::Cpu).unwrap();
        let mut adamw = AdamW::new(&settings(0.01));
        let gradient = |g: f64| -> Gradients {
            [("w".to_string(), Tensor::full(g, (3, 2), &Device::Cpu).unwrap())].into()
        };
        let rows = |from: usize, to: usize| {
            let share =
                Share::Slices { dim: 0, ranges: std::iter::once(from..to).collect(), rate: 1.0 };
            Moves::some([("w".to_string(), share)].into())
        };
        adamw.step(&parameters, &gradient(1.0), &rows(1, 2), 0.1, 1.0).unwrap();
        adamw.step(&parameters, &gradient(-2.0), &rows(0, 2), 0.1, 1.0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("optimiser.safetensors");
        adamw.save(&path).unwrap();
        let json = serde_json::to_string(&adamw.steps()).unwrap();
        let mut adamw = AdamW::load(
            &path,
            &settings(0.01),
            &serde_json::from_str(&json).unwrap(),
            &Device::Cpu,
        )
        .unwrap();

        adamw.step(&parameters, &gradient(0.5), &Moves::all(), 0.1, 1.0).unwrap();

        let found = parameters.detached().get("w").unwrap().to_vec2::<f64>().unwrap();
        let expected = [
            after("w", &[-2.0, 0.5], 0.01),
            after("w", &[1.0, -2.0, 0.5], 0.01),
            after("w", &[0.5], 0.01),
        ];

        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, &[expected, expected]);
        }
    }
}
