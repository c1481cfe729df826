//! A plan as EXAMPLE: which levers, which arms, which text, how long; and the arms it comes to.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::registry;

/// Part of the hash of a plan: what an arm comes to changes with it.
const VERSION: u32 = 1;
/// Most factors of a plan: so many have main effects in 16 arms that are clear of the interactions
/// of any two.
const FACTORS: usize = 8;
/// Factors whose levels are free; those of the others are products of three of them (Box, Hunter
/// and Hunter 2005, table 12.15: 2^(8-4), resolution IV).
const FREE: usize = 4;
const PRODUCTS: [[usize; 3]; FACTORS - FREE] = [[1, 2, 3], [0, 2, 3], [0, 1, 2], [0, 1, 3]];

/// An ablation, written down before it is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is to decide, in a sentence or two.
    pub question: String,
    /// Seeds of builds and runs; each arm is run with each.
    pub seeds: Vec<u64>,
    /// The kind of probes that decides, such as `facts.new`.
    pub primary: String,
    /// Facts that are invented.
    pub world: WorldPlan,
    /// Real text beside them.
    pub text: Text,
    /// The model that all arms go on from.
    pub base: Base,
    /// Settings of all arms, `key=value`.
    pub set: Vec<String>,
    /// The levers.
    pub factor: Vec<Factor>,
    /// Arms that others are compared with.
    pub reference: Vec<Reference>,
}

/// Facts that are invented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldPlan {
    /// The language it is told in: `en` or `zh`.
    #[serde(default = "english", skip_serializing_if = "is_english")]
    pub language: String,
    /// Seed of names and facts.
    pub seed: u64,
    /// Things, a third of each kind; each has six facts.
    pub things: usize,
    /// Documents that tell of each thing, in other words each time.
    pub documents: usize,
    /// Probes of new wordings that are asked while a model learns; 0 asks none.
    pub panel: usize,
    /// Steps between two times.
    pub panel_every: u64,
    /// Things and values are concepts of the lexicon, as where a graph knows both ends of a fact:
    /// what levers that look for concepts need.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lexicon: bool,
    /// Names of each thing that the lexicon has beside that which the documents call it by; where
    /// there are some, a fact is asked by one of them, too (`facts.alias`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub aliases: usize,
}

// What a plan does not say is not hashed either: plans of before keep their hashes.
fn english() -> String {
    "en".to_string()
}

fn is_english(language: &String) -> bool {
    language == "en"
}

/// Real text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Characters of domain text for each of the facts'; what is there may be less.
    pub domain: f64,
    /// Characters of general text for each of the facts'.
    pub general: f64,
    /// Probes about concepts in held-out documents.
    pub probes: usize,
    /// Held-out general texts whose bits are counted.
    pub held_out: usize,
    /// Longest passage, characters: longer documents are cut at ends of sentences; 0 leaves them
    /// whole. Shares of a curriculum count documents: where those of general text are many times as
    /// long as the facts', its replay is nearly all that an arm reads, a batch of one at a time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passage: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The model that all arms go on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// A preset of `kpipe train`; empty takes the defaults.
    pub preset: String,
    /// Settings over it, `key=value`.
    pub set: Vec<String>,
}

/// A lever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// Settings without it, `key=value`.
    pub low: Vec<String>,
    /// Settings with it.
    pub high: Vec<String>,
}

/// An arm beside the factorial ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// What it is for, in one line.
    pub about: String,
    /// The factors that are high in it.
    #[serde(default)]
    pub high: Vec<String>,
    /// Settings beyond them, `key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// What it is trained on.
    #[serde(default)]
    pub facts: Facts,
}

/// What stands in the place of the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facts {
    /// The facts.
    #[default]
    Told,
    /// Nothing is trained: what the base knows.
    Untrained,
    /// The probes themselves, rightly filled in: what can be reached.
    Probes,
    /// The same facts of other things: what is learned of the texts alone.
    Exchanged,
}

/// A run that is to be made with each seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// Of each factor, whether it is high; empty where it is no factorial arm.
    pub levels: Vec<bool>,
    /// Its settings, `key=value`.
    pub set: Vec<String>,
    /// What it is trained on.
    pub facts: Facts,
}

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// If the file cannot be read, is no plan, or asks for what cannot be; names the place.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::usage(format!("cannot read the plan `{}`: {cause}", path.display()))
                .hint("`benches/ablation.toml` is one to begin with")
        })?;
        let plan: Plan = toml::from_str(&text).map_err(|cause| {
            Error::usage(format!("this is no plan: {}", cause.message())).at(path.display())
        })?;
        plan.check().map_err(|error| error.at(path.display()))?;
        Ok(plan)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::usage(what));
        if self.factor.is_empty() || self.factor.len() > FACTORS {
            let n = self.factor.len();
            return wrong(format!("a plan has 1 to {FACTORS} factors, and this one {n}"));
        }
        if self.seeds.is_empty() {
            return wrong("`seeds` is empty: nothing would be run".to_string());
        }
        if self.world.things < 15 || self.world.documents == 0 {
            return wrong("`world` wants 15 things or more and a document of each".to_string());
        }

        let mut names: Vec<&str> = self.factor.iter().map(|factor| factor.name.as_str()).collect();
        names.extend(self.reference.iter().map(|reference| reference.name.as_str()));
        for (nth, name) in names.iter().enumerate() {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || !name.chars().all(is_plain) {
                return wrong(format!("`{name}` is no name: small letters, digits and `_`"));
            }
            if names[..nth].contains(name) {
                return wrong(format!("the name `{name}` is given twice"));
            }
        }
        let factors = &names[..self.factor.len()];
        for name in self.reference.iter().flat_map(|reference| &reference.high) {
            if !factors.contains(&name.as_str()) {
                return Err(registry::unknown("factor", name, factors));
            }
        }
        let twice = |seed: &&u64| self.seeds.iter().filter(|other| other == seed).count() > 1;
        match self.seeds.iter().find(twice) {
            Some(seed) => wrong(format!("the seed {seed} is given twice")),
            None => Ok(()),
        }
    }

    /// All arms: references first, then the factorial ones.
    pub fn arms(&self) -> Vec<Arm> {
        let settings = |levels: &[bool]| -> Vec<String> {
            let of = |(factor, high): (&Factor, &bool)| match high {
                true => factor.high.clone(),
                false => factor.low.clone(),
            };
            self.factor.iter().zip(levels).flat_map(of).collect()
        };
        let mut arms: Vec<Arm> = self
            .reference
            .iter()
            .map(|reference| {
                let levels: Vec<bool> =
                    self.factor.iter().map(|one| reference.high.contains(&one.name)).collect();
                let set = [settings(&levels), reference.set.clone()].concat();
                let (name, facts) = (reference.name.clone(), reference.facts);
                Arm { name, levels: Vec::new(), set, facts }
            })
            .collect();
        for levels in design(self.factor.len()) {
            let signs: String = levels.iter().map(|high| if *high { '1' } else { '0' }).collect();
            let (name, set) = (format!("arm_{signs}"), settings(&levels));
            arms.push(Arm { name, levels, set, facts: Facts::Told });
        }
        arms
    }

    /// Which products of two factors cannot be told apart, by their names.
    pub fn aliases(&self) -> Vec<Vec<String>> {
        let design = design(self.factor.len());
        let mut groups: Vec<(Vec<bool>, Vec<String>)> = Vec::new();
        for (a, one) in self.factor.iter().enumerate() {
            for (b, other) in self.factor.iter().enumerate().skip(a + 1) {
                let same: Vec<bool> = design.iter().map(|arm| arm[a] == arm[b]).collect();
                let name = format!("{} × {}", one.name, other.name);
                match groups.iter_mut().find(|(of, _)| *of == same) {
                    Some((_, names)) => names.push(name),
                    None => groups.push((same, vec![name])),
                }
            }
        }
        groups.into_iter().map(|(_, names)| names).filter(|names| names.len() > 1).collect()
    }

    /// The plan as it is hashed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn canonical(&self) -> Result<String> {
        // More seeds are the same plan: anybody may add some.
        let plan = Plan { seeds: Vec::new(), ..self.clone() };
        let text = serde_json::to_string(&(VERSION, plan, self.arms()))
            .map_err(|cause| Error::data(format!("the plan cannot be hashed: {cause}")))?;
        Ok(text)
    }
}

/// The levels of so many factors in each factorial arm: all combinations of up to four; of more, 16
/// arms in which each main effect is clear of the interactions of any two.
fn design(factors: usize) -> Vec<Vec<bool>> {
    let free = factors.min(FREE);
    let arm = |nth: usize| {
        let mut levels: Vec<bool> = (0..free).map(|bit| nth >> bit & 1 == 1).collect();
        for product in PRODUCTS.iter().take(factors - free) {
            let high = product.iter().filter(|bit| levels[**bit]).count();
            levels.push(high % 2 == 1);
        }
        levels
    };
    (0..1 << free).map(arm).collect()
}

/// A small plan.
#[cfg(test)]
pub(super) const EXAMPLE: &str = r#"
    question = "does it?"
    seeds = [1, 2]
    primary = "facts.new"
    set = ["train.steps=3"]
    [world]
    seed = 1
    things = 15
    documents = 2
    panel = 0
    panel_every = 1
    [text]
    domain = 1.0
    general = 1.0
    probes = 5
    held_out = 5
    [base]
    preset = ""
    set = []
    [[factor]]
    name = "order"
    about = "easy first"
    low = ["train.shuffle=100"]
    high = []
    [[factor]]
    name = "floor"
    about = "a rate that stays"
    low = ["train.schedule.floor=0.0"]
    high = ["train.schedule.floor=0.33"]
    [[reference]]
    name = "full"
    about = "all"
    high = ["order", "floor"]
    [[reference]]
    name = "none"
    about = "nothing"
    facts = "untrained"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(design: &[Vec<bool>], factors: &[usize]) -> Vec<i32> {
        let sign = |high: bool| if high { 1 } else { -1 };
        design.iter().map(|arm| factors.iter().map(|of| sign(arm[*of])).product()).collect()
    }

    fn dot(a: &[i32], b: &[i32]) -> i32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Balanced, orthogonal, and no main effect stands in for an interaction of two.
    #[test]
    fn main_effects_are_clear() {
        for n in 1..=FACTORS {
            let design = design(n);
            assert_eq!(design.len(), 1 << n.min(4));
            for a in 0..n {
                let main = signs(&design, &[a]);
                assert_eq!(main.iter().sum::<i32>(), 0, "{n}: {a} is not balanced");
                for b in a + 1..n {
                    assert_eq!(dot(&main, &signs(&design, &[b])), 0, "{n}: {a} and {b}");
                    for c in (0..n).filter(|c| *c != a) {
                        let pair = signs(&design, &[b, c]);
                        assert!(b == c || dot(&main, &pair) == 0, "{n}: {a} and {b} × {c}");
                    }
                }
            }
        }
    }

    #[test]
    fn arms_have_the_settings_of_their_levels() {
        let plan: Plan = toml::from_str(EXAMPLE).unwrap();
        plan.check().unwrap();
        let arms = plan.arms();
        let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, ["full", "none", "arm_00", "arm_10", "arm_01", "arm_11"]);
        assert_eq!(arms[0].set, ["train.schedule.floor=0.33"]);
        assert_eq!(arms[3].set, ["train.schedule.floor=0.0"]);
        assert_eq!(arms[1].facts, Facts::Untrained);

        let more = Plan { seeds: vec![1, 2, 3], ..plan.clone() };
        assert_eq!(plan.canonical().unwrap(), more.canonical().unwrap());
        let other = Plan { primary: "facts.seen".into(), ..plan };
        assert_ne!(other.canonical().unwrap(), more.canonical().unwrap());
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (from, to, what) in [
            ("seeds = [1, 2]", "seeds = []", "`seeds` is empty"),
            ("seeds = [1, 2]", "seeds = [1, 1]", "the seed 1 is given twice"),
            ("name = \"floor\"", "name = \"order\"", "given twice"),
            ("name = \"floor\"", "name = \"a b\"", "no name"),
            ("high = [\"order\", \"floor\"]", "high = [\"oder\"]", "did you mean `order`"),
            ("things = 15", "things = 3", "15 things"),
        ] {
            let plan: Plan = toml::from_str(&EXAMPLE.replace(from, to)).unwrap();
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
