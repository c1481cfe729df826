//! `example` → `tasked`
//!
//! Comes in: documents with their rewritten passages. Goes out: the same, with *reading tasks*
//! behind the text of some domain documents: questions about it with their answers, mined from its
//! connectives and definitions, from the concepts of a lexicon in its sentences, and from its
//! title; of other documents the questions stand alone, in a row of their own that is read before
//! the texts of their kind. Promises: every document goes on; a task says nothing that the document
//! does not say; the same input and seed give the same tasks for any number of threads.
//!
//! A model that reads domain text alone learns its words and forgets how to be asked; with tasks
//! mined from the same text behind it, it does better on both (Cheng et al. 2024,
//! arXiv:2309.09530, whose patterns [`mine`] has). Answers are learned like all text. And whoever
//! was asked about some documents first takes more out of all others (pre-instruction-tuning, Jiang
//! et al. 2024, arXiv:2402.12847).
//!
//! To add a kind: a function in [`mine`] or [`concepts`], wordings in `templates/`, one line in
//! [`KINDS`].

pub mod concepts;
pub mod mine;
mod rows;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{DataType, UInt64Type};
use serde::{Deserialize, Serialize};

use crate::draw;
use crate::error::{Error, Result};
use crate::flow::contract::{contract, lists, numbers, strings};
use crate::flow::dataset::Dataset;
use crate::flow::registry;
use crate::flow::room::{Added, Context};
use crate::knowledge;
use crate::rewrite::ConceptNames;
use crate::rewrite::asked::Asked;
use crate::rewrite::wordnet::{self, WordNet};
use rows::Made;
use write::Wordings;

/// Part of the room's fingerprint; raised when the same input and parameters give other rows; the
/// hundreds are of what finds mentions.
pub const VERSION: u32 = 1 + 100 * knowledge::VERSION;

/// Parameters of the room: section `[tasks]` of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Share of the domain documents that carry tasks, where some can be made of them.
    pub share: f64,
    /// Share of the domain documents whose tasks stand alone, before the texts of their kind, hard
    /// or not.
    pub questions: f64,
    /// Names of [`KINDS`].
    pub kinds: Vec<String>,
    /// Most tasks of a class, such as inferences or contrasts, in a document.
    pub per_class: usize,
    /// Files of probes that no task is to ask.
    pub exclude: Vec<String>,
}

/// A kind of tasks.
pub struct Kind {
    /// Its name, and that of the section of its wordings.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
}

/// Every kind, in the order they are looked for.
pub static KINDS: &[Kind] = &[
    Kind { name: "nli", about: "whether a sentence follows from the one before its connective" },
    Kind { name: "cause_effect", about: "what comes of a sentence, or why it is so" },
    Kind { name: "paraphrase", about: "a sentence in other words, or to the contrary" },
    Kind { name: "definition", about: "what a word means that the text defines" },
    Kind { name: "topic", about: "what something is about that the text says it of" },
    Kind { name: "cloze", about: "which concept is left out of a sentence, of four of its kind" },
    Kind { name: "which_type", about: "what kind of thing a concept of the text is" },
    Kind { name: "words_to_text", about: "the sentence that mentions some concepts" },
    Kind { name: "title", about: "the title of the text, or the text under its title" },
    Kind { name: "completion", about: "how the text goes on" },
];

impl Params {
    /// Whether there is anything to do.
    pub fn is_on(&self) -> bool {
        (self.share > 0.0 || self.questions > 0.0) && !self.kinds.is_empty()
    }

    /// Checks the names of kinds.
    ///
    /// # Errors
    /// If there is none of a name, or probes are to be left out by the concepts of no lexicon.
    pub fn check(&self, has_lexicon: bool) -> Result<()> {
        if !self.exclude.is_empty() && !has_lexicon {
            return Err(Error::usage(
                "`tasks.exclude` leaves out what probes ask by its concepts, and without a lexicon \
                 nobody knows them",
            )
            .hint("name one in `density.lexicon`, or set `tasks.exclude=[]`"));
        }
        let known: Vec<&Kind> = KINDS.iter().collect();
        self.kinds.iter().try_for_each(|name| {
            registry::find("kind of tasks", &known, name, |kind| kind.name)
                .map(|_| ())
                .map_err(|error| error.at("`tasks.kinds`"))
        })
    }

    /// Files that this room reads beside its input and the lexicon.
    pub fn files(&self) -> Vec<PathBuf> {
        self.exclude.iter().map(PathBuf::from).collect()
    }

    fn has(&self, kind: &str) -> bool {
        self.kinds.iter().any(|name| name == kind)
    }
}

/// A question about a text and its answer, before it is worded.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Name of a [`Kind`].
    pub kind: &'static str,
    /// Which of its classes, the name of the list of wordings.
    pub class: &'static str,
    /// What is asked about: a sentence, a word, a list of concepts.
    pub first: String,
    /// What stands in the answer, or what is judged.
    pub second: String,
    /// The words that gave it away; empty where none did.
    pub word: String,
    /// What the answer is chosen from; empty where nothing is.
    pub choices: Vec<String>,
}

/// What the kernel works with, the same for every batch.
struct Tools<'a> {
    params: &'a Params,
    concepts: Option<&'a dyn ConceptNames>,
    asked: Asked,
    wordings: BTreeMap<&'static str, Wordings>,
    wordnet: &'static WordNet,
    seed: u64,
}

/// Writes every document of `input`, some with tasks, into the room's folder; those of a
/// neighbourhood that is `held_out` have none.
///
/// # Errors
/// If a file of probes cannot be read, or a part cannot be read or written.
pub fn run(
    input: &Dataset,
    params: &Params,
    concepts: Option<&dyn ConceptNames>,
    held_out: &(dyn Fn(u64) -> bool + Sync),
    cx: &Context<'_>,
) -> Result<()> {
    let leaves = contract("tasked")?;
    if !params.is_on() {
        return cx.add_columns(input, leaves, &[], |batch, _| {
            let none: ArrayRef = new_null_array(&DataType::Utf8, batch.num_rows());
            Ok(Added { columns: vec![("tasks", none)], notes: Vec::new() })
        });
    }
    let tools = Tools {
        params,
        concepts,
        asked: Asked::read(&params.exclude, concepts, "tasks.exclude")?,
        wordings: write::wordings()?,
        wordnet: wordnet::english()?,
        seed: cx.seed,
    };

    cx.map_parts(input, leaves, |batch, _| {
        let mut notes: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (ids, texts) = (strings(batch, "id")?, strings(batch, "text")?);
        let (roles, languages) = (strings(batch, "role")?, strings(batch, "language")?);
        let (titles, made_of) = (strings(batch, "title")?, lists(batch, "made_of")?);
        let groups = numbers::<UInt64Type>(batch, "neighbourhood")?;
        let parents = strings(batch, "parent")?;
        let mut made = Made::default();
        for row in 0..batch.num_rows() {
            let id = ids.value(row);
            let language = languages.is_valid(row).then(|| languages.value(row));
            let title = titles.is_valid(row).then(|| titles.value(row));
            // What is held out stays as it is: its loss is compared between builds.
            let is_read = roles.value(row) == "domain"
                && made_of.value_length(row) == 0
                && !held_out(groups.value(row));
            let is_drawn =
                |what, share| is_read && draw::unit(tools.seed, what, id.as_bytes()) < share;
            if is_drawn("questions", params.questions) && parents.is_null(row) {
                made.add(row, None);
                let asked = tools.questions(id, texts.value(row), language, &mut notes);
                asked.into_iter().for_each(|read| made.add(row, Some((read, true))));
            } else if is_drawn("tasks", params.share) {
                let read = tools.read(id, texts.value(row), language, title, &mut notes);
                made.add(row, read.map(|read| (read, false)));
            } else {
                made.add(row, None);
            }
        }
        made.outcome(batch, leaves, notes)
    })
}

/// Reads the files of probes and forgets them.
///
/// # Errors
/// If one cannot be read.
pub fn check_files(params: &Params) -> Result<()> {
    Asked::read(&params.exclude, None, "tasks.exclude").map(|_| ())
}

fn broken(what: &str) -> Error {
    Error::data(format!("src/tasks/templates are wrong: {what}"))
}
