//! Matrix products on the CPU, by `gemmkit`, whose calls are checked; it picks its kernels by what
//! the processor has.
//!
//! Every number of a product is a sum over the depth in order, in blocks of [`DEPTH`], with each
//! multiplication and addition rounded once. So its bits depend neither on how many threads share
//! the rows, nor on how wide the instructions are, nor on the caches.
//!
//! Products of bf16 are those of an instruction that adds up two at once, in f32; only the result
//! becomes bf16. Neither threads nor caches change their bits, but they are not those of f32.

use std::sync::Once;

use candle_core::{Layout, Result, WithDType, bail};
use gemmkit::{Bias, FusedScalar, MatMut, MatRef, Parallelism, tuning};
use half::bf16;
use rayon::prelude::*;

/// The depth that is summed up before it is added to what came before. `gemmkit` cuts the depth by
/// itself, but never below this, and where it cuts follows the size of the caches. With twice as
/// much, gradients by weights were slower with AVX2, whose packed panels are half as wide.
const DEPTH: usize = 256;

/// With fewer rows than this for each thread, or little more rows than columns, `gemmkit` shares
/// both; otherwise sharing rows alone is faster (`rooms -- products`).
const FEW_ROWS: usize = 64;
/// Columns that walk over the same left side, from which on it is packed first. In a training step
/// it comes from far away, unlike in a loop that measures one product; `gemmkit` begins with 1,024,
/// with which GPT-2's step was slower on an EPYC Zen 4.
const PACKED_FROM: usize = 64;
/// Columns whose places in memory are a multiple of so many bytes apart share the few places of a
/// cache that these have, and push one another out before all of them are packed.
const CROWDED: usize = 4_096;
/// Numbers that are left between columns instead: a line of the cache.
const GAP: usize = 16;
/// Rows of a task are a multiple of this, so that no block of a kernel is cut.
const ROWS: usize = 16;

/// Numbers that matrices are made of.
pub(super) trait Factor: WithDType + FusedScalar {
    /// [`DEPTH`], or all of it where what is written cannot be added to without a rounding.
    const BLOCK: usize;
}

impl Factor for f64 {
    const BLOCK: usize = DEPTH;
}

impl Factor for f32 {
    const BLOCK: usize = DEPTH;
}

impl Factor for bf16 {
    const BLOCK: usize = usize::MAX;
}

/// A matrix inside a slice: the number in row `i` and column `j` stands at `i · down + j · right`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    numbers: &'a [T],
    rows: usize,
    columns: usize,
    down: usize,
    right: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after the other.
    pub(super) fn new(numbers: &'a [T], rows: usize, columns: usize) -> Self {
        Matrix { numbers, rows, columns, down: columns, right: 1 }
    }

    /// Rows that begin `down` numbers apart.
    pub(super) fn apart(numbers: &'a [T], rows: usize, columns: usize, down: usize) -> Self {
        Matrix { numbers, rows, columns, down, right: 1 }
    }

    /// The last two dimensions of a tensor with these numbers, at the place `nth` of the dimensions
    /// before them.
    pub(super) fn of(numbers: &'a [T], layout: &Layout, nth: usize) -> Result<Self> {
        let (dims, strides) = (layout.dims(), layout.stride());
        let Some(outer) = dims.len().checked_sub(2) else { bail!("a matrix of {dims:?}") };

        let mut start = layout.start_offset();
        let mut rest = nth;
        for dim in (0..outer).rev() {
            start += rest % dims[dim] * strides[dim];
            rest /= dims[dim];
        }

        Ok(Matrix {
            numbers: numbers.get(start..).unwrap_or_default(),
            rows: dims[outer],
            columns: dims[outer + 1],
            down: strides[outer],
            right: strides[outer + 1],
        })
    }

    /// Rows and columns exchanged.
    pub(super) fn t(self) -> Self {
        let Matrix { numbers, rows, columns, down, right } = self;
        Matrix { numbers, rows: columns, columns: rows, down: right, right: down }
    }

    /// Some of the rows.
    pub(super) fn rows(self, first: usize, rows: usize) -> Self {
        Matrix { numbers: self.numbers.get(first * self.down..).unwrap_or_default(), rows, ..self }
    }

    fn columns(self, first: usize, columns: usize) -> Self {
        self.t().rows(first, columns).t()
    }

    /// Whether it stands column by column, and so that they are in each other's way.
    fn has_crowded_columns(self) -> bool {
        self.down == 1 && (self.right * size_of::<T>()).is_multiple_of(CROWDED)
    }

    fn view(self) -> MatRef<'a, T> {
        let Matrix { numbers, rows, columns, down, right } = self;
        MatRef::new(numbers, rows, columns, down as isize, right as isize)
    }
}

/// Columns that [are crowded](Matrix::has_crowded_columns), a little further apart.
fn spaced<T: Factor>(matrix: Matrix<T>) -> Vec<T> {
    let gap = [T::from_f64(0.0); GAP];
    let mut numbers = Vec::with_capacity((matrix.rows + GAP) * matrix.columns);
    for column in 0..matrix.columns {
        numbers.extend_from_slice(&matrix.numbers[column * matrix.right..][..matrix.rows]);
        numbers.extend_from_slice(&gap);
    }
    numbers
}

/// What stands in the place of a product before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that counts.
    Nothing,
    /// A sum that the product is added to.
    Sum,
}

/// `a · b`, and the bias added to each row; its rows are shared by all threads.
pub(super) fn product<T: Factor>(a: Matrix<T>, b: Matrix<T>, bias: Option<&[T]>) -> Vec<T> {
    let mut out = vec![T::from_f64(0.0); a.rows * b.columns];
    shared(a, b, bias, &mut out, Before::Nothing);
    out
}

/// Adds `a · b` to `sum`; its rows are shared by all threads.
pub(super) fn add_product<T: Factor>(a: Matrix<T>, b: Matrix<T>, sum: &mut [T]) {
    shared(a, b, None, sum, Before::Sum);
}

/// `a · b` into `out`, on this thread alone.
pub(super) fn product_into<T: Factor>(a: Matrix<T>, b: Matrix<T>, out: &mut [T]) {
    write(a, b, None, out, Before::Nothing, Parallelism::Serial);
}

/// Adds `a · b` to `sum`, on this thread alone.
pub(super) fn add_product_into<T: Factor>(a: Matrix<T>, b: Matrix<T>, sum: &mut [T]) {
    write(a, b, None, sum, Before::Sum, Parallelism::Serial);
}

fn shared<T: Factor>(
    a: Matrix<T>,
    b: Matrix<T>,
    bias: Option<&[T]>,
    out: &mut [T],
    before: Before,
) {
    let threads = rayon::current_num_threads();

    if a.rows < FEW_ROWS * threads || 3 * a.rows < 4 * b.columns {
        return write(a, b, bias, out, before, Parallelism::Rayon(threads));
    }

    let rows = a.rows.div_ceil(threads).next_multiple_of(ROWS);
    let tasks = out.par_chunks_mut((rows * b.columns).max(1)).enumerate();
    tasks.for_each(|(nth, out)| {
        let part = a.rows(nth * rows, out.len() / b.columns);
        write(part, b, bias, out, before, Parallelism::Serial);
    });
}

fn write<T: Factor>(
    a: Matrix<T>,
    b: Matrix<T>,
    bias: Option<&[T]>,
    out: &mut [T],
    before: Before,
    threads: Parallelism,
) {
    take_one_way();
    let depth = a.columns;
    let [zero, one] = [0.0, 1.0].map(T::from_f64);

    // A product of no depth is zero, and has its bias all the same.
    for first in (0..depth.max(1)).step_by(T::BLOCK) {
        let deep = T::BLOCK.min(depth - first);
        let of_before = if first == 0 && before == Before::Nothing { zero } else { one };
        let bias = bias.filter(|_| first + deep == depth).map(Bias::PerCol);
        let mut block = a.columns(first, deep);
        let copied = block.has_crowded_columns().then(|| spaced(block));
        if let Some(numbers) = &copied {
            block = Matrix { numbers, right: a.rows + GAP, ..block };
        }
        gemmkit::gemm_fused(
            one,
            block.view(),
            b.rows(first, deep).view(),
            of_before,
            MatMut::from_row_major(out, a.rows, b.columns),
            bias,
            None,
            threads,
        );
    }
}

/// Takes away the ways of `gemmkit` for vectors and tiny matrices, which sum in as many lanes as
/// the instructions are wide, and packs early.
fn take_one_way() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        tuning::set_gemv_threshold(0);
        tuning::set_small_mn_dim(0);
        tuning::set_kc_min(DEPTH);
        tuning::set_lhs_pack_threshold(PACKED_FROM);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, by: f64) -> Vec<f64> {
        (0..n).map(|at| (at as f64 * by).sin()).collect()
    }

    fn by_hand(a: Matrix<f64>, b: Matrix<f64>, bias: Option<&[f64]>) -> Vec<f64> {
        let cell = |i: usize, j: usize| -> f64 {
            let sum: f64 = (0..a.columns)
                .map(|k| a.numbers[i * a.down + k * a.right] * b.numbers[k * b.down + j * b.right])
                .sum();
            sum + bias.map_or(0.0, |bias| bias[j])
        };
        (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| cell(i, j))).collect()
    }

    #[test]
    fn products_of_all_shapes_are_right() {
        let shapes = [
            (0, 3, 4),
            (3, 0, 4),
            (3, 4, 0),
            (1, 1, 1),
            (1, 70, 9),
            (9, 1, 70),
            (5, 7, 3),
            (130, 33, 600),
            (300, 40, 1100),
            // Columns that are in each other's way.
            (1024, 9, 70),
        ];
        for (rows, columns, depth) in shapes {
            let (x, y) = (numbers(rows * depth, 0.7), numbers(depth * columns, 1.3));
            let bias = numbers(columns, 2.1);
            let turned = [false, true];
            for (turn_a, turn_b) in turned.iter().flat_map(|a| turned.map(|b| (*a, b))) {
                let a = match turn_a {
                    true => Matrix::new(&x, depth, rows).t(),
                    false => Matrix::new(&x, rows, depth),
                };
                let b = match turn_b {
                    true => Matrix::new(&y, columns, depth).t(),
                    false => Matrix::new(&y, depth, columns),
                };

                for bias in [None, Some(&bias[..])] {
                    let (ours, right) = (product(a, b, bias), by_hand(a, b, bias));
                    assert_eq!(ours.len(), right.len());
                    let close = ours.iter().zip(&right).all(|(x, y)| (x - y).abs() < 1e-11);
                    assert!(close, "{rows} {columns} {depth} {turn_a} {turn_b}");
                }
            }
        }
    }

    /// Alone, in parts, by any number of threads: the same bits.
    #[test]
    fn threads_change_no_bit() {
        let (rows, columns, depth) = (517, 70, 1300);
        let x: Vec<f32> = numbers(rows * depth, 0.7).iter().map(|x| *x as f32).collect();
        let y: Vec<f32> = numbers(depth * columns, 1.3).iter().map(|x| *x as f32).collect();
        let (a, b) = (Matrix::new(&x, rows, depth), Matrix::new(&y, depth, columns));

        let mut alone = vec![0.0; rows * columns];
        product_into(a, b, &mut alone);
        for threads in [1, 2, 3, 9] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| product(a, b, None)) == alone, "{threads}");
        }

        for row in [0, 1, 516] {
            let one = product(a.rows(row, 1), b, None);
            assert!(one == alone[row * columns..][..columns], "row {row}");
        }
    }

    /// Of bf16: right to the rounding of its results, and the same bits by any number of threads.
    #[test]
    fn products_of_bf16_are_rounded_once() {
        let shapes = [(0, 3, 4), (3, 4, 0), (1, 1, 1), (5, 7, 3), (300, 40, 1101), (70, 600, 64)];
        for (rows, columns, depth) in shapes {
            let halves = |n: usize, by: f64| -> Vec<bf16> {
                numbers(n, by).iter().map(|x| bf16::from_f64(*x)).collect()
            };
            let wide = |x: &[bf16]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
            let (x, y) = (halves(rows * depth, 0.7), halves(depth * columns, 1.3));
            let bias = halves(columns, 2.1);

            let a = Matrix::new(&x, rows, depth);
            let b = Matrix::new(&y, columns, depth).t();
            let (wide_x, wide_y, wide_bias) = (wide(&x), wide(&y), wide(&bias));
            let right = by_hand(
                Matrix::new(&wide_x, rows, depth),
                Matrix::new(&wide_y, columns, depth).t(),
                Some(&wide_bias),
            );

            let ours = product(a, b, Some(&bias));
            let close = |(x, y): (&bf16, &f64)| (x.to_f64() - y).abs() <= y.abs() / 250.0 + 1e-4;
            assert_eq!(ours.len(), right.len());
            assert!(ours.iter().zip(&right).all(close), "{rows} {columns} {depth}");

            for threads in [1, 2, 9] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(pool.install(|| product(a, b, Some(&bias))) == ours, "{threads}");
            }
        }
    }

    /// What `gemm` of the same processor gives, which takes each sum in order as well.
    #[test]
    fn products_are_those_of_candle() {
        use candle_core::{Device, Tensor};
        let (rows, columns, depth) = (70, 40, 384);
        let x: Vec<f32> = numbers(rows * depth, 0.7).iter().map(|x| *x as f32).collect();
        let y: Vec<f32> = numbers(depth * columns, 1.3).iter().map(|x| *x as f32).collect();
        let ours = product(Matrix::new(&x, rows, depth), Matrix::new(&y, depth, columns), None);
        let tensor = |x: Vec<f32>, shape| Tensor::from_vec(x, shape, &Device::Cpu).unwrap();
        let theirs = tensor(x, (rows, depth)).matmul(&tensor(y, (depth, columns))).unwrap();
        let theirs = theirs.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let far = ours.iter().zip(&theirs).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{far}");
    }
}
