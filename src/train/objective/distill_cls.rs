//! `distill_cls`: the last hidden state of the first token, or of the last token of a model that
//! looks back only, like that of a teacher: mean squared distance (PKD, arXiv:1908.09355, without
//! its norm). Where the teacher is wider, a projection is learnt beside the model.

use candle_core::{D, Result, Tensor};
use serde::Deserialize;

use super::distill::{TEACHER, has_begun, present, projected, projection, reaches_states, wide};
use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::parameters::{Declared, Part};
use crate::train::model::{Architecture, Tokens};

const NAME: &str = "distill_cls";

/// See the module.
pub static DISTILL_CLS: Kind = Kind {
    name: NAME,
    about: "the first token's last state (of decoders the last token's) like a teacher's",
    unit: "mean square per row",
    languages: &[Language::Masked, Language::Causal],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(section.parse::<DistillCls>()?)),
};

/// The section `[train.objective.distill_cls]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DistillCls {
    /// Weight of the term, 0 and more.
    weight: f64,
    /// Steps before it begins.
    begin: u64,
    /// The same as a share of the steps, [0, 1]; 0 goes by `begin`.
    begin_share: f64,
}

impl Objective for DistillCls {
    fn weight(&self, at: At) -> f64 {
        if has_begun(at, self.begin, self.begin_share) { self.weight } else { 0.0 }
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

    fn needs(&self, _: &dyn Architecture) -> Needs {
        Needs { teacher: Some(TEACHER), ..Needs::default() }
    }

    fn count(&self, rows: &RowSet) -> usize {
        rows.rows.ids.len()
    }

    fn sum(
        &self,
        cx: &Forward,
        rows: &RowSet,
        seen: &Seen,
        teacher: Option<&Taught>,
    ) -> Result<Tensor> {
        let teacher = present(teacher)?;
        let tokens = &cx.inputs(rows)?.tokens;
        let student = projected(NAME, cx, teacher, &pooled(cx, tokens, &seen.last)?)?;
        let teacher = pooled(cx, tokens, &teacher.seen.last)?.detach();
        (wide(&student)? - wide(&teacher)?)?.sqr()?.mean(D::Minus1)?.sum_all()
    }
}

/// What stands for a row, `[rows, width]`.
fn pooled(cx: &Forward, tokens: &Tokens, hidden: &Tensor) -> Result<Tensor> {
    match cx.frame.language {
        Language::Masked => hidden.narrow(1, 0, 1)?.squeeze(1),
        _ => {
            let last = tokens.last()?.to_dtype(hidden.dtype())?.unsqueeze(2)?;
            hidden.broadcast_mul(&last)?.sum(1)
        }
    }
}
