//! Objectives in whole runs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::draw;
use crate::flow::progress::Silent;
use crate::train::fixture::{
    checkpoint_folder, dies_after, grammar, job, metrics, outcome, shard_folder, tiny_params,
};
use crate::train::model::{FAMILIES, Family};
use crate::train::params::How;
use crate::train::run::metrics::Metric;
use crate::train::{Params, train};

fn settings(init: &Path) -> Params {
    let mut params = tiny_params();
    (params.steps, params.max_tokens, params.eval_every) = (10, 20, 5);
    params.init = init.to_str().unwrap().into();
    params.objective.set("contrastive", "weight", 0.0);
    params
}

fn own(family: &Family) -> &'static str {
    match family.name {
        "bert" => "mlm",
        "t5" => "span",
        _ => "clm",
    }
}

/// With no share of the other task, a mixed run is the plain one bit for bit.
#[test]
fn a_share_of_nothing_is_the_plain_run() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let plain = settings(init.path());
        let alpha = if own(family) == "clm" { 1.0 } else { 0.0 };

        let learnt = |params: &Params| {
            let out = tempfile::tempdir().unwrap();
            train(&job(shards.path(), out.path(), &Silent), params).unwrap();
            let losses = metrics(out.path()).into_iter().map(|metric| metric.train_loss);
            let losses = losses.collect::<Vec<f64>>();
            (std::fs::read(out.path().join("model.safetensors")).unwrap(), losses)
        };
        let plainly = learnt(&plain);
        for how in [How::Both, How::Sampled] {
            let mut mixed = plain.clone();
            (mixed.mixed.on, mixed.mixed.alpha, mixed.mixed.how) = (true, alpha, how);
            assert!(learnt(&mixed) == plainly, "{}, {how:?}", family.name);
        }
    }
}

/// Both tasks and the teacher, in every family; the terms are told apart, add up, and a killed run
/// goes on bit for bit.
#[test]
fn two_tasks_and_a_teacher_are_learnt_together() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for (family, how) in
        FAMILIES.iter().flat_map(|family| [(family, How::Both), (family, How::Sampled)])
    {
        let init = checkpoint_folder(family);
        let mut params = settings(init.path());
        (params.mixed.on, params.mixed.alpha, params.mixed.how) = (true, 0.25, how);
        params.packing = how == How::Both;
        params.strategy.set("momentum", "on", true);
        params.strategy.set("momentum", "schedule", "mean_teacher");
        params.objective.set("momentum", "weight", 2.0);
        params.objective.set("momentum", "warmup", 4);

        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        dies_after(3, shards.path(), killed.path(), &params);
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{}, {how:?}", family.name);

        let metrics = metrics(whole.path());
        let tasks = if own(family) == "span" { ["span", "prefix"] } else { ["mlm", "clm"] };
        let seen =
            |task: &str| metrics.iter().filter(|metric| metric.losses.contains_key(task)).count();
        match how {
            How::Both => {
                assert_eq!(tasks.map(seen), [10, 10]);
                metrics.iter().for_each(|metric| adds_up(metric, tasks));
            }
            // Two microbatches a step, of which three in four restore.
            How::Sampled => assert!(seen(tasks[0]) > 6 && (1..10).contains(&seen(tasks[1]))),
        }
    }
}

/// `(1 − α) · restore + α · continue + β · momentum`, with α = 0.25 and β = 2 min(1, step / 4).
fn adds_up(metric: &Metric, tasks: [&str; 2]) {
    let term = |name: &str| metric.losses[name];
    let beta = 2.0 * (metric.step as f64 / 4.0).min(1.0);
    let sum = 0.75 * term(tasks[0]) + 0.25 * term(tasks[1]) + beta * term("momentum");
    assert!((metric.train_loss - sum).abs() < 1e-9, "{} is not {sum}", metric.train_loss);
}

/// While the teacher is the model itself nothing is to learn from it.
#[test]
fn a_teacher_that_is_the_model_teaches_nothing() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    let mut params = tiny_params();
    (params.steps, params.model.dropout) = (3, 0.0);
    params.objective.set("contrastive", "weight", 0.0);
    let mut learning = params.clone();
    learning.objective.set("momentum", "weight", 1.0);

    let out = || tempfile::tempdir().unwrap();
    let alone = train(&job(shards.path(), out().path(), &Silent), &learning).unwrap_err();
    assert!(alone.what().contains("`momentum`, which is off"), "{alone}");
    assert!(alone.hints()[0].contains("train.strategy.momentum.on=true"), "{alone}");

    learning.strategy.set("momentum", "on", true);
    let told = |params: &Params| {
        let out = out();
        train(&job(shards.path(), out.path(), &Silent), params).unwrap();
        metrics(out.path())
    };
    let (taught, plain) = (told(&learning), told(&params));
    assert_eq!(taught[0].losses["momentum"], 0.0);
    assert_eq!(taught[0].grad_norm, plain[0].grad_norm);
    assert!(taught[2].losses["momentum"] > 0.0);
}

/// A section of a task that the model does not learn by is an error, and so is a mixture of a
/// tokenizer that has nothing to mask with.
#[test]
fn settings_without_effect_are_errors() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    let init = checkpoint_folder(FAMILIES[0]);
    let mut params = settings(init.path());
    params.given.insert("train.objective.clm.weight".into(), "mine.toml:3".into());
    let run = |params: &Params| {
        train(&job(shards.path(), tempfile::tempdir().unwrap().path(), &Silent), params)
    };
    let error = run(&params).unwrap_err();
    assert!(error.what().contains("bert does not learn by it"), "{error}");
    params.mixed.on = true;
    run(&params).unwrap();

    let gpt2 = FAMILIES.iter().find(|family| family.name == "gpt2").unwrap();
    let init = checkpoint_folder(gpt2);
    let mut params = settings(init.path());
    params.mixed.on = true;
    params.rows.set("masked", "token", "no such piece");
    let error = run(&params).unwrap_err();
    assert!(error.what().contains("has no piece `no such piece`"), "{error}");
    params.rows.set("masked", "token", "[UNK]");
    let named: BTreeMap<String, f64> = {
        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        metrics(out.path()).remove(0).losses
    };
    assert_eq!(named.keys().collect::<Vec<_>>(), ["clm", "mlm"]);
}

const TERMS: [&str; 4] = ["distill", "distill_attention", "distill_cls", "distill_hidden"];

/// A student with all terms, from step 2, 3, 4 and 5 on.
fn student(from: &str) -> Params {
    let mut params = tiny_params();
    (params.steps, params.save_every, params.model.dropout) = (12, 1, 0.0);
    params.objective.set("contrastive", "weight", 0.0);
    params.strategy.set("teacher", "on", true);
    params.strategy.set("teacher", "from", from);
    for (begin, name) in (1..).zip(TERMS) {
        params.objective.set(name, "weight", 1.0);
        params.objective.set(name, "begin", begin);
    }
    params
}

/// A wider and deeper teacher of the same tokenizer: every term begins when it should and falls,
/// projections are learnt and exported beside the model, and a killed run goes on bit for bit.
#[test]
fn a_small_student_learns_from_a_larger_teacher() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    let mut large = tiny_params();
    (large.steps, large.model.hidden, large.model.layers, large.model.heads) = (20, 24, 4, 3);
    let [taught, whole, killed] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    train(&job(shards.path(), taught.path(), &Silent), &large).unwrap();

    let mut params = student(taught.path().to_str().unwrap());
    // The teacher alone, which language would lead away from.
    params.objective.set("mlm", "weight", 1e-6);
    params.optimiser.lr = 3e-3;
    train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
    for steps in [2, 3] {
        dies_after(steps, shards.path(), killed.path(), &params);
    }
    train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
    assert!(outcome(whole.path()) == outcome(killed.path()), "the bytes differ");

    let metrics = metrics(whole.path());
    for (begin, name) in (1..).zip(TERMS) {
        let told: Vec<f64> =
            metrics.iter().filter_map(|metric| metric.losses.get(name)).copied().collect();
        assert_eq!(told.len(), 12 - begin, "{name} begins at its step");
        assert!(told[told.len() - 1] < told[0], "{name} falls: {told:?}");
    }
    for (name, there) in [("distill_cls", true), ("distill_hidden", true), ("distill", false)] {
        let file = whole.path().join(format!("{name}.safetensors"));
        assert_eq!(file.exists(), there, "{name}");
    }

    let other = checkpoint_folder(FAMILIES[0]);
    let params = student(other.path().to_str().unwrap());
    let out = tempfile::tempdir().unwrap();
    let error = train(&job(shards.path(), out.path(), &Silent), &params).unwrap_err();
    assert!(error.what().contains("they do not read the same"), "{error}");
}

/// The model as it began is the teacher: at first nothing is to learn from it, and then it holds
/// back, in every family by what is for it.
#[test]
fn a_model_is_held_to_what_it_was() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let mut params = settings(init.path());
        params.steps = 4;
        params.strategy.set("teacher", "on", true);
        let mut terms = TERMS.to_vec();
        // T5 has no token that stands for a row.
        terms.retain(|name| family.name != "t5" || *name != "distill_cls");
        for name in &terms {
            params.objective.set(name, "weight", 1.0);
            params.objective.set(name, "begin", 0);
        }

        let config = init.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        let mut shape: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in [
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "resid_pdrop",
            "embd_pdrop",
            "attn_pdrop",
            "dropout_rate",
        ] {
            shape[key] = 0.0.into();
        }
        std::fs::write(&config, shape.to_string()).unwrap();

        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let metrics = metrics(out.path());
        for name in terms {
            assert!(metrics[0].losses[name] < 1e-12, "{name} of {}", family.name);
            assert!(metrics[3].losses[name] > 0.0, "{name} of {}", family.name);
        }
    }
}

/// A line about the source is read in the first part of a run, and a killed run goes on through
/// the switch bit for bit, in every family.
#[test]
fn a_source_line_is_read_at_first_and_never_learnt() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let mut params = settings(init.path());
        (params.source_line.share, params.packing, params.save_every) = (0.5, true, 2);
        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        for steps in [3, 4] {
            dies_after(steps, shards.path(), killed.path(), &params);
        }
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);

        let lines = consumed(whole.path());
        let with: Vec<bool> = lines.iter().map(|line| line["source_line"] == true).collect();
        assert_eq!(with, [[true; 5], [false; 5]].concat(), "{}", family.name);
        let metrics = metrics(whole.path());
        assert!(metrics[9].strategies.contains_key("source_line_val_loss"));
        assert!(!metrics[4].strategies.contains_key("source_line_val_loss"));
    }
}

fn consumed(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("consumed.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One document in five is of four words in any order, which is harder than the grammar; one in
/// twenty of any words, which nobody can learn. The ones are read again, the others count less. A
/// killed run goes on bit for bit.
#[test]
fn hard_documents_are_read_again_and_noise_is_not() {
    let mut documents = grammar(80, 3);
    let words = ["tree", "lamp", "road", "bird", "fish", "wine", "king", "snow", "gate", "ship"];
    let others = ["aspirin", "fever", "children", "sugar", "meals", "adults", "oxygen", "asthma"];
    let all = [words.as_slice(), &others].concat();
    for (idx, document) in documents.iter_mut().enumerate().filter(|(idx, _)| idx % 5 == 0) {
        let mut draws = draw::stream(1, "words", &idx.to_le_bytes());
        let some = if idx % 20 == 0 { all.as_slice() } else { &words[..4] };
        let drawn = (0..20).map(|_| some[draw::next_below(&mut draws, some.len())]);
        document.text = drawn.collect::<Vec<_>>().join(" ");
    }
    let shards = shard_folder(&documents, &[]);
    let mut params = tiny_params();
    (params.steps, params.accumulate, params.save_every) = (120, 1, 10);
    (params.batch, params.eval_every, params.max_tokens) = (8, 0, 48);
    params.optimiser.lr = 1e-2;
    params.objective.set("contrastive", "weight", 0.0);
    for (key, value) in [("share", 0.25), ("low", 0.7), ("high", 0.95)] {
        params.strategy.set("mining", key, value);
    }
    params.strategy.set("mining", "every", 10);
    params.strategy.set("mining", "reuse", 100);

    let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
    for steps in [27, 33] {
        dies_after(steps, shards.path(), killed.path(), &params);
    }
    train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
    assert!(outcome(whole.path()) == outcome(killed.path()), "the bytes differ");

    let lines = consumed(whole.path());
    let again =
        lines[40..].iter().flat_map(|line| line["again"].as_array().cloned().unwrap_or_default());
    let again: Vec<u64> = again.map(|seq| seq.as_u64().unwrap()).collect();
    let of = |kind: fn(u64) -> bool| again.iter().filter(|seq| kind(**seq)).count();
    let (noise, hard) = (of(|seq| seq % 20 == 0), of(|seq| seq % 5 == 0 && seq % 20 != 0));
    assert!(again.len() > 30, "{}", again.len());
    // They are 15 and 5 % of the documents.
    assert!(hard * 3 > again.len(), "{hard} of {} are hard", again.len());
    assert!(noise * 40 < again.len(), "{noise} of {} are noise", again.len());
    let told = &metrics(whole.path())[119].strategies;
    assert_eq!((told["mining.hard"], told["mining.noisy"]), (20.0, 4.0));
}

/// With a teacher, what is hard is told by what is above its loss; tokens are chosen by it too.
#[test]
fn a_teacher_tells_what_is_worth_learning() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let mut params = settings(init.path());
        params.strategy.set("teacher", "on", true);
        params.strategy.set("mining", "share", 0.3);
        params.strategy.set("mining", "every", 3);
        params.objective.set(own(family), "keep", 0.6);
        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        dies_after(5, shards.path(), killed.path(), &params);
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);

        params.strategy.set("teacher", "on", false);
        let out = tempfile::tempdir().unwrap();
        let error = train(&job(shards.path(), out.path(), &Silent), &params).unwrap_err();
        assert!(error.what().contains("`teacher`, which is off"), "{error}");
    }
}

/// Passages of all microbatches compared at once: with one microbatch the bits are those of the
/// plain form, with several the gradient is that of all of them in one.
#[test]
fn gathered_passages_are_compared_as_if_they_were_of_one_batch() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    let found = |gather: bool, batch: usize, accumulate: usize| {
        let mut params = Params { batch, accumulate, ..tiny_params() };
        (params.steps, params.model.dropout) = (3, 0.0);
        params.precision = crate::train::params::Precision::F64;
        params.rows.set("passages", "anchors", 1_000);
        params.objective.set("contrastive", "gather", gather);
        params.objective.set("contrastive", "margin", 0.5);
        let out = tempfile::tempdir().unwrap();
        train(&job(shards.path(), out.path(), &Silent), &params).unwrap();
        let metrics = metrics(out.path());
        let losses: Vec<f64> = metrics
            .iter()
            .flat_map(|metric| {
                let loss = metric.losses.get("contrastive").copied();
                assert!(loss.is_some(), "{gather} {batch} {accumulate} {}", metric.step);
                [loss.unwrap_or(0.0), metric.grad_norm.unwrap()]
            })
            .collect();
        (std::fs::read(out.path().join("model.safetensors")).unwrap(), losses)
    };

    assert!(found(true, 12, 1) == found(false, 12, 1), "the bits of one microbatch");
    let (apart, whole, gathered) = (found(false, 6, 2), found(false, 12, 1), found(true, 6, 2));
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-9);
    assert!(near(&gathered.1, &whole.1), "{:?} {:?}", gathered.1, whole.1);
    assert!(!near(&apart.1, &whole.1), "apart there are fewer negatives");
}

/// Everything at once, in each family: a killed run goes on bit for bit.
#[test]
fn all_of_it_together_goes_on_bit_for_bit() {
    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    for family in FAMILIES {
        let init = checkpoint_folder(family);
        let mut params = settings(init.path());
        (params.packing, params.checkpoint_every, params.accumulate) = (true, 1, 2);
        params.precision = crate::train::params::Precision::Bf16;
        (params.save_every, params.source_line.share) = (2, 0.6);
        (params.selective.keep, params.selective.interrupt) = (0.5, 3);
        params.objective.set("contrastive", "weight", 0.1);
        params.objective.set("contrastive", "gather", true);
        params.objective.set("distill", "weight", 0.5);
        params.objective.set("distill_hidden", "weight", 0.5);
        params.objective.set("distill_hidden", "begin", 4);
        for (name, key) in [("teacher", "on"), ("unfreeze", "on")] {
            params.strategy.set(name, key, true);
        }
        params.strategy.set("unfreeze", "first_steps", 3);
        params.strategy.set("attention_kl", "every", 3);
        params.strategy.set("mining", "share", 0.25);
        params.strategy.set("mining", "every", 2);
        params.strategy.set("ema", "decay", 0.9);

        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        for steps in [1, 3, 2, 3] {
            dies_after(steps, shards.path(), killed.path(), &params);
        }
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{}", family.name);
    }
}

/// The page of a run, of one that goes on, and of several; a page cannot be made of nothing.
#[test]
fn a_run_is_a_page_to_look_at() {
    use crate::train::run::report::{REPORT, write};

    let shards = shard_folder(&grammar(50, 3), &grammar(12, 9));
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "<other>"].map(|name| folder.path().join(name));
    let mut params = Params { tensorboard: true, ..tiny_params() };
    params.strategy.set("attention_kl", "every", 5);
    params.strategy.set("mining", "share", 0.25);
    params.strategy.set("mining", "every", 5);
    dies_after(11, shards.path(), &one, &params);
    train(&job(shards.path(), &one, &Silent), &params).unwrap();
    train(&job(shards.path(), &other, &Silent), &params).unwrap();

    let page = std::fs::read_to_string(one.join(REPORT)).unwrap();
    for part in ["Loss", "Terms", "by source", "by difficulty bucket", "Attention heads", "Hard"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http") && !page.contains("<script"), "nothing from elsewhere");
    let both = folder.path().join("both.html");
    write(&[one.clone(), other.clone()], &both).unwrap();
    let page = std::fs::read_to_string(&both).unwrap();
    assert!(page.contains("2 runs") && page.contains("&lt;other&gt;, training"));

    // Whole records, one for the version and one for each step, whatever was killed.
    let events = std::fs::read_dir(one.join("tensorboard")).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(events.path()).unwrap();
    let (mut at, mut n) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (at, n) = (at + length as usize + 16, n + 1);
    }
    assert_eq!((at, n), (bytes.len(), 21));

    let empty = tempfile::tempdir().unwrap();
    let error = write(&[empty.path().to_path_buf()], &both).unwrap_err();
    assert!(error.to_string().contains("`kpipe train` wrote"), "{error}");
    std::fs::write(empty.path().join("metrics.jsonl"), "{\"step\":1}\n").unwrap();
    let error = write(&[empty.path().to_path_buf()], &both).unwrap_err();
    assert!(error.to_string().contains("metrics.jsonl, line 1"), "{error}");
    assert!(write(&[], &both).unwrap_err().what().contains("no run"));
}

/// From easy to hard where shards have no order of their own; a killed run goes on bit for bit, in
/// its second epoch too, and the books prove the order.
#[test]
fn a_run_can_have_an_order_of_its_own() {
    let shards = shard_folder(&grammar(30, 3), &grammar(12, 9));
    for (shuffle, deal) in [(0, 1), (4, 3)] {
        let mut params = Params { shuffle, deal, save_every: 3, ..tiny_params() };
        params.pacing.order = crate::train::params::Order::Competence;
        let [whole, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        train(&job(shards.path(), whole.path(), &Silent), &params).unwrap();
        for steps in [4, 3, 5] {
            dies_after(steps, shards.path(), killed.path(), &params);
        }
        train(&job(shards.path(), killed.path(), &Silent), &params).unwrap();
        assert!(outcome(whole.path()) == outcome(killed.path()), "{shuffle}");
        let lines = consumed(whole.path());
        let epochs: Vec<u64> = lines
            .iter()
            .flat_map(|line| line["ranges"].as_array().unwrap())
            .map(|range| range["epoch"].as_u64().unwrap())
            .collect();
        assert!(epochs.contains(&1), "a second epoch was begun");
    }
}

/// What a teacher showed is read again by the next run, to the same bytes as without; a damaged
/// file is named.
#[test]
fn what_a_teacher_showed_is_kept() {
    let shards = shard_folder(&grammar(50, 3), &[]);
    for family in FAMILIES {
        let (init, cache) = (checkpoint_folder(family), tempfile::tempdir().unwrap());
        let mut params = settings(init.path());
        params.steps = 4;
        params.strategy.set("teacher", "on", true);
        params.objective.set("distill", "weight", 1.0);
        let found = |params: &Params| {
            let out = tempfile::tempdir().unwrap();
            train(&job(shards.path(), out.path(), &Silent), params)
                .map(|_| std::fs::read(out.path().join("model.safetensors")).unwrap())
        };
        let plain = found(&params).unwrap();
        params.strategy.set("teacher", "cache", cache.path().to_str().unwrap());
        let files = || {
            let mut files: Vec<_> =
                std::fs::read_dir(cache.path()).unwrap().map(|one| one.unwrap().path()).collect();
            files.sort();
            files
        };
        assert!(found(&params).unwrap() == plain, "{}: as it is written", family.name);
        let written = files();
        assert_eq!(written.len(), 8, "one for each microbatch");
        assert!(found(&params).unwrap() == plain, "{}: as it is read", family.name);
        assert_eq!(files(), written);

        // Another weight of the term is another run on the same rows: it reads what is there.
        params.objective.set("distill", "weight", 0.5);
        assert!(found(&params).unwrap() != plain);
        assert_eq!(files(), written);
        std::fs::write(&written[0], b"damaged").unwrap();
        let error = found(&params).unwrap_err().to_string();
        assert!(error.contains("delete it"), "{error}");
    }
}
