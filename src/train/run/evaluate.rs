//! The language loss on the validation split: fixed draws, no dropout, no graph.

use candle_core::Device;

use crate::error::Result;
use crate::train::data::batch::{Masker, Microbatch};
use crate::train::data::shards::Shards;
use crate::train::data::windows::{Window, Windows};
use crate::train::kernels;
use crate::train::model::{Architecture, Pass, Weights, infer};
use crate::train::objective::{Forward, language_term};

/// The mean loss over the first `eval_windows` windows of the split, in nats per labelled token; `None` where no token
/// is labelled. The draws depend on the seed and the documents only, so evaluations can be compared.
///
/// # Errors
/// If a shard cannot be read or the device fails.
pub fn evaluate(
    shards: &Shards,
    model: &dyn Architecture,
    weights: &Weights,
    device: &Device,
    masker: &Masker,
) -> Result<Option<f64>> {
    measuring(model, weights, device, masker, |forward| mean_loss(shards, masker, forward))
}

/// Hands over the model as it is measured: `weights` are detached, so that no graph is built, and nothing is dropped.
pub(super) fn measuring<T>(
    model: &dyn Architecture,
    weights: &Weights,
    device: &Device,
    masker: &Masker,
    measure: impl FnOnce(&Forward) -> Result<T>,
) -> Result<T> {
    let pass = Pass { weights, dropout: None };
    let (objective, pooling) = (&masker.params.objective, masker.params.model.pooling);
    let (frame, dtype) = (&masker.tokenizer.frame, masker.params.precision.compute());
    measure(&Forward { model, pass, objective, pooling, frame, share: 1.0, dtype, device })
}

/// Sum of the language loss over a microbatch.
pub(super) fn language_loss(forward: &Forward, batch: &Microbatch) -> Result<f64> {
    let term = language_term(forward.frame.language);
    let inputs = (term.inputs)(forward, batch)?;
    let hidden = infer(forward.model, &forward.pass, &inputs)?;
    Ok(kernels::number(&(term.sum)(forward, batch, &inputs, &hidden)?)?)
}

fn mean_loss(shards: &Shards, masker: &Masker, forward: &Forward) -> Result<Option<f64>> {
    let mut windows = Windows::in_order(shards, masker.tokenizer, masker.params, masker.seed)?;
    let (mut total, mut labels, mut left) = (0.0, 0, masker.params.eval_windows);
    loop {
        let mut taken: Vec<Window> = Vec::new();
        while taken.len() < masker.params.batch.min(left) {
            let Some(window) = windows.next_window()? else { break };
            taken.push(Window { passages: None, ..window });
        }
        if taken.is_empty() {
            return Ok((labels > 0).then(|| total / labels as f64));
        }
        left -= taken.len();
        let batch = masker.microbatch(0, taken.chunks(1), "validation");
        if !batch.labels.is_empty() {
            total += language_loss(forward, &batch)?;
            labels += batch.labels.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::fixture::{grammar, shard_folder, tiny_params};
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
            let masker = Masker { tokenizer: &tokenizer, params: &params, seed: 1 };
            evaluate(&validation, &model, &parameters.detached(), &Device::Cpu, &masker).unwrap().unwrap()
        };
        let guess = (tokenizer.vocabulary as f64).ln();
        assert!((loss(4) - guess).abs() < 0.2, "{} against {guess}", loss(4));
        assert!((loss(4) - loss(7)).abs() < 1e-5, "{} {}", loss(4), loss(7));
    }
}
