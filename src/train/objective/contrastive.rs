//! `contrastive`: tell a passage from its look-alikes (InfoNCE in the form of SimCSE,
//! arXiv:2104.08821).
//!
//! Anchors and what they are compared with: [`crate::train::data::rows::passages`]. An anchor
//! without a paraphrase has itself as positive, masked anew and under another dropout mask.
//!
//! The loss of anchor `i` is `−ln softmax_i(cos(aᵢ, ·) / τ)` over the positives of all anchors and
//! all hard negatives of the microbatch. A column whose text is the anchor's own, or that of its
//! positive, is left out: it is no negative. Accumulating microbatches does not widen the set of
//! negatives.

use candle_core::{D, DType, Result, Tensor};

use serde::Deserialize;

use super::{At, Forward, Kind, Language, Objective, RowKind, RowSet, Section, Seen};
use crate::train::data::rows::passages::Compared;
use crate::train::kernels::{self, MASKED};
use crate::train::model::Architecture;
use crate::train::model::parameters::{Declared, Init, Part, Role};

/// Deviation of the projection's drawn weights, BERT's.
const DEVIATION: f64 = 0.02;
/// Name of the projection behind the pooled state.
const PROJECTION: &str = "projection.dense";

/// See the module.
pub static CONTRASTIVE: Kind = Kind {
    name: "contrastive",
    about: "tell a passage from its hard negatives and from other passages",
    unit: "nats per anchor",
    languages: &[Language::Masked, Language::Causal],
    rows: RowKind::Passages,
    build: |section: Section| Ok(Box::new(section.parse::<Contrastive>()?)),
};

/// The section `[train.objective.contrastive]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrastive {
    /// Weight of the term, 0 and more.
    pub weight: f64,
    /// Temperature of the softmax, [0.001, 10].
    pub temperature: f64,
    /// What stands for a passage.
    pub pooling: Pooling,
}

/// What stands for a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last hidden state of `[CLS]`, or of the last token of a model that looks back only.
    Cls,
    /// The mean of the last hidden states of all tokens.
    Mean,
}

impl Objective for Contrastive {
    fn weight(&self, _: At) -> f64 {
        self.weight
    }

    fn declare(&self, model: &dyn Architecture) -> Vec<Declared> {
        declare(model)
    }

    fn reaches(&self, part: &Part) -> bool {
        part.role != Role::Head
    }

    /// Anchors that have a negative in the microbatch; the loss of the others is 0.
    fn count(&self, rows: &RowSet) -> usize {
        let Compared { anchors, hard, .. } = &rows.compared;
        let bias = left_out(&rows.compared);
        let is_compared = |row: &&[f32]| row.iter().filter(|bias| **bias == 0.0).count() > 1;
        bias.chunks((anchors.len() + hard.len()).max(1)).filter(is_compared).count()
    }

    /// Sum of the losses of all anchors.
    fn sum(&self, cx: &Forward, rows: &RowSet, seen: &Seen, _: Option<&Seen>) -> Result<Tensor> {
        let Compared { anchors, hard, .. } = &rows.compared;
        let vectors = self.vectors(cx, rows, &seen.last)?;
        let (n, columns) = (anchors.len(), anchors.len() + hard.len());
        let (left, right) = (vectors.narrow(0, 0, n)?, vectors.narrow(0, n, columns)?);
        let bias = Tensor::from_vec(left_out(&rows.compared), (n, columns), cx.device)?
            .to_dtype(vectors.dtype())?;
        info_nce_sum(&left, &right, &bias, self.temperature)
    }
}

impl Contrastive {
    /// One vector for each passage.
    fn vectors(&self, cx: &Forward, rows: &RowSet, hidden: &Tensor) -> Result<Tensor> {
        let tokens = &cx.inputs(rows)?.tokens;
        let hidden = hidden.to_dtype(tokens.present.dtype())?;
        let pooled = match (self.pooling, cx.frame.language) {
            (Pooling::Cls, Language::Masked) => hidden.narrow(1, 0, 1)?.squeeze(1)?,
            // A model that looks back only has read the whole passage at its last token.
            (Pooling::Cls, _) => hidden.broadcast_mul(&tokens.last()?.unsqueeze(2)?)?.sum(1)?,
            (Pooling::Mean, _) => {
                let total = hidden.broadcast_mul(&tokens.present.unsqueeze(2)?)?.sum(1)?;
                total.broadcast_div(&tokens.present.sum_keepdim(D::Minus1)?)?
            }
        };

        let get = |part: &str| cx.pass.weights.get(&format!("{PROJECTION}.{part}"));
        kernels::linear(&pooled, get("weight")?, Some(get("bias")?))?.tanh()
    }
}

/// The parameters of the projection, dense → tanh, behind a model.
fn declare(model: &dyn Architecture) -> Vec<Declared> {
    let (width, part) = (model.size().width, Part::new(model.steps(), Role::Beside("contrastive")));
    let declared = |name: &str, shape: Vec<usize>, init: Init, decays: bool| Declared {
        name: format!("{PROJECTION}.{name}"),
        shape,
        init,
        part: Part { decays, ..part },
    };

    vec![
        declared("weight", vec![width, width], Init::Normal(DEVIATION), true),
        declared("bias", vec![width], Init::Zeros, false),
    ]
}

/// [`MASKED`] where a column is no negative of the row's anchor, else 0; row by row.
fn left_out(compared: &Compared) -> Vec<f32> {
    let Compared { anchors, positives, hard } = compared;
    let mut bias = Vec::with_capacity(anchors.len() * (anchors.len() + hard.len()));

    for (row, (anchor, positive)) in anchors.iter().zip(positives).enumerate() {
        let own = |text: &Vec<u32>| text == anchor || text == positive;
        for column in 0..anchors.len() {
            let same = column != row && (own(&anchors[column]) || own(&positives[column]));
            bias.push(if same { MASKED } else { 0.0 });
        }
        bias.extend(hard.iter().map(|text| if own(text) { MASKED } else { 0.0 }));
    }

    bias
}

/// Sum over rows `i` of `−ln softmax_i(cos(leftᵢ, rightⱼ) / τ + biasᵢⱼ)`; the positive of row `i`
/// is column `i`.
///
/// # Errors
/// If the shapes do not fit.
pub fn info_nce_sum(
    left: &Tensor,
    right: &Tensor,
    bias: &Tensor,
    temperature: f64,
) -> Result<Tensor> {
    let cosines = unit(left)?.matmul(&unit(right)?.t()?)?;
    let logits = cosines.affine(1.0 / temperature, 0.0)?.add(bias)?;
    let own: Vec<u32> = (0..left.dim(0)? as u32).collect();
    kernels::cross_entropy_sum(&logits, &own)
}

/// Rows scaled to length 1. What is added keeps the root differentiable at 0.
fn unit(x: &Tensor) -> Result<Tensor> {
    let tiny = if x.dtype() == DType::F64 { 1e-24 } else { 1e-12 };
    x.broadcast_div(&(x.sqr()?.sum_keepdim(D::Minus1)? + tiny)?.sqrt()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor(values: &[[f64; 2]]) -> Tensor {
        Tensor::from_slice(values.as_flattened(), (values.len(), 2), &Device::Cpu).unwrap()
    }

    fn check(right: &[[f64; 2]], bias: &[f64], expected: f64) {
        let left = tensor(&[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        let bias = Tensor::from_slice(bias, (3, right.len()), &Device::Cpu).unwrap();
        let sum = info_nce_sum(&left, &tensor(right), &bias, 0.05).unwrap();
        let mean = kernels::number(&sum).unwrap() / 3.0;
        assert!((mean - expected).abs() < 1e-9, "{mean}, not {expected}");
    }

    /// Reference: `F.cross_entropy(torch.cat([cos(z1, z2), cos(z1, z3) + w * eye], 1) / 0.05,
    /// arange(3))` with `w` added as a logit, as in `princeton-nlp/SimCSE:simcse/models.py`, in
    /// float64.
    #[test]
    fn agrees_with_simcse() {
        let positives = [[1.0, 0.1], [0.2, 1.0], [0.9, 1.0]];
        let hard = [[1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]];
        let both = [positives, hard].concat();
        check(&positives, &[0.0; 9], 0.018_661_112_251_657_86);
        check(&both, &[0.0; 18], 0.269_228_574_632_047_47);
        let own: Vec<f64> =
            (0..18).map(|idx| if idx % 6 == idx / 6 + 3 { 1.0 } else { 0.0 }).collect();
        check(&both, &own, 0.274_057_215_928_102_95);
    }

    #[test]
    fn texts_that_mean_the_anchor_are_no_negatives() {
        let compared = Compared {
            anchors: vec![vec![1], vec![2], vec![1]],
            positives: vec![vec![8], vec![9], vec![7]],
            hard: vec![vec![9], vec![5]],
        };
        let bias: Vec<Vec<bool>> = left_out(&compared)
            .chunks(5)
            .map(|row| row.iter().map(|bias| *bias == MASKED).collect())
            .collect();
        assert_eq!(bias[0], [false, false, true, false, false]);
        assert_eq!(bias[1], [false, false, false, true, false]);
        assert_eq!(bias[2], [true, false, false, false, false]);
        let simcse = Contrastive { weight: 1.0, temperature: 0.05, pooling: Pooling::Cls };
        assert_eq!(simcse.count(&RowSet { compared, ..RowSet::default() }), 3);
        let compared = Compared {
            anchors: vec![vec![1]],
            positives: vec![vec![8]],
            hard: vec![vec![1], vec![8]],
        };

        assert_eq!(
            simcse.count(&RowSet { compared, ..RowSet::default() }),
            0,
            "nothing to tell it from"
        );
    }
}
