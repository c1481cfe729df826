//! Sum of divergences of rows of logits from a teacher's, by a temperature: `T² Σ pₜ (ln pₜ − ln
//! pₛ)` with `p = softmax(l / T)`; `dlₛ = g · T (pₛ − pₜ)`. The square keeps the gradient as large
//! as at `T = 1` (Hinton et al. 2015, arXiv:1503.02531).

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor};
use pulp::Simd;

use super::cross_entropy::sum_above;
use super::operation::Operation;
use super::real::{Real, sum2};
use super::rows::{Kernel, by_rows, run, run_detached, sum_of_rows, with_storages};

/// See the module.
pub(super) struct DivergenceSum {
    /// The teacher's logits, `[rows, classes]`.
    pub(super) teacher: Tensor,
    pub(super) temperature: f64,
    pub(super) classes: usize,
}

impl Operation for DivergenceSum {
    fn name(&self) -> &'static str {
        "divergence"
    }

    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let found = with_storages(&[&self.teacher], |teacher| run(self, &[inputs[0], teacher[0]]))?;
        Ok((found, Shape::from(())))
    }

    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let student = inputs[0];
        let found =
            run_detached(&Backward(self), &[student, &self.teacher, grad], student.shape())?;
        Ok(vec![Some(found)])
    }
}

impl Kernel for DivergenceSum {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (student, teacher, n) = (inputs[0], inputs[1], self.classes);
        let colder = T::from_f64(1.0 / self.temperature);
        let total: Vec<f64> = sum_of_rows(simd, student.len() / n.max(1), 1, |row, total| {
            let (student, teacher) = (&student[row * n..][..n], &teacher[row * n..][..n]);
            let (of_student, above_student) = sum_above(student, colder);
            let (of_teacher, above_teacher) = sum_above(teacher, colder);
            let apart = sum2(student, teacher, |student, teacher| {
                let own = (teacher - of_teacher) * colder;
                own.exp() * (own - (student - of_student) * colder)
            });
            total[0] += (apart / above_teacher).to_f64() + above_student.to_f64().ln()
                - above_teacher.to_f64().ln();
        });
        let hotter = self.temperature.powi(2);
        total.into_iter().map(|total| T::from_f64(hotter * total)).collect()
    }
}

struct Backward<'a>(&'a DivergenceSum);

impl Kernel for Backward<'_> {
    fn run<T: Real, S: Simd>(&self, simd: S, inputs: &[&[T]]) -> Vec<T> {
        let (student, teacher, n) = (inputs[0], inputs[1], self.0.classes);
        let colder = T::from_f64(1.0 / self.0.temperature);
        let grad = T::from_f64(self.0.temperature) * inputs[2][0];
        by_rows(simd, student.len() / n.max(1), n, |row, out| {
            let (student, teacher) = (&student[row * n..][..n], &teacher[row * n..][..n]);
            let (of_student, above_student) = sum_above(student, colder);
            let (of_teacher, above_teacher) = sum_above(teacher, colder);
            let [by_student, by_teacher] = [above_student, above_teacher].map(|above| grad / above);
            let all = out.iter_mut().zip(student.iter().zip(teacher));
            all.for_each(|(out, (student, teacher))| {
                *out = by_student * ((*student - of_student) * colder).exp()
                    - by_teacher * ((*teacher - of_teacher) * colder).exp();
            });
        })
    }
}
