//! seed → fictional drugs, diseases and devices, documents that tell of them, and probes
//!
//! Each thing has six attributes, drawn among a dozen values or among the things of another kind
//! (a drug treats a disease). A document tells all six in an order and in wordings drawn for it.
//! Probes ask each fact in a wording of training text and in two that stand in none, from the value
//! to the name, and over two facts ("the disease that … treats"); beside the right answer stand
//! four others of its type. The wordings are data, in English and
//! in Chinese: `world-en.toml`, `world-zh.toml`.
//!
//! After the closed worlds of Allen-Zhu and Li 2023 (arXiv:2309.14316) and the probes of Chang et
//! al. 2024 (arXiv:2406.11813).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::plan::{Facts, WorldPlan};
use crate::draw::{self, next_below};
use crate::error::{Error, Result};
use crate::flow::registry;
use crate::text::words::capitalised;
use crate::train::data::probes::Probe;

/// Kinds of probes.
pub const SEEN: &str = "facts.seen";
/// See [`SEEN`]: wordings that stand in no training text.
pub const NEW: &str = "facts.new";
/// See [`SEEN`]: the same by a name that the lexicon has for the thing, and no document.
pub const ALIAS: &str = "facts.alias";
/// See [`SEEN`]: from the value to the name.
pub const INVERSE: &str = "facts.inverse";
/// See [`SEEN`]: over two facts.
pub const TWO_HOP: &str = "facts.two_hop";
/// Wrong answers beside the right one.
const DISTRACTORS: usize = 4;
/// The name of the source in builds, which ids begin with.
pub const SOURCE: &str = "facts";

/// A language that a world can be told in.
struct Told {
    /// ISO 639 code.
    language: &'static str,
    /// The file of its wordings, and what it says.
    file: &'static str,
    text: &'static str,
}

static LANGUAGES: &[Told] = &[
    Told { language: "en", file: "world-en.toml", text: include_str!("world-en.toml") },
    Told { language: "zh", file: "world-zh.toml", text: include_str!("world-zh.toml") },
];

/// The wordings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wordings {
    /// What stands between words and sentences.
    space: String,
    /// What ends a sentence.
    end: String,
    lists: BTreeMap<String, Vec<String>>,
    kinds: BTreeMap<String, KindOf>,
}

/// A kind of things.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindOf {
    openings: Vec<String>,
    syllables: Vec<String>,
    endings: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
}

/// What there is to know of a thing of some kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    /// A list, or a kind of things.
    values: String,
    /// How the thing that it leads to is called by the one that leads to it, where it does.
    #[serde(default)]
    hop: String,
    seen: Vec<String>,
    new: Vec<String>,
    inverse: Vec<String>,
}

/// A fictional thing.
struct Thing {
    kind: String,
    name: String,
    /// Other names, which stand in the lexicon alone.
    aliases: Vec<String>,
    /// By attribute.
    values: BTreeMap<String, String>,
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its id within its source.
    pub id: String,
    /// What it says.
    pub text: String,
}

/// A fictional world.
pub struct World {
    wordings: Wordings,
    things: Vec<Thing>,
    plan: WorldPlan,
}

impl Told {
    fn wordings(&self) -> Result<Wordings> {
        toml::from_str(self.text).map_err(|cause| {
            Error::data(format!("src/ablate/{} is wrong: {}", self.file, cause.message()))
        })
    }
}

impl World {
    /// Draws things and facts.
    ///
    /// # Errors
    /// If there are no wordings in the plan's language, or more things than names.
    pub fn draw(plan: &WorldPlan) -> Result<Self> {
        let find = |told: &&Told| told.language == plan.language;
        let told = LANGUAGES.iter().find(find).ok_or_else(|| {
            let known: Vec<&str> = LANGUAGES.iter().map(|told| told.language).collect();
            registry::unknown("language of `world`", &plan.language, &known)
        })?;
        let wordings = told.wordings()?;
        let kinds: Vec<&String> = wordings.kinds.keys().collect();
        let (mut things, mut taken) = (Vec::new(), BTreeSet::new());
        for nth in 0..plan.things {
            let kind = kinds[nth % kinds.len()];
            let of = &wordings.kinds[kind];
            let mut stream = draw::stream(plan.seed, "thing", &(nth as u64).to_le_bytes());
            let drawn = (0..1_000).map(|_| name(of, &mut stream));
            let name =
                drawn.into_iter().find(|name| taken.insert(name.clone())).ok_or_else(|| {
                    Error::usage(format!("there are no names for {} things", plan.things))
                        .hint("plan fewer")
                })?;
            let (aliases, values) = (Vec::new(), BTreeMap::new());
            things.push(Thing { kind: kind.clone(), name, aliases, values });
        }
        for thing in &mut things {
            let mut stream = draw::stream(plan.seed, "alias", thing.name.as_bytes());
            for _ in 0..plan.aliases {
                let drawn = (0..1_000).map(|_| name(&wordings.kinds[&thing.kind], &mut stream));
                thing.aliases.extend(drawn.into_iter().find(|name| taken.insert(name.clone())));
            }
        }

        let names_of = |kind: &str| -> Vec<String> {
            let own = things.iter().filter(|thing| thing.kind == kind);
            own.map(|thing| thing.name.clone()).collect()
        };
        let mut pools: BTreeMap<String, Vec<String>> = wordings.lists.clone();
        pools.extend(kinds.iter().map(|kind| ((*kind).clone(), names_of(kind))));
        for thing in &mut things {
            for (attribute, of) in &wordings.kinds[&thing.kind].attributes {
                let key = format!("{}\n{attribute}", thing.name);
                let pool = pools.get(&of.values).filter(|pool| pool.len() > DISTRACTORS);
                let pool = pool.ok_or_else(|| {
                    Error::data(format!("`{attribute}` has too few values: `{}`", of.values))
                })?;
                let mut stream = draw::stream(plan.seed, "fact", key.as_bytes());
                let value = pool[next_below(&mut stream, pool.len())].clone();
                thing.values.insert(attribute.clone(), value);
            }
        }
        Ok(World { wordings, things, plan: plan.clone() })
    }

    /// The documents to train on.
    pub fn documents(&self, facts: Facts) -> Vec<Document> {
        match facts {
            Facts::Untrained => Vec::new(),
            Facts::Told => self.told(&|nth| nth),
            Facts::Exchanged => self.told(&|nth| self.exchanged(nth)),
            Facts::Probes => self.as_probes(),
        }
    }

    /// Names of all things, and all values that facts have.
    pub fn names(&self) -> BTreeSet<String> {
        let values = self.things.iter().flat_map(|thing| thing.values.values().cloned());
        self.things.iter().map(|thing| thing.name.clone()).chain(values).collect()
    }

    /// The names as a lexicon with other names of things, a table separated by tabs.
    pub fn table(&self) -> String {
        let mut table = "id\tname\tsynonyms\n".to_string();
        for (number, name) in self.names().iter().enumerate() {
            let thing = self.things.iter().find(|thing| thing.name == *name);
            let aliases = thing.map_or(String::new(), |thing| thing.aliases.join("|"));
            // Writing to a string does not fail.
            let _ = writeln!(table, "F{number}\t{name}\t{aliases}");
        }
        table
    }

    /// Another thing of the same kind.
    fn exchanged(&self, nth: usize) -> usize {
        let kinds = self.wordings.kinds.len();
        let next = nth + kinds;
        if next < self.things.len() { next } else { nth % kinds }
    }

    /// Documents that tell the facts of one thing under the name of another.
    fn told(&self, whose: &dyn Fn(usize) -> usize) -> Vec<Document> {
        let mut all = Vec::new();
        for (nth, thing) in self.things.iter().enumerate() {
            let values = &self.things[whose(nth)].values;
            let of = &self.wordings.kinds[&thing.kind];
            for number in 0..self.plan.documents {
                let id = format!("{}-{number}", thing.name.to_lowercase());
                let mut stream = draw::stream(self.plan.seed, "document", id.as_bytes());
                let mut sentences: Vec<String> = of
                    .attributes
                    .iter()
                    .map(|(attribute, wording)| {
                        let template = pick(&wording.seen, &mut stream);
                        sentence(template, &thing.name, &values[attribute])
                    })
                    .collect();
                draw::shuffle(&mut sentences, &mut stream);
                sentences.insert(0, sentence(pick(&of.openings, &mut stream), &thing.name, ""));
                all.push(Document { id, text: sentences.join(&self.wordings.space) });
            }
        }
        all
    }

    /// As many documents of the probes themselves.
    fn as_probes(&self) -> Vec<Document> {
        let mut statements: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for probe in self.probes() {
            statements.entry(probe.about.clone()).or_default().push(probe.statement());
        }
        let mut all = Vec::new();
        for (name, own) in statements {
            for number in 0..self.plan.documents {
                let id = format!("{}-{number}", name.to_lowercase());
                let mut stream = draw::stream(self.plan.seed, "document", id.as_bytes());
                let mut own = own.clone();
                draw::shuffle(&mut own, &mut stream);
                own.truncate(7);
                all.push(Document { id, text: own.join(&self.wordings.space) });
            }
        }
        all
    }

    /// All probes.
    pub fn probes(&self) -> Vec<Probe> {
        self.things.iter().enumerate().flat_map(|(nth, thing)| self.probes_of(nth, thing)).collect()
    }

    /// Probes of new wordings to be asked while a model learns: some of each attribute.
    pub fn panel(&self) -> Vec<Probe> {
        let mut all: Vec<Probe> =
            self.probes().into_iter().filter(|probe| probe.kind == NEW).collect();
        all.sort_by_cached_key(|probe| {
            draw::unit(self.plan.seed, "panel", probe.id.as_bytes()).to_bits()
        });
        all.truncate(self.plan.panel);
        for probe in &mut all {
            let id = probe.about.to_lowercase();
            probe.told_in =
                (0..self.plan.documents).map(|n| format!("{SOURCE}:{id}-{n}")).collect();
            probe.seen = Some(self.plan.documents as u64);
        }
        all
    }

    fn probes_of(&self, nth: usize, thing: &Thing) -> Vec<Probe> {
        let of = &self.wordings.kinds[&thing.kind];
        let mut all = Vec::new();
        for (attribute, wording) in &of.attributes {
            let value = &thing.values[attribute];
            let key = format!("{}.{attribute}", thing.name.to_lowercase());
            let mut stream = draw::stream(self.plan.seed, "probe", key.as_bytes());
            let mut add =
                |kind: &str, template: &str, name: &str, value: &str, pool, ends: &str| {
                    let (context, behind) = blank(template, name, ends);
                    let number = all.len();
                    let mut choices = self.distractors(pool, value, &mut stream);
                    let answer = next_below(&mut stream, choices.len() + 1);
                    choices.insert(answer, value.to_string());
                    all.push(Probe {
                        id: format!("{key}.{number}"),
                        kind: kind.to_string(),
                        context,
                        choices,
                        answer,
                        behind,
                        joined: self.wordings.space.is_empty(),
                        about: thing.name.clone(),
                        concept_kind: thing.kind.clone(),
                        ..Probe::default()
                    });
                };

            let asked: Vec<&String> =
                wording.seen.iter().filter(|one| self.wordings.ends_in_value(one)).collect();
            let pool = || self.pool(&wording.values);
            add(SEEN, asked[nth % asked.len()], &thing.name, value, pool(), "{value}");
            for template in &wording.new {
                add(NEW, template, &thing.name, value, pool(), "{value}");
            }
            if let Some(alias) = thing.aliases.first() {
                let template = &wording.new[nth % wording.new.len()];
                add(ALIAS, template, alias, value, pool(), "{value}");
            }
            let template = &wording.inverse[nth % wording.inverse.len()];
            let Wordings { space, end, .. } = &self.wordings;
            let template = format!("{}{space}{{name}}{end}", template.replace("{value}", value));
            let others = self.others(thing, attribute);
            add(INVERSE, &template, &thing.name, &thing.name, others, "{name}");

            // A fact of what this one leads to, asked without naming it.
            let Some(next) = self.things.iter().find(|other| other.name == *value) else {
                continue;
            };
            let through = wording.hop.replace("{name}", &thing.name);
            for (attribute, wording) in &self.wordings.kinds[&next.kind].attributes {
                let template = &wording.new[nth % wording.new.len()];
                let (pool, value) = (self.pool(&wording.values), &next.values[attribute]);
                add(TWO_HOP, template, &through, value, pool, "{value}");
            }
        }
        all
    }

    /// All values of a list, or names of a kind.
    fn pool(&self, values: &str) -> Vec<String> {
        match self.wordings.lists.get(values) {
            Some(list) => list.clone(),
            None => {
                let own = self.things.iter().filter(|thing| thing.kind == values);
                own.map(|thing| thing.name.clone()).collect()
            }
        }
    }

    /// Names of the same kind of which this is not true.
    fn others(&self, thing: &Thing, attribute: &str) -> Vec<String> {
        let is_other = |other: &&Thing| {
            other.kind == thing.kind && other.values[attribute] != thing.values[attribute]
        };
        self.things.iter().filter(is_other).map(|other| other.name.clone()).collect()
    }

    fn distractors(
        &self,
        mut pool: Vec<String>,
        gold: &str,
        stream: &mut ChaCha8Rng,
    ) -> Vec<String> {
        pool.retain(|one| one != gold);
        draw::shuffle(&mut pool, stream);
        pool.truncate(DISTRACTORS);
        pool
    }
}

fn name(of: &KindOf, stream: &mut ChaCha8Rng) -> String {
    let drawn = [&of.syllables, &of.syllables, &of.endings].map(|parts| pick(parts, stream));
    capitalised(&drawn.concat())
}

fn pick<'a>(from: &'a [String], stream: &mut ChaCha8Rng) -> &'a str {
    &from[next_below(stream, from.len())]
}

/// A wording filled in, with a capital at its beginning.
fn sentence(template: &str, name: &str, value: &str) -> String {
    capitalised(&template.replace("{name}", name).replace("{value}", value))
}

impl Wordings {
    fn ends_in_value(&self, template: &str) -> bool {
        template.strip_suffix(self.end.as_str()).is_some_and(|rest| rest.ends_with("{value}"))
            && template.find("{name}") < template.find("{value}")
    }
}

/// What stands before and behind what is left out of a wording.
fn blank(template: &str, name: &str, left_out: &str) -> (String, String) {
    let (before, behind) = template.split_once(left_out).unwrap_or((template, ""));
    (sentence(before, name, "").trim_end().to_string(), behind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> WorldPlan {
        let language = "en".to_string();
        WorldPlan {
            language,
            seed: 1,
            things: 18,
            documents: 3,
            panel: 10,
            panel_every: 1,
            lexicon: false,
            aliases: 2,
        }
    }

    /// The same in each language.
    fn worlds() -> Vec<World> {
        let of = |told: &Told| WorldPlan { language: told.language.to_string(), ..plan() };
        LANGUAGES.iter().map(|told| World::draw(&of(told)).unwrap()).collect()
    }

    /// As they are asked for: six attributes of each kind, ten wordings or more that are trained
    /// on, and new ones that are none of them.
    #[test]
    fn there_are_wordings_enough() {
        for told in LANGUAGES {
            check(&told.wordings().unwrap());
        }
        let error = World::draw(&WorldPlan { language: "fr".to_string(), ..plan() }).err().unwrap();
        assert!(error.to_string().contains("`fr`"), "{error}");
    }

    fn check(wordings: &Wordings) {
        assert_eq!(wordings.kinds.len(), 3);
        for (kind, of) in &wordings.kinds {
            assert_eq!(of.attributes.len(), 6, "{kind}");
            for (attribute, one) in &of.attributes {
                let place = format!("{kind}.{attribute}");
                let is_pool = wordings.lists.contains_key(&one.values)
                    || wordings.kinds.contains_key(&one.values);
                assert!(is_pool, "{place}: {}", one.values);
                assert!(one.seen.len() >= 10 && one.new.len() >= 2, "{place}");
                assert!(one.seen.iter().any(|one| wordings.ends_in_value(one)), "{place}");
                let leads_on = wordings.kinds.contains_key(&one.values);
                assert_eq!(one.hop.matches("{name}").count(), usize::from(leads_on), "{place}");
                for template in one.seen.iter().chain(&one.new) {
                    let n = |what| template.matches(what).count();
                    assert_eq!([n("{name}"), n("{value}")], [1, 1], "{place}: {template}");
                }
                assert!(one.new.iter().all(|one| wordings.ends_in_value(one)), "{place}");
                assert!(one.new.iter().all(|new| !one.seen.contains(new)), "{place}");
                let has_value = |one: &String| one.contains("{value}") && !one.contains("{name}");
                assert!(one.inverse.iter().all(has_value), "{place}");
            }
        }
    }

    #[test]
    fn documents_tell_what_probes_ask() {
        for world in worlds() {
            tells_what_is_asked(&world);
        }
    }

    fn tells_what_is_asked(world: &World) {
        let documents = world.documents(Facts::Told);
        assert_eq!(documents.len(), 18 * 3);
        assert_eq!(documents, World::draw(&world.plan).unwrap().documents(Facts::Told));
        let all: String = documents.iter().map(|one| one.text.clone() + "\n").collect();
        let probes = world.probes();
        let n = |kind| probes.iter().filter(|probe| probe.kind == kind).count();
        assert_eq!([SEEN, NEW, INVERSE].map(n), [18 * 6, 18 * 12, 18 * 6]);
        assert_eq!(n(ALIAS), 18 * 6);
        let aliases = || world.things.iter().flat_map(|thing| &thing.aliases);
        assert!(aliases().count() == 36 && !aliases().any(|name| all.contains(name.as_str())));
        assert!(aliases().all(|name| world.table().contains(name.as_str())));
        assert_eq!(n(TWO_HOP), 12 * 6, "of drugs and devices, by each attribute of the disease");

        for probe in &probes {
            assert!(probe.choices.len() <= 1 + DISTRACTORS && probe.choices.len() > 1);
            let apart: BTreeSet<&String> = probe.choices.iter().collect();
            assert_eq!(apart.len(), probe.choices.len(), "{probe:?}");
            // Statements of new wordings stand nowhere.
            let stands = all.contains(&probe.statement());
            assert!(probe.kind == SEEN || !stands, "{}", probe.statement());
            assert!(
                !probe.context.contains('{') && probe.behind == world.wordings.end,
                "{probe:?}"
            );
        }
        let own: BTreeSet<String> =
            documents.iter().map(|one| format!("{SOURCE}:{}", one.id)).collect();
        let panel = world.panel();
        assert_eq!(panel.len(), 10);
        assert!(panel.iter().flat_map(|probe| &probe.told_in).all(|id| own.contains(id)));
    }

    /// Exchanged facts are those of another thing of the kind: the same sentences, another truth.
    #[test]
    fn names_are_the_ends_of_all_facts() {
        for world in worlds() {
            let names = world.names();

            for probe in world.probes() {
                assert!(names.contains(&probe.about), "{}", probe.about);
                assert!(names.contains(&probe.choices[probe.answer]), "{}", probe.id);
            }
        }
    }

    #[test]
    fn controls_are_what_they_say() {
        let world = World::draw(&plan()).unwrap();
        let told: String =
            world.documents(Facts::Told).iter().map(|one| one.text.clone()).collect();
        let exchanged = world.documents(Facts::Exchanged);
        assert_ne!(exchanged[0].text, world.documents(Facts::Told)[0].text);
        let (own, other) = (&world.things[0], &world.things[world.exchanged(0)]);
        assert_eq!(own.kind, other.kind);
        let text = exchanged[0].text.to_lowercase();
        assert!(other.values.values().all(|value| text.contains(&value.to_lowercase())));
        assert!(own.values.values().any(|value| !text.contains(&value.to_lowercase())));
        assert!(told.contains(&world.things[0].name));

        let probes: BTreeSet<String> = world.probes().iter().map(Probe::statement).collect();
        let first = &world.documents(Facts::Probes)[0];
        assert!(probes.iter().filter(|one| first.text.contains(one.as_str())).count() >= 7);
        assert!(world.documents(Facts::Untrained).is_empty());
    }
}
