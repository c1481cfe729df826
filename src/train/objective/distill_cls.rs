//! `distill_cls`: the last hidden state of the first token, or of the last token of a model that
//! looks back only, like that of a teacher: mean squared distance (PKD, arXiv:1908.09355, without
//! its norm). Where the teacher is wider, a projection is learnt beside the model.

use candle_core::{D, Result, Tensor};

use super::distill::{Staged, TEACHER, present, projected, projection, reaches_states, wide};
use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::Architecture;
use crate::train::model::parameters::{Declared, Part};

const NAME: &str = "distill_cls";

/// See the module.
pub static DISTILL_CLS: Kind = Kind {
    name: NAME,
    about: "the first token's last state (of decoders the last token's) like a teacher's",
    unit: "mean square per row",
    languages: &[Language::Masked, Language::Causal],
    rows: RowKind::of_language,
    task: None,
    build: |section: Section| Ok(Box::new(DistillCls(section.parse()?))),
};

/// The section `[train.objective.distill_cls]`.
struct DistillCls(Staged);

impl Objective for DistillCls {
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
        let student = projected(NAME, cx, teacher, &cx.whole(tokens, &seen.last)?)?;
        let teacher = cx.whole(tokens, &teacher.seen.last)?.detach();
        (wide(&student)? - wide(&teacher)?)?.sqr()?.mean(D::Minus1)?.sum_all()
    }
}
