//! `contrastive`: tell a passage from its look-alikes (InfoNCE in the form of SimCSE,
//! arXiv:2104.08821).
//!
//! Anchors and what they are compared with: [`crate::train::data::rows::passages`]. An anchor
//! without a paraphrase has itself as positive, masked anew and under another dropout mask.
//!
//! As `simcse` has it, the loss of anchor `i` is `−ln softmax_i(cos(aᵢ, ·) / τ)` over the positives
//! of all anchors and all hard negatives of the microbatch; `hard_weight` is added to the logit of
//! its own hard negatives. As `simclr` has it (arXiv:2002.05709), each of all anchors and positives
//! is told from all others but itself, and an anchor's loss is the mean of both directions; hard
//! negatives are not in it. A column whose text is the anchor's own, or that of its positive, is
//! left out: it is no negative. Accumulating microbatches widens the set of negatives only with
//! `gather`.
//!
//! A hard negative that may still mean nearly the same, such as a negation, should not be pushed
//! away without end. So `margin · (relu(Δ + α) + relu(−Δ − β))` can be added for each, with
//! `Δ = cos(aᵢ, hard) − cos(aᵢ, positive)`: it is to be at least `α` and at most `β` further off
//! (SNCSE, arXiv:2201.05979).

use candle_core::{D, DType, Result, Tensor};

use serde::Deserialize;

use super::{
    At, Forward, Gathered, Kind, Language, Objective, RowKind, RowSet, Section, Seen, Taught,
};
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
    languages: &[Language::Masked, Language::Causal, Language::Spans],
    rows: |_| RowKind::Passages,
    task: None,
    build: |section: Section| Ok(Box::new(section.parse::<Contrastive>()?)),
};

/// The section `[train.objective.contrastive]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrastive {
    /// Weight of the term, 0 and more.
    pub weight: f64,
    /// Which loss.
    pub form: Form,
    /// Temperature of the softmax, [0.001, 10].
    pub temperature: f64,
    /// What stands for a passage.
    pub pooling: Pooling,
    /// Added to the logit of an anchor's own hard negatives.
    pub hard_weight: f64,
    /// Whether the passages of all microbatches of a step are compared with one another.
    pub gather: bool,
    /// Weight of the margin, 0 and more.
    pub margin: f64,
    /// By how much a hard negative is to be further off at least, [0, 2].
    pub margin_least: f64,
    /// By how much at most, [0, 2].
    pub margin_most: f64,
}

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Anchors against positives and hard negatives.
    Simcse,
    /// Anchors and positives against one another.
    Simclr,
}

/// What stands for a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The last hidden state of the first token, `[CLS]` for BERT, or of the last token of a model
    /// that looks back only; of T5 that of its encoder.
    Cls,
    /// The mean of the last hidden states of all tokens.
    Mean,
}

impl Objective for Contrastive {
    fn weight(&self, _: At) -> f64 {
        self.weight
    }

    fn declare(&self, model: &dyn Architecture, _: Option<&dyn Architecture>) -> Vec<Declared> {
        declare(model)
    }

    fn reaches(&self, part: &Part) -> bool {
        part.role != Role::Head
    }

    /// Anchors that have a negative in the microbatch; the loss of the others is 0.
    fn count(&self, rows: &RowSet) -> usize {
        let Compared { anchors, hard, .. } = &rows.compared;
        let bias = left_out(&rows.compared);
        // Views of images have no hard negatives.
        let seen = anchors.len() + if self.form == Form::Simcse { hard.len() } else { 0 };
        let is_compared =
            |row: &&[f32]| row[..seen].iter().filter(|bias| **bias == 0.0).count() > 1;
        bias.chunks((anchors.len() + hard.len()).max(1)).filter(is_compared).count()
    }

    /// Sum of the losses of all anchors.
    fn sum(&self, cx: &Forward, rows: &RowSet, seen: &Seen, _: Option<&Taught>) -> Result<Tensor> {
        self.sum_of(cx, &rows.compared, &self.vectors(cx, rows, seen)?)
    }

    fn gathered(&self) -> Option<&dyn Gathered> {
        self.gather.then_some(self)
    }
}

impl Gathered for Contrastive {
    fn vectors(&self, cx: &Forward, rows: &RowSet, seen: &Seen) -> Result<Tensor> {
        let tokens = &cx.inputs(rows)?.tokens;
        let hidden = seen.last.to_dtype(tokens.present.dtype())?;
        let pooled = match self.pooling {
            Pooling::Cls => cx.whole(tokens, &hidden)?,
            Pooling::Mean => {
                let total = hidden.broadcast_mul(&tokens.present.unsqueeze(2)?)?.sum(1)?;
                total.broadcast_div(&tokens.present.sum_keepdim(D::Minus1)?)?
            }
        };

        let get = |part: &str| cx.pass.weights.get(&format!("{PROJECTION}.{part}"));
        kernels::linear(&pooled, get("weight")?, Some(get("bias")?))?.tanh()
    }

    fn sum_of(&self, cx: &Forward, compared: &Compared, vectors: &Tensor) -> Result<Tensor> {
        let Compared { anchors, hard, owners, .. } = compared;
        let (n, columns) = (anchors.len(), anchors.len() + hard.len());
        let (left, right) = (vectors.narrow(0, 0, n)?, vectors.narrow(0, n, columns)?);
        let bias = |numbers: Vec<f32>, columns: usize| {
            let rows = numbers.len() / columns.max(1);
            Tensor::from_vec(numbers, (rows, columns), cx.device)?.to_dtype(vectors.dtype())
        };

        let mut left_out = left_out(compared);
        let sum = match self.form {
            Form::Simcse => {
                for (nth, owner) in owners.iter().enumerate() {
                    left_out[owner * columns + n + nth] += self.hard_weight as f32;
                }
                info_nce_sum(&left, &right, &bias(left_out, columns)?, self.temperature)?
            }
            Form::Simclr => {
                let views = vectors.narrow(0, 0, 2 * n)?;
                let bias = bias(both_ways(&left_out, n, columns), 2 * n)?;
                nt_xent_sum(&views, &bias, self.temperature)?
            }
        };

        if self.margin == 0.0 || hard.is_empty() {
            return Ok(sum);
        }
        let owners: Vec<u32> = owners.iter().map(|owner| *owner as u32).collect();
        let owners = Tensor::new(owners, cx.device)?;
        let of_owner = |part: &Tensor| part.index_select(&owners, 0);
        let (anchor, positive) = (of_owner(&left)?, of_owner(&right.narrow(0, 0, n)?)?);
        let hard = right.narrow(0, n, hard.len())?;
        sum + self.margin_sum(&anchor, &positive, &hard)?.affine(self.margin, 0.0)?
    }
}

impl Contrastive {
    /// `Σ relu(Δ + α) + relu(−Δ − β)` over hard negatives; see the module.
    fn margin_sum(&self, anchor: &Tensor, positive: &Tensor, hard: &Tensor) -> Result<Tensor> {
        let anchor = unit(anchor)?;
        let cosine = |other: &Tensor| (&anchor * unit(other)?)?.sum(D::Minus1);
        let further = (cosine(hard)? - cosine(positive)?)?;
        let near = further.affine(1.0, self.margin_least)?.relu()?;
        let far = further.affine(-1.0, -self.margin_most)?.relu()?;
        (near + far)?.sum_all()
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
    let Compared { anchors, positives, hard, .. } = compared;
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

/// The same for all views, `[2n, 2n]`, from that of anchors against positives: a view is none of
/// its own negatives.
fn both_ways(left_out: &[f32], n: usize, columns: usize) -> Vec<f32> {
    let at = |row: usize, column: usize| {
        let (one, other) = (row % n, column % n);
        if row == column || one != other && left_out[one * columns + other] == MASKED {
            MASKED
        } else {
            0.0
        }
    };
    (0..2 * n).flat_map(|row| (0..2 * n).map(move |column| at(row, column))).collect()
}

/// Half the sum over `2n` views `i` of `−ln softmax(cos(viewᵢ, viewⱼ) / τ + biasᵢⱼ)` at the other
/// view of the same text, `i ± n`.
///
/// # Errors
/// If the shapes do not fit.
pub fn nt_xent_sum(views: &Tensor, bias: &Tensor, temperature: f64) -> Result<Tensor> {
    let (views, n) = (unit(views)?, views.dim(0)? / 2);
    let logits = views.matmul(&views.t()?)?.affine(1.0 / temperature, 0.0)?.add(bias)?;
    let other: Vec<u32> = (0..2 * n).map(|view| ((view + n) % (2 * n)) as u32).collect();
    kernels::cross_entropy_sum(&logits, &other)?.affine(0.5, 0.0)
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

    /// Reference: NT-Xent of `chen2020simclr` over both views, τ = 0.5, in float64; exchanging the
    /// views changes nothing.
    #[test]
    fn agrees_with_simclr() {
        let anchors = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let positives = [[1.0, 0.1], [0.2, 1.0], [0.9, 1.0]];
        for views in [[anchors, positives], [positives, anchors]] {
            let bias = both_ways(&[0.0; 9], 3, 3);
            let bias = Tensor::from_vec(bias, (6, 6), &Device::Cpu).unwrap();
            let bias = bias.to_dtype(DType::F64).unwrap();
            let sum = nt_xent_sum(&tensor(&views.concat()), &bias, 0.5).unwrap();
            let mean = kernels::number(&sum).unwrap() / 3.0;
            assert!((mean - 1.061_120_994_249_947).abs() < 1e-9, "{mean}");
        }
    }

    /// A hard negative may be between 0.1 and 0.3 further off than the positive.
    #[test]
    fn the_margin_bounds_both_sides() {
        let contrastive = CONTRASTIVE_OF_TESTS;
        let at = |angle: f64| tensor(&[[angle.cos(), angle.sin()]]);
        let found = |further: f64| {
            let hard = at((0.9 - further).acos());
            let sum = contrastive.margin_sum(&at(0.0), &at(0.9_f64.acos()), &hard).unwrap();
            kernels::number(&sum).unwrap()
        };
        for (further, right) in [(0.0, 0.1), (0.05, 0.05), (0.2, 0.0), (0.5, 0.2)] {
            assert!((found(further) - right).abs() < 1e-9, "{further}: {}", found(further));
        }
    }

    const CONTRASTIVE_OF_TESTS: Contrastive = Contrastive {
        weight: 1.0,
        form: Form::Simcse,
        temperature: 0.05,
        pooling: Pooling::Cls,
        hard_weight: 0.0,
        gather: false,
        margin: 1.0,
        margin_least: 0.1,
        margin_most: 0.3,
    };

    #[test]
    fn texts_that_mean_the_anchor_are_no_negatives() {
        let compared = Compared {
            anchors: vec![vec![1], vec![2], vec![1]],
            positives: vec![vec![8], vec![9], vec![7]],
            hard: vec![vec![9], vec![5]],
            owners: vec![0, 2],
        };
        let bias: Vec<Vec<bool>> = left_out(&compared)
            .chunks(5)
            .map(|row| row.iter().map(|bias| *bias == MASKED).collect())
            .collect();
        assert_eq!(bias[0], [false, false, true, false, false]);
        assert_eq!(bias[1], [false, false, false, true, false]);
        assert_eq!(bias[2], [true, false, false, false, false]);
        let simcse = CONTRASTIVE_OF_TESTS;
        assert_eq!(simcse.count(&RowSet { compared, ..RowSet::default() }), 3);
        let compared = Compared {
            anchors: vec![vec![1]],
            positives: vec![vec![8]],
            hard: vec![vec![1], vec![8]],
            owners: vec![0, 0],
        };

        assert_eq!(
            simcse.count(&RowSet { compared, ..RowSet::default() }),
            0,
            "nothing to tell it from"
        );
        let compared = Compared {
            anchors: vec![vec![1]],
            positives: vec![vec![8]],
            hard: vec![vec![9]],
            owners: vec![0],
        };
        let rows = RowSet { compared, ..RowSet::default() };
        let simclr = Contrastive { form: Form::Simclr, ..simcse };
        assert_eq!((simcse.count(&rows), simclr.count(&rows)), (1, 0), "it sees no hard negative");
    }
}
