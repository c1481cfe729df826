//! The loss terms. A step's loss is `Σ weight · (sum over the step / count over the step)` over all terms.
//!
//! One more term is one file, one `mod` line and one line in [`TERMS`].

pub mod clm;
pub mod contrastive;
pub mod mlm;
pub mod spans;

use candle_core::{DType, Device, Result, Tensor};

use crate::train::data::batch::{Microbatch, Rows};
use crate::train::data::tokenizer::Frame;
use crate::train::model::parameters::{Part, Role};
use crate::train::model::{Architecture, Inputs, Language, Pass, Tokens};
use crate::train::params::{self, Params, Pooling};

/// A loss term: one pass of the model over some rows, and a sum computed from the last hidden state.
pub struct Term {
    /// Name; its column in `metrics.jsonl` is `<name>_loss`.
    pub name: &'static str,
    /// What it teaches, in one line.
    pub meaning: &'static str,
    /// Unit of the term before its weight.
    pub unit: &'static str,
    /// Whether its gradient reaches a parameter.
    pub reaches: fn(&Part) -> bool,
    /// The models it is for.
    pub languages: &'static [Language],
    /// Its weight.
    pub weight: fn(&params::Objective) -> f64,
    /// What its sum is divided by, for one microbatch; 0 where it has nothing to teach.
    pub count: fn(&Microbatch) -> usize,
    /// What the model reads for it, for a microbatch with a count above 0.
    pub inputs: fn(&Forward, &Microbatch) -> Result<Inputs>,
    /// Its sum over the microbatch, from the last hidden state of those inputs.
    pub sum: fn(&Forward, &Microbatch, &Inputs, &Tensor) -> Result<Tensor>,
}

/// Every term.
pub static TERMS: &[&Term] = &[&mlm::MLM, &clm::CLM, &spans::SPANS, &contrastive::CONTRASTIVE];

impl Term {
    /// Whether it is for models that learn in this way, and has a weight.
    pub fn is_on(&self, language: Language, objective: &params::Objective) -> bool {
        self.languages.contains(&language) && (self.weight)(objective) > 0.0
    }
}

/// The term that teaches language in this way.
pub fn language_term(language: Language) -> &'static Term {
    match language {
        Language::Masked => &mlm::MLM,
        Language::Causal => &clm::CLM,
        Language::Spans => &spans::SPANS,
    }
}

/// Most pieces of a window, so that its rows fit `max_tokens`.
pub fn room(frame: &Frame, params: &Params) -> usize {
    match frame.language {
        Language::Spans => spans::longest(params.max_tokens, &params.objective),
        _ => params.max_tokens - frame.width(),
    }
}

/// Most tokens that a window of `pieces` takes in a row of the model, or of its encoder, and in one of its decoder.
pub fn lengths(frame: &Frame, params: &Params, pieces: usize) -> (usize, usize) {
    match frame.language {
        Language::Spans => spans::lengths(pieces, &params.objective),
        _ => (pieces + frame.width(), 0),
    }
}

/// What a term needs besides the microbatch.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// The model.
    pub model: &'a dyn Architecture,
    /// Weights and dropout.
    pub pass: Pass<'a>,
    /// Parameters of the loss.
    pub objective: &'a params::Objective,
    /// What stands for a passage.
    pub pooling: Pooling,
    /// What stands around the pieces of a row.
    pub frame: &'a Frame,
    /// What the term's sum will be multiplied with before it is differentiated.
    pub share: f64,
    /// What the model computes with.
    pub dtype: DType,
    /// Where they are computed.
    pub device: &'a Device,
}

/// What a language term reaches: all of the model, and nothing that stands beside it for another term.
fn reaches_no_other(part: &Part) -> bool {
    !matches!(part.role, Role::Beside(_))
}

/// How many tokens of a microbatch are predicted.
fn labels(batch: &Microbatch) -> usize {
    batch.labels.len()
}

/// The rows of a microbatch, and those of the decoder.
fn language_inputs(forward: &Forward, batch: &Microbatch) -> Result<Inputs> {
    let tokens = |rows: &Rows| {
        let tokens: Vec<&[u32]> = rows.ids.iter().map(Vec::as_slice).collect();
        let tokens = Tokens::new(&tokens, forward.frame.pad, forward.dtype, forward.device)?;
        Result::Ok(if rows.are_packed() { tokens.packed(&rows.texts) } else { tokens })
    };
    let decoder = batch.decoder.as_ref().map(tokens).transpose()?;
    Ok(Inputs { tokens: tokens(&batch.rows)?, decoder })
}

/// Sum of the cross-entropy at all labelled places; only there is the head computed.
fn language_sum(forward: &Forward, batch: &Microbatch, _: &Inputs, hidden: &Tensor) -> Result<Tensor> {
    let length = hidden.dim(1)?;
    let places: Vec<u32> = batch.labels.iter().map(|(row, place, _)| (row * length + place) as u32).collect();
    let tokens: Vec<u32> = batch.labels.iter().map(|(_, _, token)| *token).collect();
    let chosen = hidden.flatten_to(1)?.index_select(&Tensor::new(places, forward.device)?, 0)?;
    forward.model.head(&forward.pass, &chosen)?.cross_entropy_sum(&tokens, forward.share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::contract::contract;
    use crate::train::data::batch::{Contrast, Masker};
    use crate::train::data::shards::Shards;
    use crate::train::data::stream::Document;
    use crate::train::data::tokenizer::Tokenizer;
    use crate::train::data::windows::{Position, Windows};
    use crate::train::fixture::{checkpoint_folder, default_params, grammar, shard_folder, tiny_encoder, tiny_params};
    use crate::train::kernels::{self, DropoutKey};
    use crate::train::model::bert::Bert;
    use crate::train::model::parameters::{Declared, Init};
    use crate::train::model::{Engine, FAMILIES, Parameters, Weights, hugging_face, infer};
    use crate::train::optimiser::{Gradients, empty};
    use crate::train::params::Norm;
    use std::collections::BTreeMap;

    #[test]
    fn every_term_is_named_explained_and_has_a_column() {
        for (idx, term) in TERMS.iter().enumerate() {
            assert!(!term.meaning.is_empty() && !term.unit.is_empty() && !term.languages.is_empty());
            assert!(TERMS[..idx].iter().all(|other| other.name != term.name));
            let column = format!("{}_loss", term.name);
            assert!(contract("metric").unwrap().fields.iter().any(|field| field.name == column), "{column}");
        }
        for language in [Language::Masked, Language::Causal, Language::Spans] {
            assert!(language_term(language).languages.contains(&language));
        }
    }

    fn microbatch() -> Microbatch {
        Microbatch {
            index: 0,
            rows: [vec![2, 5, 4, 7, 8, 3], vec![2, 4, 9, 3]].into_iter().collect(),
            decoder: None,
            labels: vec![(0, 2, 6), (1, 1, 10), (1, 2, 9)],
            contrast: Contrast {
                anchors: vec![vec![2, 5, 6, 3], vec![2, 7, 3]],
                positives: vec![vec![2, 5, 11, 3], vec![2, 7, 8, 3]],
                hard: vec![vec![2, 9, 6, 5, 3]],
            },
        }
    }

    const KEY: DropoutKey = DropoutKey { seed: 1, step: 3, microbatch: 0, term: "test" };

    fn frame() -> Frame {
        Frame {
            language: Language::Masked,
            pad: 0,
            before: vec![2],
            behind: vec![3],
            end: None,
            mask: 4,
            sentinels: Vec::new(),
            decoder_start: 0,
        }
    }

    fn with_forward<T>(model: &Bert, pooling: Pooling, pass: Pass, run: impl FnOnce(&Forward) -> T) -> T {
        let (objective, frame) = (default_params().objective, frame());
        let (dtype, device) = (DType::F64, &Device::Cpu);
        run(&Forward { model, pass, objective: &objective, pooling, frame: &frame, share: 1.0, dtype, device })
    }

    const TWO: [&Term; 2] = [&mlm::MLM, &contrastive::CONTRASTIVE];

    fn loss(weights: &Weights, model: &Bert, pooling: Pooling) -> f64 {
        let sum = |term: &&Term| {
            with_forward(model, pooling, Pass { weights, dropout: Some(KEY) }, |forward| {
                let inputs = (term.inputs)(forward, &microbatch()).unwrap();
                let hidden = infer(model, &forward.pass, &inputs).unwrap();
                kernels::number(&(term.sum)(forward, &microbatch(), &inputs, &hidden).unwrap()).unwrap()
            })
        };
        TWO.iter().map(sum).sum()
    }

    fn gradients(parameters: &Parameters, model: &Bert, pooling: Pooling) -> Gradients {
        let mut gradients = empty();
        let engine = Engine::new(model, parameters, 1);
        for term in TWO {
            with_forward(model, pooling, engine.pass(Some(KEY)), |forward| {
                let inputs = (term.inputs)(forward, &microbatch()).unwrap();
                let run = engine.forward(&inputs, Some(KEY)).unwrap();
                let hidden = model.hidden(&forward.pass, &run.last()).unwrap();
                let sum = (term.sum)(forward, &microbatch(), &inputs, &hidden).unwrap();
                run.backward(&sum, &mut gradients).unwrap();
            });
        }
        gradients
    }

    /// Central differences at random places of every tensor of the whole model, dropout on.
    #[test]
    fn the_gradient_of_the_whole_model_is_right() {
        for (norm, pooling) in [(Norm::Pre, Pooling::Mean), (Norm::Post, Pooling::Cls)] {
            let model = Bert { norm, ..tiny_encoder() };
            let larger = |d: Declared| Declared {
                init: match d.init {
                    Init::Normal(_) | Init::Zeros => Init::Normal(0.3),
                    ones => ones,
                },
                ..d
            };
            let declared = model.declare().into_iter().chain(contrastive::declare(&model)).map(larger);
            let declared: Vec<Declared> = declared.collect();
            let parameters = Parameters::draw(&declared, 7, DType::F64, &Device::Cpu).unwrap();
            let gradients = gradients(&parameters, &model, pooling);
            let plain: BTreeMap<String, Tensor> =
                parameters.iter().map(|(name, var)| (name.to_string(), var.as_detached_tensor())).collect();
            for (name, _) in parameters.iter() {
                let gradient = gradients[name].flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let values = plain[name].flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let mut draws = crate::draw::stream(5, "coordinates", name.as_bytes());
                for _ in 0..4 {
                    let at = crate::draw::next_below(&mut draws, values.len());
                    let moved = |delta: f64| {
                        let mut values = values.clone();
                        values[at] += delta;
                        let tensor = Tensor::from_vec(values, plain[name].dims(), &Device::Cpu).unwrap();
                        let mut all = plain.clone();
                        all.insert(name.to_string(), tensor);
                        loss(&Weights::new(all), &model, pooling)
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let close = (slope - gradient[at]).abs() <= 1e-6 * gradient[at].abs().max(1.0);
                    assert!(close, "{norm:?} {name}[{at}]: {slope} by differences, {} by backward", gradient[at]);
                }
            }
        }
    }

    /// Texts that share a row give the loss and the gradients they give alone, in every family.
    #[test]
    fn packing_changes_no_number() {
        let short = |one: Document| {
            let words: Vec<&str> = one.text.split(' ').take(3 + 5 * (one.seq as usize % 3)).collect();
            Document { text: words.join(" "), ..one }
        };
        let documents: Vec<Document> = grammar(60, 3).into_iter().map(short).collect();
        let shards = shard_folder(&documents, &[]);
        let shards = Shards::open(shards.path(), "train").unwrap().unwrap();
        for family in FAMILIES {
            let folder = checkpoint_folder(family);
            let pretrained = hugging_face::shape(folder.path()).unwrap();
            let file = folder.path().join(hugging_face::TOKENIZER);
            let tokenizer = Tokenizer::read(&file, family.language, &pretrained.config).unwrap();
            let params = Params { packing: true, max_tokens: 32, batch: 4, ..tiny_params() };
            let masker = Masker { tokenizer: &tokenizer, params: &params, seed: 1 };
            let position = Position::default();
            let mut windows = Windows::new(&shards, &tokenizer, &params, 1, position).unwrap();
            let packed = masker.step(1, &mut windows).unwrap().microbatches.remove(0);
            assert!(packed.rows.are_packed(), "{}", family.name);
            assert!(packed.rows.ids.iter().all(|row| row.len() <= 32), "{}", family.name);
            let n: usize = packed.rows.texts.iter().map(Vec::len).sum();
            let mut windows = Windows::new(&shards, &tokenizer, &params, 1, position).unwrap();
            let alone: Vec<_> = (0..n).map(|_| windows.next_window().unwrap().unwrap()).collect();
            let alone = masker.microbatch(0, alone.chunks(1), "mask");
            assert_eq!(alone.labels.len(), packed.labels.len());

            let parameters = pretrained.parameters(folder.path(), DType::F64, &Device::Cpu).unwrap();
            let model = pretrained.model.as_ref();
            let term = language_term(family.language);
            let run = |batch: &Microbatch| {
                let engine = Engine::new(model, &parameters, 0);
                let (frame, dtype, device) = (&tokenizer.frame, DType::F64, &Device::Cpu);
                let (objective, pooling) = (&params.objective, Pooling::Mean);
                let pass = engine.pass(None);
                let forward = Forward { model, pass, objective, pooling, frame, share: 1.0, dtype, device };
                let inputs = (term.inputs)(&forward, batch).unwrap();
                let run = engine.forward(&inputs, None).unwrap();
                let hidden = model.hidden(&forward.pass, &run.last()).unwrap();
                let sum = (term.sum)(&forward, batch, &inputs, &hidden).unwrap();
                let mut gradients = empty();
                run.backward(&sum, &mut gradients).unwrap();
                (kernels::number(&sum.detach()).unwrap(), gradients)
            };
            let ((alone, alone_gradients), (packed, packed_gradients)) = (run(&alone), run(&packed));
            assert!((alone - packed).abs() <= 1e-9 * alone, "{}: {alone} alone, {packed} packed", family.name);
            assert_eq!(alone_gradients.len(), packed_gradients.len());
            let numbers = |gradient: &Tensor| gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (name, gradient) in &alone_gradients {
                for (alone, packed) in numbers(gradient).iter().zip(numbers(&packed_gradients[name])) {
                    let close = (alone - packed).abs() <= 1e-9 + 1e-9 * alone.abs();
                    assert!(close, "{} {name}: {alone} alone, {packed} packed", family.name);
                }
            }
        }
    }
}
