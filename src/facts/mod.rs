//! `varied` → `linked`
//!
//! Comes in: documents and their variants. Goes out: the same, and rows made of the knowledge
//! graph: *facts*, what it says of a concept in sentences, and *passages*, what documents say of
//! two concepts in the same sentence. Promises: every row goes on; a fact is made only of concepts
//! that training documents mention; a passage holds nothing but sentences of training documents,
//! each with its source; what is held out or asked by probes is in neither; both stay below their
//! share of the domain tokens; the same input and seed give the same rows for any number of
//! threads.
//!
//! ```text
//! documents ─corpus─▶ concepts, pairs ─triples─▶ facts ─wording─▶ sheets ─┐
//!                                     └passages─▶ sentences of pairs ─────┴▶ rows
//! ```
//!
//! Facts are told in both directions, because what a model read as "A treats B" it cannot say of B
//! (Allen-Zhu and Li 2023, arXiv:2309.14402), and with names drawn anew each time (SKILL, Moiseev
//! et al. 2022, arXiv:2205.08184, has bare triples). Passages put next to one another what stands
//! in different documents, as EntiGraph does with a language model (Yang et al. 2024,
//! arXiv:2409.07431); here nothing is invented.
//!
//! To add a relation's wording: a section in `phrases/`, or the user's file in `facts.phrases`.

mod corpus;
mod passages;
mod rows;
mod sheets;
mod triples;
mod wording;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::flow::dataset::{Dataset, write_atomically, write_json};
use crate::flow::room::Context;
use crate::knowledge;
use crate::rewrite::asked::Asked;
use crate::rewrite::lexicon::LexiconNames;
use crate::rewrite::wordnet;
use triples::Fact;
use wording::Wording;

/// Part of the room's fingerprint; raised when the same input and parameters give other rows; the
/// hundreds are of what finds mentions.
pub const VERSION: u32 = 1 + 100 * knowledge::VERSION;

/// What the rows of this room call their source.
pub const SOURCE: &str = "graph";

/// Parameters of the room: section `[facts]` of the pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Tokens of facts for one of the domain, in `[0, 1]`.
    pub share: f64,
    /// Tokens of passages for one of the domain, in `[0, 1]`.
    pub passages: f64,
    /// How often each fact stands in the training order.
    pub exposures: u32,
    /// Most facts of a concept.
    pub per_concept: u32,
    /// Most sentences of a passage.
    pub sentences: usize,
    /// Share of the pairs of linked concepts that are in no fact and no passage, in `[0, 1)`.
    pub held_out: f64,
    /// Files of wordings that go before the embedded ones.
    pub phrases: Vec<String>,
    /// Files of probes that no fact and no passage is to answer.
    pub exclude: Vec<String>,
}

impl Params {
    /// Whether there is anything to do.
    pub fn is_on(&self) -> bool {
        self.share > 0.0 || self.passages > 0.0
    }

    /// Checks what depends on more than one value.
    ///
    /// # Errors
    /// If facts are to be made of no lexicon.
    pub fn check(&self, has_lexicon: bool) -> Result<()> {
        if self.is_on() && !has_lexicon {
            return Err(Error::usage(
                "`[facts]` makes rows of the links of a lexicon, and there is none",
            )
            .hint("name one in `density.lexicon`, or set `facts.share=0` and `facts.passages=0`"));
        }
        Ok(())
    }

    /// Files that this room reads beside its input and the lexicon.
    pub fn files(&self) -> Vec<PathBuf> {
        self.phrases.iter().chain(&self.exclude).map(PathBuf::from).collect()
    }

    /// Reads those files and forgets them.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn check_files(&self) -> Result<()> {
        Asked::read(&self.exclude, None, "facts.exclude")?;
        Wording::read(&self.phrases).map(|_| ())
    }
}

/// What was made: `facts.json` of the room.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Tokens of the domain, those of further exposures too.
    pub domain_tokens: u64,
    /// Facts of which training documents mention both concepts.
    pub facts: triples::Books,
    /// Pairs of concepts that training documents name in one sentence.
    pub passages: passages::Books,
}

/// Writes every row of `input`, and rows made of the knowledge graph behind them, into the room's
/// folder; documents of a neighbourhood that is `held_out` are not looked at.
///
/// # Errors
/// If a file of wordings or probes cannot be read, the pairs of all documents take more memory than
/// they may, or a part cannot be read or written.
pub fn run(
    input: &Dataset,
    params: &Params,
    names: Option<&LexiconNames>,
    held_out: &(dyn Fn(u64) -> bool + Sync),
    cx: &Context<'_>,
) -> Result<()> {
    let Some(names) = names.filter(|_| params.is_on()) else {
        return rows::pass(input, cx);
    };
    let last = input.parts.len();
    if cx.committed(last)?.is_some() {
        return rows::pass(input, cx);
    }
    // To learn what is mentioned, to gather the sentences of passages, and to write.
    cx.readings(input, if params.passages > 0.0 { 3 } else { 2 });
    let asked = Asked::read(&params.exclude, Some(names), "facts.exclude")?;
    let wording = Wording::read(&params.phrases)?;
    let told = corpus::read(input, params, names, held_out, cx)?;
    let is_out =
        triples::HeldOut { params, asked: &asked, lexicon: names.lexicon(), seed: cx.seed };

    let kit = wording::Kit::new(wording, names, wordnet::english()?);
    let chosen = triples::choose(&told, &is_out, &kit);
    let sheets = sheets::write(&chosen.told, &told, params, &kit, cx.seed);
    let (passages, of_passages) = passages::make(input, &told, &is_out, &kit, held_out, cx)?;

    rows::pass(input, cx)?;
    write_held_out(&chosen.held_out, names, cx)?;
    let domain_tokens = told.domain_tokens;
    let summary = Summary { domain_tokens, facts: chosen.books, passages: of_passages };
    summary.tell(cx);
    write_json(&cx.folder.join("facts.json"), &summary)?;
    rows::append(sheets.chain(passages), last, cx)
}

/// Writes the facts that are held out as a table, for those who make probes of them.
fn write_held_out(facts: &[Fact], names: &LexiconNames, cx: &Context<'_>) -> Result<()> {
    let mut text = String::from("head\trelation\ttail\thead_name\ttail_name\n");
    for fact in facts {
        let [head, tail] =
            [fact.head, fact.tail].map(|one| &names.lexicon().concepts[one as usize]);
        text +=
            &format!("{}\t{}\t{}\t{}\t{}\n", head.id, fact.relation, tail.id, head.name, tail.name);
    }
    write_atomically(&cx.folder.join("held-out.tsv"), text.as_bytes())
}

impl Summary {
    fn tell(&self, cx: &Context<'_>) {
        let triples::Books { linked, told, held_out, .. } = self.facts;
        cx.progress.note(&format!(
            "{told} facts of {linked} between concepts that documents mention, {held_out} held \
             out; {} passages about pairs",
            self.passages.made
        ));
    }
}
