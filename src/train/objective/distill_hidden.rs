//! `distill_hidden`: the hidden states of all blocks, and of the embeddings, like those of a
//! teacher as far up: `Σ (s W − t)² / width`, over tokens that are no padding (TinyBERT,
//! arXiv:1909.10351). Where the teacher is wider, one projection for all blocks is learnt beside
//! the model.

use candle_core::{D, Result, Tensor};

use super::distill::{
    Staged, TEACHER, mapped, n_tokens, present, projected, projection, reaches_states,
    share_of_step, tokens_of, wide,
};
use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::Architecture;
use crate::train::model::parameters::{Declared, Part};

const NAME: &str = "distill_hidden";

/// See the module.
pub static DISTILL_HIDDEN: Kind = Kind {
    name: NAME,
    about: "the hidden states of all blocks like a teacher's",
    unit: "mean square per token",
    languages: &[Language::Masked, Language::Causal, Language::Spans],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(DistillHidden(section.parse()?))),
};

/// The section `[train.objective.distill_hidden]`.
struct DistillHidden(Staged);

impl Objective for DistillHidden {
    fn weight(&self, at: At) -> f64 {
        self.0.at(at)
    }

    fn declare(
        &self,
        model: &dyn Architecture,
        teacher: Option<&dyn Architecture>,
    ) -> Vec<Declared> {
        projection(NAME, model, teacher)
    }

    fn reaches(&self, part: &Part) -> bool {
        reaches_states(part, NAME)
    }

    fn needs(&self, model: &dyn Architecture) -> Needs {
        let hidden = (0..model.steps()).collect();
        Needs { hidden, teacher: Some(TEACHER), ..Needs::default() }
    }

    fn teacher_needs(&self, model: &dyn Architecture, teacher: &dyn Architecture) -> Needs {
        let hidden = (0..model.steps()).map(|step| mapped(step, model, teacher)).collect();
        Needs { hidden, ..self.needs(model) }
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

        for (step, student) in &seen.hidden {
            let other = &teacher.seen.hidden[&mapped(*step, cx.model, teacher.model)];
            let student = projected(NAME, cx, teacher, student)?;
            let present = &tokens_of(cx, &inputs, *step).present;
            let share = share_of_step(cx.model, *step, seen.hidden.keys().copied());
            let apart = (wide(&student)? - wide(&other.detach())?)?.sqr()?.mean(D::Minus1)?;
            total = (total + (apart * present)?.sum_all()?.affine(share, 0.0)?)?;
        }
        Ok(total)
    }
}
