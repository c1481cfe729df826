//! Strategies by name, and in whole runs.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::*;
use crate::flow::progress::Silent;
use crate::train::fixture::{
    checkpoint_folder, default_params, dies_after, grammar, job, metrics, outcome, shard_folder,
    tiny_params,
};
use crate::train::model::FAMILIES;
use crate::train::model::hugging_face;
use crate::train::model::parameters::{Role, read_tensors};
use crate::train::train;

#[test]
fn strategies_are_named_once_and_explained_and_have_a_section() {
    let params = default_params();
    for (idx, kind) in STRATEGIES.iter().enumerate() {
        assert!(!kind.about.is_empty());
        assert!(STRATEGIES[..idx].iter().all(|other| other.name != kind.name));
        assert!(params.strategy.has(kind.name) || kind.name == "toy", "{}", kind.name);
    }
    let on: Vec<&str> = chosen(&params).unwrap().iter().map(|active| active.kind.name).collect();
    assert_eq!(on, ["average"], "the others are off if nobody asks");
}

fn weights(folder: &Path) -> BTreeMap<String, Tensor> {
    read_tensors(&folder.join("model.safetensors"), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Indices along a dimension of a parameter that differ.
fn moved(before: &Tensor, after: &Tensor, dim: usize) -> Vec<usize> {
    let at = |tensor: &Tensor, nth| numbers(&tensor.narrow(dim, nth, 1).unwrap());
    let n = before.dim(dim).unwrap();
    (0..n).filter(|nth| at(before, *nth) != at(after, *nth)).collect()
}

/// With weight decay on, what has not joined yet keeps its bytes, slices too: stage 1, and stage 2
/// with one head.
#[test]
fn what_is_frozen_keeps_its_bytes() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let declared = hugging_face::shape(init.path()).unwrap().model.declare();
        let mut params = tiny_params();
        (params.steps, params.max_tokens, params.optimiser.weight_decay) = (6, 20, 0.1);
        params.init = init.path().to_str().unwrap().into();
        for (key, value) in [("first_steps", 3), ("blocks", 1), ("every", 100)] {
            params.strategy.set("unfreeze", key, value);
        }
        params.strategy.set("unfreeze", "on", true);
        (params.save_every, params.keep) = (1, 9);

        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let before = weights(init.path());
        let at = |step: u64| weights(&out.path().join(format!("checkpoints/step-{step:08}")));
        let (first, second) = (at(3), at(6));
        let feeds = declared.iter().filter(|one| one.part.role == Role::FeedForward);
        let top = feeds.map(|one| one.part.step).max().unwrap();
        let text = std::fs::read_to_string(out.path().join("checkpoints/step-00000006/state.json"))
            .unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        let joined = &state["strategies"]["unfreeze"]["heads"][0];
        let [step, head] = ["step", "head"].map(|key| joined[key].as_u64().unwrap() as usize);

        for one in &declared {
            let Some(before) = before.get(&one.name) else { continue };
            let (name, part) = (&one.name, one.part);
            let is_top = part.role == Role::FeedForward && part.step == top;
            assert_eq!(numbers(before) != numbers(&first[name]), is_top, "{name} in stage 1");

            match part.heads.filter(|_| part.step == step) {
                Some(cut) => {
                    let queries = declared.iter().filter(|one| one.part.step == step);
                    let n = queries.filter_map(|one| one.part.heads).map(|cut| cut.heads).max();
                    let own = cut.ranges(head * cut.heads / n.unwrap(), &one.shape);
                    let found = moved(&first[name], &second[name], cut.dim);
                    let own: Vec<usize> = own.into_iter().flatten().collect();
                    assert!(found.iter().all(|nth| own.contains(nth)), "{name}: {found:?}");
                    assert!(part.may_rest || !found.is_empty(), "{name} of head {head}");
                }
                None => {
                    let is_moved = numbers(&first[name]) != numbers(&second[name]);
                    assert_eq!(is_moved, is_top, "{name} in stage 2");
                }
            }
        }
    }
}

/// By either order everything has joined in the end, and a run that is killed in any stage goes on
/// to the same bytes, with everything that strategies keep.
#[test]
fn a_run_goes_on_in_the_middle_of_every_stage() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for (family, order) in FAMILIES.iter().zip(["heads", "layers", "heads", "layers"]) {
        let init = checkpoint_folder(family);
        let mut params = tiny_params();
        (params.steps, params.max_tokens, params.packing) = (16, 20, true);
        (params.save_every, params.eval_every, params.accumulate) = (1, 4, 2);
        params.init = init.path().to_str().unwrap().into();
        params.strategy.set("unfreeze", "on", true);
        params.strategy.set("unfreeze", "order", order);
        params.strategy.set("unfreeze", "first_steps", 4);
        params.strategy.set("unfreeze", "discriminative", 2.6);
        params.strategy.set("attention_kl", "every", 3);
        params.strategy.set("average", "over", 0.5);

        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        for steps in [2, 4, 5] {
            dies_after(steps, shards.path(), killed.path(), &params);
        }
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);
        let averages = [&whole, &killed].map(|out| weights(&out.path().join("average")));
        assert!(averages[0].iter().all(|(name, one)| numbers(one) == numbers(&averages[1][name])));

        let last = weights(whole.path());
        let still = |(name, before): &(&String, &Tensor)| numbers(before) == numbers(&last[*name]);
        let first = weights(init.path());
        let still: Vec<&String> = first.iter().filter(still).map(|(name, _)| name).collect();
        assert!(still.is_empty(), "{}: {still:?}", family.name);
    }
}

#[test]
fn heads_that_do_not_move_have_no_divergence() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    let mut params = tiny_params();
    params.steps = 5;
    params.strategy.set("attention_kl", "every", 2);
    let told = |lr: f64| {
        let mut params = params.clone();
        params.optimiser.lr = lr;
        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let told = metrics(out.path()).into_iter().map(|metric| metric.strategies);
        told.collect::<Vec<BTreeMap<String, f64>>>()
    };

    let still = told(0.0);
    assert_eq!(
        [0, 1, 2, 3, 4].map(|step| !still[step].is_empty()),
        [false, true, false, true, true]
    );
    assert!(still.iter().flat_map(BTreeMap::values).all(|found| *found == 0.0));

    let moving = told(1e-2);
    assert!(
        moving[1].iter().all(|(name, found)| *found > 0.0 && name.starts_with("attention_kl."))
    );
    let (first, second) = (&moving[1], &moving[3]);
    assert_eq!(first["attention_kl.1.0.initial"], first["attention_kl.1.0.last"]);
    assert_ne!(second["attention_kl.1.0.initial"], second["attention_kl.1.0.last"]);
    let mean = |metric: &BTreeMap<String, f64>| {
        (metric["attention_kl.2.0.last"] + metric["attention_kl.2.1.last"]) / 2.0
    };
    assert!((second["attention_kl.2.last"] - mean(second)).abs() < 1e-15);
}

/// The mean of the checkpoints themselves.
#[test]
fn the_average_is_that_of_the_checkpoints() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    let mut params = Params { steps: 10, save_every: 1, keep: 20, ..tiny_params() };
    params.strategy.set("average", "last", 3);
    params.strategy.set("average", "over", 0.6);
    let out = tempfile::tempdir().unwrap();
    train(&job(shards.path(), out.path(), &Silent), &params).unwrap();

    let checkpoints =
        [6, 8, 10].map(|step| weights(&out.path().join(format!("checkpoints/step-{step:08}"))));
    for (name, found) in weights(&out.path().join("average")) {
        let all = checkpoints.each_ref().map(|one| numbers(&one[&name]));
        for (nth, found) in numbers(&found).into_iter().enumerate() {
            let right = all.iter().map(|one| f64::from(one[nth])).sum::<f64>() / 3.0;
            assert!((f64::from(found) - right).abs() < 1e-6, "{name}: {found}, not {right}");
        }
    }
    let last = metrics(out.path()).pop().unwrap();
    assert!(last.strategies.contains_key("average_val_loss"));
}

#[test]
fn an_adapter_leaves_nothing_to_unfreeze() {
    let family = FAMILIES.iter().find(|family| family.name == "llama").unwrap();
    let (shards, init) = (shard_folder(&grammar(50, 3), &[]), checkpoint_folder(family));
    let mut params = Params { steps: 2, max_tokens: 20, ..tiny_params() };
    params.init = init.path().to_str().unwrap().into();
    params.strategy.set("unfreeze", "on", true);
    params.strategy.set("adapter", "on", true);
    let out = tempfile::tempdir().unwrap();
    let error = train(&job(shards.path(), out.path(), &Silent), &params).unwrap_err();
    assert!(error.what().contains("nothing to move"), "{error}");
}
