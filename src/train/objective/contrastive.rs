//! `contrastive`: tell a passage from its look-alikes (InfoNCE in the form of SimCSE, arXiv:2104.08821).
//!
//! Anchors and candidates come from the column `negatives`. A candidate of kind `hard` means something else and is a
//! negative. A candidate of kind `paraphrase` (a synonym or back-translation that kept the meaning) is the anchor's
//! *positive*: pushing away what means the same teaches the wrong thing, and the literature uses such rewritings as
//! positives (CERT arXiv:2005.12766, CLINE, ConSERT). `paraphrase_as = "negative"` is the literal reading of
//! "negatives by synonym and back-translation", kept for comparison and noted as such. An anchor without a paraphrase
//! has itself as positive, masked anew and under another dropout mask.
//!
//! The loss of anchor `i` is `−ln softmax_i(cos(aᵢ, ·) / τ)` over the positives of all anchors and all hard negatives
//! of the microbatch. A column whose text is the anchor's own, or that of its positive, is left out: it is no negative.
//! Accumulating microbatches does not widen the set of negatives.

use candle_core::{D, DType, Result, Tensor};

use super::{Forward, Term};
use crate::train::data::batch::{Contrast, Microbatch};
use crate::train::kernels::{self, MASKED};
use crate::train::model::parameters::{Declared, Init, Part, Role};
use crate::train::model::{Architecture, Inputs, Language, Tokens};
use crate::train::params::Pooling;

/// Deviation of the projection's drawn weights, BERT's.
const DEVIATION: f64 = 0.02;
/// Name of the projection behind the pooled state.
const PROJECTION: &str = "projection.dense";

/// See the module.
pub static CONTRASTIVE: Term = Term {
    name: "contrastive",
    meaning: "tell a passage from its hard negatives and from other passages",
    unit: "nats per anchor",
    reaches: |part| part.role != Role::Head,
    languages: &[Language::Masked, Language::Causal],
    weight: |objective| objective.contrastive_weight,
    count,
    inputs,
    sum,
};

/// The parameters of the projection, dense → tanh, behind a model.
pub fn declare(model: &dyn Architecture) -> Vec<Declared> {
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

/// Anchors that have a negative in the microbatch; the loss of the others is 0.
fn count(batch: &Microbatch) -> usize {
    let Contrast { anchors, hard, .. } = &batch.contrast;
    let bias = left_out(&batch.contrast);
    let compared = |row: &&[f32]| row.iter().filter(|bias| **bias == 0.0).count() > 1;
    bias.chunks((anchors.len() + hard.len()).max(1)).filter(compared).count()
}

/// All passages: anchors, positives, hard negatives.
fn inputs(forward: &Forward, batch: &Microbatch) -> Result<Inputs> {
    let Contrast { anchors, positives, hard } = &batch.contrast;
    let rows: Vec<&[u32]> = anchors.iter().chain(positives).chain(hard).map(Vec::as_slice).collect();
    Ok(Tokens::new(&rows, forward.frame.pad, forward.dtype, forward.device)?.into())
}

/// One vector for each passage.
fn vectors(forward: &Forward, inputs: &Inputs, hidden: &Tensor) -> Result<Tensor> {
    let tokens = &inputs.tokens;
    let hidden = hidden.to_dtype(tokens.present.dtype())?;
    let pooled = match (forward.pooling, forward.frame.language) {
        (Pooling::Cls, Language::Masked) => hidden.narrow(1, 0, 1)?.squeeze(1)?,
        // A model that looks back only has read the whole passage at its last token.
        (Pooling::Cls, _) => hidden.broadcast_mul(&tokens.last()?.unsqueeze(2)?)?.sum(1)?,
        (Pooling::Mean, _) => {
            let total = hidden.broadcast_mul(&tokens.present.unsqueeze(2)?)?.sum(1)?;
            total.broadcast_div(&tokens.present.sum_keepdim(D::Minus1)?)?
        }
    };
    let get = |part: &str| forward.pass.weights.get(&format!("{PROJECTION}.{part}"));
    kernels::linear(&pooled, get("weight")?, Some(get("bias")?))?.tanh()
}

/// Sum of the losses of all anchors.
fn sum(forward: &Forward, batch: &Microbatch, inputs: &Inputs, hidden: &Tensor) -> Result<Tensor> {
    let Contrast { anchors, hard, .. } = &batch.contrast;
    let vectors = vectors(forward, inputs, hidden)?;
    let (n, columns) = (anchors.len(), anchors.len() + hard.len());
    let (left, right) = (vectors.narrow(0, 0, n)?, vectors.narrow(0, n, columns)?);
    let bias = Tensor::from_vec(left_out(&batch.contrast), (n, columns), forward.device)?.to_dtype(vectors.dtype())?;
    info_nce_sum(&left, &right, &bias, forward.objective.temperature)
}

/// [`MASKED`] where a column is no negative of the row's anchor, else 0; row by row.
fn left_out(contrast: &Contrast) -> Vec<f32> {
    let Contrast { anchors, positives, hard } = contrast;
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

/// Sum over rows `i` of `−ln softmax_i(cos(leftᵢ, rightⱼ) / τ + biasᵢⱼ)`; the positive of row `i` is column `i`.
///
/// # Errors
/// If the shapes do not fit.
pub fn info_nce_sum(left: &Tensor, right: &Tensor, bias: &Tensor, temperature: f64) -> Result<Tensor> {
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

    /// Reference: `F.cross_entropy(torch.cat([cos(z1, z2), cos(z1, z3) + w * eye], 1) / 0.05, arange(3))` with
    /// `w` added as a logit, as in `princeton-nlp/SimCSE:simcse/models.py`, in float64.
    #[test]
    fn agrees_with_simcse() {
        let positives = [[1.0, 0.1], [0.2, 1.0], [0.9, 1.0]];
        let hard = [[1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]];
        let both = [positives, hard].concat();
        check(&positives, &[0.0; 9], 0.018_661_112_251_657_86);
        check(&both, &[0.0; 18], 0.269_228_574_632_047_47);
        let own: Vec<f64> = (0..18).map(|idx| if idx % 6 == idx / 6 + 3 { 1.0 } else { 0.0 }).collect();
        check(&both, &own, 0.274_057_215_928_102_95);
    }

    #[test]
    fn texts_that_mean_the_anchor_are_no_negatives() {
        let contrast = Contrast {
            anchors: vec![vec![1], vec![2], vec![1]],
            positives: vec![vec![8], vec![9], vec![7]],
            hard: vec![vec![9], vec![5]],
        };
        let bias: Vec<Vec<bool>> =
            left_out(&contrast).chunks(5).map(|row| row.iter().map(|bias| *bias == MASKED).collect()).collect();
        assert_eq!(bias[0], [false, false, true, false, false]);
        assert_eq!(bias[1], [false, false, false, true, false]);
        assert_eq!(bias[2], [true, false, false, false, false]);
        assert_eq!(count(&Microbatch { contrast, ..Microbatch::default() }), 3);
        let alone = Contrast { anchors: vec![vec![1]], positives: vec![vec![8]], hard: vec![vec![1], vec![8]] };
        assert_eq!(count(&Microbatch { contrast: alone, ..Microbatch::default() }), 0, "nothing to tell it from");
    }
}
