//! Scaled dot-product attention (arXiv:1706.03762) as one operation, in parallel over rows and
//! heads.
//!
//! With `P = softmax(scale · Q Kᵀ + bias + mask)`, `P̃` its numbers left by dropout and `G` what
//! flows into `P̃ V`: `dV = P̃ᵀ G`, `dP` is `G Vᵀ` under the same dropout, `dS = P (dP − Σ P ·
//! dP)`, `dbias = Σ dS` over the rows, `dQ = scale · dS K`, `dK = scale · dSᵀ Q`. Of the forward
//! pass `P` alone is kept; dropout is drawn again.
//!
//! Heads are read where the layers before wrote them, side by side in each place, and heads that
//! share keys and values (arXiv:2305.13245) read the same. The products of a head are small, so
//! the heads that share are one task, and no product is split over threads.
//!
//! Some queries are taken at a time, with those keys alone that one of them sees: of a long row
//! that looks back, half is never computed, and of packed texts most of it.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, D, DType, Layout, Result, Shape, Tensor, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::dropout::Dropout;
use super::instructions::vectorised;
use super::operation::{Operation, apply};
use super::product::{Matrix, add_product_into, product_into};
use super::real::Real;
use super::rows::{by_rows, of_numbers, tensor, with_numbers, with_storages};
use super::softmax::{flow_back, soften};
use super::{MASKED, Projected};

/// Queries of a stretch. With fewer, more that is masked is left out, but products become thin.
const QUERIES: usize = 128;
/// Keys of a stretch begin and end at a multiple of this, so that rows stay aligned, and sums over
/// them have the lanes that they have over all keys.
const KEYS: usize = 16;

/// What attention is computed from besides queries, keys and values.
pub(super) struct Settings {
    /// Heads of the queries, and numbers of each head.
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) scale: f64,
    /// `[rows, 1 or queries, keys]`.
    pub(super) mask: Tensor,
    /// `[1, heads, queries, keys]`.
    pub(super) bias: Option<Tensor>,
    /// Share, seed and place of dropout.
    pub(super) dropout: Option<(f64, u64, String)>,
}

/// Attention, `[rows, queries, heads · width]`.
pub(super) fn attention(projected: &Projected, with: Settings) -> Result<Tensor> {
    let inputs: Vec<Tensor> = match projected {
        Projected::Joined(all) => vec![all.contiguous()?],
        Projected::Apart { query, key, value } => {
            [query, key, value].into_iter().map(Tensor::contiguous).collect::<Result<_>>()?
        }
    };
    let bias = with.bias.clone();
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let attention = Arc::new(Attention::new(&inputs, with)?);
    let mixed = apply(Mixed(Arc::clone(&attention)), &inputs)?;

    match bias.filter(Tensor::track_op) {
        Some(bias) => {
            let inputs = inputs.iter().map(|input| input.detach()).collect();
            apply(Biased { attention, inputs }, &[&mixed, &bias])
        }
        None => Ok(mixed),
    }
}

/// Where queries, keys or values stand: in which input, from which number of each place on.
#[derive(Clone, Copy)]
struct Part {
    input: usize,
    first: usize,
    /// Numbers from one place to the next.
    down: usize,
    places: usize,
    heads: usize,
}

/// Queries of a row that are computed together, and the keys that they see.
#[derive(Debug, PartialEq)]
struct Stretch {
    queries: Range<usize>,
    keys: Range<usize>,
    /// Where its weights begin among those of a head, `[queries, keys]`.
    first: usize,
}

impl Stretch {
    /// All of a row; `mask` gives the mask of a query.
    fn all<'a, T: Real>(
        queries: usize,
        keys: usize,
        mask: impl Fn(usize) -> &'a [T],
    ) -> Vec<Stretch> {
        let is_seen = |mask: &T| mask.to_f64() > f64::from(MASKED);
        let mut all: Vec<Stretch> = Vec::with_capacity(queries.div_ceil(QUERIES));

        for first in (0..queries).step_by(QUERIES) {
            let queries = first..queries.min(first + QUERIES);
            let [mut from, mut to] = [keys, 0];
            for query in queries.clone() {
                let mask = mask(query);
                // Where nothing is seen, softmax gives each key the same.
                from = from.min(mask.iter().position(is_seen).unwrap_or(0));
                to = to.max(mask.iter().rposition(is_seen).map_or(keys, |last| last + 1));
            }

            let keys = from / KEYS * KEYS..keys.min(to.next_multiple_of(KEYS));
            let first = all.last().map_or(0, |before| before.weights().end);
            all.push(Stretch { queries, keys, first });
        }

        all
    }

    fn weights(&self) -> Range<usize> {
        self.first..self.first + self.queries.len() * self.keys.len()
    }
}

/// Numbers of a head's weights that are kept for a row in which each place sees those before it.
pub fn causal_weights(length: usize) -> usize {
    let of = |first: usize| {
        let to = length.min(first + QUERIES);
        (to - first) * length.min(to.next_multiple_of(KEYS))
    };
    (0..length).step_by(QUERIES).map(of).sum()
}

/// See the module.
struct Attention {
    rows: usize,
    query: Part,
    key: Part,
    value: Part,
    with: Settings,
    /// Whether anything is to learn.
    is_tracked: bool,
    /// By row.
    stretches: OnceLock<Vec<Vec<Stretch>>>,
    /// `P` by row and shared head: of each head that shares, stretch after stretch.
    kept: Mutex<Vec<CpuStorage>>,
    /// The gradients by the inputs, where they came with that by the bias.
    found: Mutex<Option<Vec<Tensor>>>,
}

/// What one task finds: gradients of the heads that share keys and values.
struct Found<T> {
    /// `[heads that share, queries, width]`.
    query: Vec<T>,
    /// `[keys, width]`.
    key: Vec<T>,
    /// The same.
    value: Vec<T>,
    /// Of each head that shares, stretch after stretch; empty where no bias learns.
    bias: Vec<T>,
}

impl Attention {
    fn new(inputs: &[&Tensor], mut with: Settings) -> Result<Self> {
        let (heads, width) = (with.heads, with.width);
        let dims: Vec<(usize, usize, usize)> =
            inputs.iter().map(|input| input.dims3()).collect::<Result<_>>()?;
        let (rows, queries, _) = dims[0];
        let part = |input: usize, first: usize, heads: usize| {
            let (_, places, down) = dims[input];
            Part { input, first, down, places, heads }
        };

        let shared = dims.get(1).map_or(heads, |(_, _, numbers)| numbers / width.max(1));
        let [query, key, value] = match dims.len() {
            1 => [0, 1, 2].map(|nth| part(0, nth * heads * width, heads)),
            _ => [part(0, 0, heads), part(1, 0, shared), part(2, 0, shared)],
        };
        let fits = match &dims[..] {
            [all] => all.2 == 3 * heads * width,
            [query, key, value] => {
                query.2 == heads * width && *key == (rows, key.1, shared * width) && key == value
            }
            _ => false,
        };
        if !fits || shared == 0 || !heads.is_multiple_of(shared) {
            bail!("{heads} heads {width} wide do not fit queries, keys and values {dims:?}");
        }

        let by_query = with.mask.dim(1)? > 1;
        if with.mask.dims() != [rows, if by_query { queries } else { 1 }, key.places] {
            let (mask, keys) = (with.mask.dims(), key.places);
            bail!("a mask {mask:?} does not fit {rows} rows of {queries} queries and {keys} keys");
        }
        if let Some(bias) = &with.bias
            && bias.dims() != [1, heads, queries, key.places]
        {
            bail!("a bias {:?} does not fit {heads} heads", bias.dims());
        }

        let is_tracked = inputs.iter().copied().chain(&with.bias).any(Tensor::track_op);
        let wide = with.mask.dtype();
        with.mask = with.mask.detach().contiguous()?;
        with.bias = match &with.bias {
            Some(bias) => Some(bias.detach().to_dtype(wide)?.contiguous()?),
            None => None,
        };
        let (stretches, kept, found) = Default::default();
        Ok(Attention { rows, query, key, value, with, is_tracked, stretches, kept, found })
    }

    /// Heads that share keys and values.
    fn group(&self) -> usize {
        self.query.heads / self.key.heads
    }

    /// A head of some part in a row.
    fn head<'a, T>(
        &self,
        inputs: &[&'a [T]],
        part: Part,
        row: usize,
        head: usize,
    ) -> Matrix<'a, T> {
        let first = row * part.places * part.down + part.first + head * self.with.width;
        Matrix::apart(&inputs[part.input][first..], part.places, self.with.width, part.down)
    }

    /// Which weights of a head in a row are kept.
    fn dropout(&self, row: usize, head: usize) -> Option<Dropout> {
        let (share, seed, place) = self.with.dropout.as_ref()?;
        let n = self.weights(row);
        Some(Dropout::new(n, *share, *seed, &format!("{place}/{row}/{head}")))
    }

    /// The stretches of a row.
    fn stretches(&self, row: usize) -> &[Stretch] {
        self.stretches.get().map_or(&[], |all| &all[row])
    }

    /// How many weights a head has in a row.
    fn weights(&self, row: usize) -> usize {
        self.stretches(row).last().map_or(0, |last| last.weights().end)
    }

    /// The queries of a stretch, of some head in a row.
    fn queries<'a, T>(
        &self,
        inputs: &[&'a [T]],
        row: usize,
        head: usize,
        stretch: &Stretch,
    ) -> Matrix<'a, T> {
        let all = self.head(inputs, self.query, row, head);
        all.rows(stretch.queries.start, stretch.queries.len())
    }

    /// The row of a mask for a query.
    fn masked<'a, T>(&self, mask: &'a [T], row: usize, query: usize) -> &'a [T] {
        let keys = self.key.places;
        let of_row = mask.len() / (self.rows * keys).max(1);
        let query = if of_row > 1 { query } else { 0 };
        &mask[(row * of_row + query) * keys..][..keys]
    }

    /// The stretches of all rows under a mask.
    fn seen<T: Real>(&self, mask: &[T]) -> Vec<Vec<Stretch>> {
        let (queries, keys) = (self.query.places, self.key.places);
        let rows = (0..self.rows).into_par_iter();
        rows.map(|row| Stretch::all(queries, keys, |query| self.masked(mask, row, query))).collect()
    }

    /// `P̃ V` of the heads that share, `[heads that share, queries, width]`, and their `P`.
    fn mix<T: Real, S: Simd>(
        &self,
        simd: S,
        inputs: &[&[T]],
        mask: &[T],
        bias: Option<&[T]>,
        task: usize,
    ) -> (Vec<T>, Vec<T>) {
        let (row, shared) = (task / self.key.heads, task % self.key.heads);
        let (keys, width, group) = (self.key.places, self.with.width, self.group());
        let (queries, n) = (self.query.places, self.weights(row));
        let zero = T::from_f64(0.0);
        let mut weights = vec![zero; group * n];
        let mut mixed = vec![zero; group * queries * width];
        let [key, value] = [self.key, self.value].map(|part| self.head(inputs, part, row, shared));
        let scale = T::from_f64(self.with.scale);
        let mut left = Vec::new();

        for nth in 0..group {
            let head = shared * group + nth;
            let dropout = self.dropout(row, head);

            for stretch in self.stretches(row) {
                let seen = &stretch.keys;
                let [key, value] = [key, value].map(|part| part.rows(seen.start, seen.len()));
                let weights = &mut weights[nth * n..][stretch.weights()];
                product_into(self.queries(inputs, row, head, stretch), key.t(), weights);

                simd.vectorize(|| {
                    let scores = weights.chunks_mut(seen.len().max(1));
                    for (query, scores) in stretch.queries.clone().zip(scores) {
                        let mask = &self.masked(mask, row, query)[seen.clone()];
                        let bias = bias.map(|bias| {
                            &bias[(head * queries + query) * keys..][..keys][seen.clone()]
                        });
                        soften(scores, scale, bias, mask);
                    }
                });

                let weights = match &dropout {
                    Some(dropout) => {
                        left.resize(weights.len(), zero);
                        dropout.drop(simd, stretch.weights(), weights, &mut left);
                        &left
                    }
                    None => &*weights,
                };
                let first = (nth * queries + stretch.queries.start) * width;
                let mixed = &mut mixed[first..][..stretch.queries.len() * width];
                product_into(Matrix::new(weights, stretch.queries.len(), seen.len()), value, mixed);
            }
        }

        (mixed, weights)
    }

    fn forward<T: Real, S: Simd>(
        &self,
        simd: S,
        inputs: &[(&CpuStorage, &Layout)],
    ) -> Result<CpuStorage> {
        let (like, tasks) = (inputs[0].0, self.rows * self.key.heads);
        let done: Result<Vec<(Vec<T>, Option<CpuStorage>)>> = of_numbers(inputs, |inputs| {
            let besides: Vec<&Tensor> =
                std::iter::once(&self.with.mask).chain(&self.with.bias).collect();
            with_numbers(&besides, |besides| {
                let (mask, bias) = (besides[0], besides.get(1).copied());
                self.stretches.get_or_init(|| self.seen(mask));
                let tasks = (0..tasks).into_par_iter();
                tasks
                    .map(|task| {
                        let (mixed, weights) = self.mix(simd, inputs, mask, bias, task);
                        let kept = self.is_tracked.then(|| T::store(weights, like)).transpose()?;
                        Ok((mixed, kept))
                    })
                    .collect()
            })
        })??;

        let (mixed, kept): (Vec<Vec<T>>, Vec<Option<CpuStorage>>) = done?.into_iter().unzip();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            kept.into_iter().flatten().collect();

        let (group, width) = (self.group(), self.with.width);
        let (places, heads) = (self.query.places, self.query.heads);
        let all = by_rows(simd, self.rows * places, heads * width, |at, out| {
            let (row, place) = (at / places, at % places);
            for (head, out) in out.chunks_mut(width).enumerate() {
                let mixed = &mixed[row * self.key.heads + head / group];
                out.copy_from_slice(&mixed[(head % group * places + place) * width..][..width]);
            }
        });
        T::store(all, like)
    }

    /// The gradients of one task from its `P` and what flows into the output.
    fn differentiate<T: Real, S: Simd>(
        &self,
        simd: S,
        inputs: &[&[T]],
        grad: &[T],
        weights: &[T],
        is_biased: bool,
        task: usize,
    ) -> Found<T> {
        let (row, shared) = (task / self.key.heads, task % self.key.heads);
        let (queries, keys) = (self.query.places, self.key.places);
        let (width, group, n) = (self.with.width, self.group(), self.weights(row));
        let zeros = |n: usize| vec![T::from_f64(0.0); n];
        let [key, value] = [self.key, self.value].map(|part| self.head(inputs, part, row, shared));
        let mut found = Found {
            query: zeros(group * queries * width),
            key: zeros(keys * width),
            value: zeros(keys * width),
            bias: Vec::new(),
        };
        // With a bias, what flows into it comes before the scale.
        let scale = T::from_f64(self.with.scale);
        let [early, late] = match is_biased {
            true => [T::from_f64(1.0), scale],
            false => [scale, T::from_f64(1.0)],
        };
        let most = self.stretches(row).iter().map(|stretch| stretch.weights().len()).max();
        let [mut left, mut flowing, mut flowing_left] = [0; 3].map(|_| zeros(most.unwrap_or(0)));

        for nth in 0..group {
            let head = shared * group + nth;
            let dropout = self.dropout(row, head);
            let grad = &grad[(row * queries * self.query.heads + head) * width..];
            let grad = Matrix::apart(grad, queries, width, self.query.heads * width);

            for stretch in self.stretches(row) {
                let (first, places, seen) =
                    (stretch.queries.start, stretch.queries.len(), &stretch.keys);
                let [key, value] = [key, value].map(|part| part.rows(seen.start, seen.len()));
                let of_keys = seen.start * width..seen.end * width;
                let weights = &weights[nth * n..][stretch.weights()];
                let [left, flowing, flowing_left] = [&mut left, &mut flowing, &mut flowing_left]
                    .map(|all| &mut all[..weights.len()]);
                let grad = grad.rows(first, places);

                product_into(grad, value.t(), flowing);
                let (weights_left, flowing) = match &dropout {
                    Some(dropout) => {
                        dropout.drop(simd, stretch.weights(), weights, left);
                        dropout.drop(simd, stretch.weights(), flowing, flowing_left);
                        (&*left, flowing_left)
                    }
                    None => (weights, flowing),
                };
                let weights_left = Matrix::new(weights_left, places, seen.len());
                add_product_into(weights_left.t(), grad, &mut found.value[of_keys.clone()]);

                simd.vectorize(|| {
                    let each = seen.len().max(1);
                    let rows = flowing.chunks_mut(each).zip(weights.chunks(each));
                    rows.for_each(|(grad, weights)| flow_back(weights, grad, early));
                });
                if is_biased {
                    found.bias.extend_from_slice(flowing);
                    flowing.iter_mut().for_each(|grad| *grad *= late);
                }

                let scores = Matrix::new(&*flowing, places, seen.len());
                let of_query = &mut found.query[(nth * queries + first) * width..];
                product_into(scores, key, &mut of_query[..places * width]);
                let query = self.queries(inputs, row, head, stretch);
                add_product_into(scores.t(), query, &mut found.key[of_keys]);
            }
        }

        found
    }

    /// The gradients by the inputs, and by the bias where one learns.
    fn backward<T: Real, S: Simd>(
        &self,
        simd: S,
        inputs: &[&Tensor],
        grad: &Tensor,
        is_biased: bool,
    ) -> Result<(Vec<Tensor>, Option<Tensor>)> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        if kept.len() != self.rows * self.key.heads {
            bail!("attention is differentiated once");
        }
        let all: Vec<&Tensor> = inputs.iter().copied().chain([grad]).collect();
        let found: Result<Vec<Found<T>>> = with_numbers(&all, |all| {
            let (grad, inputs) = (all[inputs.len()], &all[..inputs.len()]);
            let tasks = kept.into_par_iter().enumerate();
            tasks
                .map(|(task, weights)| {
                    let n = self.group() * self.weights(task / self.key.heads);
                    let layout = Layout::contiguous(n);
                    let weights = T::read(&weights, &layout)?;
                    Ok(self.differentiate(simd, inputs, grad, &weights, is_biased, task))
                })
                .collect()
        })?;

        let found = found?;
        let of_inputs = inputs.iter().enumerate().map(|(nth, input)| {
            let gathered = self.gathered(simd, &found, nth, input.dim(D::Minus1)?);
            let stored = with_storages(&[input], |like| T::store(gathered, like[0].0))?;
            tensor(stored, input.shape())
        });
        let of_inputs = of_inputs.collect::<Result<_>>()?;
        let of_bias = is_biased.then(|| self.gathered_bias(simd, &found)).transpose()?;

        Ok((of_inputs, of_bias))
    }

    /// The gradient by an input, put together from what the tasks found.
    fn gathered<T: Real, S: Simd>(
        &self,
        simd: S,
        found: &[Found<T>],
        input: usize,
        down: usize,
    ) -> Vec<T> {
        let (group, width) = (self.group(), self.with.width);
        let parts = [self.query, self.key, self.value];
        let places = parts.iter().find(|part| part.input == input).map_or(0, |part| part.places);

        by_rows(simd, self.rows * places, down, |at, out| {
            let (row, place) = (at / places, at % places);
            for (nth, part) in parts.iter().enumerate().filter(|(_, part)| part.input == input) {
                let out = &mut out[part.first..][..part.heads * width];
                for (head, out) in out.chunks_mut(width).enumerate() {
                    let (of_group, shared) = match nth {
                        0 => (head % group, head / group),
                        _ => (0, head),
                    };
                    let found = &found[row * self.key.heads + shared];
                    let from = [&found.query, &found.key, &found.value][nth];
                    out.copy_from_slice(&from[(of_group * places + place) * width..][..width]);
                }
            }
        })
    }

    /// The gradient by the bias: the sum over all rows, in order.
    fn gathered_bias<T: Real, S: Simd>(&self, simd: S, found: &[Found<T>]) -> Result<Tensor> {
        let (heads, group) = (self.query.heads, self.group());
        let (queries, keys) = (self.query.places, self.key.places);
        let sum = by_rows(simd, heads * queries, keys, |at, out| {
            let (head, query) = (at / queries, at % queries);
            for row in 0..self.rows {
                let stretch = &self.stretches(row)[query / QUERIES];
                let (seen, nth) = (stretch.keys.clone(), query - stretch.queries.start);
                let first = head % group * self.weights(row) + stretch.first + nth * seen.len();
                let found = &found[row * self.key.heads + head / group].bias[first..];
                out[seen].iter_mut().zip(found).for_each(|(sum, found)| *sum += *found);
            }
        });
        tensor(T::to_cpu_storage_owned(sum), (1, heads, queries, keys))
    }
}

/// The forward pass, in the type of the inputs.
struct Forward<'a> {
    attention: &'a Attention,
    inputs: &'a [(&'a CpuStorage, &'a Layout)],
}

impl WithSimd for Forward<'_> {
    type Output = Result<CpuStorage>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        match self.inputs[0].0 {
            CpuStorage::F64(_) => self.attention.forward::<f64, S>(simd, self.inputs),
            _ => self.attention.forward::<f32, S>(simd, self.inputs),
        }
    }
}

/// The backward pass, in the type of the inputs.
struct Backward<'a> {
    attention: &'a Attention,
    inputs: &'a [&'a Tensor],
    grad: &'a Tensor,
    is_biased: bool,
}

impl WithSimd for Backward<'_> {
    type Output = Result<(Vec<Tensor>, Option<Tensor>)>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Backward { attention, inputs, grad, is_biased } = self;
        match grad.dtype() {
            DType::F64 => attention.backward::<f64, S>(simd, inputs, grad, is_biased),
            _ => attention.backward::<f32, S>(simd, inputs, grad, is_biased),
        }
    }
}

/// Attention in the graph: a function of its inputs.
struct Mixed(Arc<Attention>);

impl Operation for Mixed {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let attention = &*self.0;
        let mixed = vectorised(Forward { attention, inputs })?;
        let query = attention.query;
        Ok((mixed, Shape::from((attention.rows, query.places, query.heads * attention.with.width))))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let found = self.0.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        let found = match found {
            Some(found) => found,
            None => {
                let attention = &*self.0;
                vectorised(Backward { attention, inputs, grad, is_biased: false })?.0
            }
        };
        Ok(found.into_iter().map(Some).collect())
    }
}

/// Attention as a function of its bias, which stands behind it: candle's operations have three
/// inputs at most. All gradients are computed here, and those by the inputs wait for [`Mixed`].
struct Biased {
    attention: Arc<Attention>,
    inputs: Vec<Tensor>,
}

impl Operation for Biased {
    fn name(&self) -> &'static str {
        "attention-bias"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        Ok((inputs[0].0.clone(), inputs[0].1.shape().clone()))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let of: Vec<&Tensor> = self.inputs.iter().collect();
        let attention = &*self.attention;
        let backward = Backward { attention, inputs: &of, grad, is_biased: true };
        let (found, bias) = vectorised(backward)?;
        let bias = bias.map(|bias| bias.to_dtype(inputs[1].dtype())).transpose()?;
        *self.attention.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(vec![Some(grad.clone()), bias])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(queries: usize, keys: usize, sees: impl Fn(usize, usize) -> bool) -> Vec<Stretch> {
        let mask = |query| (0..keys).map(move |key| (query, key)).collect::<Vec<_>>();
        let mask: Vec<Vec<f32>> = (0..queries)
            .map(mask)
            .map(|row| row.iter().map(|(q, k)| if sees(*q, *k) { 0.0 } else { MASKED }).collect())
            .collect();
        Stretch::all(queries, keys, |query| &mask[query])
    }

    #[test]
    fn stretches_hold_what_is_seen() {
        let of =
            |queries: Range<usize>, keys: Range<usize>, first| Stretch { queries, keys, first };
        let causal = stretches(300, 300, |query, key| key <= query);
        let right = [
            of(0..128, 0..128, 0),
            of(128..256, 0..256, 128 * 128),
            of(256..300, 0..300, 128 * 384),
        ];
        assert_eq!(causal, right);
        for length in [1, 40, 128, 129, 300, 700] {
            let all = stretches(length, length, |query, key| key <= query);
            assert_eq!(all.last().unwrap().weights().end, causal_weights(length), "{length}");
        }

        // Packed texts, of which one is longer than a stretch.
        let packed = stretches(200, 200, |query, key| (query < 180) == (key < 180));
        assert_eq!(packed, [of(0..128, 0..192, 0), of(128..200, 0..200, 128 * 192)]);
        let packed = stretches(256, 256, |query, key| query / 150 == key / 150);
        assert_eq!(packed[1], of(128..256, 0..256, 128 * 160));

        // Padding on both sides; and a query that sees nothing, which is given all.
        assert_eq!(stretches(2, 90, |_, key| (17..40).contains(&key)), [of(0..2, 16..48, 0)]);
        assert_eq!(stretches(2, 90, |query, _| query == 0), [of(0..2, 0..90, 0)]);
        assert_eq!(stretches(0, 5, |_, _| true), []);
        assert_eq!(stretches(3, 0, |_, _| true), [of(0..3, 0..0, 0)]);
    }
}
