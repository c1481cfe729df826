//! How our kernels run on the CPU: row by row in parallel, with sums in an order that no number of threads changes.

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::real::Real;

/// Rows one task takes. Sums over rows are made of sums over this many, added in order.
pub(super) const ROWS: usize = 64;

/// Numbers in, numbers out, for f32 and f64 alike.
pub(super) trait Kernel {
    /// Computes the output from contiguous inputs.
    fn run<T: Real>(&self, inputs: &[&[T]]) -> Vec<T>;
}

/// Runs a kernel on storages, as a candle custom operation is given them.
pub(super) fn run(kernel: &impl Kernel, inputs: &[(&CpuStorage, &Layout)]) -> Result<CpuStorage> {
    match inputs.first() {
        Some((CpuStorage::F32(_), _)) => Ok(f32::to_cpu_storage_owned(kernel.run(&slices::<f32>(inputs)?))),
        Some((CpuStorage::F64(_), _)) => Ok(f64::to_cpu_storage_owned(kernel.run(&slices::<f64>(inputs)?))),
        _ => bail!("the trainer's kernels take f32 and f64"),
    }
}

/// Runs a kernel on tensors; the result belongs to no graph.
pub(super) fn run_detached(kernel: &impl Kernel, inputs: &[&Tensor], shape: impl Into<Shape>) -> Result<Tensor> {
    let inputs: Vec<Tensor> = inputs.iter().map(|input| input.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = inputs.iter().map(Tensor::storage_and_layout).collect();
    let mut storages = Vec::with_capacity(guards.len());
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cpu(storage) => storages.push((storage, *layout)),
            _ => bail!("the trainer's kernels run on the CPU"),
        }
    }
    let device = candle_core::Device::Cpu;
    match run(kernel, &storages)? {
        CpuStorage::F32(values) => Tensor::from_vec(values, shape, &device),
        CpuStorage::F64(values) => Tensor::from_vec(values, shape, &device),
        _ => bail!("the trainer's kernels give f32 and f64"),
    }
}

fn slices<'a, T: WithDType>(inputs: &[(&'a CpuStorage, &Layout)]) -> Result<Vec<&'a [T]>> {
    let slice = |(storage, layout): &(&'a CpuStorage, &Layout)| match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!("the trainer's kernels take contiguous tensors"),
    };
    inputs.iter().map(slice).collect()
}

/// `n` rows of `width` numbers, each written by `write(row, out)`.
pub(super) fn by_rows<T: WithDType>(n: usize, width: usize, write: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut all = vec![T::from_f64(0.0); n * width];
    all.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(chunk, rows)| {
        rows.chunks_mut(width.max(1)).enumerate().for_each(|(row, out)| write(chunk * ROWS + row, out));
    });
    all
}

/// The sum over `n` rows of what `add(row, total)` adds to `width` totals.
pub(super) fn sum_of_rows<T: Real>(n: usize, width: usize, add: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let parts: Vec<Vec<T>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|chunk| {
            let mut total = vec![T::from_f64(0.0); width];
            (chunk * ROWS..n.min((chunk + 1) * ROWS)).for_each(|row| add(row, &mut total));
            total
        })
        .collect();
    let mut total = vec![T::from_f64(0.0); width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}
