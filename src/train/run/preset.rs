//! Presets: settings for well-known models, with the literature's beside them, and a tiny twin of
//! each.
//!
//! A preset is a pipeline file that lies under the user's own; its head says what it is and what
//! others chose. To add one: one file in `pipelines/presets`, one line in [`PRESETS`].

use crate::error::Result;
use crate::flow::registry;

/// A pipeline file by its name.
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal) => {
        Preset {
            name: $name,
            text: include_str!(concat!("../../../pipelines/presets/", $name, ".toml")),
        }
    };
}

/// Every preset.
pub static PRESETS: &[Preset] = &[
    preset!("bert-base"),
    preset!("bert-base-tiny"),
    preset!("gpt2"),
    preset!("gpt2-tiny"),
    preset!("t5-base"),
    preset!("t5-base-tiny"),
    preset!("llama-7b"),
    preset!("llama-7b-tiny"),
];

impl Preset {
    /// What stands at the head of the file.
    pub fn about(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.starts_with('#'));
        lines.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or_default())).collect()
    }
}

/// The preset called `name`.
///
/// # Errors
/// If there is none.
pub fn preset(name: &str) -> Result<&'static Preset> {
    let all: Vec<&'static Preset> = PRESETS.iter().collect();
    registry::find("preset", &all, name, |preset| preset.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::plan::Pipeline;
    use crate::flow::progress::Silent;
    use crate::flow::settings::Settings;
    use crate::train::fixture::{grammar, shard_folder};
    use crate::train::{Job, Params, train};

    fn params(preset: &Preset) -> Params {
        let mut settings = Settings::new().unwrap();
        settings.add_preset(preset.text, preset.name).unwrap();
        Pipeline::new(&settings).unwrap().train
    }

    /// Batch and rate as they were asked for, and the published number of parameters, counted from
    /// the shapes: BERT's is that of the encoder with its pooler.
    #[test]
    fn presets_are_what_they_are_called() {
        let expected = [
            ("bert-base", 4_096, 2e-4, 109_482_240),
            ("gpt2", 2_048, 1e-4, 124_439_808),
            ("t5-base", 1_024, 5e-5, 222_903_552),
            ("llama-7b", 512, 3e-5, 6_738_415_616),
        ];

        for (name, batch, lr, numbers) in expected {
            let (preset, twin) = (preset(name).unwrap(), preset(&format!("{name}-tiny")).unwrap());
            assert!(
                preset.about().contains("In the literature") && twin.about().contains("tiny twin")
            );
            let (params, twin) = (params(preset), params(twin));
            assert_eq!(
                (params.batch * params.accumulate, params.optimiser.lr),
                (batch, lr),
                "{name}"
            );
            let model = params.described(1).unwrap();
            assert_eq!(super::super::plan::published(&model), numbers, "{name}");
            let n = |params: &Params| {
                let declared = params.described(1).unwrap().model.declare();
                declared.iter().map(|one| one.shape.iter().product::<usize>()).sum::<usize>()
            };
            assert!(n(&twin) <= 1_000_000, "{name}-tiny has {} numbers", n(&twin));
            assert_eq!(params.family().unwrap().name, twin.family().unwrap().name);
        }

        assert_eq!(PRESETS.len(), 2 * expected.len());
        assert!(super::preset("bert-bas").err().unwrap().to_string().contains("`bert-base`"));
    }

    /// Every tiny twin learns, with a tokenizer of its own, and its folder is one that a run goes
    /// on from.
    #[test]
    fn tiny_twins_learn() {
        let shards = shard_folder(&grammar(120, 3), &grammar(20, 9));
        for preset in PRESETS.iter().filter(|preset| preset.name.ends_with("-tiny")) {
            let mut params = Params {
                steps: 40,
                save_every: 0,
                eval_every: 0,
                max_tokens: 32,
                ..params(preset)
            };

            params.batch = 8;
            params.rows.set("passages", "tokens", 16);
            let [out, again] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let run = |params: &Params, out: &std::path::Path| {
                let device = &candle_core::Device::Cpu;
                let job = Job {
                    shards: shards.path(),
                    out,
                    seed: 17,
                    device,
                    losses: false,
                    progress: &Silent,
                };
                train(&job, params).unwrap()
            };

            let (first, last) = run(&params, out.path()).val_loss.unwrap();
            assert!(last < first - 1.0, "{}: held-out loss from {first} to {last}", preset.name);
            (params.init, params.steps) = (out.path().to_str().unwrap().to_string(), 1);
            let begun = run(&params, again.path()).val_loss.unwrap().0;
            assert!(
                (begun - last).abs() < 1e-9,
                "{}: written at {last}, read at {begun}",
                preset.name
            );
        }
    }
}
