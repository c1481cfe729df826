//! `toy`: an objective of the tests alone, which shows that one file and one line add one that
//! looks inside the model.
//!
//! The squared distance between the student's and a teacher's hidden states behind step 1, and
//! between their attention weights of that step, over all rows that predict something.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::{
    At, Forward, Kind, Language, Needs, Objective, RowKind, RowSet, Section, Seen, Taught,
};
use crate::train::model::Architecture;

/// See the module.
pub(super) static TOY: Kind = Kind {
    name: "toy",
    about: "be like the teacher inside",
    unit: "squares per row",
    languages: &[Language::Masked],
    rows: |_| RowKind::Masked,
    task: None,
    build: |section: Section| Ok(Box::new(section.parse::<Toy>()?)),
};

#[derive(Deserialize)]
struct Toy {
    weight: f64,
}

impl Objective for Toy {
    /// Grows with the steps.
    fn weight(&self, at: At) -> f64 {
        self.weight * at.step as f64 / at.total as f64
    }

    fn needs(&self, _: &dyn Architecture) -> Needs {
        Needs { hidden: [1].into(), attention: [1].into(), teacher: Some("toy") }
    }

    fn reaches(&self, part: &super::Part) -> bool {
        part.step <= 1
    }

    fn count(&self, rows: &RowSet) -> usize {
        rows.rows.ids.len()
    }

    fn sum(&self, _: &Forward, _: &RowSet, seen: &Seen, taught: Option<&Taught>) -> Result<Tensor> {
        let taught = taught.ok_or_else(|| candle_core::Error::msg("no teacher"))?;
        let teacher = &taught.seen;
        let apart = |a: &Tensor, b: &Tensor| (a - b)?.sqr()?.sum_all();
        apart(&seen.hidden[&1], &teacher.hidden[&1])?
            + apart(&seen.attention[&1][0], &teacher.attention[&1][0])?
    }
}
