//! `kpipe eval robustness`: what is left of answers when text is written in another way.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Computed, asked, begin};
use crate::build::plan::Pipeline;
use crate::cli::print::Printer;
use crate::cli::{MemoryArgs, RunArgs, SettingsArgs};
use crate::error::Result;
use crate::eval::robustness::candidates::{Candidates, Synonyms, Vectors};
use crate::eval::robustness::textfooler::{Attack, Tagger};
use crate::eval::robustness::transform::{self, Kit};
use crate::eval::robustness::{self, Place, Point};
use crate::flow::progress::Progress;
use crate::rewrite::ConceptNames;
use crate::rewrite::back_translation::identity;
use crate::rewrite::lexicon::LexiconNames;
use crate::rewrite::rewriter::Rewriter;

/// Arguments of `kpipe eval robustness`.
#[derive(Args)]
pub(super) struct RobustnessArgs {
    /// A model of any family
    #[arg(long, value_name = "MODEL", required_unless_present = "run_folder")]
    model: Option<String>,
    /// The folder of a run that is over: its checkpoints, one after the other, and what it came to
    #[arg(long = "run", value_name = "DIR", conflicts_with = "model")]
    run_folder: Option<PathBuf>,
    /// The model that it went on from: the first point, and the encoder of the attack; without it,
    /// that is the first checkpoint
    #[arg(long, value_name = "MODEL")]
    initial: Option<String>,
    /// Folder of GLUE, as for `kpipe eval glue`: its tasks with classes
    #[arg(long, value_name = "FOLDER", required_unless_present = "task")]
    glue: Option<PathBuf>,
    /// A task with questions, as for `kpipe eval`; may be given more than once
    #[arg(long, value_name = "NAME=PATH")]
    task: Vec<String>,
    /// What to change texts by, or `none`; left out, everything that `kpipe list transformations`
    /// tells
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    transform: Vec<String>,
    /// Most records of a task that are changed
    #[arg(long, value_name = "N", default_value_t = 200)]
    items: usize,
    /// Most training records of a task that its head is learned from
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    learn: usize,
    /// Records of each task of GLUE that TextFooler attacks; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 50)]
    attack: usize,
    /// Word vectors whose neighbours replace words: text, a word and its numbers in each line
    /// (counter-fitted ones are TextFooler's own); without it, WordNet's synonyms do
    #[arg(long, value_name = "FILE", conflicts_with = "synonyms")]
    vectors: Option<PathBuf>,
    /// A thesaurus whose synonyms replace words, as `negatives.thesaurus` takes it
    #[arg(long, value_name = "FILE")]
    synonyms: Option<PathBuf>,
    /// Parts of speech, `word<TAB>NOUN` lines, that go before WordNet's
    #[arg(long, value_name = "FILE")]
    tags: Option<PathBuf>,
    /// Most texts that the model is asked about in one attack
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    queries: usize,
    /// Folder for `robustness.json`, `.md` and `.html`; points that are done are not asked again
    #[arg(long, value_name = "FOLDER", default_value = "robustness")]
    out: PathBuf,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

pub(super) fn run(args: &RobustnessArgs) -> Result<()> {
    let printer = begin(&args.run)?;
    let asked = asked(&args.task)?;
    let transformations = transform::chosen(&args.transform)?;
    let points = match (&args.run_folder, &args.model) {
        (Some(run), _) => robustness::points(run, args.initial.as_deref())?,
        (None, model) => {
            let place = Place::Model(model.clone().unwrap_or_default());
            let own = Point { name: "model".to_string(), step: 0, place };
            args.initial.as_deref().map(Point::initial).into_iter().chain([own]).collect()
        }
    };
    if args.run_folder.is_some() && points.len() == 1 {
        printer.note(
            "the run kept its last checkpoint alone, so there is no curve: train with \
             `train.save_every` and a `train.keep` of more, or give `--initial`",
        );
    }
    let pipeline = args.settings.pipeline()?;
    let lexicon = lexicon(args, &pipeline, &printer)?;
    let concepts = lexicon.as_ref().map(|lexicon| lexicon as &dyn ConceptNames);
    let rewriting = pipeline.negatives.rewriting();
    let kit = Kit {
        rewriter: Rewriter::new(rewriting.clone(), concepts)?,
        params: &rewriting,
        seed: pipeline.seed,
    };
    let translating = &pipeline.negatives.back_translation;
    let is_wanted = transformations.iter().any(|one| one.name == "back_translation");
    if is_wanted && translating.tables.is_empty() && identity(translating)? == "none" {
        printer.note(
            "nothing is translated and back: `kpipe doctor` tells which engine to install, \
             `negatives.back_translation.tables` takes what was translated elsewhere",
        );
    }
    let candidates: Box<dyn Candidates> = match (&args.vectors, &args.synonyms) {
        (Some(vectors), _) => Box::new(Vectors::read(vectors)?),
        (None, Some(synonyms)) => Box::new(Synonyms::read(synonyms)?),
        (None, None) => Box::new(Synonyms::embedded()?),
    };
    let tagger = Tagger::read(args.tags.as_deref())?;
    let attack = (args.attack > 0).then_some(Attack {
        candidates: candidates.as_ref(),
        tagger: &tagger,
        encoder: None,
        queries: args.queries,
    });
    let told = robustness::evaluate(
        &points,
        &|point| args.computed.open_point(point, &printer),
        &robustness::Job {
            glue: args.glue.as_deref(),
            tasks: &asked,
            out: &args.out,
            learn: args.learn,
            items: args.items,
            transformations: &transformations,
            kit: &kit,
            attack,
            attacked: args.attack,
            seed: pipeline.seed,
            progress: &printer,
        },
    )?;
    printer.result(&robustness::markdown(&told), &json!(told))
}

/// The lexicon whose names are exchanged. Where nobody asked for that by name, one that is not
/// there is told, and all else is done.
fn lexicon(
    args: &RobustnessArgs,
    pipeline: &Pipeline,
    printer: &Printer,
) -> Result<Option<LexiconNames>> {
    let names = &pipeline.train.names;
    if names.lexicon.is_empty() {
        return Ok(None);
    }
    let is_asked = args.transform.iter().any(|name| name.starts_with("concept_"));
    match LexiconNames::read(&names.lexicon, &names.rules, args.memory.memory) {
        Err(error) if !is_asked => {
            printer.note(&format!("names of concepts are not exchanged: {}", error.what()));
            Ok(None)
        }
        found => found.map(Some),
    }
}
