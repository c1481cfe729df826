//! Keys that a person gave and that change nothing, because another key turns off what they are
//! for: errors, so that no setting lies.
//!
//! A key that a pipeline file repeats with its default says nothing, and is no error: files begin
//! as a copy of `kpipe defaults`.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::train::objective::OBJECTIVES;
use crate::train::params::Params;
use crate::train::schedule;
use crate::train::strategy::{self, STRATEGIES};

/// Keys that mean nothing while another key has a value.
struct Rule {
    /// The keys; one that ends in `.` or `_` stands for all that begin so.
    keys: &'static [&'static str],
    /// The other key.
    other: &'static str,
    /// Its value, as JSON writes it.
    value: Is,
}

/// What the value of the other key is.
enum Is {
    /// This one.
    This(&'static str),
    /// Any but this one.
    Other(&'static str),
}

/// What strategies, objectives and schedules do not tell themselves.
static RULES: &[Rule] = &[
    Rule {
        keys: &["train.source_line."],
        other: "train.source_line.share",
        value: Is::This("0.0"),
    },
    Rule { keys: &["train.selective."], other: "train.selective.keep", value: Is::This("1.0") },
    Rule { keys: &["train.pacing."], other: "train.pacing.order", value: Is::This("\"shards\"") },
    Rule { keys: &["train.mixed."], other: "train.mixed.on", value: Is::This("false") },
    Rule {
        keys: &["train.rows.masked.candidates"],
        other: "train.rows.masked.choose",
        value: Is::This("\"random\""),
    },
    // The shape and the vocabulary of a model that is there already are its own.
    Rule { keys: &["train.config", "train.model."], other: "train.init", value: Is::Other("\"\"") },
    Rule { keys: &["train.model."], other: "train.config", value: Is::Other("{}") },
    Rule { keys: LEARNED_TOKENIZER, other: "train.init", value: Is::Other("\"\"") },
    Rule { keys: LEARNED_TOKENIZER, other: "train.tokenizer.file", value: Is::Other("\"\"") },
    Rule {
        keys: &["train.tokenizer.lowercase"],
        other: "train.tokenizer.kind",
        value: Is::This("\"bpe\""),
    },
    // Views of images have no hard negatives.
    Rule {
        keys: &[
            "train.rows.passages.hard",
            "train.objective.contrastive.hard_weight",
            "train.objective.contrastive.margin",
            "train.objective.contrastive.margin_",
        ],
        other: "train.objective.contrastive.form",
        value: Is::This("\"simclr\""),
    },
    Rule {
        keys: &["train.objective.contrastive.margin_"],
        other: "train.objective.contrastive.margin",
        value: Is::This("0.0"),
    },
    // The passages of one microbatch are compared anyway.
    Rule {
        keys: &["train.objective.contrastive.gather"],
        other: "train.accumulate",
        value: Is::This("1"),
    },
    // Steps, and the same as a share of them.
    Rule {
        keys: &["train.objective.distill.begin"],
        other: "train.objective.distill.begin_share",
        value: Is::Other("0.0"),
    },
    Rule {
        keys: &["train.objective.distill_cls.begin"],
        other: "train.objective.distill_cls.begin_share",
        value: Is::Other("0.0"),
    },
    Rule {
        keys: &["train.objective.distill_hidden.begin"],
        other: "train.objective.distill_hidden.begin_share",
        value: Is::Other("0.0"),
    },
    Rule {
        keys: &["train.objective.distill_attention.begin"],
        other: "train.objective.distill_attention.begin_share",
        value: Is::Other("0.0"),
    },
    Rule {
        keys: &["train.strategy.unfreeze.first_steps"],
        other: "train.strategy.unfreeze.first_share",
        value: Is::Other("0.0"),
    },
    Rule {
        keys: &["train.strategy.unfreeze.until"],
        other: "train.strategy.unfreeze.every",
        value: Is::Other("0"),
    },
    Rule {
        keys: &["train.strategy.unfreeze.heads"],
        other: "train.strategy.unfreeze.order",
        value: Is::This("\"layers\""),
    },
];

/// What is asked of a tokenizer that is learned.
const LEARNED_TOKENIZER: &[&str] = &[
    "train.tokenizer.kind",
    "train.tokenizer.vocabulary",
    "train.tokenizer.lowercase",
    "train.tokenizer.sample_chars",
    "train.tokenizer.min_frequency",
];

impl Rule {
    /// Whether it speaks of a key.
    fn names(&self, key: &str) -> bool {
        let is = |name: &&str| match name.ends_with(['.', '_']) {
            true => key.starts_with(*name),
            false => key == *name,
        };
        key != self.other && self.keys.iter().any(is)
    }

    /// The value that the other key has, where that turns the keys off.
    fn turned_off(&self, params: &Value) -> Option<String> {
        let value = params.pointer(&pointer(self.other))?;
        let told = value.to_string();
        let is_off = match self.value {
            Is::This(off) => told == off,
            Is::Other(on) => told != on,
        };
        is_off.then(|| if value.is_object() { "given".to_string() } else { told })
    }

    fn hint(&self) -> String {
        match self.value {
            Is::This(_) => format!("leave it out, or give `{}` another value", self.other),
            Is::Other(_) => "leave one of the two out".to_string(),
        }
    }
}

/// Where a key of `[train]` stands in what [`Params`] are written as.
fn pointer(key: &str) -> String {
    key.trim_start_matches("train").replace('.', "/")
}

impl Params {
    /// Refuses keys that a person gave and that another key makes mean nothing.
    ///
    /// # Errors
    /// Names the first of them, where it was given, and the other key.
    pub fn check_given(&self) -> Result<()> {
        let values = serde_json::to_value(self)
            .map_err(|cause| Error::usage(format!("`[train]`: {cause}")))?;
        let off = self.sections_that_are_off()?;

        for key in self.given.keys() {
            let switch = off.iter().find(|(section, switch)| {
                key.strip_prefix(section.as_str()).is_some_and(|rest| rest.starts_with('.'))
                    && key != switch
            });
            if let Some((section, switch)) = switch {
                return Err(self
                    .without_effect(key, &format!("`{section}` is off"))
                    .hint(format!("leave it out, or turn that on with `{switch}`")));
            }

            let mut rules = RULES.iter().filter(|rule| rule.names(key));
            let off = rules.find_map(|rule| Some((rule, rule.turned_off(&values)?)));
            if let Some((rule, value)) = off {
                return Err(self
                    .without_effect(key, &format!("`{}` is {value}", rule.other))
                    .hint(rule.hint()));
            }
        }

        self.check_schedule_given()
    }

    /// Sections of strategies and objectives that do nothing in this run, with the key that turns
    /// each on.
    fn sections_that_are_off(&self) -> Result<Vec<(String, String)>> {
        let mut off = Vec::new();
        let active = strategy::chosen(self)?;
        for kind in STRATEGIES {
            if !active.iter().any(|active| active.kind.name == kind.name) {
                off.push((kind.section(), format!("{}.{}", kind.section(), kind.switch)));
            }
        }
        for kind in OBJECTIVES {
            if !kind.has_weight(self)? {
                off.push((kind.section(), format!("{}.weight", kind.section())));
            }
        }
        Ok(off)
    }

    fn check_schedule_given(&self) -> Result<()> {
        let schedule = schedule::schedule(&self.schedule.kind)?;
        let reads =
            |name: &str| ["kind", "warmup"].contains(&name) || schedule.keys.contains(&name);
        let unread = self
            .given
            .keys()
            .find(|key| key.strip_prefix("train.schedule.").is_some_and(|name| !reads(name)));
        match unread {
            Some(key) => Err(self
                .without_effect(key, &format!("the schedule `{}` does not read it", schedule.name))
                .hint("leave it out, or choose another `train.schedule.kind`")),
            None => Ok(()),
        }
    }

    /// What to say of a key, or the first key of a section, that was given without effect.
    pub(super) fn without_effect(&self, key: &str, why: &str) -> Error {
        let error = Error::usage(format!("`{key}` has no effect: {why}"));
        let within = |given: &str| {
            given.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match self.given.iter().find(|(given, _)| within(given)) {
            Some((_, place)) => error.at(place),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixture::default_params;

    fn refused(params: &Params, key: &str) -> Option<String> {
        let mut params = params.clone();
        params.given = [(key.to_string(), "mine.toml:3".to_string())].into();
        params.check_given().err().map(|error| error.to_string())
    }

    #[test]
    fn rules_name_keys_that_there_are() {
        let values = serde_json::to_value(default_params()).unwrap();
        for rule in RULES {
            assert!(values.pointer(&pointer(rule.other)).is_some(), "{}", rule.other);
            for keys in rule.keys {
                let (section, begin) = keys.rsplit_once('.').unwrap();
                let section = values.pointer(&pointer(section)).and_then(Value::as_object);
                let found = section.unwrap().keys().any(|key| key.starts_with(begin));
                assert!(found, "{keys}");
            }
        }
    }

    #[test]
    fn every_strategy_has_its_switch() {
        let values = serde_json::to_value(default_params()).unwrap();
        for kind in STRATEGIES {
            if let Some(section) = values.pointer(&format!("/strategy/{}", kind.name)) {
                assert!(section.get(kind.switch).is_some(), "{}", kind.name);
            }
        }
    }

    #[test]
    fn a_key_of_what_is_off_names_its_place_and_the_switch() {
        let params = default_params();
        let told = refused(&params, "train.strategy.mining.every").unwrap();
        for part in ["`train.strategy.mining.every`", "mine.toml:3", "mining.share"] {
            assert!(told.contains(part), "{told}");
        }
        let told = refused(&params, "train.pacing.power").unwrap();
        assert!(told.contains("`train.pacing.order` is \"shards\""), "{told}");
        assert!(refused(&params, "train.pacing.order").is_none());
        assert!(refused(&params, "train.strategy.mining.share").is_none());
        assert!(refused(&params, "train.schedule.decay").is_none());

        let mut cosine = default_params();
        cosine.schedule.kind = "cosine".to_string();
        let told = refused(&cosine, "train.schedule.decay").unwrap();
        assert!(told.contains("`cosine` does not read it"), "{told}");
        assert!(refused(&cosine, "train.schedule.floor").is_none());
    }
}
