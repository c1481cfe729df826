//! The language loss on the validation split: fixed draws, no dropout, no graph.

use candle_core::Device;

use crate::error::Result;
use crate::train::data::batch::{Batcher, Microbatch};
use crate::train::data::rows::{RowKind, RowSet};
use crate::train::data::shards::Shards;
use crate::train::data::windows::{Cut, Windows};
use crate::train::kernels;
use crate::train::model::{Architecture, Pass, Seen, Weights, infer};
use crate::train::objective::{self, Forward, LabelLoss, Objective, Told};

/// A model as it is measured: by the objective that it learns language by, without a graph, with
/// nothing dropped.
pub struct Measured<'a> {
    /// The model.
    pub model: &'a dyn Architecture,
    /// Its weights, detached.
    pub weights: &'a Weights,
    /// Where it is computed.
    pub device: &'a Device,
    /// What makes its rows.
    pub batcher: &'a Batcher<'a>,
    language: Box<dyn Objective>,
}

impl<'a> Measured<'a> {
    /// A model with its weights.
    ///
    /// # Errors
    /// If the settings of its objective do not fit.
    pub fn new(
        model: &'a dyn Architecture,
        weights: &'a Weights,
        device: &'a Device,
        batcher: &'a Batcher<'a>,
    ) -> Result<Self> {
        let language = objective::of_language(batcher.params, batcher.tokenizer.frame.language)?;
        Ok(Measured { model, weights, device, batcher, language })
    }

    /// Sum of the language loss over a microbatch, and how many tokens it predicts.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(&self, batch: &Microbatch) -> Result<(f64, usize)> {
        let rows = RowKind::of_language(self.batcher.tokenizer.frame.language);
        let Some(rows) = batch.sets.get(&rows).filter(|rows| !rows.labels.is_empty()) else {
            return Ok((0.0, 0));
        };
        Ok((self.told(rows, None)?, rows.labels.len()))
    }

    /// What each label of some rows comes to, in their order; the rows are those that the model
    /// learns language from.
    ///
    /// # Errors
    /// If the device fails.
    pub fn labels(&self, rows: &RowSet) -> Result<Vec<LabelLoss>> {
        let told = Told::default();
        self.told(rows, Some(&told))?;
        Ok(told.all())
    }

    fn told(&self, rows: &RowSet, told: Option<&Told>) -> Result<f64> {
        let forward = Forward {
            model: self.model,
            pass: Pass::new(self.weights, None),
            frame: &self.batcher.tokenizer.frame,
            share: 1.0,
            rows: RowKind::of_language(self.batcher.tokenizer.frame.language),
            dtype: self.batcher.params.precision.compute(),
            device: self.device,
            told,
        };

        let seen = Seen::last(infer(self.model, &forward.pass, &forward.inputs(rows)?)?);
        Ok(kernels::number(&self.language.sum(&forward, rows, &seen, None)?)?)
    }
}

/// The mean loss over the first `eval_windows` windows of the split, in nats per labelled token;
/// `None` where no token is labelled. The draws depend on the seed and the documents only, so
/// evaluations can be compared.
///
/// # Errors
/// If a shard cannot be read or the device fails.
pub fn evaluate(shards: &Shards, measured: &Measured, cut: Cut) -> Result<Option<f64>> {
    let params = measured.batcher.params;
    let mut windows = Windows::in_order(shards, measured.batcher, cut)?;
    let (mut total, mut labels, mut left) = (0.0, 0, params.eval_windows);

    loop {
        let taken = windows.next_windows(params.batch.min(left))?;
        if taken.is_empty() {
            return Ok((labels > 0).then(|| total / labels as f64));
        }
        left -= taken.len();

        let batch = measured.batcher.microbatch(0, taken.chunks(1), "validation");
        let (loss, n) = measured.loss(&batch)?;
        total += loss;
        labels += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::fixture::{batcher, grammar, shard_folder, tiny_params};
    use crate::train::model::Parameters;
    use crate::train::model::bert::BERT;
    use crate::train::params::Params;
    use candle_core::DType;

    #[test]
    fn an_untrained_model_guesses_and_batching_changes_nothing() {
        let folder = shard_folder(&grammar(20, 3), &grammar(30, 9));
        let train = Shards::open(folder.path(), "train").unwrap().unwrap();
        let validation = Shards::open(folder.path(), "validation").unwrap().unwrap();
        let params = tiny_params();
        let tokenizer = Tokenizer::train(&train, &BERT, &params.tokenizer, 1).unwrap();
        let model = params.encoder(tokenizer.vocabulary);
        let parameters = Parameters::draw(&model.declare(), 1, DType::F32, &Device::Cpu).unwrap();
        let loss = |batch| {
            let params = Params { batch, ..params.clone() };
            let (weights, batcher) = (parameters.detached(), batcher(&tokenizer, &params));
            let measured = Measured::new(&model, &weights, &Device::Cpu, &batcher).unwrap();
            evaluate(&validation, &measured, Cut::Measured).unwrap().unwrap()
        };

        let guess = (tokenizer.vocabulary as f64).ln();
        assert!((loss(4) - guess).abs() < 0.2, "{} against {guess}", loss(4));
        assert!((loss(4) - loss(7)).abs() < 1e-5, "{} {}", loss(4), loss(7));
    }
}
