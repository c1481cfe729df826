//! `distill`: predict what a teacher predicts, where the language objective predicts something: `T²
//! KL(teacher ‖ student)` with softmax at the temperature `T` (Hinton et al. 2015,
//! arXiv:1503.02531; DistilBERT has 2). The teacher is what the strategy `teacher` keeps.
//!
//! Beside it stand `distill_cls`, `distill_hidden` and `distill_attention`. Each begins at a step
//! of its own, so that one can follow on another: the curriculum distillation that was asked for is
//! the first token alone until step 10,000, hidden states too from there, attention too from
//! 30,000.

use candle_core::{DType, Result, Tensor};
use serde::Deserialize;

use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::kernels;
use crate::train::model::parameters::{Declared, Init, Part, Role};
use crate::train::model::{Architecture, Inputs, Pass, Tokens};
use crate::train::strategy::steps_or_share;

/// The strategy whose teacher it is.
pub(super) const TEACHER: &str = "teacher";

/// See the module.
pub static DISTILL: Kind = Kind {
    name: "distill",
    about: "predict what a teacher predicts (strategy `teacher`)",
    unit: "nats per labelled token",
    languages: &[Language::Masked, Language::Causal, Language::Spans],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(section.parse::<Distill>()?)),
};

/// The section `[train.objective.distill]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Distill {
    /// Weight of the term, 0 and more.
    weight: f64,
    /// Steps before it begins.
    begin: u64,
    /// The same as a share of the steps, [0, 1]; 0 goes by `begin`.
    begin_share: f64,
    /// Of both softmaxes, [0.1, 100].
    temperature: f64,
}

impl Objective for Distill {
    fn weight(&self, at: At) -> f64 {
        let Distill { weight, begin, begin_share, .. } = *self;
        Staged { weight, begin, begin_share }.at(at)
    }

    fn needs(&self, _: &dyn Architecture) -> Needs {
        Needs { teacher: Some(TEACHER), ..Needs::default() }
    }

    fn count(&self, rows: &RowSet) -> usize {
        rows.labels.len()
    }

    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Result<Tensor> {
        divergence(cx, rows, seen, teacher, self.temperature)
    }
}

/// The section of a term of which nothing but its weight and its beginning is set.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staged {
    /// Weight of the term, 0 and more.
    weight: f64,
    /// Steps before it begins.
    begin: u64,
    /// The same as a share of the steps, [0, 1]; 0 goes by `begin`.
    begin_share: f64,
}

impl Staged {
    /// The weight at a step: none before the term begins.
    pub(super) fn at(&self, at: At) -> f64 {
        let begin = steps_or_share(self.begin, self.begin_share, at.total);
        if at.step > begin { self.weight } else { 0.0 }
    }
}

/// Tokens of all rows, the decoder's too, padding left out.
pub(super) fn n_tokens(rows: &RowSet) -> usize {
    let decoded = rows.decoder.iter().flat_map(|rows| &rows.ids);
    rows.rows.ids.iter().chain(decoded).map(Vec::len).sum()
}

/// The tokens that the state of a step is of.
pub(super) fn tokens_of<'a>(cx: &Forward, inputs: &'a Inputs, step: usize) -> &'a Tokens {
    let decoded = inputs.decoder.as_ref().filter(|_| step >= cx.model.turn());
    decoded.unwrap_or(&inputs.tokens)
}

/// One over the number of steps that are looked at beside this one, in its stack.
pub(super) fn share_of_step(
    model: &dyn Architecture,
    step: usize,
    steps: impl Iterator<Item = usize>,
) -> f64 {
    let is_decoded = |step: usize| step >= model.turn();
    1.0 / steps.filter(|other| is_decoded(*other) == is_decoded(step)).count().max(1) as f64
}

/// The divergence of the student from a teacher, where something is predicted.
pub(super) fn divergence(
    cx: &Forward,
    rows: &RowSet,
    seen: &Seen,
    teacher: Option<&Taught>,
    temperature: f64,
) -> Result<Tensor> {
    let teacher = present(teacher)?;
    let student = logits(cx.model, &cx.pass, rows, seen)?;
    let teacher = logits(teacher.model, &teacher.pass, rows, &teacher.seen)?;
    kernels::divergence_sum(&student, &teacher, temperature)
}

/// The teacher that an objective asked for.
pub(super) fn present<'a, 'b>(teacher: Option<&'a Taught<'b>>) -> Result<&'a Taught<'b>> {
    teacher.ok_or_else(|| candle_core::Error::msg("there is no teacher"))
}

/// The logits where something is predicted, never in halves.
fn logits(model: &dyn Architecture, pass: &Pass, rows: &RowSet, seen: &Seen) -> Result<Tensor> {
    let chosen = rows.predicted(&seen.last)?;
    wide(&model.head(pass, &chosen)?.logits()?)
}

/// Never in halves.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::F64 { Ok(x.clone()) } else { x.to_dtype(DType::F32) }
}

/// A projection from the width of a student to that of its teacher, where they differ.
pub(super) fn projection(
    of: &'static str,
    student: &dyn Architecture,
    teacher: Option<&dyn Architecture>,
) -> Vec<Declared> {
    let own = student.size().width;
    let Some(other) = teacher.map(|teacher| teacher.size().width).filter(|other| *other != own)
    else {
        return Vec::new();
    };
    let part = Part::new(student.steps(), Role::Beside(of));
    let init = Init::Normal(1.0 / (own as f64).sqrt());
    vec![Declared { name: format!("{of}.projection.weight"), shape: vec![other, own], init, part }]
}

/// Hidden states of the student as wide as those of its teacher.
pub(super) fn projected(
    of: &str,
    cx: &Forward,
    teacher: &Taught,
    hidden: &Tensor,
) -> Result<Tensor> {
    match cx.model.size().width == teacher.model.size().width {
        true => Ok(hidden.clone()),
        false => {
            let weight = cx.pass.weights.get(&format!("{of}.projection.weight"))?;
            kernels::linear(hidden, weight, None)
        }
    }
}

/// Whether a term that looks at hidden states reaches a parameter.
pub(super) fn reaches_states(part: &Part, of: &str) -> bool {
    match part.role {
        Role::Beside(other) => other == of,
        Role::Head => false,
        _ => true,
    }
}

/// The step of a teacher that a student's step learns from: as far up (TinyBERT,
/// arXiv:1909.10351), in its encoder or its decoder.
pub(super) fn mapped(step: usize, student: &dyn Architecture, teacher: &dyn Architecture) -> usize {
    let stack = |model: &dyn Architecture| match step < student.turn() {
        true => 0..model.turn(),
        false => model.turn()..model.steps(),
    };
    let (own, other) = (stack(student), stack(teacher));
    let [last, others] = [own.len() - 1, other.len() - 1];
    other.start + ((step - own.start) * others + last / 2) / last.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::tiny_encoder;

    /// Half-open stages, as asked for.
    #[test]
    fn terms_follow_on_one_another() {
        let at = |done: u64| At { step: done + 1, total: 100_000 };
        let has_begun =
            |at, begin, begin_share| Staged { weight: 2.0, begin, begin_share }.at(at) == 2.0;
        for (begin, table) in [
            (0, [(0, true), (9_999, true)]),
            (10_000, [(9_999, false), (10_000, true)]),
            (30_000, [(29_999, false), (30_000, true)]),
        ] {
            for (done, begun) in table {
                assert_eq!(has_begun(at(done), begin, 0.0), begun, "{done} of {begin}");
            }
        }
        assert!(!has_begun(at(24_999), 7, 0.25) && has_begun(at(25_000), 7, 0.25));
    }

    #[test]
    fn a_student_learns_from_as_far_up() {
        let of = |layers| {
            let mut model = tiny_encoder();
            model.num_hidden_layers = layers;
            model
        };
        let map = |student, teacher| -> Vec<usize> {
            let (student, teacher) = (of(student), of(teacher));
            (0..student.steps()).map(|step| mapped(step, &student, &teacher)).collect()
        };
        assert_eq!(map(3, 12), [0, 4, 8, 12]);
        assert_eq!(map(4, 4), [0, 1, 2, 3, 4]);
        assert_eq!(map(2, 3), [0, 2, 3]);

        let t5 = |layers: usize| {
            let config = serde_json::json!({
                "vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2,
                "num_layers": layers, "num_decoder_layers": layers + 1
            });
            (crate::train::model::t5::T5.read)(&config, &|_| false).unwrap()
        };
        let (student, teacher) = (t5(1), t5(3));
        let both = [student.as_ref(), teacher.as_ref()];
        let map = (0..student.steps()).map(|step| mapped(step, both[0], both[1]));
        // Embeddings and a block of the encoder, then the same of the decoder, which has two.
        assert_eq!(map.collect::<Vec<usize>>(), [0, 3, 4, 6, 8]);
    }
}
