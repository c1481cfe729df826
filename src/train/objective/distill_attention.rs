//! `distill_attention`: what the heads of all blocks look at like those of a teacher as far up: `Σ
//! (s − t)²` over keys, the mean over heads, over tokens that are no padding. Where the two have
//! other numbers of heads, the means of their heads are compared. These are the weights behind
//! softmax; TinyBERT compares what stands before it, where what is masked would swamp the rest.

use candle_core::{D, Result, Tensor};

use super::distill::{Staged, TEACHER, mapped, n_tokens, present, share_of_step, tokens_of, wide};
use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::Architecture;
use crate::train::model::parameters::{Part, Role};

/// See the module.
pub static DISTILL_ATTENTION: Kind = Kind {
    name: "distill_attention",
    about: "the attention weights of all blocks like a teacher's",
    unit: "squares per token",
    languages: &[Language::Masked, Language::Causal, Language::Spans],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(DistillAttention(section.parse()?))),
};

/// The section `[train.objective.distill_attention]`.
struct DistillAttention(Staged);

impl Objective for DistillAttention {
    fn weight(&self, at: At) -> f64 {
        self.0.at(at)
    }

    fn reaches(&self, part: &Part) -> bool {
        !matches!(part.role, Role::Beside(_) | Role::Head)
    }

    fn needs(&self, model: &dyn Architecture) -> Needs {
        let attention = (1..model.steps()).collect();
        Needs { attention, teacher: Some(TEACHER), ..Needs::default() }
    }

    fn teacher_needs(&self, model: &dyn Architecture, teacher: &dyn Architecture) -> Needs {
        let attention = (1..model.steps()).map(|step| mapped(step, model, teacher)).collect();
        Needs { attention, ..self.needs(model) }
    }

    fn count(&self, rows: &RowSet) -> usize {
        n_tokens(rows)
    }

    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Result<Tensor> {
        let teacher = present(teacher)?;
        let inputs = cx.inputs(rows)?;
        let mut total = Tensor::zeros((), inputs.tokens.present.dtype(), cx.device)?;
        // Where a decoder begins, nothing is looked at.
        let looking = || seen.attention.iter().filter(|(_, maps)| !maps.is_empty());

        for (step, student) in looking() {
            let present = tokens_of(cx, &inputs, *step).present.unsqueeze(1)?;
            let share = share_of_step(cx.model, *step, looking().map(|(step, _)| *step));
            let other = &teacher.seen.attention[&mapped(*step, cx.model, teacher.model)];
            for (student, other) in student.iter().zip(other) {
                let [mut student, mut other] = [wide(student)?, wide(&other.detach())?];
                if student.dim(1)? != other.dim(1)? {
                    (student, other) = (student.mean_keepdim(1)?, other.mean_keepdim(1)?);
                }
                let heads = student.dim(1)? as f64;
                let apart = (student - other)?.sqr()?.sum(D::Minus1)?.broadcast_mul(&present)?;
                total = (total + apart.sum_all()?.affine(share / heads, 0.0)?)?;
            }
        }
        Ok(total)
    }
}
