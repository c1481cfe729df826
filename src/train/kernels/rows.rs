//! How our kernels run on the CPU: row by row in parallel, with sums in an order that no number of
//! threads changes.

use std::borrow::Cow;
use std::ops::Range;

use candle_core::{
    CpuStorage, D, DType, Layout, Result, Shape, Storage, Tensor, Var, WithDType, bail,
};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::instructions::{Instructions, vectorised};
use super::product::{Factor, Matrix, product, product_into};
use super::real::Real;

/// Rows one task takes. Sums over rows are made of sums over this many, added in order.
pub(super) const ROWS: usize = 64;
/// Numbers one task takes, where there are no rows.
const CHUNK: usize = 8_192;

/// Numbers in, numbers out, for f32 and f64 alike. Halves are computed with as f32.
pub(super) trait Kernel {
    /// Computes the output from contiguous inputs, with vector instructions.
    ///
    /// A loop gets the instructions only where the compiler puts it into a function that has them,
    /// which it does with a closure that it finds in one place: so all loops are made once for each
    /// set, and what they call is `#[inline(always)]`.
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T>;
}

/// A kernel of matrix products alone, for numbers of bf16 as well.
pub(super) trait Products {
    /// Computes the output from contiguous inputs.
    fn run<T: Factor>(&self, inputs: &[&[T]]) -> Vec<T>;
}

/// Numbers as kernels compute with them: f32 and f64 as they stand, halves as f32, and in products
/// bf16 as such.
pub(super) trait Stored: Factor {
    /// The numbers of a contiguous storage, copied only where they are halves.
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [Self]>>;

    /// Numbers as a storage of the same type as `like`.
    fn store(values: Vec<Self>, like: &CpuStorage) -> Result<CpuStorage>;

    /// The numbers of a whole storage, copied only where they are halves.
    fn take(storage: CpuStorage, _: &Layout) -> Result<Vec<Self>> {
        Self::cpu_storage_data(storage)
    }
}

impl Stored for f64 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [f64]>> {
        slice(storage, layout).map(Cow::Borrowed)
    }

    fn store(values: Vec<f64>, _: &CpuStorage) -> Result<CpuStorage> {
        Ok(CpuStorage::F64(values))
    }
}

impl Stored for f32 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [f32]>> {
        widened(storage, layout)
    }

    fn store(values: Vec<f32>, like: &CpuStorage) -> Result<CpuStorage> {
        narrowed(values, like)
    }

    fn take(storage: CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
        match storage {
            CpuStorage::F32(values) => Ok(values),
            halves => Ok(widened(&halves, layout)?.into_owned()),
        }
    }
}

impl Stored for bf16 {
    fn read<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [bf16]>> {
        match storage {
            CpuStorage::BF16(_) => slice(storage, layout).map(Cow::Borrowed),
            // A bias.
            _ => Ok(Cow::Owned(
                slice::<f32>(storage, layout)?.iter().map(|x| bf16::from_f32(*x)).collect(),
            )),
        }
    }

    fn store(values: Vec<bf16>, _: &CpuStorage) -> Result<CpuStorage> {
        Ok(CpuStorage::BF16(values))
    }
}

/// Runs products on storages, like [`run`]. Of bf16 they are taken as such where there is an
/// instruction for it, otherwise in f32.
pub(super) fn run_products(
    products: &impl Products,
    inputs: &[(&CpuStorage, &Layout)],
) -> Result<CpuStorage> {
    fn of<T: Stored>(
        products: &impl Products,
        inputs: &[(&CpuStorage, &Layout)],
        first: &CpuStorage,
    ) -> Result<CpuStorage> {
        T::store(of_numbers(inputs, |inputs| products.run::<T>(inputs))?, first)
    }

    match inputs.first() {
        Some((first @ CpuStorage::F64(_), _)) => of::<f64>(products, inputs, first),
        Some((first @ CpuStorage::BF16(_), _)) if Instructions::used().multiplies_bf16() => {
            of::<bf16>(products, inputs, first)
        }
        Some((first, _)) => of::<f32>(products, inputs, first),
        None => bail!("a product without input"),
    }
}

/// Runs a kernel on storages, as a candle custom operation is given them; the result has the type
/// of the first.
pub(super) fn run(kernel: &impl Kernel, inputs: &[(&CpuStorage, &Layout)]) -> Result<CpuStorage> {
    fn of<T: Real>(
        kernel: &impl Kernel,
        inputs: &[(&CpuStorage, &Layout)],
        first: &CpuStorage,
    ) -> Result<CpuStorage> {
        T::store(of_numbers(inputs, |inputs| vectorised(Run { kernel, inputs }))?, first)
    }

    match inputs.first() {
        Some((first @ CpuStorage::F64(_), _)) => of::<f64>(kernel, inputs, first),
        Some((first, _)) => of::<f32>(kernel, inputs, first),
        None => bail!("a kernel without input"),
    }
}

/// A kernel and what it runs on.
struct Run<'a, K, T> {
    kernel: &'a K,
    inputs: &'a [&'a [T]],
}

impl<K: Kernel, T: Real> WithSimd for Run<'_, K, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<T> {
        self.kernel.run(simd, self.inputs)
    }
}

/// What `f` makes of the numbers of contiguous storages.
pub(super) fn of_numbers<T: Stored, R>(
    inputs: &[(&CpuStorage, &Layout)],
    f: impl FnOnce(&[&[T]]) -> R,
) -> Result<R> {
    let read: Vec<Cow<[T]>> =
        inputs.iter().map(|(storage, layout)| T::read(storage, layout)).collect::<Result<_>>()?;
    Ok(f(&read.iter().map(AsRef::as_ref).collect::<Vec<&[T]>>()))
}

/// What `f` makes of the numbers of tensors.
pub(super) fn with_numbers<T: Stored, R>(
    inputs: &[&Tensor],
    f: impl FnOnce(&[&[T]]) -> R,
) -> Result<R> {
    with_storages(inputs, |storages| of_numbers(storages, f))
}

/// Runs a kernel on tensors; the result belongs to no graph and has the type of the first.
pub(super) fn run_detached(
    kernel: &impl Kernel,
    inputs: &[&Tensor],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    tensor(with_storages(inputs, |storages| run(kernel, storages))?, shape)
}

/// What `f` makes of the storages of tensors on the CPU.
pub(super) fn with_storages<R>(
    inputs: &[&Tensor],
    f: impl FnOnce(&[(&CpuStorage, &Layout)]) -> Result<R>,
) -> Result<R> {
    let inputs: Vec<Tensor> =
        inputs.iter().map(|input| input.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = inputs.iter().map(Tensor::storage_and_layout).collect();
    let mut storages = Vec::with_capacity(guards.len());

    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cpu(storage) => storages.push((storage, *layout)),
            _ => bail!("the trainer's kernels run on the CPU"),
        }
    }

    f(&storages)
}

/// A storage as a tensor that belongs to no graph.
pub(super) fn tensor(storage: CpuStorage, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(variable(storage, shape)?.as_detached_tensor())
}

/// A storage as a variable.
pub(super) fn variable(storage: CpuStorage, shape: impl Into<Shape>) -> Result<Var> {
    let device = candle_core::Device::Cpu;
    match storage {
        CpuStorage::F32(values) => Var::from_vec(values, shape, &device),
        CpuStorage::F64(values) => Var::from_vec(values, shape, &device),
        CpuStorage::BF16(values) => Var::from_vec(values, shape, &device),
        CpuStorage::F16(values) => Var::from_vec(values, shape, &device),
        _ => bail!("the trainer's kernels give float tensors"),
    }
}

/// [`run_detached`] with a result of type `dtype`, computed as such from the first input on.
pub(super) fn run_detached_as(
    dtype: DType,
    kernel: &impl Kernel,
    inputs: &[&Tensor],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let first = inputs.first().map(|first| first.to_dtype(dtype)).transpose()?;
    let inputs: Vec<&Tensor> = first.iter().chain(inputs.iter().skip(1).copied()).collect();
    run_detached(kernel, &inputs, shape)
}

/// The matrix product of tensors over their last two dimensions, outside of any graph; halves are
/// added up in f32.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    fn of<T: Factor>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let ((at_a, a_at), (at_b, b_at)) = (a.storage_and_layout(), b.storage_and_layout());
        let (Storage::Cpu(at_a), Storage::Cpu(at_b)) = (&*at_a, &*at_b) else {
            bail!("the trainer's kernels run on the CPU")
        };
        let (numbers_a, numbers_b) =
            (T::cpu_storage_as_slice(at_a)?, T::cpu_storage_as_slice(at_b)?);
        let matrices = |nth| {
            Ok::<_, candle_core::Error>((
                Matrix::of(numbers_a, a_at, nth)?,
                Matrix::of(numbers_b, b_at, nth)?,
            ))
        };

        let outer = a.rank().saturating_sub(2);
        let (rows, columns) = (a.dim(D::Minus2)?, b.dim(D::Minus1)?);
        let depths = (a.dim(D::Minus1)?, b.dim(D::Minus2)?);
        if a.dims()[..outer] != b.dims()[..b.rank() - 2] || depths.0 != depths.1 {
            bail!("matrices {:?} and {:?} have no product", a.dims(), b.dims());
        }

        let mut dims = a.dims()[..outer].to_vec();
        let all: usize = dims.iter().product();
        dims.extend([rows, columns]);
        if all == 1 {
            let (a, b) = matrices(0)?;
            return Tensor::from_vec(product(a, b, None), dims, &candle_core::Device::Cpu);
        }

        let mut out = vec![T::from_f64(0.0); all * rows * columns];
        for (nth, out) in out.chunks_mut((rows * columns).max(1)).enumerate() {
            let (a, b) = matrices(nth)?;
            product_into(a, b, out);
        }
        Tensor::from_vec(out, dims, &candle_core::Device::Cpu)
    }

    match a.dtype() {
        DType::F64 => of::<f64>(a, b),
        DType::F32 => of::<f32>(a, b),
        DType::BF16 if Instructions::used().multiplies_bf16() => of::<bf16>(a, b),
        dtype => of::<f32>(&a.to_dtype(DType::F32)?, &b.to_dtype(DType::F32)?)?.to_dtype(dtype),
    }
}

/// The numbers of a contiguous storage.
pub(super) fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!("the trainer's kernels take contiguous tensors"),
    }
}

fn widened<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [f32]>> {
    fn copied<T: WithDType>(halves: &[T], convert: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
        let mut wide = vec![0.0; halves.len()];
        let chunks = wide.par_chunks_mut(ROWS * ROWS).zip(halves.par_chunks(ROWS * ROWS));
        chunks.for_each(|(wide, halves)| convert(halves, wide));
        wide
    }
    Ok(match storage {
        CpuStorage::BF16(_) => copied(slice::<bf16>(storage, layout)?, |halves, wide| {
            halves.convert_to_f32_slice(wide)
        })
        .into(),
        CpuStorage::F16(_) => {
            copied(slice::<f16>(storage, layout)?, |halves, wide| halves.convert_to_f32_slice(wide))
                .into()
        }
        _ => slice::<f32>(storage, layout)?.into(),
    })
}

fn narrowed(values: Vec<f32>, like: &CpuStorage) -> Result<CpuStorage> {
    fn copied<T: WithDType>(values: &[f32], convert: impl Fn(&[f32], &mut [T]) + Sync) -> Vec<T> {
        let mut halves = vec![T::from_f64(0.0); values.len()];
        let chunks = halves.par_chunks_mut(ROWS * ROWS).zip(values.par_chunks(ROWS * ROWS));
        chunks.for_each(|(halves, values)| convert(values, halves));
        halves
    }
    Ok(match like {
        CpuStorage::F32(_) => CpuStorage::F32(values),
        CpuStorage::BF16(_) => CpuStorage::BF16(copied(&values, |values, halves| {
            halves.convert_from_f32_slice(values)
        })),
        CpuStorage::F16(_) => {
            CpuStorage::F16(copied(&values, |values, halves| halves.convert_from_f32_slice(values)))
        }
        _ => bail!("the trainer's kernels take float tensors"),
    })
}

/// `n` numbers, written a chunk at a time by `write(which of them, out)`.
pub(super) fn each<T: WithDType, S: Simd>(
    simd: S,
    n: usize,
    write: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let mut all = vec![T::from_f64(0.0); n];
    all.par_chunks_mut(CHUNK).enumerate().for_each(|(nth, out)| {
        simd.vectorize(|| write(nth * CHUNK..nth * CHUNK + out.len(), out));
    });
    all
}

/// `n` rows of `width` numbers, each written by `write(row, out)`.
pub(super) fn by_rows<T: WithDType, S: Simd>(
    simd: S,
    n: usize,
    width: usize,
    write: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    let mut all = vec![T::from_f64(0.0); n * width];
    all.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(chunk, rows)| {
        simd.vectorize(|| {
            for (row, out) in rows.chunks_mut(width.max(1)).enumerate() {
                write(chunk * ROWS + row, out);
            }
        });
    });
    all
}

/// The sum over `n` rows of what `add(row, total)` adds to `width` totals.
pub(super) fn sum_of_rows<T: Real, S: Simd>(
    simd: S,
    n: usize,
    width: usize,
    add: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    let parts: Vec<Vec<T>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|chunk| {
            let mut total = vec![T::from_f64(0.0); width];
            simd.vectorize(|| {
                for row in chunk * ROWS..n.min((chunk + 1) * ROWS) {
                    add(row, &mut total);
                }
            });
            total
        })
        .collect();

    let mut total = vec![T::from_f64(0.0); width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn products_of_batches_are_those_of_candle() {
        let tensor = |dims: &[usize], by: f64| {
            let numbers = (0..dims.iter().product()).map(|at: usize| (at as f64 * by).sin());
            Tensor::from_vec(numbers.collect::<Vec<f64>>(), dims, &Device::Cpu).unwrap()
        };
        let left = tensor(&[2, 3, 5, 7], 0.7);
        // As heads stand: turned, cut out of more rows, transposed.
        let right = tensor(&[4, 7, 3, 5], 1.3).narrow(0, 1, 2).unwrap();
        let right = right.transpose(1, 2).unwrap();

        let same = |a: &Tensor, b: &Tensor| {
            let (ours, theirs) = (matmul(a, b).unwrap(), a.contiguous().unwrap());
            let theirs = theirs.matmul(&b.contiguous().unwrap()).unwrap();
            assert_eq!(ours.dims(), theirs.dims());
            let far = (ours - theirs).unwrap().abs().unwrap().max_all().unwrap();
            assert!(far.to_scalar::<f64>().unwrap() < 1e-12);
        };
        same(&left, &right);
        same(&left.t().unwrap(), &left);
        same(&left.get(1).unwrap().get(2).unwrap(), &right.get(0).unwrap().get(1).unwrap());

        for (a, b) in [(&left, &left), (&left, &right.get(0).unwrap())] {
            assert!(matmul(a, b).unwrap_err().to_string().contains("have no product"));
        }
    }
}
