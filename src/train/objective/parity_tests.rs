//! The terms of a mixed run against PyTorch, by `fixtures/parity/mixed.py`.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::train::data::rows::{Label, Rows};
use crate::train::fixture::default_params;
use crate::train::kernels;
use crate::train::model::gradients::empty;
use crate::train::model::parameters::read_tensors;
use crate::train::model::{Engine, hugging_face, show};

/// Rows as they stand in a fixture, without their padding.
fn rows(ids: &Tensor, present: &Tensor) -> Rows {
    let present = present.to_vec2::<i64>().unwrap();
    let ids = ids.to_vec2::<i64>().unwrap().into_iter().zip(present);
    let tokens = ids.map(|(ids, present)| {
        ids.iter()
            .zip(present)
            .filter(|(_, present)| *present > 0)
            .map(|(id, _)| *id as u32)
            .collect()
    });
    tokens.collect::<Vec<Vec<u32>>>().into_iter().collect()
}

/// Each term, and the gradient of their sum by every parameter, in f64.
#[test]
fn a_mixture_agrees_with_torch() {
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity");
    for name in ["bert", "gpt2", "llama", "t5"] {
        let folder = parity.join("models").join(name);
        let pretrained = hugging_face::shape(&folder).unwrap();
        let (model, language) = (pretrained.model.as_ref(), pretrained.family.language);
        let parameters = pretrained.parameters(&folder, DType::F64, &Device::Cpu).unwrap();
        let given = read_tensors(&folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        let file = parity.join("mixed").join(format!("{name}.safetensors"));
        let expected = read_tensors(&file, &Device::Cpu).unwrap();

        let labels = given["labels"].to_vec2::<i64>().unwrap();
        let labels = labels.iter().enumerate().flat_map(|(row, labels)| {
            let of_row = labels.iter().enumerate().filter(|(_, token)| **token >= 0);
            of_row.map(move |(place, token)| Label { row, ..Label::new(place, *token as u32) })
        });
        let set = RowSet {
            rows: rows(&given["ids"], &given["present"]),
            decoder: given.get("decoder_ids").map(|ids| rows(ids, &given["decoder_present"])),
            labels: labels.collect(),
            ..RowSet::default()
        };

        let teacher = parameters.iter().map(|(name, var)| {
            (name.to_string(), var.as_detached_tensor().affine(0.7, 0.0).unwrap())
        });
        let teacher = parameters.beside(teacher);
        let mut params = default_params();
        params.objective.set("contrastive", "weight", 0.0);
        params.objective.set("momentum", "weight", 0.5);
        params.objective.set("momentum", "temperature", 2.0);
        params.mixed = Mixed { on: true, alpha: 0.25, how: How::Both };

        let frame = Frame {
            language,
            pad: 0,
            before: Vec::new(),
            behind: Vec::new(),
            end: None,
            mask: 4,
            sentinels: Vec::new(),
            decoder_start: 0,
        };
        let (engine, mut gradients) = (Engine::new(model, &parameters, 0).unwrap(), empty());
        let at = At { step: 1, total: 1 };
        for active in chosen(&params, language).unwrap().active {
            let (pass, rows) = (engine.pass(None), active.rows);
            let share = active.weight(at, 1.0) / set.labels.len() as f64;
            let (frame, dtype, device) = (&frame, DType::F64, &Device::Cpu);
            let told = None;
            let cx = Forward { model, pass, frame, share, rows, dtype, device, told };
            let (inputs, needs) = (cx.inputs(&set).unwrap(), active.objective.needs(model));
            let pass = Pass::new(&teacher, None);
            let taught = Taught { model, pass, seen: show(model, &pass, &inputs, &needs).unwrap() };
            let run = engine.forward(&inputs, None, &needs).unwrap();
            let sum = active.objective.sum(&cx, &set, &run.seen().unwrap(), Some(&taught)).unwrap();

            let term = match active.kind.task {
                Some(Task::Restore) => "restore",
                Some(Task::Continue) => "continue",
                None => "momentum",
            };
            let mean = kernels::number(&sum.detach()).unwrap() / set.labels.len() as f64;
            let torch = expected[term].to_scalar::<f64>().unwrap();
            assert!((mean - torch).abs() < 1e-9, "{name}, {term}: {mean}, torch {torch}");
            run.backward(&sum.affine(share, 0.0).unwrap(), &mut gradients).unwrap();
        }

        let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (parameter, _) in parameters.iter() {
            let torch = numbers(&expected[&format!("grad.{parameter}")]);
            for (ours, torch) in numbers(&gradients[parameter]).into_iter().zip(torch) {
                let off = (ours - torch).abs();
                let close = off <= 1e-9 + 1e-7 * torch.abs();
                assert!(close, "{name}, {parameter}: {ours}, torch {torch}");
            }
        }
    }
}
